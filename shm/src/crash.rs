//! Crash points: named places where a test makes the process die by SIGKILL, to prove that others recover.
//!
//! Without the feature `crash-points` the macro expands to nothing.

/// Kills the process here if a test asked for it by name, see `arm` in this module.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::crash::reached($name);
    };
}

/// Environment variable that names the crash point to die at, as `name` or `name:k` for the k-th passage.
pub const VARIABLE: &str = "GORUN_CRASH_POINT";

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::{Mutex, OnceLock};

    static TARGET: OnceLock<Mutex<Option<(String, u64)>>> = OnceLock::new();

    fn target() -> &'static Mutex<Option<(String, u64)>> {
        TARGET.get_or_init(|| Mutex::new(std::env::var(super::VARIABLE).ok().map(|text| parse(&text))))
    }

    fn parse(text: &str) -> (String, u64) {
        match text.split_once(':') {
            Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
            None => (text.to_owned(), 1),
        }
    }

    /// Arms the crash point `name` for its `nth` passage from now, in this process.
    pub fn arm(name: &str, nth: u64) {
        let mut target = target().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *target = Some((name.to_owned(), nth));
    }

    /// Called by the macro.
    pub fn reached(name: &str) {
        let mut target = target().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((wanted, left)) = target.as_mut()
            && wanted == name
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                crate::os::process::kill_self();
            }
        }
    }
}

#[cfg(feature = "crash-points")]
pub use armed::{arm, reached};
