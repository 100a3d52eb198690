//! Owner: a thread of a process, as it stands in the word of a lock.
//!
//! ```text
//! bits 63..32  thread   number of the thread in its process
//!      31..16  0
//!      15..8   holder   the process, see `blocks::Holder`
//!       7..2   0
//!       1      writing  of a reader-writer lock: the readers have left
//!       0      1
//! ```

use crate::blocks::Holder;
use std::fmt;

const TAKEN: u64 = 1;
const WRITING: u64 = 2;
/// Bits that no owner has.
const NEVER: u64 = 0xFFFF_00FC;

/// A thread of a process. The process is what recovery goes by; the thread tells a thread that it waits for itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u64);

impl Owner {
    /// Thread `thread` of the process that `holder` names.
    #[must_use]
    #[inline]
    pub fn new(holder: Holder, thread: u32) -> Self {
        Self(u64::from(thread) << 32 | u64::from(holder.index()) << 8 | TAKEN)
    }

    /// The owner in a word; none if it holds something else.
    #[must_use]
    #[inline]
    pub(super) fn from_word(word: u64) -> Option<Self> {
        (word & (TAKEN | NEVER) == TAKEN).then_some(Self(word & !WRITING))
    }

    /// As a word.
    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// As the word of a writer whose readers have left.
    #[inline]
    pub(super) fn writing(self) -> u64 {
        self.0 | WRITING
    }

    /// True if a word says that its owner writes.
    #[inline]
    pub(super) fn is_writing(word: u64) -> bool {
        word & WRITING != 0
    }

    /// The process.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes 8 bits out of the word")]
    pub fn holder(self) -> Holder {
        Holder::new((self.0 >> 8) as u8)
    }

    /// The thread in its process.
    #[must_use]
    #[inline]
    pub fn thread(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} of {:?}", self.thread(), self.holder())
    }
}
