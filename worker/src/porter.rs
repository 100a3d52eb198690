//! Porter: the threads of a process that wait for others at gates and for moments: for futures, for selects with more arms
//! than the kernel waits for at once, for timers, and for what is on its way to another process.
//!
//! A thread serves a desk: as many gates as one system call can wait at. The first is started with the first errand,
//! another when all desks are full; each sleeps while nothing happens. Nobody polls.

mod desk;

use crate::end::Place;
use desk::Desk;
use gorun_shm::blocks::SharedBlock;
use gorun_shm::gate::Gate;
use gorun_shm::partitions::MemberLine;
use gorun_shm::ring::mpmc::Header;
use gorun_shm::segment::View;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Which gate of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Where receivers wait.
    NotEmpty,
    /// Where senders wait.
    NotFull,
    /// Where senders of ends and blocks wait until these have arrived.
    Arrived,
}

/// A gate whose memory is held meanwhile.
#[derive(Debug, Clone)]
pub struct Post {
    spot: Spot,
    /// Held for the memory's sake; it is no end.
    _block: SharedBlock,
}

#[derive(Debug, Clone)]
enum Spot {
    Channel(View<Header>, Which),
    Alone(View<Gate>),
    Member(View<MemberLine>),
}

impl Post {
    /// A gate of the channel.
    #[must_use]
    pub fn at(place: &Place, which: Which) -> Self {
        Self { spot: Spot::Channel(place.header().clone(), which), _block: place.block().clone() }
    }

    /// A gate of what lies in `block` behind a channel's head.
    #[must_use]
    pub(crate) fn of(header: View<Header>, block: SharedBlock, which: Which) -> Self {
        Self { spot: Spot::Channel(header, which), _block: block }
    }

    /// A gate that stands by itself in `block`.
    #[must_use]
    pub fn alone(gate: View<Gate>, block: SharedBlock) -> Self {
        Self { spot: Spot::Alone(gate), _block: block }
    }

    /// The gate of a member of the distributed channel whose table lies in `block`.
    #[must_use]
    pub fn of_member(line: View<MemberLine>, block: SharedBlock) -> Self {
        Self { spot: Spot::Member(line), _block: block }
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        match &self.spot {
            Spot::Channel(header, Which::NotEmpty) => header.not_empty(),
            Spot::Channel(header, Which::NotFull) => header.not_full(),
            Spot::Channel(header, Which::Arrived) => header.arrived(),
            Spot::Alone(gate) => gate,
            Spot::Member(line) => line.gate(),
        }
    }

    /// The gate's address, by which two posts are the same.
    fn key(&self) -> usize {
        std::ptr::from_ref(self.gate()) as usize
    }
}

/// Something to wait for at a gate.
pub trait Errand: Send {
    /// Where to wait.
    fn post(&self) -> &Post;
    /// Where else, up to [`POSTS_MAX`] in all.
    fn more_posts(&self) -> &[Post] {
        &[]
    }
    /// When the wait is over in any case, in nanoseconds of the monotonic clock.
    fn until_ns(&self) -> Option<u64> {
        None
    }
    /// True if the wait is over. Called with a lock of the porter's held.
    fn is_done(&self) -> bool;
    /// Does what was waited for. Called without any lock.
    fn finish(self: Box<Self>);
    /// True if that runs nobody's code, so that anybody may do it at any time.
    fn is_quiet(&self) -> bool {
        false
    }
}

/// Most gates of one errand: it is served by one thread.
pub const POSTS_MAX: usize = desk::GATES_MAX;

/// Names an errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrandId {
    desk: usize,
    number: u64,
}

/// Names a moment that somebody wants to be woken at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmId {
    at_ns: u64,
    number: u64,
}

/// The desks there are; none ever goes away. Alarms are at the first.
#[derive(Debug, Default)]
struct Lodge {
    desks: Vec<&'static Desk>,
    next: u64,
}

static LODGE: LazyLock<Mutex<Lodge>> = LazyLock::new(Mutex::default);

impl Lodge {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// One more desk, with its thread; none if no thread can be had.
    fn open(&mut self) -> Option<&'static Desk> {
        let desk: &'static Desk = Box::leak(Box::default());
        std::thread::Builder::new().name("gorun-porter".into()).spawn(|| desk.serve()).ok()?;
        self.desks.push(desk);
        Some(desk)
    }
}

/// Gives the porter an errand; none if no thread can be had.
pub fn send(errand: Box<dyn Errand>) -> Option<ErrandId> {
    let mut lodge = lock();
    let number = lodge.number();
    let mut refused = errand;
    for (index, desk) in lodge.desks.iter().enumerate() {
        match desk.accept(number, refused) {
            Ok(()) => return Some(ErrandId { desk: index, number }),
            Err(errand) => refused = errand,
        }
    }
    let desk = lodge.open()?;
    desk.accept(number, refused).ok()?;
    Some(ErrandId { desk: lodge.desks.len() - 1, number })
}

/// Takes an errand back; none if it is done.
pub fn recall(id: ErrandId) -> Option<Box<dyn Errand>> {
    let desk = *lock().desks.get(id.desk)?;
    desk.recall(id.number)
}

/// Has `waker` called at `at_ns` of the monotonic clock; none if no thread can be had.
pub fn wake_at(at_ns: u64, waker: Waker) -> Option<AlarmId> {
    let mut lodge = lock();
    let id = AlarmId { at_ns, number: lodge.number() };
    let desk = match lodge.desks.first() {
        Some(desk) => desk,
        None => lodge.open()?,
    };
    drop(lodge);
    desk.set_alarm(id, waker);
    Some(id)
}

/// Nobody waits for the moment any more; none if it has come.
pub fn drop_alarm(id: AlarmId) -> Option<Waker> {
    let desk = *lock().desks.first()?;
    desk.drop_alarm(id)
}

/// Looks at all errands now: something has happened that no gate tells of.
pub fn look_again() {
    lock().desks.iter().for_each(|desk| desk.look_again());
}

/// Does now what is over and quiet: for whoever is about to look at what it changes.
pub fn settle() {
    let desks = lock().desks.clone();
    desks.into_iter().for_each(Desk::settle);
}

fn lock() -> MutexGuard<'static, Lodge> {
    LODGE.lock().unwrap_or_else(PoisonError::into_inner)
}
