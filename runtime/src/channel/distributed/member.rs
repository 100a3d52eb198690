//! Member: a receiver that has joined, and which lanes it takes from.

use super::super::{Delivery, RecvError};
use super::desk::Desk;
use super::{MemberId, plan};
use crate::channel::AckError;
use gorun_shm::partitions::{Asleep, Lanes};
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_worker::codec::Portable;
use gorun_worker::porter::Post;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// So often a member looks at partitions of others first: a busy member must not let those starve.
const OTHERS_FIRST_EVERY: u32 = 16;

/// What goes through an inbox.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Direct<T> {
    /// The only member it is for; 0 for whoever has the place.
    pub(super) only: u64,
    pub(super) value: T,
}

/// A place in the table, left when the receiver and all its deliveries are gone.
pub(super) struct Seat {
    desk: Arc<Desk>,
    id: MemberId,
    /// Deliveries that are kept, per lane.
    held: Vec<AtomicU32>,
}

impl Seat {
    fn is_held(&self, lane: usize) -> bool {
        // Acquire: pairs with the Release in `let_go`: its message was released, or is back, before.
        self.held.get(lane).is_some_and(|held| held.load(Ordering::Acquire) > 0)
    }

    fn hold(&self, lane: usize) {
        if let Some(held) = self.held.get(lane) {
            held.fetch_add(1, Ordering::Relaxed); // Relaxed: by the member itself, who reads it.
        }
    }

    fn let_go(&self, lane: usize) {
        if let Some(held) = self.held.get(lane) {
            held.fetch_sub(1, Ordering::Release); // Release: pairs with the Acquire in `is_held`.
        }
        // The message may be back, and the lane may be waited for.
        self.desk.table().announce(lane, !self.desk.is_strict());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.desk.is_foreign() {
            self.desk.table().leave(self.id);
        }
    }
}

/// Who a receiver is among the members.
pub(super) struct Member {
    seat: Arc<Seat>,
    rounds: Rounds,
}

/// Which lanes a member looks into, and in which order.
struct Rounds {
    /// The epoch that the sets below were made for.
    epoch: Option<u64>,
    own: Lanes,
    /// Lanes that ought to be its own, and are still another's.
    missing: Lanes,
    /// Lanes that ought to be another's, and of which it has messages in hand.
    owed: Lanes,
    /// Lanes in which it may help others.
    open: Lanes,
    /// Where the next look begins.
    cursor: usize,
    turn: u32,
    /// True once it has looked at its lanes because nothing will be sent any more.
    has_swept: bool,
    /// Of those, one whose own channel had not ended when it was looked at.
    straggler: Option<usize>,
}

/// What a look at one lane gave.
pub(super) enum Look<R> {
    Got(R),
    /// There is nothing now.
    Empty,
    /// There will be nothing any more.
    Over,
}

impl Member {
    pub(super) fn join(desk: &Arc<Desk>) -> Result<Self, super::super::ChannelError> {
        let id = desk.join()?;
        let table = desk.table();
        let held = (0..table.lane_count()).map(|_| AtomicU32::new(0)).collect();
        let open = if desk.is_strict() { Lanes::default() } else { Lanes::below(table.partition_count()) };
        let none = Lanes::default();
        let (cursor, turn, has_swept) = (id.slot(), 0, false);
        let rounds = Rounds {
            epoch: None,
            own: none,
            missing: none,
            owed: none,
            open,
            cursor,
            turn,
            has_swept,
            straggler: None,
        };
        Ok(Self { seat: Arc::new(Seat { desk: Arc::clone(desk), id, held }), rounds })
    }

