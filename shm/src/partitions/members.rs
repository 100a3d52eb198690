//! Members and what they own: joining, leaving, claiming lanes and giving them up, and the recovery of the dead.

use super::Table;
use super::header::LaneWords;
use super::word::{MemberId, MemberWord, State};
use crate::blocks::Holder;
use crate::sync::{AtomicU64, Ordering, fence_after_exchange};

/// What the dead had left in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Members of its process.
    pub members: u32,
    /// Lanes that they owned: nobody's now.
    pub lanes: u32,
}

impl Table<'_> {
    /// Counts changes of the members. Whoever has acted on an older number looks at them again.
    #[must_use]
    #[inline]
    pub fn epoch(&self) -> u64 {
        // Acquire: pairs with the Release in `count_change`: who sees the number sees the change.
        self.header.epoch.load(Ordering::Acquire)
    }

    /// Makes a member of the process `holder`; none if no place is free.
    pub fn join(&self, holder: Holder) -> Option<MemberId> {
        for (slot, line) in self.members.iter().enumerate() {
            let mut found = MemberWord(line.word.load(Ordering::Relaxed)); // Relaxed: the exchange checks it.
            while found.state() == State::Nobody {
                let generation = found.generation().wrapping_add(1).max(1);
                let live = MemberWord::new(generation, holder, State::Live);
                // AcqRel: the Acquire half pairs with the Release in `leave`: what its predecessor did here is done. Release:
                // pairs with the Acquire in `live_at`. Relaxed on failure: only retried.
                match line.word.compare_exchange(found.0, live.0, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => {
                        crate::crash_point!("partitions.join.placed");
                        self.count_change();
                        crate::crash_point!("partitions.join.counted");
                        self.tell_of_change();
                        return Some(MemberId::new(slot, generation));
                    }
                    Err(other) => found = MemberWord(other),
                }
            }
        }
        None
    }

    /// Ends a member: what it owned is nobody's, and others are told. Only the member itself, once.
    pub fn leave(&self, member: MemberId) {
        let Some(line) = self.members.get(member.slot()) else { return };
        let word = MemberWord(line.word.load(Ordering::Relaxed)); // Relaxed: the member's own.
        if word.state() != State::Live || word.generation() != member.generation() {
            // Scribbled over, or recovered in error: the place is not this member's.
            return;
        }
        let leaving = MemberWord::new(member.generation(), word.holder(), State::Leaving);
        line.word.store(leaving.0, Ordering::Release); // Release: pairs with the Acquire in `live_at`.
        crate::crash_point!("partitions.leave.marked");
        self.free_lanes_of(member);
        crate::crash_point!("partitions.leave.freed");
        self.count_change();
        crate::crash_point!("partitions.leave.counted");
        let nobody = MemberWord::new(member.generation(), word.holder(), State::Nobody);
        line.word.store(nobody.0, Ordering::Release); // Release: pairs with the exchange in `join`.
        self.tell_of_change();
    }

    /// The member that lives in a place.
    #[must_use]
    #[inline]
    pub fn live_at(&self, slot: usize) -> Option<MemberId> {
        // Acquire: pairs with the Release in `join` and `leave`.
        let word = MemberWord(self.members.get(slot)?.word.load(Ordering::Acquire));
        (word.state() == State::Live).then(|| MemberId::new(slot, word.generation()))
    }

    /// True while the member lives. Stale as soon as it is read.
    #[must_use]
    pub fn is_live(&self, member: MemberId) -> bool {
        self.live_at(member.slot()) == Some(member)
    }

    /// True if the member's process was killed while it was one, as far as is known: its place may have had others since.
    #[must_use]
    pub fn has_died(&self, member: MemberId) -> bool {
        let died = self.members.get(member.slot()).map(|line| line.died.load(Ordering::Acquire)); // Acquire: as in `live_at`.
        died == Some(member.generation().into())
    }

    /// All members, lowest place first. Each was live at some moment during the call.
    pub fn live(&self) -> impl Iterator<Item = MemberId> {
        let table = *self;
        (0..self.members.len()).filter_map(move |slot| table.live_at(slot))
    }

    /// Numbers of a place.
    #[must_use]
    pub fn line(&self, slot: usize) -> Option<&super::MemberLine> {
        self.members.get(slot)
    }
}

