//! Models of a channel's ring: claims, takes, the end of a channel, the census, taking over, and its gates.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::gate::Gate;
use gorun_shm::ring::mpmc::{Fate, Geometry, Header, Message, Nothing, Refused, Ring, Role, Terms};
use gorun_shm::sync::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

const MESSAGE: Message = Message { length: 8, marks: 0 };

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

/// A channel on the heap.
struct Channel {
    header: Header,
    words: Vec<AtomicU64>,
    geometry: Geometry,
}

impl Channel {
    fn of(capacity: u32) -> Arc<Self> {
        let geometry = Geometry::new(capacity, 1).unwrap();
        let words = (0..geometry.words()).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { header: Header::default(), words, geometry })
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.header, &self.words, self.geometry)
    }

    fn send(&self, me: Holder, value: u64) -> Result<(), Refused> {
        let claim = self.ring().claim(me)?;
        self.ring().publish(claim, me, MESSAGE, &[value]);
        self.ring().notify_message();
        Ok(())
    }

    fn receive(&self, me: Holder) -> Result<u64, Nothing> {
        let taken = self.ring().take(me)?;
        let mut words = [0];
        self.ring().read(&taken, &mut words);
        self.ring().release(taken, me);
        self.ring().notify_room();
        Ok(words[0])
    }

    fn rest(&self) -> Vec<u64> {
        std::iter::from_fn(|| self.receive(Holder::HOST).ok()).collect()
    }
}

// Fails without the second look in `peek`.
#[test]
fn what_is_looked_at_is_whole_though_its_slot_is_used_again() {
    model::check(|| {
        let geometry = Geometry::new(1, 2).unwrap();
        let words = (0..geometry.words()).map(|_| AtomicU64::new(0)).collect();
        let channel = Arc::new(Channel { header: Header::default(), words, geometry });
        send_twice(&channel, 7);
        let user = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                assert_eq!(channel.receive(worker(1)), Ok(7));
                send_twice(&channel, 8);
            })
        };
        let mut seen = [0; 2];
        if let Some(found) = channel.ring().peek(0, &mut seen, |_, _| {}) {
            assert_eq!(seen, [7 + found.position; 2]);
        }
        user.join().unwrap();
        assert!(channel.ring().peek(0, &mut seen, |_, _| {}).is_some_and(|found| found.position == 1));
    });
}

/// A message of two words.
fn send_twice(channel: &Channel, value: u64) {
    let claim = channel.ring().claim(worker(0)).unwrap();
    channel.ring().publish(claim, worker(0), MESSAGE, &[value, value]);
}

// Fails with a Relaxed store in `publish`, and with a Relaxed load and exchange in `take`.
#[test]
fn a_message_is_whole_and_taken_once() {
    model::check(|| {
        let channel = Channel::of(2);
        let producer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.send(worker(0), 7).unwrap())
        };
        let consumer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.receive(worker(1)).ok())
        };
        let here = channel.receive(worker(2)).ok();
        producer.join().unwrap();
        let mut all: Vec<u64> = here.into_iter().chain(consumer.join().unwrap()).collect();
        all.extend(channel.rest());
        assert_eq!(all, [7]);
    });
}

// Fails if `claim` stores the word instead of exchanging it.
#[test]
fn two_producers_fill_two_slots_and_the_third_is_refused() {
    model::check(|| {
        let channel = Channel::of(2);
        let producer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.send(worker(0), 1).unwrap())
        };
        channel.send(worker(1), 2).unwrap();
        producer.join().unwrap();
        assert_eq!(channel.send(worker(1), 3), Err(Refused::Full));
        let mut all = channel.rest();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

// That the next payload is not written before this one was read, no model can show: loom lets no load see a later store.
#[test]
fn a_slot_is_written_again_only_after_it_was_read() {
    model::check(|| {
        let channel = Channel::of(1);
        channel.send(worker(0), 1).unwrap();
        let producer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.send(worker(0), 2).is_ok())
        };
        assert_eq!(channel.receive(worker(1)), Ok(1));
        let sent = producer.join().unwrap();
        assert_eq!(channel.rest(), if sent { vec![2] } else { vec![] });
    });
}

