//! Desk: one thread of the porter, the gates it waits at, and the moments it waits for.
//!
//! Its thread arms all gates, looks at all errands once more, and sleeps on all of them until the earliest moment. It may
//! have been woken for an errand that was recalled meanwhile: then it wakes the next who sleeps at that gate.

use super::{AlarmId, Errand, Post};
use gorun_shm::doorbell::Doorbell;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::os::{futex, ticks};
use gorun_shm::sync::{AtomicU32, Ordering};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Most gates of one desk: what the kernel can wait for at once, less the bell.
pub(super) const GATES_MAX: usize = futex::WORDS_MAX - 1;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inside: Mutex<Inside>,
    /// Held while quiet errands are taken out and done, so that whoever settles them finds none half done.
    settling: Mutex<()>,
    /// Rung when there is something new to wait for, or no longer.
    bell: Doorbell,
}

#[derive(Default)]
struct Inside {
    errands: BTreeMap<u64, Box<dyn Errand>>,
    /// By address: how many errands wait at the gate.
    gates: BTreeMap<usize, usize>,
    alarms: BTreeMap<AlarmId, Waker>,
    /// Changes with the set of gates.
    gates_version: u64,
}

/// The gates that the thread sleeps at, kept from one sleep to the next.
#[derive(Default)]
struct Watch {
    posts: Vec<Post>,
    version: u64,
}

fn posts(errand: &dyn Errand) -> impl Iterator<Item = &Post> {
    std::iter::once(errand.post()).chain(errand.more_posts())
}

impl Inside {
    fn has_room_for(&self, errand: &dyn Errand) -> bool {
        let mut fresh: Vec<usize> =
            posts(errand).map(Post::key).filter(|key| !self.gates.contains_key(key)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        self.gates.len() + fresh.len() <= GATES_MAX
    }

    fn insert(&mut self, number: u64, errand: Box<dyn Errand>) {
        for post in posts(&*errand) {
            let count = self.gates.entry(post.key()).or_insert(0);
            self.gates_version += u64::from(*count == 0);
            *count += 1;
        }
        self.errands.insert(number, errand);
    }

    fn remove(&mut self, number: u64) -> Option<Box<dyn Errand>> {
        let errand = self.errands.remove(&number)?;
        for post in posts(&*errand) {
            let Entry::Occupied(mut count) = self.gates.entry(post.key()) else { continue };
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                self.gates_version += 1;
            }
        }
        Some(errand)
    }

    /// Takes out the errands for which that is true.
    fn extract(&mut self, is_over: impl Fn(&dyn Errand) -> bool) -> Vec<Box<dyn Errand>> {
        let over = self.errands.iter().filter(|(_, errand)| is_over(&***errand));
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        over.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Takes out what is over.
    fn collect(&mut self, now_ns: u64) -> (Vec<Box<dyn Errand>>, Vec<Waker>) {
        let is_late = |errand: &dyn Errand| errand.until_ns().is_some_and(|until_ns| until_ns <= now_ns);
        let done = self.extract(|errand| is_late(errand) || !errand.is_quiet() && errand.is_done());
        let mut due = Vec::new();
        while self.alarms.keys().next().is_some_and(|alarm| alarm.at_ns <= now_ns) {
            due.extend(self.alarms.pop_first().map(|(_, waker)| waker));
        }
        (done, due)
    }

    fn next_ns(&self) -> Option<u64> {
        let alarm = self.alarms.keys().next().map(|alarm| alarm.at_ns);
        self.errands.values().filter_map(|errand| errand.until_ns()).chain(alarm).min()
    }
}

impl Desk {
    /// Takes an errand on; gives it back if it needs more gates than there is room for.
    pub(super) fn accept(&self, number: u64, errand: Box<dyn Errand>) -> Result<(), Box<dyn Errand>> {
        let mut inside = self.lock();
        if !inside.has_room_for(&*errand) {
            return Err(errand);
        }
        inside.insert(number, errand);
        drop(inside);
        self.bell.notify();
        Ok(())
    }

