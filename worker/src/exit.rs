//! Every way gorun itself ends a process, each with its number. A user's own `exit(n)` keeps its `n`.

/// The zygote or a worker left because it was told to.
pub const ASKED: i32 = 0;
/// The zygote's environment mark and its socket did not belong together.
pub const BAD_MARK: i32 = 90;
/// The zygote could not attach the segment: other build, other layout, or no memory.
pub const ATTACH: i32 = 91;
/// A worker could not arm its lease on the host, so it would outlive it.
pub const LEASE: i32 = 92;
/// A worker could not take its death word.
pub const DEATH_WORD: i32 = 93;
/// A panic reached the outermost frame of gorun's own code.
pub const INTERNAL: i32 = 94;
/// A worker's record had a tenant already: its order was repeated after a zygote's death.
pub const RECORD_TAKEN: i32 = 95;
/// The worker's task was taken from it at its deadline.
pub const CONDEMNED: i32 = 96;
/// A worker could not put its jail on; it has told the host why.
pub const JAIL: i32 = 97;
/// The image could not be executed.
pub const EXEC: i32 = 127;

/// What a number above means, for messages.
#[must_use]
pub fn meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        BAD_MARK => "gorun: zygote mark without a host",
        ATTACH => "gorun: could not attach the segment",
        LEASE => "gorun: could not arm the lease on the host",
        DEATH_WORD => "gorun: could not take the death word",
        INTERNAL => "gorun: internal panic in the worker loop",
        RECORD_TAKEN => "gorun: another worker was there first",
        CONDEMNED => "gorun: the task's deadline had passed",
        JAIL => "gorun: could not put on the jail",
        EXEC => "gorun: could not execute the program image again",
        _ => return None,
    })
}