#[test]
fn messages_of_one_producer_come_in_order() {
    model::check(|| {
        let channel = Channel::of(2);
        let producer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                channel.send(worker(0), 1).unwrap();
                channel.send(worker(0), 2).unwrap();
            })
        };
        let seen: Vec<u64> = (0..2).filter_map(|_| channel.receive(worker(1)).ok()).collect();
        producer.join().unwrap();
        let all: Vec<u64> = seen.into_iter().chain(channel.rest()).collect();
        assert_eq!(all, [1, 2]);
    });
}

// Fails without the fence in `claim`, and without the one in `take`.
#[test]
fn after_the_end_was_seen_nothing_is_sent() {
    model::check(|| {
        let channel = Channel::of(1);
        let sender = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.send(worker(0), 1).is_ok())
        };
        let closer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.ring().close())
        };
        let first = channel.receive(worker(1));
        let second = channel.receive(worker(1));
        let sent = sender.join().unwrap();
        assert!(closer.join().unwrap());
        let rest = channel.rest();
        let received = [first, second].iter().filter(|one| one.is_ok()).count() + rest.len();
        assert_eq!(received, usize::from(sent), "{first:?} {second:?} {rest:?}");
        if first == Err(Nothing::Over) {
            // Busy while a late sender finds the end and gives its claim up.
            assert!(matches!(second, Err(Nothing::Over | Nothing::Busy)), "{second:?}");
            assert!(!sent, "a message came after the end");
        }
        assert_eq!(channel.receive(worker(1)), Err(Nothing::Over));
    });
}

// Fails without the fence in `end_if_empty`, and if `join` does not count.
#[test]
fn the_last_of_two_leavers_ends_the_role() {
    model::check(|| {
        let channel = Channel::of(1);
        // In different words of the set, so that a look is not one load.
        for holder in [worker(0), worker(64)] {
            assert!(channel.ring().join(Role::Sender, holder));
        }
        let other = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.ring().leave(Role::Sender, worker(64)))
        };
        channel.ring().leave(Role::Sender, worker(0));
        other.join().unwrap();
        assert!(channel.ring().standing().has_lost(Role::Sender));
    });
}

// An end is handed on: its new process joins before the old one leaves. Nobody may see the role end in between.
#[test]
fn a_role_lives_while_an_end_is_handed_on() {
    model::check(|| {
        let channel = Channel::of(1);
        assert!(channel.ring().join(Role::Sender, worker(64)));
        assert!(channel.ring().join(Role::Sender, worker(1)));
        let handed_on = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                assert!(channel.ring().join(Role::Sender, worker(0)), "the old end is still there");
                channel.ring().leave(Role::Sender, worker(64));
            })
        };
        channel.ring().leave(Role::Sender, worker(1));
        handed_on.join().unwrap();
        assert!(!channel.ring().standing().has_lost(Role::Sender));
    });
}

// Fails if `recover` stores over slots that are not the dead's.
#[test]
fn what_the_dead_had_taken_is_taken_by_another_once() {
    model::check(|| {
        let channel = Channel::of(2);
        for holder in [worker(1), worker(2)] {
            assert!(channel.ring().join(Role::Receiver, holder));
        }
        channel.send(worker(0), 1).unwrap();
        channel.send(worker(0), 2).unwrap();
        std::mem::forget(channel.ring().take(worker(1)).unwrap());
        let living = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.receive(worker(2)).ok())
        };
        let recovered = channel.ring().recover(worker(1), Holder::HOST, |_| {}, |_| Fate::Return);
        channel.ring().bury(worker(1));
        assert_eq!((recovered.returned, recovered.abandoned), (1, 0));
        let mut all: Vec<u64> = living.join().unwrap().into_iter().chain(channel.rest()).collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

#[test]
fn a_dead_producers_claim_holds_up_nobody() {
    model::check(|| {
        let channel = Channel::of(2);
        assert!(channel.ring().join(Role::Sender, worker(0)));
        assert!(channel.ring().join(Role::Receiver, Holder::HOST));
        let _ = channel.ring().claim(worker(1)).unwrap();
        let living = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.send(worker(0), 2).unwrap())
        };
        let recovered = channel.ring().recover(worker(1), Holder::HOST, |_| {}, |_| Fate::Return);
        channel.ring().bury(worker(1));
        assert_eq!((recovered.returned, recovered.abandoned), (0, 1));
        living.join().unwrap();
        assert_eq!(channel.rest(), [2]);
    });
}

