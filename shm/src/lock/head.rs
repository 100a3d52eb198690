//! The head of a lock's block: what it is, and what all kinds of locks have.
//!
//! ```text
//! byte   0  magic, kind, plan, spin   written once, before anybody else sees the block
//!       32  status                    written at the end of the runtime
//!       36  spun                      written by whoever had to wait
//!       40  marks                     written by who has the lock, and by the recoverer
//!       44  deaths                    written by the recoverer
//!       48  the lock's own words
//! ```

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use thiserror::Error;

/// First word of a lock's block; changes with any layout of this folder.
const MAGIC: u64 = u64::from_le_bytes(*b"gorunlk1");

/// Longest spin that is believed: a few milliseconds on any machine. Scribbled bytes must not keep a processor busy.
const SPIN_TICKS_MAX: u64 = 10_000_000;
/// Shortest spin of a lock whose waits were always long, in ticks: about the time that a line takes there and back.
const SPIN_TICKS_MIN: u64 = 1_000;

const SHUT: u32 = 1;

/// See the module's head. Zeroes are a head that was never written.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Head {
    magic: AtomicU64,
    /// What it protects, as the creator named it.
    kind: AtomicU64,
    /// Number 63..32, primitive 7..0.
    plan: AtomicU64,
    /// Longest spin before a sleep, in ticks.
    spin: AtomicU64,
    /// Bit 0: the runtime has ended.
    status: AtomicU32,
    /// How long successful spins took of late, in ticks. Any value is good.
    spun: AtomicU32,
    /// See [`Marks`].
    marks: AtomicU32,
    /// How often it was given back for a dead owner.
    deaths: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Head>() == 48);

/// Which lock lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primitive {
    /// [`super::Mutex`].
    Mutex,
    /// [`super::RwLock`].
    RwLock,
    /// [`super::Semaphore`].
    Semaphore,
    /// [`super::Once`].
    Once,
    /// [`super::Barrier`].
    Barrier,
    /// [`super::Condition`].
    Condition,
    /// [`super::Group`].
    Group,
}

impl Primitive {
    const ALL: [Self; 7] =
        [Self::Mutex, Self::RwLock, Self::Semaphore, Self::Once, Self::Barrier, Self::Condition, Self::Group];

    /// Where its value begins; none if it protects none.
    #[must_use]
    pub fn value_at(self) -> Option<usize> {
        match self {
            Self::Mutex => Some(super::Mutex::BYTES),
            Self::RwLock => Some(super::RwLock::BYTES),
            Self::Once => Some(super::Once::BYTES),
            Self::Semaphore | Self::Barrier | Self::Condition | Self::Group => None,
        }
    }

    fn from_bits(bits: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|primitive| *primitive as u64 + 1 == bits)
    }
}

/// What a lock's maker and its users agree upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which lock it is.
    pub primitive: Primitive,
    /// Names what it protects.
    pub kind: u64,
    /// Bytes of the value, permits, or participants.
    pub number: u32,
    /// Longest spin before a sleep, in ticks.
    pub spin_ticks: u64,
}

/// Why a block's bytes are no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such lock lies there: its head was overwritten, or never written")]
pub struct FormatError;

/// What an owner should know of those before it. Set until somebody who has the lock clears them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks(u32);

impl Marks {
    /// Nothing to say.
    pub const NONE: Self = Self(0);
    /// An owner was killed while it had the lock.
    pub const RECOVERED: Self = Self(1);
    /// A thread panicked while it had the lock.
    pub const POISONED: Self = Self(2);

    /// True if there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if all of `other` are among them.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Head {
    /// Writes the head of a fresh lock over zeroes.
    pub fn format(&self, plan: Plan) {
        let bits = u64::from(plan.number) << 32 | (plan.primitive as u64 + 1);
        // Relaxed, all of these: the magic is stored last and published by its Release.
        self.kind.store(plan.kind, Ordering::Relaxed);
        self.plan.store(bits, Ordering::Relaxed);
        self.spin.store(plan.spin_ticks, Ordering::Relaxed);
        self.spun.store(u32::try_from(plan.spin_ticks).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release); // Release: pairs with the Acquire in `plan`.
    }

    /// What lies behind the head.
    ///
    /// # Errors
    /// [`FormatError`] if it is no lock, or nothing was written.
    pub fn plan(&self) -> Result<Plan, FormatError> {
        // Acquire: pairs with the Release in `format`.
        if self.magic.load(Ordering::Acquire) != MAGIC {
            return Err(FormatError);
        }
        let bits = self.plan.load(Ordering::Relaxed); // Relaxed, all of these: the Acquire load came before.
        Ok(Plan {
            primitive: Primitive::from_bits(bits & u64::from(u32::MAX)).ok_or(FormatError)?,
            kind: self.kind.load(Ordering::Relaxed),
            number: (bits >> 32) as u32,
            spin_ticks: self.spin.load(Ordering::Relaxed).min(SPIN_TICKS_MAX),
        })
    }

    /// True once the runtime has ended: who would have to wait is told so.
    #[must_use]
    #[inline]
    pub fn is_shut(&self) -> bool {
        // Acquire: pairs with the exchange in `shut`.
        self.status.load(Ordering::Acquire) & SHUT != 0
    }

    /// The runtime has ended. The caller wakes everybody afterwards, whether or not anybody says that it sleeps.
    pub fn shut(&self) {
        self.status.fetch_or(SHUT, Ordering::SeqCst); // SeqCst: before the wake-ups, which sleepers compare with.
        fence(Ordering::SeqCst); // SeqCst: as above.
    }

    /// How long it is worth to spin before a sleep, in ticks: twice as long as it took of late, as far as the maker allows.
    #[must_use]
    pub fn spin_ticks(&self) -> u64 {
        // Relaxed, all of these: an estimate, and a number that was written before the lock was handed out.
        let spun = u64::from(self.spun.load(Ordering::Relaxed));
        let most = self.spin.load(Ordering::Relaxed).min(SPIN_TICKS_MAX);
        (2 * spun).max(SPIN_TICKS_MIN).min(most)
    }

    /// Notes how a wait went: for so long somebody spun, or in vain.
    pub fn note_spin(&self, ticks: Option<u64>) {
        let spun = self.spun.load(Ordering::Relaxed); // Relaxed, both: an estimate that may lose a note.
        let now = u32::try_from(ticks.unwrap_or(0)).unwrap_or(u32::MAX);
        let next = spun - spun / 8 + now / 8;
        self.spun.store(next, Ordering::Relaxed);
    }

    /// What the owner should know. Only who has the lock.
    #[must_use]
    #[inline]
    pub fn marks(&self) -> Marks {
        Marks(self.marks.load(Ordering::Relaxed)) // Relaxed: taking the lock came before, with Acquire.
    }

    /// Leaves a mark for those to come. Only who has the lock.
    #[cold]
    pub fn mark(&self, marks: Marks) {
        self.marks.fetch_or(marks.0, Ordering::Relaxed); // Relaxed: published by the Release that gives the lock back.
    }

    /// Takes all marks away. Only who has the lock, and has seen to the value.
    #[cold]
    pub fn clear_marks(&self) {
        self.marks.store(0, Ordering::Relaxed); // Relaxed: as in `mark`.
    }

    /// Counts a death. Only the recoverer.
    pub(super) fn count_death(&self) {
        self.deaths.fetch_add(1, Ordering::Relaxed); // Relaxed: a number for a person.
    }

    /// How often it was given back for the dead.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.deaths.load(Ordering::Relaxed) // Relaxed: a number for a person.
    }
}
