//! Cursors: who subscribes, and what each has read.
//!
//! ```text
//! state  0         free
//!        1..=256   its holder's number and 1: given out, and its position counts
//!        + 1024    the same: being given out, its position does not count yet
//! ```

use super::ring::BroadcastRing;
use crate::blocks::Holder;
use crate::ring::mpmc::Position;
use crate::sync::{AtomicU64, Ordering, fence};

/// Most subscribers at a time. The model has few, so that it stays small.
pub(super) const CURSORS: usize = if cfg!(loom) { 2 } else { 128 };

const JOINING: u64 = 1024;

/// One subscriber's place.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Cursor {
    state: AtomicU64,
    /// The next message to be read. Written by the holder only.
    position: AtomicU64,
    spare: [AtomicU64; 6],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Cursor>() == 64);

/// Which cursor. Below [`super::BroadcastShape::CURSORS`] if it is this side's own; checked if not.
pub type CursorIndex = u8;

fn number(holder: Holder) -> u64 {
    u64::from(holder.index()) + 1
}

impl BroadcastRing<'_> {
    /// A cursor for `me` from now on: what is sent after this has returned is read. None if all are in use.
    #[must_use]
    pub fn subscribe(&self, me: Holder) -> Option<CursorIndex> {
        // Any position that was claimed keeps back senders that see it, and no more.
        let index = self.take_cursor(me, self.header().tail())?;
        // SeqCst: pairs with the fence in `refresh_floor`. Either that look finds this cursor, or the walk below finds
        // everything claimed that its producer has seen claimed.
        fence(Ordering::SeqCst);
        self.move_cursor(index, self.first_unclaimed());
        // Producers may have taken the place where it stood meanwhile for one that is read.
        self.notify_room();
        Some(index)
    }

    /// A cursor for `me` at the place of another, which stays where it is until this has returned. None if all are in use.
    #[must_use]
    pub fn subscribe_like(&self, other: CursorIndex, me: Holder) -> Option<CursorIndex> {
        let other = self.cursor(other)?;
        // Acquire, both: pair with the Release steps of its holder.
        let state = other.state.load(Ordering::Acquire);
        let position = other.position.load(Ordering::Acquire);
        if state == 0 || state & JOINING != 0 {
            return None;
        }
        self.take_cursor(me, position)
    }

    fn take_cursor(&self, me: Holder, position: Position) -> Option<CursorIndex> {
        for (index, cursor) in self.cursors.iter().enumerate() {
            let joining = number(me) | JOINING;
            // Acquire: pairs with the Release in `unsubscribe`. Relaxed on failure: nothing is read.
            if cursor.state.compare_exchange(0, joining, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            crate::crash_point!("broadcast.subscribe.taken");
            cursor.position.store(position, Ordering::Relaxed); // Relaxed: published by the Release below.
            // Release, both: pair with the Acquire loads in `refresh_floor`: who sees the cursor counted sees it.
            self.head.used.fetch_max(index as u64 + 1, Ordering::Release);
            cursor.state.store(number(me), Ordering::Release);
            self.head.joins.fetch_add(1, Ordering::Release); // Release: as above.
            crate::crash_point!("broadcast.subscribe.counted");
            return CursorIndex::try_from(index).ok();
        }
        None
    }

    /// Gives a cursor back. The caller's own, or of the dead.
    pub fn unsubscribe(&self, index: CursorIndex) {
        if let Some(cursor) = self.cursor(index) {
            cursor.state.store(0, Ordering::Release); // Release: pairs with the Acquire in `refresh_floor`; the reads are over.
            // SeqCst: pairs with the fence in `Gate::arm`, as in `notify_room`.
            fence(Ordering::SeqCst);
            self.notify_room_after_fence();
        }
    }

    /// The cursors of `dead` are free. How many there were.
    pub(super) fn unsubscribe_all(&self, dead: Holder) -> u32 {
        let mut freed = 0;
        for cursor in self.cursors {
            let state = cursor.state.load(Ordering::Relaxed); // Relaxed: it is the dead's, or another's business.
            if state & !JOINING == number(dead) {
                cursor.state.store(0, Ordering::Release); // Release: as in `unsubscribe`.
                freed += 1;
            }
        }
        freed
    }

    /// The next position to be read at the cursor.
    #[must_use]
    #[inline]
    pub fn position_of(&self, index: CursorIndex) -> Position {
        // Relaxed: asked by its holder, or a number for a person.
        self.cursor(index).map_or(0, |cursor| cursor.position.load(Ordering::Relaxed))
    }

    /// Everything before `position` was read at the cursor.
    #[inline]
    pub(super) fn move_cursor(&self, index: CursorIndex, position: Position) {
        if let Some(cursor) = self.cursor(index) {
            // Release: pairs with the Acquire in `refresh_floor`: the messages were read before they are written over. An
            // exchange, for the look at the gate that follows.
            cursor.position.swap(position, Ordering::Release);
        }
    }

    #[inline]
    fn cursor(&self, index: CursorIndex) -> Option<&Cursor> {
        self.cursors.get(usize::from(index))
    }

    /// Looks at all cursors and raises the floor as far as they allow, at most to `unclaimed`, the first position that the
    /// caller has seen unclaimed. Returns it.
    #[cold]
    pub(super) fn refresh_floor(&self, unclaimed: Position) -> Position {
        // SeqCst: pairs with the fence in `subscribe`.
        fence(Ordering::SeqCst);
        let floor = loop {
            // Acquire, all of these: pair with the Release steps of cursors. A cursor that was made like another is counted
            // before the other moves on; so if it was missed and the other seen moved, the count has changed.
            let before = self.head.joins.load(Ordering::Acquire);
            let used = usize::try_from(self.head.used.load(Ordering::Acquire)).unwrap_or(usize::MAX);
            let positions = self.cursors.iter().take(used).filter_map(|cursor| {
                let state = cursor.state.load(Ordering::Acquire);
                (state != 0 && state & JOINING == 0).then(|| cursor.position.load(Ordering::Acquire))
            });
            let lowest = positions.fold(unclaimed, Position::min);
            if self.head.joins.load(Ordering::Acquire) == before {
                break lowest;
            }
        };
        // Release: pairs with the Acquire in `claim`: who believes the floor has what was seen here before it.
        self.head.floor.fetch_max(floor, Ordering::Release).max(floor)
    }
}
