//! Models of a broadcast: order, the floor under subscribers who come and go, and the end.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::ring::broadcast::{
    BroadcastHead, BroadcastRing, BroadcastShape, Cursor, CursorIndex, Keeping, Miss,
};
use gorun_shm::ring::mpmc::{Header, Message, Refused, Role};
use gorun_shm::sync::AtomicU64;
use loom::thread;
use std::sync::Arc;

const MESSAGE: Message = Message { length: 8, marks: 0 };

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

/// A broadcast on the heap.
struct Heap {
    header: Header,
    head: BroadcastHead,
    cursors: Vec<Cursor>,
    words: Vec<AtomicU64>,
    shape: BroadcastShape,
    keeping: Keeping,
}

impl Heap {
    fn of(capacity: u32, keeping: Keeping) -> Arc<Self> {
        let shape = BroadcastShape::new(capacity, 1).unwrap();
        let words = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
        let cursors = (0..BroadcastShape::CURSORS).map(|_| Cursor::default()).collect();
        let (header, head) = (Header::default(), BroadcastHead::default());
        Arc::new(Self { header, head, cursors, words, shape, keeping })
    }

    fn ring(&self) -> BroadcastRing<'_> {
        BroadcastRing::new(&self.header, &self.head, &self.cursors, &self.words, self.shape)
    }

    fn subscribe(&self, me: u16) -> CursorIndex {
        self.ring().subscribe(worker(me)).unwrap()
    }

    fn send(&self, me: u16, value: u64) -> Result<(), Refused> {
        let claim = self.ring().claim(worker(me), self.keeping)?;
        self.ring().publish(claim, worker(me), MESSAGE, &[value]);
        self.ring().notify_message();
        Ok(())
    }

    fn receive(&self, index: CursorIndex) -> Result<u64, Miss> {
        loop {
            let seen = self.ring().look(index, self.keeping)?;
            let mut words = [0];
            self.ring().read(&seen, &mut words);
            if self.keeping == Keeping::All || self.ring().is_unchanged(&seen) {
                self.ring().advance(index, seen);
                self.ring().notify_room();
                return Ok(words[0]);
            }
        }
    }

    fn rest(&self, index: CursorIndex) -> Vec<u64> {
        std::iter::from_fn(|| self.receive(index).ok()).collect()
    }
}

// Fails with a Relaxed exchange in `publish`.
#[test]
fn two_subscribers_see_the_messages_of_two_senders_in_one_order() {
    model::check(|| {
        let heap = Heap::of(2, Keeping::All);
        let (one, two) = (heap.subscribe(1), heap.subscribe(2));
        let sending = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.send(3, 10).unwrap())
        };
        let reading = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.receive(two).ok())
        };
        heap.send(4, 20).unwrap();
        sending.join().unwrap();
        let first = reading.join().unwrap();
        let (here, there) = (heap.rest(one), heap.rest(two));
        assert_eq!(here.len(), 2);
        assert!(first.into_iter().chain(there).eq(here));
    });
}

// That the next payload is not written before this one was read, no model can show: loom lets no load see a later store.
#[test]
fn a_message_stays_until_the_slowest_has_read_it() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::All);
        let (fast, slow) = (heap.subscribe(1), heap.subscribe(2));
        heap.send(3, 1).unwrap();
        let sending = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.send(3, 2).is_ok())
        };
        let reading = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.receive(fast))
        };
        assert_eq!(heap.receive(slow), Ok(1));
        assert_eq!(reading.join().unwrap(), Ok(1));
        let sent = sending.join().unwrap();
        assert_eq!(heap.rest(slow), if sent { vec![2] } else { vec![] });
    });
}

// Fails without the fence in `subscribe`.
#[test]
fn who_subscribes_misses_nothing_from_there_on() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::All);
        let sending = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || {
                (1..=3).map(|value| heap.send(3, value).is_ok()).filter(|sent| *sent).count()
            })
        };
        let index = heap.subscribe(1);
        let first = heap.receive(index);
        sending.join().unwrap();
        assert!(!matches!(first, Err(Miss::Corrupt | Miss::Lagged(_))), "{first:?}");
        let next = heap.receive(index);
        assert!(!matches!(next, Err(Miss::Corrupt | Miss::Lagged(_))), "{next:?}");
    });
}

