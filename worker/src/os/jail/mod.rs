//! Putting a jail on the calling process, which must have one thread: limits, descriptors, paths, filter.
//!
//! The filter comes last, since what comes before needs calls that it denies. After it the process can add
//! restrictions and take none back.
// UNSAFETY: no_new_privs is a raw prctl.
#![expect(unsafe_code, reason = "prctl(PR_SET_NO_NEW_PRIVS) is not offered by the safe crates")]

mod calls;
mod descriptors;
mod filter;
mod limits;
mod paths;

pub use descriptors::{Held, hold_only};

use crate::jail::{Jail, JailPart, JailRefusal, PROFILE_BYTES_MAX};
use limits::Limits;
use std::io;

/// Name of a system call that ends a jailed worker; none for any other.
#[must_use]
pub fn call_name(call: u64) -> Option<&'static str> {
    calls::name(i64::try_from(call).ok()?)
}

/// Looks whether this kernel, and whoever confines this program already, have what the profile needs.
///
/// # Errors
/// [`JailRefusal`] with the first part that is lacking, unless the profile does without.
pub fn check(jail: &Jail) -> Result<(), JailRefusal> {
    if let Some(bytes) = jail.too_long() {
        return Err(JailRefusal::TooManyPaths { bytes, limit: PROFILE_BYTES_MAX });
    }
    if jail.is_best_effort() {
        return Ok(());
    }
    filter::check()?;
    match paths::version() {
        Ok(found) if found < jail.landlock_needed() => {
            Err(JailRefusal::LandlockTooOld { needed: jail.landlock_needed(), found })
        }
        Ok(_) => Ok(()),
        Err(error) => Err(JailRefusal::lacking(JailPart::Landlock, &error)),
    }
}

/// Puts the jail on this process. What it keeps of `held` it may not close.
///
/// # Errors
/// [`JailRefusal`]; the process must leave then, for it is jailed in part.
pub fn put_on(jail: &Jail, held: &Held) -> Result<(), JailRefusal> {
    check(jail)?;
    let limits = Limits::of(jail, held);
    if !jail.output {
        let closed = descriptors::silence_output();
        closed.map_err(|error| JailRefusal::lacking(JailPart::Descriptors, &error))?;
    }
    unless(jail.best_effort, no_new_privileges())?;
    // Without a Landlock of any version there is nothing to restrict by; `check` has refused that where it matters.
    if paths::version().is_ok() {
        paths::restrict(jail)?;
    }
    limits.set()?;
    unless(jail.best_effort, filter::install(jail, held))
}

/// Forgives a part that is lacking where that was asked for.
fn unless(forgiven: bool, outcome: Result<(), JailRefusal>) -> Result<(), JailRefusal> {
    match outcome {
        Err(JailRefusal::Lacking { .. }) if forgiven => Ok(()),
        other => other,
    }
}

fn no_new_privileges() -> Result<(), JailRefusal> {
    // SAFETY: the call takes plain numbers.
    let code = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if code == 0 {
        return Ok(());
    }
    Err(JailRefusal::lacking(JailPart::NoNewPrivileges, &io::Error::last_os_error()))
}