    pub(super) fn id(&self) -> MemberId {
        self.seat.id
    }

    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Announces that it will sleep.
    pub(super) fn about_to_sleep(seat: &Seat) -> Asleep<'_> {
        seat.desk.table().about_to_sleep(seat.id)
    }

    /// What to look at while it waits without a thread.
    pub(super) fn outlook(&self) -> Outlook {
        let Rounds { epoch, own, missing, open, has_swept, straggler, .. } = self.rounds;
        Outlook { seat: Arc::clone(&self.seat), epoch, lanes: own.or(&open), missing, has_swept, straggler }
    }

    /// A lane whose end tells that another attempt is worth it.
    pub(super) fn straggler(&self) -> Option<usize> {
        self.rounds.straggler
    }

    /// Nobody waits for it any more.
    pub(super) fn is_awake(&self) {
        if !self.seat.desk.is_foreign() {
            self.seat.desk.table().wake_no_more(self.seat.id);
        }
    }

    /// It may have been woken for a message that it does not take: another gets it.
    pub(super) fn pass_on(&self) {
        self.seat.desk.table().pass_on(&self.rounds.open, self.rounds.cursor);
    }

    /// One attempt to get something out of a lane by `look`: its own lanes first, then, unless consumption is strict, any
    /// partition. None if there is nothing, and waiting may help.
    ///
    /// `has_ended` says how it ends, if nothing will be sent any more; `is_flowing` of a lane whether its own channel does not
    /// know that yet: somebody may hold an end a moment longer. `has_more` is true of a lane that has another message.
    pub(super) fn attempt<R>(
        &mut self,
        mut look: impl FnMut(usize, MemberId) -> Look<R>,
        has_ended: impl Fn() -> Option<RecvError>,
        is_flowing: impl Fn(usize) -> bool,
        has_more: impl Fn(usize) -> bool,
    ) -> Option<Result<(R, usize), RecvError>> {
        let Self { seat, rounds } = self;
        rounds.follow(seat);
        let table = seat.desk.table();
        if let Some((got, lane)) = rounds.look_around(seat, &mut look) {
            if !has_more(lane) {
                // Cheaper than to look into it in vain the next time.
                table.look_again(lane);
                if has_more(lane) {
                    table.announce(lane, !seat.desk.is_strict());
                }
            }
            if has_ended().is_some() {
                // While it was read, others could not see whether it was the last one.
                table.announce(lane, !seat.desk.is_strict());
            }
            return Some(Ok((got, lane)));
        }
        let ended = has_ended()?;
        // No message announces the end: what has not ended is looked at once more.
        rounds.has_swept = true;
        let rest = rounds.own.or(&rounds.open).without(&table.over());
        // Asked before the look: what ends from here on tells whoever waits for it.
        rounds.straggler = rest.iter().find(|lane| is_flowing(*lane));
        rest.iter().for_each(|lane| table.mark(lane));
        if let Some(got) = rounds.look_around(seat, &mut look) {
            return Some(Ok(got));
        }
        table.is_over().then_some(Err(ended))
    }
}

/// What a member looked at before it began to wait.
pub(super) struct Outlook {
    seat: Arc<Seat>,
    epoch: Option<u64>,
    lanes: Lanes,
    missing: Lanes,
    has_swept: bool,
    straggler: Option<usize>,
}

impl Outlook {
    /// See [`Member::straggler`].
    pub(super) fn straggler(&self) -> Option<usize> {
        self.straggler
    }

    /// The gate at which others wake the member.
    pub(super) fn post(&self) -> Option<Post> {
        self.seat.desk.post(self.seat.id)
    }

    /// True if another attempt may succeed; else others wake the member when it may.
    pub(super) fn has_changed(&self, has_ended: bool) -> bool {
        let Seat { desk, id, held: _ } = &*self.seat;
        let table = desk.table();
        table.wake_me(*id);
        let ready = table.ready().and(&self.lanes);
        self.epoch != Some(table.epoch())
            || ready.iter().any(|lane| !desk.is_strict() || !self.seat.is_held(lane))
            || self.missing.iter().any(|lane| table.owner(lane).is_none())
            || has_ended && (!self.has_swept || table.is_over())
    }
}

impl Rounds {
    /// Claims what ought to be the member's own and gives up what ought not.
    #[inline]
    fn follow(&mut self, seat: &Seat) {
        let is_settled = self.missing.is_empty() && self.owed.is_empty();
        if self.epoch != Some(seat.desk.table().epoch()) || !is_settled {
            self.settle(seat);
        }
    }

    #[cold]
    fn settle(&mut self, seat: &Seat) {
        let table = seat.desk.table();
        // Before the members are looked at: a change meanwhile is another epoch.
        let epoch = table.epoch();
        if self.epoch != Some(epoch) {
            self.look_up(seat);
            self.epoch = Some(epoch);
        }
        let mut has_given = false;
        for lane in self.owed.iter().filter(|lane| !seat.is_held(*lane)) {
            has_given |= table.give_up(lane, seat.id);
            self.owed.remove(lane);
        }
        if has_given {
            table.wake_sleepers();
        }
        for lane in self.missing.iter().filter(|lane| table.claim(*lane, seat.id)) {
            self.missing.remove(lane);
            self.own.insert(lane);
            // The last owner may have left between an empty look and the next.
            table.mark(lane);
        }
    }

    /// Which lanes ought to be whose, by the members of this moment.
    fn look_up(&mut self, seat: &Seat) {
        let (table, live) = (seat.desk.table(), seat.desk.live());
        (self.own, self.missing, self.owed) = Default::default();
        for lane in 0..table.lane_count() {
            let is_wanted = plan::wanted(table, lane, &live) == Some(seat.id);
            match (is_wanted, table.owner(lane) == Some(seat.id)) {
                (true, true) => self.own.insert(lane),
                (true, false) => self.missing.insert(lane),
                (false, true) => self.owed.insert(lane),
                (false, false) => {}
            }
        }
    }

