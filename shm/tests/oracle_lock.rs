//! Random histories of several processes at a lock, deaths among them, against a model, over all backings.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::lock::{
    Arrival, Barrier, Broken, Claim, Marks, Mutex, MutexHold, Owner, Permit, ReadHold, RwLock, Semaphore,
    Slots, Taken, WriteHold,
};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::Backing;
use proptest::prelude::*;

const PROCESSES: u16 = 3;

fn holder(who: u16) -> Holder {
    // In different words of a set of processes.
    OwnerId::worker(who * 70).and_then(Holder::of).unwrap()
}

fn owner(who: u16) -> Owner {
    Owner::new(holder(who), 5)
}

#[derive(Debug, Clone)]
enum Op {
    /// Locks, reads, acquires, arrives.
    Take(u16),
    /// Gives back what `Take` took.
    Give(u16),
    /// Claims a reader-writer lock.
    Claim(u16),
    /// Writes, if it has claimed.
    Write(u16),
    /// Gives back what `Claim` and `Write` took.
    Leave(u16),
    /// Sees to the value, if it may.
    Repair(u16),
    /// Is killed and recovered.
    Die(u16),
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..PROCESSES;
    prop_oneof![
        4 => who.clone().prop_map(Op::Take),
        3 => who.clone().prop_map(Op::Give),
        2 => who.clone().prop_map(Op::Claim),
        2 => who.clone().prop_map(Op::Write),
        2 => who.clone().prop_map(Op::Leave),
        1 => who.clone().prop_map(Op::Repair),
        1 => who.prop_map(Op::Die),
    ]
}

/// The two views of a lock that a process may have.
fn of<'a, T>(sides: (&'a T, &'a T), who: u16) -> &'a T {
    if who == 0 { sides.0 } else { sides.1 }
}

