//! Supply: what a pool's blocks cost in memory, before they are used and after. Limits, growth, and giving back.
//!
//! A limit has no counter that a death could leave wrong: who takes a block looks at the tables afterwards, and gives it
//! up again if they say that there is too much. So no limit is ever passed for longer than that look takes; two that
//! take the last room at once may both find none, and both try again.

use super::budget::COUNTED_BYTES_MIN;
use super::class::Class;
use super::holder::Holder;
use super::pool::{AllocateError, Blocks};
use super::record::Growth;
use super::table::BlockId;
use super::word::BlockState;
use crate::os::ticks;
use crate::owner::OwnerId;
use std::io;
use std::time::Duration;

/// Most bytes that are backed ahead of their use in one step.
const STEP_BYTES_MAX: u64 = 64 << 20;
/// Blocks of at least this many bytes are given back to the kernel by [`Blocks::give_back`].
const GIVEN_BACK_BYTES_MIN: u64 = 64 << 10;
/// How often who was in another's way tries again.
const TRIES: u32 = 16;

impl Blocks {
    /// Bytes of the blocks in use, each as large as its class. Stale as soon as it is read.
    #[must_use]
    pub fn bytes_in_use(&self) -> u64 {
        self.classes().map(|class| self.bytes_of(class)).sum()
    }

    fn counted_bytes(&self) -> u64 {
        let counted = self.classes().filter(|class| class.bytes() >= COUNTED_BYTES_MIN);
        counted.map(|class| self.bytes_of(class)).sum()
    }

    fn bytes_of(&self, class: Class) -> u64 {
        let table = self.table(class);
        table.used().filter(|index| !table.word(*index).is_free()).count() as u64 * class.bytes()
    }

