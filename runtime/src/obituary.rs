//! Obituary: a death in few words, packed into the payload words of the slot of the task that was lost.
//!
//! ```text
//! word 0  items started 63..32 | items finished 31..0     of a range
//!      1  bytes of results                                of a range
//!      2  kind 63..56 | code or signal 55..32 | pid 31..0
//!      3  generation 63..32 | seat 15..0
//! ```

use crate::archive;
use crate::evidence::Evidence;
use gorun_worker::wire::control::RangeProgress;
use gorun_worker::wire::ids::{Seat, WorkerId};
use gorun_worker::zygote::protocol::ProcessEnd;

const EXITED: u64 = 1;
const SIGNALLED: u64 = 2;
const DUMPED: u64 = 3;
const CODE_MASK: u64 = (1 << 24) - 1;

/// Puts a death into payload words.
pub(crate) fn pack(worker: WorkerId, pid: i32, end: ProcessEnd, progress: RangeProgress) -> [u64; 4] {
    let (kind, code) = match end {
        ProcessEnd::Exited { code } => (EXITED, code),
        ProcessEnd::Signalled { signal, dumped } => (if dumped { DUMPED } else { SIGNALLED }, signal),
        ProcessEnd::Unknown => (0, 0),
    };
    let code = u64::from(code.cast_unsigned()) & CODE_MASK;
    [
        u64::from(progress.started) << 32 | u64::from(progress.finished),
        progress.bytes,
        kind << 56 | code << 32 | u64::from(pid.cast_unsigned()),
        u64::from(worker.generation) << 32 | u64::from(worker.seat.0),
    ]
}

/// Takes a death out of payload words.
#[expect(clippy::cast_possible_truncation, reason = "takes fields out of the words")]
pub(crate) fn unpack(payload: [u64; 4], attempt: u8) -> Evidence {
    let [_, _, how, who] = payload;
    let code = ((how >> 32 & CODE_MASK) as u32).cast_signed();
    let end = match how >> 56 {
        EXITED => ProcessEnd::Exited { code },
        SIGNALLED => ProcessEnd::Signalled { signal: code, dumped: false },
        DUMPED => ProcessEnd::Signalled { signal: code, dumped: true },
        _ => ProcessEnd::Unknown,
    };
    let worker = WorkerId { seat: Seat(who as u16), generation: (who >> 32) as u32 };
    let pid = (how as u32).cast_signed();
    Evidence { worker, pid, end, attempt, details: archive::find(worker, pid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_survives_the_slot() {
        let worker = WorkerId { seat: Seat(119), generation: 70_000 };
        for end in [
            ProcessEnd::Exited { code: 255 },
            ProcessEnd::Signalled { signal: 11, dumped: true },
            ProcessEnd::Signalled { signal: 9, dumped: false },
            ProcessEnd::Unknown,
        ] {
            let packed = pack(worker, 4_000_000, end, RangeProgress::default());
            let expected = Evidence { worker, pid: 4_000_000, end, attempt: 2, details: None };
            assert_eq!(unpack(packed, 2), expected);
        }
    }
}