fn try_mutex(ops: &[Op], sides: (&Mutex, &Mutex)) {
    let mut held: Option<(u16, MutexHold<'_>)> = None;
    let (mut marked, mut deaths) = (false, 0);
    for op in ops {
        match *op {
            Op::Take(who) => match (of(sides, who).try_lock(owner(who)), &held) {
                (Ok(hold), None) => {
                    assert_eq!(hold.head().marks().contains(Marks::RECOVERED), marked);
                    held = Some((who, hold));
                }
                (Err(taken), Some((by, _))) => {
                    assert_eq!(taken, Taken::By(owner(*by)));
                    assert_eq!(sides.1.look(), Err(taken));
                }
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            },
            Op::Give(who) | Op::Leave(who) => {
                if let Some((_, hold)) = held.take_if(|(by, _)| *by == who) {
                    hold.unlock();
                }
            }
            Op::Repair(who) => {
                if let Some((_, hold)) = held.as_ref().filter(|(by, _)| *by == who) {
                    hold.head().clear_marks();
                    marked = false;
                }
            }
            Op::Die(who) => {
                let had_it = held.take_if(|(by, _)| *by == who).is_some();
                marked |= had_it;
                deaths += u32::from(had_it);
                assert_eq!(sides.0.recover(holder(who)), had_it);
            }
            Op::Claim(_) | Op::Write(_) => {}
        }
        assert_eq!((sides.1.look().is_ok(), sides.1.head().deaths()), (held.is_none(), deaths));
    }
}

#[derive(Default)]
struct Lives<'a> {
    reads: Vec<(u16, ReadHold<'a>)>,
    claim: Option<(u16, Claim<'a>)>,
    write: Option<(u16, WriteHold<'a>)>,
    marked: bool,
}

impl Lives<'_> {
    fn writer(&self) -> Option<u16> {
        self.claim.as_ref().map(|(who, _)| *who).or(self.write.as_ref().map(|(who, _)| *who))
    }
}

fn try_rwlock(ops: &[Op], sides: (&RwLock, &RwLock)) {
    let mut lives = Lives::default();
    for op in ops {
        match *op {
            Op::Take(who) => {
                let again = lives.reads.iter().any(|(by, _)| *by == who);
                let read = of(sides, who).try_read(owner(who), again);
                assert_eq!(read.is_ok(), again || lives.writer().is_none());
                lives.reads.extend(read.ok().map(|hold| (who, hold)));
            }
            Op::Give(who) => {
                if let Some(index) = lives.reads.iter().position(|(by, _)| *by == who) {
                    lives.reads.remove(index).1.unlock();
                }
            }
            Op::Claim(who) => match (of(sides, who).try_claim(owner(who)), lives.writer()) {
                (Ok(claim), None) => lives.claim = Some((who, claim)),
                (Err(taken), Some(by)) => assert_eq!(taken, Taken::By(owner(by))),
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            },
            Op::Write(who) => {
                if let Some((_, claim)) = lives.claim.take_if(|(by, _)| *by == who) {
                    match claim.try_write() {
                        Ok(hold) => {
                            assert!(lives.reads.is_empty());
                            assert_eq!(hold.head().marks().contains(Marks::RECOVERED), lives.marked);
                            lives.write = Some((who, hold));
                        }
                        Err(claim) => {
                            assert!(!lives.reads.is_empty());
                            lives.claim = Some((who, claim));
                        }
                    }
                }
            }
            Op::Leave(who) => {
                if let Some((_, claim)) = lives.claim.take_if(|(by, _)| *by == who) {
                    claim.release();
                }
                if let Some((_, hold)) = lives.write.take_if(|(by, _)| *by == who) {
                    hold.unlock();
                }
            }
            Op::Repair(who) => {
                if let Some((_, hold)) = lives.write.as_ref().filter(|(by, _)| *by == who) {
                    hold.head().clear_marks();
                    lives.marked = false;
                }
            }
            Op::Die(who) => {
                let before = lives.reads.len();
                lives.reads.retain(|(by, _)| *by != who);
                let wrote = lives.write.take_if(|(by, _)| *by == who).is_some();
                let claimed = lives.claim.take_if(|(by, _)| *by == who).is_some();
                lives.marked |= wrote;
                let lost = before - lives.reads.len() + usize::from(wrote || claimed);
                assert_eq!(sides.0.recover(holder(who)) as usize, lost);
            }
        }
        assert_eq!(sides.1.look().is_ok(), lives.writer().is_none());
        assert_eq!(sides.1.has_readers(), !lives.reads.is_empty());
    }
}

fn try_semaphore(
    ops: &[Op],
    heads: (&Semaphore, &Semaphore),
    words: (&[AtomicU64], &[AtomicU64]),
    permits: u32,
) {
    let sides = (Slots::new(heads.0, words.0, permits), Slots::new(heads.1, words.1, permits));
    let side = |who: u16| if who == 0 { sides.0 } else { sides.1 };
    let mut held: Vec<(u16, Permit)> = Vec::new();
    for op in ops {
        match *op {
            Op::Take(who) | Op::Claim(who) => {
                let permit = side(who).try_acquire(holder(who));
                assert_eq!(permit.is_some(), held.len() < permits as usize);
                held.extend(permit.map(|permit| (who, permit)));
            }
            Op::Give(who) | Op::Leave(who) => {
                if let Some(index) = held.iter().position(|(by, _)| *by == who) {
                    side(who).release(held.remove(index).1);
                }
            }
            Op::Die(who) => {
                let before = held.len();
                held.retain(|(by, _)| *by != who);
                assert_eq!(sides.1.recover(holder(who)) as usize, before - held.len());
            }
            Op::Write(_) | Op::Repair(_) => {}
        }
        for who in 0..PROCESSES {
            let has = held.iter().filter(|(by, _)| *by == who).count();
            assert_eq!(sides.0.held_by(holder(who)) as usize, has);
        }
        assert_eq!(sides.1.free() as usize, permits as usize - held.len());
    }
}

fn try_barrier(ops: &[Op], sides: (&Barrier, &Barrier), participants: u32) {
    let (mut round, mut waiting): (u32, Vec<u16>) = (0, Vec::new());
    let mut handles = [1_u32; PROCESSES as usize];
    let mut broken = false;
    (0..PROCESSES).for_each(|who| of(sides, who).enter(holder(who)));
    for op in ops {
        match *op {
            Op::Take(who) | Op::Claim(who) => match of(sides, who).arrive(participants) {
                Err(Broken) => assert!(broken),
                Ok(Arrival::Last) => {
                    assert!(!broken && waiting.len() + 1 == participants as usize);
                    assert_eq!(sides.0.has_opened(round), Some(Ok(())));
                    waiting.clear();
                    round += 1;
                }
                Ok(Arrival::Waits { round: found }) => {
                    assert!(!broken && found == round);
                    waiting.push(who);
                }
            },
            Op::Give(who) | Op::Leave(who) => {
                let came = waiting.iter().position(|by| *by == who);
                if let Some(index) = came {
                    waiting.remove(index);
                    assert!(of(sides, who).leave(round));
                }
                assert!(!of(sides, who).leave(round.wrapping_sub(1)), "a round that is over is not left");
            }
            Op::Repair(who) => {
                handles[usize::from(who)] += 1;
                of(sides, who).enter(holder(who));
            }
            Op::Write(who) => {
                if handles[usize::from(who)] > 0 {
                    handles[usize::from(who)] -= 1;
                    of(sides, who).exit(holder(who));
                }
            }
            Op::Die(who) => {
                let had = std::mem::take(&mut handles[usize::from(who)]) > 0;
                assert_eq!(sides.1.recover(holder(who)), had);
                broken |= had;
            }
        }
        assert_eq!(sides.0.is_broken(), broken);
        assert_eq!(sides.1.has_opened(round), broken.then_some(Err(Broken)));
    }
}

proptest! {
    #[test]
    fn locks_behave_like_their_models(ops in prop::collection::vec(op(), 0..150), number in 1..11_u32) {
        for backing in Backing::ALL {
            let sides = backing.sides::<Mutex, AtomicU64>(0);
            try_mutex(&ops, (sides.near().0, sides.far().0));
            let sides = backing.sides::<RwLock, AtomicU64>(0);
            try_rwlock(&ops, (sides.near().0, sides.far().0));
            let sides = backing.sides::<Semaphore, AtomicU64>(Semaphore::words(number));
            let ((near, near_words), (far, far_words)) = (sides.near(), sides.far());
            try_semaphore(&ops, (near, far), (near_words, far_words), number);
            let sides = backing.sides::<Barrier, AtomicU64>(0);
            try_barrier(&ops, (sides.near().0, sides.far().0), number % 4 + 1);
        }
    }
}