    /// Memory behind the whole segment, in bytes; none for one that is this process's only.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.segment().resident_bytes()
    }

    /// A block of this class or of one of the next larger, within the limit.
    #[cold]
    pub(super) fn claim_within(
        &self,
        limit: u64,
        class: Class,
        holder: Holder,
        asked: u64,
    ) -> Result<(Class, BlockId), AllocateError> {
        let full = AllocateError::Full { asked, class_bytes: class.bytes() };
        for attempt in 0..TRIES {
            if self.counted_bytes() + class.bytes() > limit {
                return Err(full);
            }
            let (class, id) = self.claim_any(class, holder).ok_or(full)?;
            if self.counted_bytes() <= limit {
                self.make_way(limit, class, id, holder);
                return Ok((class, id));
            }
            // Another took the room at the same time, or the block is of a larger class. Whoever waits hears of it.
            let freed = self.table(class).free(id, BlockState::Claimed(holder));
            debug_assert!(freed.is_ok(), "only its holder moves a claimed block");
            self.freed();
            for _ in 0..u32::from(holder.index()) << attempt.min(4) {
                std::hint::spin_loop();
            }
        }
        Err(full)
    }

    /// Blocks that are free keep their memory for the next user: they give it up before the pool outgrows its limit.
    fn make_way(&self, limit: u64, class: Class, id: BlockId, holder: Holder) {
        let start = self.shape().offset(class, id.index);
        if self.segment().is_backed(start, class.bytes()) {
            return;
        }
        let beside = self.shape().first_byte_offset();
        if self.resident_bytes().unwrap_or(0) + class.bytes() > limit.saturating_add(beside) {
            // A refusal leaves things as they are: the limit of what is in use holds without it.
            let _ = self.give_back_as(holder);
        }
    }

    /// Backs a block that is used for the first time, and as many behind it as were before, if that is how the pool grows.
    ///
    /// # Errors
    /// [`AllocateError::NotBacked`]; the block is free again.
    #[cold]
    pub(super) fn grow(
        &self,
        class: Class,
        id: BlockId,
        holder: Holder,
        asked: u64,
    ) -> Result<(), AllocateError> {
        if self.terms().growth != Growth::Doubling {
            return Ok(());
        }
        let index = id.index as usize;
        let Some(region) = self.table(class).regions().find(|region| region.contains(&index)) else {
            return Ok(());
        };
        let before = index - region.start;
        if before > 0 && !before.is_power_of_two() {
            return Ok(());
        }
        let step = (STEP_BYTES_MAX / class.bytes()).max(1);
        let count = (before.max(1) as u64).min(step).min((region.end - index) as u64);
        let backed = self.back(class, id.index, count);
        backed.map_err(|_| {
            let _ = self.table(class).free(id, BlockState::Claimed(holder));
            AllocateError::NotBacked { asked }
        })
    }

    /// Backs `count` blocks from `index` on with memory now.
    fn back(&self, class: Class, index: u32, count: u64) -> io::Result<()> {
        let start = self.shape().offset(class, index);
        let bytes = count * class.bytes();
        self.populate_range(start & !0xFFF, bytes + (start & 0xFFF))?;
        self.record().rare.backed.add_shared(bytes);
        Ok(())
    }

    /// Backs all blocks of all classes with memory now, and the tables.
    ///
    /// # Errors
    /// Out of memory, found here instead of as a SIGBUS at the first write.
    pub fn populate_all(&self) -> io::Result<()> {
        let start = self.shape().start & !0xFFF;
        self.populate_range(start, self.shape().end - start)?;
        let bytes = self.classes().map(|class| u64::from(self.shape().count(class)) * class.bytes()).sum();
        self.record().rare.backed.add_shared(bytes);
        Ok(())
    }

    /// Backs the tables, and `count` blocks that hold `bytes` each, with memory now: those that are allocated
    /// first and reused most, spread over the regions in which processes allocate.
    ///
    /// # Errors
    /// Out of memory, found here instead of as a SIGBUS at the first write.
    pub fn populate(&self, bytes: u64, count: u32) -> io::Result<()> {
        let tables_start = self.shape().start & !0xFFF;
        self.populate_range(tables_start, self.shape().holders_offset - tables_start)?;
        let Some(class) = Class::holding(bytes) else { return Ok(()) };
        let regions: Vec<_> = self.table(class).regions().collect();
        let each = (count as usize).div_ceil(regions.len().max(1));
        let mut left = count as usize;
        for blocks in regions {
            let first = u32::try_from(blocks.start).map_err(io::Error::other)?;
            let these = blocks.len().min(each).min(left);
            left -= these;
            self.back(class, first, these as u64)?;
        }
        Ok(())
    }

    fn populate_range(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.segment().populate(offset, usize::try_from(bytes).map_err(io::Error::other)?)
    }

    /// Gives the memory of free blocks of 64 KiB and more back to the kernel; they read as zeroes afterwards.
    ///
    /// Each block is claimed by `owner` meanwhile. For a time of memory pressure: the next use of such a block
    /// pays for its pages again. Does nothing on a private segment. Returns the bytes of the blocks.
    ///
    /// # Errors
    /// What the kernel said; the blocks before the refused one were given back.
    pub fn give_back(&self, owner: OwnerId) -> io::Result<u64> {
        let holder = Holder::of(owner).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.give_back_as(holder)
    }

    fn give_back_as(&self, holder: Holder) -> io::Result<u64> {
        if self.segment().file().is_none() {
            return Ok(0);
        }
        let large = self.classes().filter(|class| class.bytes() >= GIVEN_BACK_BYTES_MIN);
        let mut bytes = 0;
        for (class, index) in large.flat_map(|class| self.table(class).used().map(move |i| (class, i))) {
            bytes += self.give_back_one(class, index, holder)?;
        }
        self.record().rare.given_back.add_shared(bytes);
        Ok(bytes)
    }

    fn give_back_one(&self, class: Class, index: u32, holder: Holder) -> io::Result<u64> {
        let table = self.table(class);
        let Some(id) = table.claim_at(index, holder) else { return Ok(0) };
        crate::crash_point!("blocks.give_back.claimed");
        let punched = self.punch(class, index);
        let freed = table.free(id, BlockState::Claimed(holder));
        debug_assert!(freed.is_ok(), "only its holder moves a claimed block");
        self.freed();
        punched.map(|()| class.bytes())
    }

    fn punch(&self, class: Class, index: u32) -> io::Result<()> {
        let offset = usize::try_from(self.shape().offset(class, index)).map_err(io::Error::other)?;
        let bytes = usize::try_from(class.bytes()).map_err(io::Error::other)?;
        self.segment().mapping().give_back(offset, bytes)
    }

    /// Asks `take` for a block until it gives one, or refuses for another reason than that there is none, or the pool's
    /// patience is over.
    ///
    /// # Blocking
    /// While all blocks are in use, as long as the pool's terms say.
    pub(super) fn take_in_time<T>(
        &self,
        mut take: impl FnMut() -> Result<T, AllocateError>,
    ) -> Result<T, AllocateError> {
        let rare = &self.record().rare;
        let first = take();
        let patience = self.terms().patience;
        let (Err(AllocateError::Full { .. }), false) = (&first, patience.is_zero()) else {
            rare.refused.add_shared(u64::from(first.is_err()));
            return first;
        };
        let end_ns =
            ticks::system_ns().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        loop {
            let armed = rare.room.arm();
            let taken = take();
            let left_ns = end_ns.saturating_sub(ticks::system_ns());
            if left_ns == 0 || !matches!(taken, Err(AllocateError::Full { .. })) {
                rare.refused.add_shared(u64::from(taken.is_err()));
                return taken;
            }
            rare.waited.add_shared(1);
            rare.room.wait(armed, Some(Duration::from_nanos(left_ns)));
        }
    }
}
