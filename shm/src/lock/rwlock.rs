//! Reader-writer lock: a value that many threads of all processes read, or one writes.
//!
//! Every process counts its readers in a word of its own, so that those of the dead are known. A writer first claims the
//! writer's word, which keeps new readers out, and then waits for those who are in: readers that keep coming cannot hold
//! it up.

use super::head::{Head, Marks};
use super::owner::Owner;
use super::word::Taken;
use crate::blocks::Holder;
use crate::gate::Gate;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence_after_exchange};

/// Processes that can have readers. The models have two.
const HOLDERS: usize = if cfg!(loom) { 2 } else { Holder::COUNT as usize };
/// Cache lines that the counts of readers take.
const LINES: usize = if cfg!(loom) { 2 } else { 16 };
/// Words of a set of processes.
const WORDS: usize = HOLDERS.div_ceil(64);

const FREE: u64 = 0;

/// A reader-writer lock in shared memory; its value lies behind it, at [`RwLock::BYTES`].
#[repr(C, align(64))]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct RwLock {
    head: Head,
    /// 0, or the [`Owner`] that claims or writes. From 0 by an exchange of anybody's; on and back by the owner, or back by
    /// the recoverer.
    writer: AtomicU64,
    /// Rung when a writer leaves, for writers.
    writable: Gate,
    /// Rung when a writer leaves, for readers.
    readable: Gate,
    /// Which processes ever had readers: those whose counts a writer looks at.
    known: [AtomicU64; WORDS],
    /// Rung when a reader leaves, for the writer that has claimed.
    drained: Gate,
    spare: [AtomicU32; 7],
    /// Readers of each process, in its own hand, at [`place_of`] it.
    readers: [AtomicU32; HOLDERS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RwLock>() == RwLock::BYTES);

impl Default for RwLock {
    fn default() -> Self {
        Self {
            head: Head::default(),
            writer: AtomicU64::default(),
            writable: Gate::default(),
            readable: Gate::default(),
            known: std::array::from_fn(|_| AtomicU64::new(0)),
            drained: Gate::default(),
            spare: std::array::from_fn(|_| AtomicU32::new(0)),
            readers: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

/// Proof that the caller may read. Dropped without [`ReadHold::unlock`], no writer comes any more.
#[derive(Debug)]
#[must_use = "without `unlock` no writer comes"]
pub struct ReadHold<'a> {
    lock: &'a RwLock,
    holder: Holder,
}

/// Proof that the caller will write, once all readers have left: see [`Claim::try_write`].
#[derive(Debug)]
#[must_use = "a claim keeps everybody out until it is released"]
pub struct Claim<'a> {
    lock: &'a RwLock,
    me: Owner,
}

/// Proof that the caller may write. Dropped without [`WriteHold::unlock`], the lock stays locked.
#[derive(Debug)]
#[must_use = "without `unlock` it stays locked"]
pub struct WriteHold<'a> {
    lock: &'a RwLock,
}

impl RwLock {
    /// Where the value begins.
    pub const BYTES: usize = 1152;