    /// Gives an errand back; none if it is done.
    pub(super) fn recall(&self, number: u64) -> Option<Box<dyn Errand>> {
        let recalled = self.lock().remove(number);
        if recalled.is_some() {
            // The thread holds the memory of the gates it waits at.
            self.bell.notify();
        }
        recalled
    }

    pub(super) fn set_alarm(&self, id: AlarmId, waker: Waker) {
        let is_first = {
            let mut inside = self.lock();
            inside.alarms.insert(id, waker);
            inside.alarms.keys().next() == Some(&id)
        };
        if is_first {
            self.bell.notify();
        }
    }

    pub(super) fn drop_alarm(&self, id: AlarmId) -> Option<Waker> {
        self.lock().alarms.remove(&id)
    }

    pub(super) fn look_again(&self) {
        self.bell.ring();
    }

    /// Does what is over and quiet.
    pub(super) fn settle(&self) {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.lock().extract(|errand| errand.is_quiet() && errand.is_done());
        done.into_iter().for_each(Errand::finish);
    }

    /// The thread's work.
    pub(super) fn serve(&self) {
        let mut watch = Watch::default();
        loop {
            let bell = self.bell.arm();
            self.settle();
            let (done, due) = self.lock().collect(ticks::system_ns());
            if done.is_empty() && due.is_empty() {
                self.sleep(Doorbell::expected(bell), &mut watch);
            }
            self.bell.disarm();
            done.into_iter().for_each(Errand::finish);
            due.into_iter().for_each(Waker::wake);
        }
    }

    /// Sleeps until the bell rings, something happens at a gate, or a moment has come.
    fn sleep(&self, bell: u32, watch: &mut Watch) {
        self.refresh(watch);
        let armed: Vec<(&Gate, ArmedGate)> =
            watch.posts.iter().map(|post| (post.gate(), post.gate().arm())).collect();
        // Looked at once more after the gates were armed. What comes meanwhile has rung the bell.
        let inside = self.lock();
        if inside.errands.values().any(|errand| errand.is_done()) {
            return;
        }
        let next_ns = inside.next_ns();
        drop(inside);
        let left_ns = next_ns.map(|next_ns| next_ns.saturating_sub(ticks::system_ns()));
        if left_ns == Some(0) {
            return;
        }
        let watched = armed.iter().map(|(gate, armed)| gate.word(*armed));
        let words: Vec<(&AtomicU32, u32)> =
            std::iter::once((self.bell.word(), bell)).chain(watched).collect();
        futex::wait_any(&words, left_ns.map(Duration::from_nanos));
        self.pass_on(watch, &words[1..]);
    }

    /// Takes over which gates there are, if that has changed.
    fn refresh(&self, watch: &mut Watch) {
        let inside = self.lock();
        if watch.version == inside.gates_version {
            return;
        }
        let mut found: BTreeMap<usize, Post> = BTreeMap::new();
        for post in inside.errands.values().flat_map(|errand| posts(&**errand)) {
            found.entry(post.key()).or_insert_with(|| post.clone());
        }
        let version = inside.gates_version;
        drop(inside);
        // The old ones go with the lock released: the last hold of a block may be among them.
        *watch = Watch { posts: found.into_values().collect(), version };
    }

    /// Wakes others at gates that were rung for errands that are no more.
    fn pass_on(&self, watch: &Watch, words: &[(&AtomicU32, u32)]) {
        // Relaxed: only whether it has changed; what it tells of is for others to see.
        let rung = |(word, expected): &(&AtomicU32, u32)| word.load(Ordering::Relaxed) != *expected;
        let left: Vec<&Post> = {
            let inside = self.lock();
            let is_left = |post: &&Post| !inside.gates.contains_key(&post.key());
            watch
                .posts
                .iter()
                .zip(words)
                .filter(|(_, word)| rung(word))
                .map(|(post, _)| post)
                .filter(is_left)
                .collect()
        };
        left.into_iter().for_each(|post| post.gate().notify());
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside")
            .field("errands", &self.errands.len())
            .field("gates", &self.gates.len())
            .field("alarms", &self.alarms.len())
            .finish_non_exhaustive()
    }
}
