//! Observer: a named channel as somebody sees it who may only look.

use crate::channel::open::Rules;
use crate::channel::{ChannelStats, RecvError};
use gorun_shm::blocks::{BlockHandle, Blocks};
use gorun_shm::ring::mpmc::{Geometry, Header, Position, Ring, Seen, Terms};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{Segment, View, ViewSlice};
use gorun_worker::codec::{self, Portable};
use gorun_worker::letter::{self, Lies};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A named channel through a mapping that cannot be written: messages are looked at and stay where they are, and no one
/// waits for an observer, or notices one.
///
/// What it sees was so at some moment; a message that it sees may be received by somebody else at the same time.
pub struct Observer<T> {
    header: View<Header>,
    words: ViewSlice<AtomicU64>,
    geometry: Geometry,
    terms: Terms,
    blocks: Arc<Blocks>,
    values: PhantomData<fn() -> T>,
}

impl<T> Observer<T> {
    /// None if no channel lies there.
    pub(super) fn new(
        segment: &Arc<Segment>,
        blocks: Arc<Blocks>,
        channel: BlockHandle,
        schema: u64,
    ) -> Option<Self> {
        let bytes = blocks.check(channel).ok()?.bytes as usize;
        let header = segment.view::<Header>(channel.offset()).ok()?;
        let (geometry, terms) = header.read(bytes).ok()?;
        let first = channel.offset() + Geometry::HEADER_BYTES as u64;
        let words = segment.view_slice(first, geometry.words()).ok()?;
        let is_sound = terms.kind == schema;
        is_sound.then_some(Self { header, words, geometry, terms, blocks, values: PhantomData })
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.header, &self.words, self.geometry)
    }

    /// Messages in the channel now.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.ring().len()).unwrap_or(usize::MAX)
    }

    /// True if there is no message in the channel now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages the channel holds; 0 of a rendezvous.
    #[must_use]
    pub fn capacity(&self) -> usize {
        if Rules::from_word(self.terms.terms).is_rendezvous {
            return 0;
        }
        usize::try_from(self.geometry.capacity()).unwrap_or(usize::MAX)
    }

    /// True if nothing will be sent any more. A binder that was killed is noticed by those who use the channel, and
    /// seen here then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring().standing().is_over()
    }

    /// Numbers of the channel.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        ChannelStats::of(&self.header)
    }
}

impl<T: Portable> Observer<T> {
    /// The oldest message that nobody has received; none if there is none.
    #[must_use]
    pub fn peek(&self) -> Option<Result<T, RecvError>> {
        self.peek_from(0).map(|(_, value)| value)
    }

    /// All messages that are there and that nobody has received, oldest first, each as it is when its turn comes.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, RecvError>> {
        // What comes while this goes on is left out, so that it ends.
        let mut left = self.geometry.capacity();
        let mut next = 0;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let (position, value) = self.peek_from(next)?;
            next = position + 1;
            Some(value)
        })
    }

    fn peek_from(&self, from: Position) -> Option<(Position, Result<T, RecvError>)> {
        let mut words = [0; Geometry::PAYLOAD_WORDS_MAX as usize];
        let payload = &mut words[..self.geometry.payload_words()];
        let mut bytes = Vec::new();
        let seen = self.ring().peek(from, payload, |seen, payload| bytes = self.copy_of(seen, payload))?;
        let value =
            codec::decode(&bytes).map_err(|error| RecvError::Unreadable { reason: error.to_string() });
        Some((seen.position, value))
    }

    /// The encoded bytes of a message; none at all if they are not where it says.
    fn copy_of(&self, seen: &Seen, payload: &[u64]) -> Vec<u8> {
        match letter::lies(seen.word, payload) {
            Lies::InSlot(length) => {
                let mut bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_ne_bytes()).collect();
                bytes.truncate(length);
                bytes
            }
            Lies::InBlock { handle, bytes } => {
                let Ok(words) = self.blocks.words(handle) else { return Vec::new() };
                // Relaxed: whether the message is still there is looked at after this.
                let all = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
                all.take(usize::try_from(bytes).unwrap_or(usize::MAX)).collect()
            }
        }
    }
}

impl<T> fmt::Debug for Observer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
