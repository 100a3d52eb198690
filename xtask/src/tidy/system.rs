//! System calls live in the `os` rooms of shm and worker, so that the rest can be tried without a kernel.

use super::{Finding, Source, has_word};

const DOORS: &[&str] = &["libc::", "nix::", "rustix::"];
const ROOMS: &[&str] = &["shm/src/os/", "worker/src/os/"];
const EXEMPT: &[&str] = &["launcher/", "benches/", "xtask/"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let free = ROOMS.iter().chain(EXEMPT).any(|folder| source.path.starts_with(folder));
    if free || source.path.split('/').any(|folder| folder == "tests") {
        return Vec::new();
    }
    let calls = source.live().flat_map(|(index, line)| {
        DOORS.iter().filter(move |door| has_word(line, door)).map(move |door| (index, door))
    });
    let fix = "wrap the call in a file under shm/src/os or worker/src/os and use the wrapper";
    calls
        .map(|(index, door)| Finding::new(source.path, index, format!("{door} outside of an os room"), fix))
        .collect()
}

/// std's atomics are taken through `gorun_shm::sync`, so that loom can model what is built on them. (clippy cannot
/// ban them: it looks through the re-export.)
pub(crate) fn check_atomics(source: &Source) -> Vec<Finding> {
    let free =
        source.path == "shm/src/sync.rs" || EXEMPT.iter().any(|folder| source.path.starts_with(folder));
    if free || source.is_trial() {
        return Vec::new();
    }
    let uses = source.live().filter(|(_, line)| line.contains("std::sync::atomic"));
    let fix = "use gorun_shm::sync, so that loom can model the protocol";
    uses.map(|(index, _)| Finding::new(source.path, index, "std's atomics outside of shm/src/sync.rs", fix))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn std_atomics_outside_of_their_door_are_found() {
        let text = "use std::sync::atomic::AtomicU64;\n";
        assert_eq!(check_atomics(&Source::new("runtime/src/go.rs", text)).len(), 1);
        assert_eq!(check_atomics(&Source::new("shm/src/sync.rs", text)), []);
    }

    use super::*;

    #[test]
    fn a_system_call_outside_of_its_room_is_found() {
        let text =
            "use rustix::fs;\nuse std::os::unix::fs::MetadataExt;\nlet n = unsafe { libc::getpid() };\n";
        assert_eq!(check(&Source::new("runtime/src/go.rs", text)).len(), 2);
        assert_eq!(check(&Source::new("shm/src/os/mmap.rs", text)), []);
        assert_eq!(check(&Source::new("launcher/src/main.rs", text)), []);
        assert_eq!(check(&Source::new("runtime/tests/go.rs", text)), []);
    }

    #[test]
    fn test_modules_may_call_the_system() {
        let text = "#[cfg(test)]\nmod tests {\n    use nix::sys;\n}\n";
        assert_eq!(check(&Source::new("runtime/src/go.rs", text)), []);
    }
}