// Fails if `withdraw` stores instead of exchanging.
#[test]
fn a_message_is_taken_or_withdrawn() {
    model::check(|| {
        let channel = Channel::of(1);
        let claim = channel.ring().claim(worker(0)).unwrap();
        let position = channel.ring().publish(claim, worker(0), MESSAGE, &[5]);
        let consumer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.receive(worker(1)).is_ok())
        };
        let withdrawn = channel.ring().withdraw(position, worker(0), MESSAGE);
        assert!(withdrawn != consumer.join().unwrap());
        assert_eq!(channel.ring().was_taken(position), true, "it is there no more");
    });
}

// Fails without the fence in `arm`, and without the one in `notify`: the model then never ends.
#[test]
fn no_wake_up_is_lost_at_a_gate() {
    model::check(|| {
        let shared = Arc::new((Gate::default(), AtomicU64::new(0)));
        let notifier = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.1.store(1, Ordering::Relaxed); // Relaxed: the gate's fences order it.
                shared.0.notify();
            })
        };
        while shared.1.load(Ordering::Relaxed) == 0 {
            let armed = shared.0.arm();
            // Relaxed: as above.
            if shared.1.load(Ordering::Relaxed) == 0 {
                shared.0.wait(armed, None);
            }
        }
        notifier.join().unwrap();
    });
}

/// A channel whose messages are taken for one nanosecond.
fn leased(capacity: u32) -> Arc<Channel> {
    let geometry = Geometry::new(capacity, 2).unwrap();
    let words = (0..geometry.words()).map(|_| AtomicU64::new(0)).collect();
    let channel = Arc::new(Channel { header: Header::default(), words, geometry });
    channel.header.format(geometry, Terms { lease_ns: 1, ..Terms::default() });
    channel
}

// Fails if `release` stores the word instead of exchanging the one that it knows.
#[test]
fn a_message_is_acknowledged_in_time_or_seized_and_not_both() {
    model::check(|| {
        let channel = leased(2);
        channel.send(worker(0), 7).unwrap();
        let taken = channel.ring().take(worker(1)).unwrap();
        channel.ring().hold_until(&taken, 5);
        let consumer = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || channel.ring().release(taken, worker(1)))
        };
        let seized = channel.ring().seize_overdue(worker(2), 9, 1);
        let was_seized = seized.is_some();
        if let Some(seized) = seized {
            assert_eq!(seized.word().deliveries(), 1);
            channel.ring().hand_on(seized, worker(2));
        }
        assert_ne!(consumer.join().unwrap(), was_seized);
        assert_eq!(channel.rest(), if was_seized { vec![7] } else { vec![] });
    });
}

// Fails if neither `seize_overdue` nor `hand_on` forgets the time of the last holder.
#[test]
fn the_next_holder_of_a_seized_message_has_its_whole_time() {
    model::check(|| {
        let channel = leased(2);
        channel.send(worker(0), 7).unwrap();
        let taken = channel.ring().take(worker(1)).unwrap();
        channel.ring().hold_until(&taken, 5);
        let next = {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                let taken = channel.ring().take(worker(3)).ok()?;
                let due = channel.ring().next_due(9, 1);
                assert!(channel.ring().release(taken, worker(3)));
                due
            })
        };
        if let Some(seized) = channel.ring().seize_overdue(worker(2), 9, 1) {
            channel.ring().hand_on(seized, worker(2));
        }
        assert!(next.join().unwrap().is_none_or(|due| due == 10));
        assert!(!channel.ring().release(taken, worker(1)));
    });
}
