//! Where the parts of a lane lie, who uses its ends, and how it ends.
//!
//! ```text
//! byte   0  a channel's head: standing, census, gates; see `mpmc::header`
//!      384  users      who uses the sending end and who the receiving one: 0, or a holder's number and 1
//!           ended at   0, or the position from which on nothing is received, and 1
//!      512  the spsc ring's positions
//!      768  elements
//! ```

use crate::blocks::Holder;
use crate::os::barrier;
use crate::plain::Plain;
use crate::ring::elements::words_each;
use crate::ring::mpmc::{FormatError, Geometry, Header, Role, Standing, Terms};
use crate::ring::spsc::{CAPACITY_MAX, Position, RingHeader, RingMemory};
use crate::sync::{AtomicU64, Ordering};

/// First word of a lane's block; changes with the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"gorunln1");

/// The lane's own part of its head.
#[repr(C, align(128))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct LaneHead {
    sender: AtomicU64,
    receiver: AtomicU64,
    /// Written once, by whoever of the two finds the lane closed first.
    ended_at: AtomicU64,
    spare: [AtomicU64; 13],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<LaneHead>() == 128);

/// The numbers from which the layout follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneShape {
    /// Elements, as a power of two.
    capacity_log2: u32,
    words_each: u32,
}

impl LaneShape {
    /// Offset of the [`LaneHead`].
    pub const HEAD_AT: usize = Geometry::HEADER_BYTES;
    /// Offset of the ring's positions.
    pub const RING_AT: usize = 512;
    /// Offset of the elements.
    pub const WORDS_AT: usize = 768;

    /// For at least `capacity` values of `T`, 1 to 2^32.
    #[must_use]
    pub fn of<T: Plain>(capacity: usize) -> Option<Self> {
        let capacity =
            u64::try_from(capacity).ok().filter(|capacity| (1..=CAPACITY_MAX).contains(capacity))?;
        let words_each = u32::try_from(words_each::<T>()).ok()?;
        Some(Self { capacity_log2: capacity.next_power_of_two().trailing_zeros(), words_each })
            .filter(|shape| shape.words().is_some())
    }

    /// Elements that fit.
    #[must_use]
    pub fn capacity(self) -> u64 {
        1 << self.capacity_log2
    }

    /// True if elements are as long as a `T`.
    #[must_use]
    pub fn is_of<T: Plain>(self) -> bool {
        self.words_each as usize == words_each::<T>()
    }

    /// Words of all elements; none if that is more than there is memory anywhere.
    #[must_use]
    pub fn words(self) -> Option<usize> {
        let words = self.capacity().checked_mul(self.words_each.into())?;
        usize::try_from(words).ok().filter(|words| *words < 1 << 40)
    }

    /// Bytes of the whole lane.
    #[must_use]
    pub fn bytes(self) -> Option<usize> {
        Some(Self::WORDS_AT + self.words()? * size_of::<u64>())
    }

    /// Writes the head of a fresh lane over zeroes.
    pub fn format(self, header: &Header, terms: Terms) {
        header.format_as(MAGIC, u64::from(self.capacity_log2) << 32 | u64::from(self.words_each), terms);
    }

    /// The lane's numbers, believed only as far as they fit a block of `bytes` bytes.
    ///
    /// # Errors
    /// [`FormatError`] if they do not, or there is no lane.
    pub fn read(header: &Header, bytes: usize) -> Result<(Self, Terms), FormatError> {
        let (shape, terms) = header.read_as(MAGIC)?;
        let words_each = u32::try_from(shape & u64::from(u32::MAX)).map_err(|_| FormatError)?;
        let capacity_log2 = u32::try_from(shape >> 32).map_err(|_| FormatError)?;
        if words_each == 0 || capacity_log2 > CAPACITY_MAX.trailing_zeros() {
            return Err(FormatError);
        }
        let shape = Self { capacity_log2, words_each };
        match shape.bytes() {
            Some(needed) if needed <= bytes => Ok((shape, terms)),
            _ => Err(FormatError),
        }
    }
}

/// Where a lane's bytes lie.
pub trait LaneMemory: RingMemory {
    /// The head that it has in common with channels.
    fn common(&self) -> &Header;
    /// Its own.
    fn head(&self) -> &LaneHead;

