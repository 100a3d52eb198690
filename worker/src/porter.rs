//! Porter: the thread of a process that waits at the gates of channels for others: for futures, and for what is on its
//! way to another process. Started with the first errand; asleep while nothing happens.

use crate::end::Place;
use gorun_shm::blocks::SharedBlock;
use gorun_shm::doorbell::Doorbell;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::os::futex;
use gorun_shm::ring::mpmc::Header;
use gorun_shm::segment::View;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// A gate of a channel whose memory is held meanwhile.
#[derive(Debug, Clone)]
pub struct Post {
    header: View<Header>,
    which: Which,
    /// Held for the memory's sake; it is no end.
    _block: SharedBlock,
}

impl Post {
    /// A gate of the channel.
    #[must_use]
    pub fn at(place: &Place, which: Which) -> Self {
        Self { header: place.header().clone(), which, _block: place.block().clone() }
    }

    fn gate(&self) -> &Gate {
        match self.which {
            Which::NotEmpty => self.header.not_empty(),
            Which::NotFull => self.header.not_full(),
            Which::Arrived => self.header.arrived(),
        }
    }
}

/// Something to wait for at a gate.
pub trait Errand: Send {
    /// Where to wait.
    fn post(&self) -> &Post;
    /// True if the wait is over. Called with the porter's lock held.
    fn is_done(&self) -> bool;
    /// Does what was waited for. Called without any lock.
    fn finish(self: Box<Self>);
}

/// Names an errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrandId(u64);

#[derive(Default)]
struct Porter {
    errands: BTreeMap<u64, Box<dyn Errand>>,
    next: u64,
    is_running: bool,
}

static PORTER: LazyLock<Mutex<Porter>> = LazyLock::new(Mutex::default);
/// Rung when there is a new errand.
static BELL: LazyLock<Doorbell> = LazyLock::new(Doorbell::default);

/// Where the kernel cannot wait at all gates at once, the rest is looked after so often.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Gives the porter an errand; none if no thread can be had.
pub fn send(errand: Box<dyn Errand>) -> Option<ErrandId> {
    let mut porter = lock();
    if !porter.is_running {
        std::thread::Builder::new().name("gorun-porter".into()).spawn(serve).ok()?;
        porter.is_running = true;
    }
    let id = porter.next;
    porter.next += 1;
    porter.errands.insert(id, errand);
    drop(porter);
    BELL.notify();
    Some(ErrandId(id))
}

/// Takes an errand back; none if it is done.
pub fn recall(id: ErrandId) -> Option<Box<dyn Errand>> {
    let recalled = lock().errands.remove(&id.0);
    if recalled.is_some() {
        // The porter holds the memory of the gates it waits at.
        BELL.notify();
    }
    recalled
}

/// Looks at all errands now: something has happened that no gate tells of.
pub fn look_again() {
    if lock().is_running {
        BELL.ring();
    }
}

fn serve() {
    loop {
        let bell = BELL.arm();
        let done = collect();
        if !done.is_empty() {
            BELL.disarm();
            done.into_iter().for_each(Errand::finish);
            continue;
        }
        sleep(Doorbell::expected(bell));
        BELL.disarm();
    }
}

fn collect() -> Vec<Box<dyn Errand>> {
    let mut porter = lock();
    let done: Vec<u64> =
        porter.errands.iter().filter(|(_, errand)| errand.is_done()).map(|(id, _)| *id).collect();
    done.into_iter().filter_map(|id| porter.errands.remove(&id)).collect()
}

/// Sleeps until the bell rings or something happens at a gate.
fn sleep(bell: u32) {
    let mut posts: BTreeMap<usize, Post> = BTreeMap::new();
    for errand in lock().errands.values() {
        let post = errand.post();
        posts.entry(std::ptr::from_ref(post.gate()) as usize).or_insert_with(|| post.clone());
    }
    let armed: Vec<(&Gate, ArmedGate)> =
        posts.values().map(|post| (post.gate(), post.gate().arm())).take(futex::WORDS_MAX - 1).collect();
    // Looked at once more after the gates were armed. What comes meanwhile has rung the bell.
    if lock().errands.values().any(|errand| errand.is_done()) {
        return;
    }
    let watched = armed.iter().map(|(gate, armed)| gate.word(*armed));
    let words: Vec<_> = std::iter::once((BELL.word(), bell)).chain(watched).collect();
    let limit = (posts.len() >= futex::WORDS_MAX).then_some(LOOK_AGAIN);
    futex::wait_any(&words, limit);
}

fn lock() -> MutexGuard<'static, Porter> {
    PORTER.lock().unwrap_or_else(PoisonError::into_inner)
}