/// Lanes.
impl Table<'_> {
    /// Who owns the lane.
    #[must_use]
    #[inline]
    pub fn owner(&self, lane: usize) -> Option<MemberId> {
        // Acquire: pairs with the Release in `give_up`, so that a claim follows what the last owner did.
        let word = self.lanes.get(lane)?.owner.load(Ordering::Acquire);
        MemberId::from_word(word, self.members.len())
    }

    /// Makes the lane `member`'s if it is nobody's. From then on nobody else has it until `member` gives it up or is dead.
    pub fn claim(&self, lane: usize, member: MemberId) -> bool {
        let Some(LaneWords { owner, claims, .. }) = self.lanes.get(lane) else { return false };
        // Acquire: pairs with the Release in `give_up` and `free_lanes_of`: all that earlier owners took came before.
        // Relaxed on failure: nothing is read.
        if owner.compare_exchange(0, member.to_word(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        crate::crash_point!("partitions.claim.claimed");
        claims.add_shared(1);
        true
    }

    /// Gives a lane up that is `member`'s. The caller tells others: [`Table::wake_sleepers`], once for many.
    pub fn give_up(&self, lane: usize, member: MemberId) -> bool {
        let Some(LaneWords { owner, .. }) = self.lanes.get(lane) else { return false };
        let own = member.to_word();
        // Release: pairs with the Acquire in `claim`. Relaxed on failure: nothing is read.
        let given_up = owner.compare_exchange(own, 0, Ordering::Release, Ordering::Relaxed).is_ok();
        crate::crash_point!("partitions.give_up.free");
        given_up
    }

    fn free_lanes_of(&self, member: MemberId) -> u32 {
        (0..self.lanes.len()).map(|lane| u32::from(self.give_up(lane, member))).sum()
    }

    /// How often a lane was claimed.
    #[must_use]
    pub fn claims(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.claims.get())
    }

    /// Whom the lane is to belong to, whatever the rule says; only as long as that member lives.
    #[must_use]
    pub fn pin(&self, lane: usize) -> Option<MemberId> {
        // Acquire: pairs with the Release in `pin_to`.
        let word = self.lanes.get(lane)?.pin.load(Ordering::Acquire);
        MemberId::from_word(word, self.members.len()).filter(|member| self.is_live(*member))
    }

    /// Pins a lane. The caller says so afterwards: [`Table::proclaim`], once for many.
    pub fn pin_to(&self, lane: usize, member: MemberId) {
        if let Some(words) = self.lanes.get(lane) {
            words.pin.store(member.to_word(), Ordering::Release); // Release: pairs with the Acquire in `pin`.
        }
    }

    /// The caller's word of a lane.
    #[must_use]
    pub fn counted(&self, lane: usize) -> Option<&AtomicU64> {
        self.lanes.get(lane).map(|lane| &lane.counted)
    }

    /// Pins were changed: all members look at them.
    pub fn proclaim(&self) {
        self.count_change();
        self.tell_of_change();
    }

    pub(super) fn count_change(&self) {
        // AcqRel: the Release half pairs with the Acquire in `epoch`; AcqRel so that it is behind the change for the fence in
        // `tell_of_change` too.
        self.header.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Wakes whoever waits for members to change.
    fn tell_of_change(&self) {
        self.wake_sleepers();
        fence_after_exchange(); // Pairs with the fence in `Gate::arm`; the exchange is that of the epoch.
        if self.header.changed().has_waiter() {
            self.header.changed().wake_all();
        }
    }

    /// Ends what the process `dead` was in the table: its members and what they owned, and whatever it was about to tell
    /// others. Only the recoverer, when every thread of the dead is gone and its messages were given back.
    pub fn recover(&self, dead: Holder) -> Recovered {
        let mut recovered = Recovered::default();
        for (slot, line) in self.members.iter().enumerate() {
            let word = MemberWord(line.word.load(Ordering::Acquire)); // Acquire: as in `live_at`.
            if word.state() == State::Nobody || word.holder() != dead {
                continue;
            }
            let member = MemberId::new(slot, word.generation());
            recovered.members += 1;
            recovered.lanes += self.free_lanes_of(member);
            line.died.store(word.generation().into(), Ordering::Release); // Release: pairs with `has_died`.
            let nobody = MemberWord::new(word.generation(), dead, State::Nobody);
            line.word.store(nobody.0, Ordering::Release); // Release: as in `leave`.
        }
        self.count_change();
        // It may have sent, or emptied a lane, and told nobody; it may have been woken instead of another.
        self.set_all_ready();
        self.wake_everybody();
        recovered
    }
}