    /// What all locks have.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Reads, if no writer claims or has it. A thread that reads already may do so whoever claims: it says `again`.
    ///
    /// # Errors
    /// [`Taken`] by whom.
    #[inline]
    pub fn try_read(&self, me: Owner, again: bool) -> Result<ReadHold<'_>, Taken> {
        let writer = self.writer.load(Ordering::Relaxed); // Relaxed: the load below decides.
        if writer != FREE && !again {
            return Err(Taken::of(writer));
        }
        let holder = me.holder();
        self.note_known(holder);
        let count = self.readers_of(holder);
        count.fetch_add(1, Ordering::Relaxed); // Relaxed: the fence orders it before the load.
        crate::crash_point!("rwlock.read.counted");
        // Pairs with the fence in `try_claim`: either the load below finds the claim, or the claimer's look finds the count.
        fence_after_exchange();
        // Acquire: pairs with the Release in `release`: what the last writer wrote is seen.
        let writer = self.writer.load(Ordering::Acquire);
        if writer == FREE || again {
            return Ok(ReadHold { lock: self, holder });
        }
        self.leave(holder);
        Err(Taken::of(writer))
    }

    fn note_known(&self, holder: Holder) {
        let (word, bit) = bit(holder);
        // Relaxed, both: only this process sets the bit, and the fence behind the count orders it before the look.
        if self.known[word].load(Ordering::Relaxed) & bit == 0 {
            self.known[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    #[inline]
    fn leave(&self, holder: Holder) {
        // Release: pairs with the Acquire in `has_readers`: the value was read before it is written.
        self.readers_of(holder).fetch_sub(1, Ordering::Release);
        crate::crash_point!("rwlock.read.left");
        self.drained.notify_after_exchange();
    }

    /// Keeps new readers and all other writers out.
    ///
    /// # Errors
    /// [`Taken`] by whom.
    #[inline]
    pub fn try_claim(&self, me: Owner) -> Result<Claim<'_>, Taken> {
        // Acquire: pairs with the Release in `release`. Relaxed on failure: nothing is read.
        self.writer
            .compare_exchange(FREE, me.word(), Ordering::Acquire, Ordering::Relaxed)
            .map_err(Taken::of)?;
        crate::crash_point!("rwlock.claim.claimed");
        fence_after_exchange(); // Pairs with the fence in `try_read`.
        Ok(Claim { lock: self, me })
    }

    /// True if there is a reader in some process.
    #[must_use]
    pub fn has_readers(&self) -> bool {
        let known = (0..WORDS).map(|word| self.known[word].load(Ordering::Relaxed)); // Relaxed: see `note_known`.
        known.enumerate().any(|(word, bits)| {
            let mut bits = bits;
            while bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                // Acquire: pairs with the Release in `leave`.
                if self.readers[place_of(index)].load(Ordering::Acquire) != 0 {
                    return true;
                }
            }
            false
        })
    }

    fn release(&self) {
        crate::crash_point!("rwlock.release.begun");
        // Release: pairs with the Acquires in `try_read` and `try_claim`. An exchange for the fence.
        self.writer.swap(FREE, Ordering::Release);
        crate::crash_point!("rwlock.release.free");
        fence_after_exchange(); // Pairs with the fence in `Gate::arm`.
        if self.readable.has_waiter() {
            self.readable.wake_all();
        }
        self.writable.notify_after_fence();
    }

    /// Looks whether no writer claims or has it now.
    ///
    /// # Errors
    /// [`Taken`] by whom.
    #[inline]
    pub fn look(&self) -> Result<(), Taken> {
        match self.writer.load(Ordering::Relaxed) {
            FREE => Ok(()), // Relaxed: a look before a try.
            found => Err(Taken::of(found)),
        }
    }

    /// True if nobody has it now.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.look().is_ok() && !self.has_readers()
    }

    /// Gives back what `dead` had, and marks the lock if it wrote. Returns how many readers and writers it was. Only once no
    /// thread of `dead` runs any more.
    pub fn recover(&self, dead: Holder) -> u32 {
        // AcqRel: as in `leave`, in the dead's name.
        let readers = self.readers_of(dead).swap(0, Ordering::AcqRel);
        let writer = self.writer.load(Ordering::Acquire); // Acquire: the dead's marks are seen, and added to.
        let mut writers = 0;
        if Owner::from_word(writer).is_some_and(|owner| owner.holder() == dead) {
            if Owner::is_writing(writer) {
                self.head.mark(Marks::RECOVERED);
                self.head.count_death();
            }
            // Release: as in `release`. Relaxed on failure: somebody scribbles.
            let freed = self.writer.compare_exchange(writer, FREE, Ordering::Release, Ordering::Relaxed);
            writers = u32::from(freed.is_ok());
        }
        // In any case: a wake-up may have died with the dead.
        self.wake_all();
        readers.saturating_add(writers)
    }

    /// Wakes everybody, to look again.
    pub fn wake_all(&self) {
        self.drained.wake_all();
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// Where readers wait for a writer to leave.
    #[must_use]
    pub fn readable(&self) -> &Gate {
        &self.readable
    }

    /// Where writers wait for another to leave.
    #[must_use]
    pub fn writable(&self) -> &Gate {
        &self.writable
    }

    /// Where a writer that has claimed waits for readers to leave.
    #[must_use]
    pub fn drained(&self) -> &Gate {
        &self.drained
    }

    #[inline]
    fn readers_of(&self, holder: Holder) -> &AtomicU32 {
        &self.readers[place_of(usize::from(holder.index()))]
    }
}

/// Where the count of a process lies: those of the first sixteen on lines of their own, and so on.
#[inline]
fn place_of(index: usize) -> usize {
    (index % LINES * (HOLDERS / LINES) + index / LINES) % HOLDERS
}

#[inline]
fn bit(holder: Holder) -> (usize, u64) {
    let index = usize::from(holder.index()) % HOLDERS;
    (index / 64, 1 << (index % 64))
}

impl ReadHold<'_> {
    /// Reads no more.
    #[inline]
    pub fn unlock(self) {
        self.lock.leave(self.holder);
    }

    /// What all locks have.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Head {
        &self.lock.head
    }
}

impl<'a> Claim<'a> {
    /// Writes, if all readers have left.
    ///
    /// # Errors
    /// The claim, if there are some.
    #[inline]
    pub fn try_write(self) -> Result<WriteHold<'a>, Self> {
        if self.lock.has_readers() {
            return Err(self);
        }
        crate::crash_point!("rwlock.write.drained");
        // Relaxed: tells the recoverer that the value may be half written; it reads this when the writer is dead.
        self.lock.writer.store(self.me.writing(), Ordering::Relaxed);
        crate::crash_point!("rwlock.write.begun");
        Ok(WriteHold { lock: self.lock })
    }

    /// Gives the claim up.
    pub fn release(self) {
        self.lock.release();
    }
}

impl WriteHold<'_> {
    /// Writes no more.
    #[inline]
    pub fn unlock(self) {
        self.lock.release();
    }

    /// What all locks have.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Head {
        &self.lock.head
    }
}