    /// The lane without its elements.
    #[inline]
    fn lane(&self) -> Lane<'_> {
        Lane { common: self.common(), head: self.head(), ring: self.header() }
    }
}

/// A lane without its elements: what both ends, bystanders and the recoverer may ask of it.
#[derive(Debug, Clone, Copy)]
pub struct Lane<'a> {
    common: &'a Header,
    head: &'a LaneHead,
    ring: &'a RingHeader,
}

impl<'a> Lane<'a> {
    /// The lane of these parts.
    #[must_use]
    pub fn new(common: &'a Header, head: &'a LaneHead, ring: &'a RingHeader) -> Self {
        Self { common, head, ring }
    }

    fn user(&self, role: Role) -> &'a AtomicU64 {
        match role {
            Role::Sender => &self.head.sender,
            Role::Receiver => &self.head.receiver,
        }
    }

    /// Makes the caller the only user of that end; false if there is one.
    #[must_use]
    pub fn pick_up(&self, role: Role, me: Holder) -> bool {
        // Acquire: pairs with the Release in `put_down`: the ring's position is where the last user left it.
        // Relaxed on failure: nothing is read.
        let picked =
            self.user(role).compare_exchange(0, number(me), Ordering::Acquire, Ordering::Relaxed).is_ok();
        crate::crash_point!("lane.pick_up.done");
        picked
    }

    /// Ends the caller's use of that end. Only who has picked it up, and whose end of the ring is gone.
    pub fn put_down(&self, role: Role) {
        self.user(role).store(0, Ordering::Release); // Release: pairs with the Acquire in `pick_up`.
    }

    /// What has become of it.
    #[inline]
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.common.standing()
    }

    /// Ends sending: what is sent from now on is refused, what was sent before is still received. False if it was
    /// closed already.
    pub fn close(&self) -> bool {
        self.common.close()
    }

    /// The runtime ends.
    pub fn shut(&self) -> bool {
        self.common.shut()
    }

    /// Elements sent and not yet received. Stale as soon as it is read.
    #[must_use]
    pub fn len(&self) -> u64 {
        let head = self.ring.head.seen();
        self.ring.tail.seen().saturating_sub(head)
    }

    /// True if [`Lane::len`] is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that `dead` was doing here is over. Only the recoverer, once no thread of the dead runs any more.
    pub fn bury(&self, dead: Holder) {
        for role in [Role::Sender, Role::Receiver] {
            let (user, free) = (self.user(role), 0);
            // Release: as in `put_down`. Relaxed on failure: it is another's, or nobody's.
            let _ = user.compare_exchange(number(dead), free, Ordering::Release, Ordering::Relaxed);
            self.common.leave(role, dead);
        }
        self.common.wake_all();
    }

    /// Wakes a receiver that sleeps.
    pub(super) fn wake_receiver(&self) {
        self.common.not_empty().wake_all();
    }

    /// How many elements were ever received, as far as this can tell.
    pub(super) fn received(&self) -> Position {
        self.ring.head.seen()
    }

    /// Agrees with the other end where the lane ends: at `position`, or where the other end has said before.
    pub(super) fn end_at(&self, position: Position) -> Position {
        let proposal = position.wrapping_add(1).max(1);
        // AcqRel: the Release half publishes the sender's elements, the Acquire half lets the receiver see them.
        let agreed = self.head.ended_at.compare_exchange(0, proposal, Ordering::AcqRel, Ordering::Acquire);
        crate::crash_point!("lane.end_at.agreed");
        agreed.map_or_else(|before| before.wrapping_sub(1), |_| position)
    }

    /// Where the lane ended, if that was agreed upon.
    pub(super) fn ended_at(&self) -> Option<Position> {
        self.head.ended_at.load(Ordering::Acquire).checked_sub(1) // Acquire: pairs with the exchange in `end_at`.
    }
}

/// Fences everywhere, for an end that is about to sleep or to end the lane; see `barrier`.
pub(super) fn fence_everywhere() -> bool {
    barrier::everywhere()
}

fn number(holder: Holder) -> u64 {
    u64::from(holder.index()) + 1
}
