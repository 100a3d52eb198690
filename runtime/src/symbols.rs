//! Symbols: names for code ids, from the program's own debug information.
//!
//! Workers are forks of this program, so a place in their image is the same place in ours. Places in libraries are
//! given as library and offset.

use gorun_worker::function::{self, CodeId};
use std::fmt;

/// A place in the code, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the function, or library and offset.
    pub(crate) name: String,
    file: Option<String>,
    line: Option<u32>,
}

impl Place {
    fn named(name: String) -> Self {
        Self { name, file: None, line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {file}:{line}"),
            _ => Ok(()),
        }
    }
}

/// The function that begins at `id`.
pub(crate) fn function(id: CodeId, libraries: &[String]) -> Place {
    // The look-up takes an address for one behind a call and steps back. Of functions inlined there the last one is
    // that whose code it is.
    look_up(id, 1, libraries).pop().unwrap_or_else(unknown)
}

/// The stack of a dying thread as a person wants to see it: from the frame that faulted to where the task was called.
pub(crate) fn stack(frames: &[Option<CodeId>], libraries: &[String]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for frame in frames {
        match frame {
            Some(id) => places.extend(look_up(*id, 0, libraries)),
            None => places.push(unknown()),
        }
    }
    // Our own handler stands first, and behind it the trampoline through which the kernel called it.
    let handler = places.iter().rposition(|place| place.name.contains("last_words"));
    let skipped = handler.map_or(0, |handler| handler + 2);
    if skipped < places.len() {
        places.drain(..skipped);
    }
    // Who called the task is the same each time, unless it is what faulted.
    if let Some(caller) = places.iter().position(|place| place.name.starts_with("gorun_worker::"))
        && caller > 0
    {
        places.truncate(caller);
    }
    places
}

fn unknown() -> Place {
    Place::named("unknown code".to_owned())
}

/// Every function whose code, inlined or its own, lies before `id` plus `ahead`; the innermost first, and never none.
fn look_up(id: CodeId, ahead: usize, libraries: &[String]) -> Vec<Place> {
    let offset = id.offset();
    if let Some(module) = id.module().checked_sub(1) {
        let library =
            libraries.get(module).map_or("a library", |path| path.rsplit('/').next().unwrap_or(path));
        return vec![Place::named(format!("{library}+{offset:#x}"))];
    }
    let mut places = Vec::new();
    if let Some(address) = function::address(id) {
        backtrace::resolve(std::ptr::without_provenance_mut(address + ahead), |symbol| {
            let Some(name) = symbol.name() else { return };
            places.push(Place {
                // Without the hash that the compiler adds.
                name: format!("{name:#}"),
                file: symbol.filename().map(|file| file.display().to_string()),
                line: symbol.lineno(),
            });
        });
    }
    if places.is_empty() {
        places.push(Place::named(format!("program+{offset:#x}")));
    }
    places
}