// Fails without the count of joins in `refresh_floor`.
#[test]
fn a_place_that_is_handed_on_is_kept() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::All);
        let old = heap.subscribe(1);
        heap.send(3, 1).unwrap();
        let sending = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.send(3, 2).is_ok())
        };
        let new = heap.ring().subscribe_like(old, worker(2)).unwrap();
        heap.ring().unsubscribe(old);
        assert!(!sending.join().unwrap(), "nobody has read the first");
        assert_eq!(heap.rest(new), [1]);
    });
}

#[test]
fn who_lags_sees_whole_messages_and_how_many_are_gone() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::Newest);
        let index = heap.subscribe(1);
        heap.send(3, 1).unwrap();
        let sending = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.send(3, 2).unwrap())
        };
        let (mut next, mut seen) = (1, 0);
        let mut look = || match heap.receive(index) {
            Ok(value) => {
                assert_eq!(value, next);
                (next, seen) = (next + 1, seen + 1);
            }
            Err(Miss::Lagged(missed)) => (next, seen) = (next + missed, seen + missed),
            Err(Miss::Empty | Miss::Busy) => {}
            Err(other) => panic!("{other:?}"),
        };
        look();
        sending.join().unwrap();
        (0..3).for_each(|_| look());
        assert_eq!(seen, 2);
    });
}

// Fails without the fence in `claim`, and without the one in `look`.
#[test]
fn after_the_end_was_seen_nothing_is_sent() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::All);
        let index = heap.subscribe(1);
        let sending = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.send(3, 1).is_ok())
        };
        let closing = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.header.close())
        };
        let first = heap.receive(index);
        let second = heap.receive(index);
        let sent = sending.join().unwrap();
        assert!(closing.join().unwrap());
        let rest = heap.rest(index);
        let received = [first, second].iter().filter(|one| one.is_ok()).count() + rest.len();
        assert_eq!(received, usize::from(sent), "{first:?} {second:?} {rest:?}");
        assert!(first != Err(Miss::Over) || !sent, "a message came after the end");
        assert_eq!(heap.receive(index), Err(Miss::Over));
    });
}

// A sender that found no room sleeps; a subscriber who reads, leaves, or is found dead wakes it.
#[test]
fn a_sender_that_sleeps_is_woken_by_who_reads_and_by_who_leaves() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::All);
        let (one, two) = (heap.subscribe(1), heap.subscribe(2));
        heap.send(3, 1).unwrap();
        let leaving = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || {
                heap.receive(one).unwrap();
                heap.ring().unsubscribe(two);
            })
        };
        while heap.send(3, 2) == Err(Refused::Full) {
            let armed = heap.header.not_full().arm();
            if heap.send(3, 2) == Err(Refused::Full) {
                heap.header.not_full().wait(armed, None);
                continue;
            }
            break;
        }
        leaving.join().unwrap();
    });
}

#[test]
fn the_dead_hold_up_nobody() {
    model::check(|| {
        let heap = Heap::of(1, Keeping::All);
        for role in [Role::Sender, Role::Receiver] {
            assert!(heap.header.join(role, worker(1)) && heap.header.join(role, worker(2)));
        }
        let (mine, _) = (heap.subscribe(1), heap.subscribe(2));
        let _ = heap.ring().claim(worker(2), Keeping::All).unwrap();
        let living = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.receive(mine))
        };
        assert_eq!(heap.ring().recover(worker(2), Holder::HOST, |_, _| {}), 1);
        heap.ring().bury(worker(2));
        assert!(matches!(living.join().unwrap(), Err(Miss::Busy | Miss::Empty)));
        assert_eq!(heap.receive(mine), Err(Miss::Empty), "what was not published is passed over");
        heap.send(1, 5).unwrap();
        assert_eq!(heap.rest(mine), [5]);
    });
}