    #[inline]
    fn look_around<R>(
        &mut self,
        seat: &Seat,
        look: &mut impl FnMut(usize, MemberId) -> Look<R>,
    ) -> Option<(R, usize)> {
        let (table, is_strict) = (seat.desk.table(), seat.desk.is_strict());
        let ready = table.ready();
        let own = ready.and(&self.own);
        let others = ready.and(&self.open).without(&self.own);
        self.turn = self.turn.wrapping_add(1);
        let others_first = self.turn.is_multiple_of(OTHERS_FIRST_EVERY);
        let rounds = if others_first { [others, own] } else { [own, others] };
        for mut lanes in rounds {
            while let Some(lane) = lanes.next_from(self.cursor % Lanes::MAX) {
                lanes.remove(lane);
                if is_strict && seat.is_held(lane) {
                    continue;
                }
                self.cursor = lane + 1;
                if let Some(got) = look_into(seat, lane, look) {
                    self.count(seat, lane);
                    return Some((got, lane));
                }
            }
        }
        None
    }

    #[inline]
    fn count(&self, seat: &Seat, lane: usize) {
        let table = seat.desk.table();
        if let Some(line) = table.line(seat.id.slot()) {
            let counter = if self.own.contains(lane) { &line.own } else { &line.helped };
            counter.add(1);
        }
        if !self.open.is_empty() {
            table.pass_on(&self.open, self.cursor);
        }
    }
}

#[inline]
fn look_into<R>(seat: &Seat, lane: usize, look: &mut impl FnMut(usize, MemberId) -> Look<R>) -> Option<R> {
    let table = seat.desk.table();
    if let Look::Got(got) = look(lane, seat.id) {
        return Some(got);
    }
    table.look_again(lane);
    match look(lane, seat.id) {
        Look::Got(got) => {
            table.mark(lane);
            Some(got)
        }
        Look::Empty => None,
        Look::Over => {
            table.end_lane(lane);
            None
        }
    }
}

/// What was taken: out of a partition, or out of an inbox.
pub(super) enum Inner<T> {
    Keyed(Delivery<T>),
    Direct(Delivery<Direct<T>>),
}

/// A value of a distributed channel that keeps its place until it is acknowledged.
///
/// Dropped, or when its process is killed, the message comes back to its place in its partition, and whoever has that then
/// gets it. While it is kept, a strict channel gives nobody a later message of the same partition.
#[must_use = "a delivery that is dropped is delivered again"]
pub struct KeyedDelivery<T> {
    /// None once it was acknowledged.
    inner: Option<Inner<T>>,
    lane: usize,
    seat: Arc<Seat>,
}

impl<T: Portable> KeyedDelivery<T> {
    pub(super) fn new(inner: Inner<T>, lane: usize, seat: &Arc<Seat>) -> Self {
        seat.hold(lane);
        Self { inner: Some(inner), lane, seat: Arc::clone(seat) }
    }

    /// How often the message was delivered, this time included; stays at 8.
    #[must_use]
    pub fn deliveries(&self) -> u8 {
        match &self.inner {
            Some(Inner::Keyed(delivery)) => delivery.deliveries(),
            Some(Inner::Direct(delivery)) => delivery.deliveries(),
            None => 0,
        }
    }

    /// The message was dealt with: its place is free.
    ///
    /// # Errors
    /// [`AckError::TooLate`] if somebody else has it or will.
    pub fn ack(mut self) -> Result<T, AckError> {
        match self.inner.take().ok_or(AckError::TooLate)? {
            Inner::Keyed(delivery) => delivery.ack(),
            Inner::Direct(delivery) => delivery.ack().map(|direct| direct.value),
        }
    }
}

impl<T> Deref for KeyedDelivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.inner {
            Some(Inner::Keyed(delivery)) => delivery,
            Some(Inner::Direct(delivery)) => &delivery.value,
            None => unreachable!("taken out by `ack` only, which takes the delivery"),
        }
    }
}

impl<T> Drop for KeyedDelivery<T> {
    fn drop(&mut self) {
        // First back to its place, then told.
        drop(self.inner.take());
        self.seat.let_go(self.lane);
    }
}

impl<T: fmt::Debug> fmt::Debug for KeyedDelivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.inner.as_ref().map(|_| &**self);
        f.debug_struct("KeyedDelivery")
            .field("value", &value)
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}
