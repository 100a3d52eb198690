//! Black box: what a worker wrote down about its own end, read by the host after it.
//!
//! Written by the dying thread, in a signal handler, before the kernel takes the process, and by the hook of panics,
//! of which some end in an abort; the host reads it only when the process is dead. A worker gone wild may write anything
//! here: the numbers are for people.

use crate::function::CodeId;
use gorun_macros::Shared;
use gorun_shm::sync::{AtomicU32, AtomicU64, Ordering};

/// Most bytes of a panic's message that are kept.
const PANIC_BYTES_MAX: usize = 8 * PANIC_WORDS;
const PANIC_WORDS: usize = 40;
/// How the messages of the aborts begin with which a panic ends that must not unwind.
const FOLLOW_UP: &str = "panic in a ";

/// Most frames that are kept of the dying thread's stack, innermost first.
pub const FRAMES_MAX: usize = 24;

/// See the module's head.
#[repr(C, align(128))]
#[derive(Debug, Default, Shared)]
pub struct BlackBox {
    /// The signal that was caught, 0 while there was none. Written last.
    signal: AtomicU32,
    /// The kernel's word on its cause (`si_code`).
    cause: AtomicU32,
    /// The address that could not be used, or the number of the call that a filter denied, if the signal has one.
    address: AtomicU64,
    /// How many frames follow.
    count: AtomicU32,
    /// Code ids of return addresses, 0 for one in no known module.
    frames: [AtomicU64; FRAMES_MAX],
    /// When the last panic was, in ticks, 0 while there was none. Written last.
    panic_ticks: AtomicU64,
    /// Bytes of its message.
    panic_bytes: AtomicU32,
    /// The message.
    panic_text: PanicText,
}

/// Bytes of text, eight to a word.
#[repr(C)]
#[derive(Debug, Shared)]
struct PanicText {
    words: [AtomicU64; PANIC_WORDS],
}

impl Default for PanicText {
    fn default() -> Self {
        Self { words: [const { AtomicU64::new(0) }; PANIC_WORDS] }
    }
}

/// A panic that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastPanic {
    /// When, in ticks.
    pub ticks: u64,
    /// What it said, and where it was.
    pub text: String,
}

/// What a black box held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    /// The signal that was caught.
    pub signal: i32,
    /// The kernel's word on its cause (`si_code`).
    pub cause: i32,
    /// The address that could not be used, or the number of the call that a filter denied, if the signal has one.
    pub address: Option<u64>,
    /// The dying thread's stack, innermost first; none for a frame in no known module.
    pub frames: Vec<Option<CodeId>>,
}

