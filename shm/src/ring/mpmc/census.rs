//! Census: which processes have sending ends and which have receiving ones, and when there are none left.
//!
//! ```text
//! status  bits 63..8  joins  counts every `join` of either role
//!         bit  3      shut             the runtime has ended
//!         bit  2      closed           somebody closed the channel
//!         bit  1      no receivers     the last receiving end is gone, for good
//!         bit  0      no senders       the last sending end is gone, for good
//! ```
//!
//! A process has one bit per role, however many ends; it counts them itself. That nobody looks at all bits at one
//! moment is settled as for the holders of a block: every `join` is counted in the status word, and the end of a role is
//! an exchange that expects the count seen before the look (`blocks/README.md` has the proof). `close` and `shut` keep
//! the count, so they make that exchange try again and nothing else.

use super::header::Header;
use super::ring::Ring;
use crate::blocks::Holder;
use crate::sync::{AtomicU64, Ordering, fence};

/// Words of a set of processes. The model has one, so that it stays small.
pub(super) const WORDS: usize = if cfg!(loom) { 2 } else { 4 };

const NO_SENDERS: u64 = 1;
const NO_RECEIVERS: u64 = 2;
const CLOSED: u64 = 4;
const SHUT: u64 = 8;
const JOIN: u64 = 1 << 8;

/// What an end is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It sends.
    Sender,
    /// It receives.
    Receiver,
}

impl Role {
    fn gone(self) -> u64 {
        match self {
            Self::Sender => NO_SENDERS,
            Self::Receiver => NO_RECEIVERS,
        }
    }
}

/// What has become of a channel. Nothing here ever comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing(u64);

impl Standing {
    /// True if no message will ever be sent any more.
    #[inline]
    #[must_use]
    pub fn is_over(self) -> bool {
        self.0 & (NO_SENDERS | CLOSED | SHUT) != 0
    }

    /// True if a sender is to be refused.
    #[inline]
    #[must_use]
    pub fn refuses(self) -> bool {
        self.0 & (NO_RECEIVERS | CLOSED | SHUT) != 0
    }

    /// True if somebody closed the channel.
    #[must_use]
    pub fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// True if the runtime has ended.
    #[must_use]
    pub fn is_shut(self) -> bool {
        self.0 & SHUT != 0
    }

    /// True if the last end of that role is gone.
    #[must_use]
    pub fn has_lost(self, role: Role) -> bool {
        self.0 & role.gone() != 0
    }

    /// True if nobody has an end any more.
    #[must_use]
    pub fn is_deserted(self) -> bool {
        self.has_lost(Role::Sender) && self.has_lost(Role::Receiver)
    }
}

impl Header {
    fn members(&self, role: Role) -> &[AtomicU64; WORDS] {
        match role {
            Role::Sender => &self.senders,
            Role::Receiver => &self.receivers,
        }
    }
}

fn bit(holder: Holder) -> (usize, u64) {
    (usize::from(holder.index() / 64) % WORDS, 1 << (holder.index() % 64))
}

impl Header {
    /// What has become of the channel.
    #[inline]
    #[must_use]
    pub fn standing(&self) -> Standing {
        // Acquire: pairs with the exchanges that set bits; what came before an end is seen by who sees the end.
        Standing(self.status.load(Ordering::Acquire))
    }

    /// `holder` has ends of that role from now on; false if there were none left to get one from.
    ///
    /// Joins and leaves of one process in one role must not overlap, and somebody must be known to have an end until
    /// this returns, or it may be refused.
    #[must_use]
    pub fn join(&self, role: Role, holder: Holder) -> bool {
        let (word, bit) = bit(holder);
        let members = self.members(role);
        // Relaxed: published by the Release half of the exchange below.
        members[word].fetch_or(bit, Ordering::Relaxed);
        crate::crash_point!("mpmc.join.bit_set");
        let status = &self.status;
        let mut seen = status.load(Ordering::Relaxed); // Relaxed: the exchange decides.
        while seen & role.gone() == 0 {
            let counted = seen.wrapping_add(JOIN);
            // Release: pairs with the Acquire load in `end_if_empty`: who sees the join counted sees its bit.
            // Relaxed on failure: only retried.
            match status.compare_exchange_weak(seen, counted, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => seen = found,
            }
        }
        members[word].fetch_and(!bit, Ordering::Relaxed); // Relaxed: the role has ended, nobody looks any more.
        false
    }

    /// `holder` has no end of that role any more, or is dead. Wakes everybody if it was the last.
    pub fn leave(&self, role: Role, holder: Holder) {
        let (word, bit) = bit(holder);
        // Release: pairs with the Acquire loads in `end_if_empty`; all it sent comes before the end of its role.
        self.members(role)[word].fetch_and(!bit, Ordering::Release);
        crate::crash_point!("mpmc.leave.cleared");
        if self.end_if_empty(role) {
            crate::crash_point!("mpmc.leave.ended");
            self.wake_all();
        }
    }

    /// True if `holder` has ends of that role.
    #[must_use]
    pub fn has_joined(&self, role: Role, holder: Holder) -> bool {
        let (word, bit) = bit(holder);
        // Relaxed: asked of a dead process, or in a test.
        self.members(role)[word].load(Ordering::Relaxed) & bit != 0
    }

    fn end_if_empty(&self, role: Role) -> bool {
        // SeqCst: pairs with itself. Of two that each clear a bit and then look at all, one sees both cleared.
        fence(Ordering::SeqCst);
        let status = &self.status;
        let mut seen = status.load(Ordering::Acquire); // Acquire: pairs with the exchange in `join`.
        while seen & role.gone() == 0 {
            // Acquire: pairs with the Release in `leave`.
            if self.members(role).iter().any(|word| word.load(Ordering::Acquire) != 0) {
                return false;
            }
            // AcqRel: the Release half publishes what leavers did. Acquire on failure: as the load above.
            match status.compare_exchange(seen, seen | role.gone(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(found) => seen = found,
            }
        }
        false
    }

    /// Ends sending: what is sent from now on is refused, what was sent before is still received. False if it was
    /// closed already.
    pub fn close(&self) -> bool {
        self.set(CLOSED)
    }

    /// The runtime ends.
    pub fn shut(&self) -> bool {
        self.set(SHUT)
    }

    fn set(&self, bit: u64) -> bool {
        // SeqCst: with the fence behind, orders the bit before any later look at a slot. Pairs with the fence between
        // claim and look in `Ring::claim`.
        let before = self.status.fetch_or(bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.wake_all();
        before & bit == 0
    }

    /// Wakes everybody who waits for messages or for room, to look again.
    #[cold]
    pub fn wake_all(&self) {
        self.not_empty.wake_all();
        self.not_full.wake_all();
    }
}

/// The same, of a ring.
impl Ring<'_> {
    /// See [`Header::standing`].
    #[inline]
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.header.standing()
    }

    /// See [`Header::join`].
    #[must_use]
    pub fn join(&self, role: Role, holder: Holder) -> bool {
        self.header.join(role, holder)
    }

    /// See [`Header::leave`].
    pub fn leave(&self, role: Role, holder: Holder) {
        self.header.leave(role, holder);
    }

    /// See [`Header::has_joined`].
    #[must_use]
    pub fn has_joined(&self, role: Role, holder: Holder) -> bool {
        self.header.has_joined(role, holder)
    }

    /// See [`Header::close`].
    pub fn close(&self) -> bool {
        self.header.close()
    }

    /// See [`Header::shut`].
    pub fn shut(&self) -> bool {
        self.header.shut()
    }
}