impl BlackBox {
    /// Empties it for the record's next worker.
    pub fn clear(&self) {
        // Relaxed, both: the fork that follows orders these.
        self.signal.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed); // Relaxed: as above.
        self.panic_ticks.store(0, Ordering::Relaxed); // Relaxed: as above.
    }

    /// Notes the cause. Async-signal-safe.
    pub fn note_cause(&self, signal: i32, cause: i32, address: Option<usize>) {
        // Relaxed, all of these: read after this thread is dead, which orders everything.
        self.cause.store(cause.cast_unsigned(), Ordering::Relaxed);
        self.address.store(address.map_or(u64::MAX, |address| address as u64), Ordering::Relaxed); // Relaxed: as above.
        self.signal.store(signal.cast_unsigned(), Ordering::Release); // Release: pairs with `read`.
    }

    /// Adds a frame; false if there is no room for more. Async-signal-safe.
    pub fn note_frame(&self, code: Option<CodeId>) -> bool {
        let count = self.count.load(Ordering::Relaxed); // Relaxed: one writer.
        let Some(place) = self.frames.get(count as usize) else { return false };
        place.store(code.map_or(0, |code| code.0), Ordering::Relaxed); // Relaxed: published by `count`.
        self.count.store(count + 1, Ordering::Release); // Release: pairs with `read`.
        true
    }

    /// Notes a panic. One that only says that the one before could not unwind does not replace it.
    pub fn note_panic(&self, ticks: u64, text: &str) {
        // Relaxed, all of these: read after the process is dead; threads that panic at once may garble their texts.
        if text.starts_with(FOLLOW_UP) && self.panic_ticks.load(Ordering::Relaxed) != 0 {
            return;
        }
        let bytes = &text.as_bytes()[..text.len().min(PANIC_BYTES_MAX)];
        for (place, chunk) in self.panic_text.words.iter().zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            place.store(u64::from_ne_bytes(word), Ordering::Relaxed); // Relaxed: as above.
        }
        let count = u32::try_from(bytes.len()).unwrap_or(0);
        self.panic_bytes.store(count, Ordering::Relaxed); // Relaxed: as above.
        self.panic_ticks.store(ticks, Ordering::Release); // Release: pairs with `read_panic`.
    }

    /// The last panic, if there was one. Only after the writer's death.
    #[must_use]
    pub fn read_panic(&self) -> Option<LastPanic> {
        let ticks = self.panic_ticks.load(Ordering::Acquire); // Acquire: pairs with `note_panic`.
        if ticks == 0 {
            return None;
        }
        // Relaxed, both: ordered by the load above.
        let words = self.panic_text.words.iter().map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        let mut bytes = words.collect::<Vec<_>>().concat();
        bytes.truncate(self.panic_bytes.load(Ordering::Relaxed) as usize); // Relaxed: as above.
        Some(LastPanic { ticks, text: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// What was written, if anything. Only after the writer's death.
    #[must_use]
    pub fn read(&self) -> Option<LastWords> {
        let signal = self.signal.load(Ordering::Acquire).cast_signed(); // Acquire: pairs with `note_cause`.
        if !(1..=64).contains(&signal) {
            return None;
        }
        let address = self.address.load(Ordering::Relaxed); // Relaxed: ordered by the load above.
        let count = self.count.load(Ordering::Acquire) as usize; // Acquire: pairs with `note_frame`.
        let frames = self.frames.iter().take(count);
        Some(LastWords {
            signal,
            cause: self.cause.load(Ordering::Relaxed).cast_signed(), // Relaxed: as above.
            address: (address != u64::MAX).then_some(address),
            // Relaxed: ordered by the load of the count.
            frames: frames.map(|frame| CodeId::known(frame.load(Ordering::Relaxed))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_until_it_is_cleared() {
        let place = BlackBox::default();
        assert_eq!(place.read(), None);
        place.note_cause(11, 1, Some(0x40));
        assert!(place.note_frame(Some(CodeId(7))) && place.note_frame(None));
        let expected =
            LastWords { signal: 11, cause: 1, address: Some(0x40), frames: vec![Some(CodeId(7)), None] };
        assert_eq!(place.read(), Some(expected));
        place.clear();
        assert_eq!(place.read(), None);
    }

    #[test]
    fn the_last_panic_is_kept_and_a_long_one_is_cut() {
        let place = BlackBox::default();
        assert_eq!(place.read_panic(), None);
        place.note_panic(5, "one");
        place.note_panic(6, "two is longer");
        place.note_panic(7, "panic in a function that cannot unwind");
        let expected = LastPanic { ticks: 6, text: "two is longer".to_owned() };
        assert_eq!(place.read_panic(), Some(expected));
        place.note_panic(8, &"x".repeat(1000));
        assert_eq!(place.read_panic().map(|panic| panic.text.len()), Some(PANIC_BYTES_MAX));
        place.clear();
        assert_eq!(place.read_panic(), None);
    }

    #[test]
    fn frames_beyond_the_last_are_left_out() {
        let place = BlackBox::default();
        place.note_cause(6, 0, None);
        let kept = (0..100).filter(|frame| place.note_frame(Some(CodeId(frame + 1)))).count();
        assert_eq!((kept, place.read().map(|words| words.frames.len())), (FRAMES_MAX, Some(FRAMES_MAX)));
    }
}
