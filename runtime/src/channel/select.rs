//! Select: waits for whichever of several things comes first, with one sleep for all of them.
//!
//! Each arm is tried; if none succeeds for a while, all their words are armed, all are tried once more, and the thread
//! sleeps on all of them in one system call. What does not fit that call is watched by the porter, which rings a word of
//! this thread's. Which arm is tried first goes round, so that none starves.

use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::os::{futex, ticks};
use gorun_shm::sync::{AtomicU32, spin_hint};
use gorun_worker::context;
use gorun_worker::porter::{self, Errand, ErrandId, POSTS_MAX, Post};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use super::arms::{JoinArm, RecvArm, SendArm};
use crate::clock;
pub use crate::context::DoneArm;
use crate::handle::Told;
pub use crate::timer::TickArm;

/// Most words of a sleep: one of the kernel's is for what the porter tells.
const WORDS_MAX: usize = futex::WORDS_MAX - 1;
/// Where nothing but looking again helps: more tasks inside of a task than there can be workers to run them.
const LOOK_AGAIN_NS: u64 = 1_000_000;

/// Something that a select may wait for. Made by [`select!`](crate::select).
pub trait Arm {
    /// Tries it; true if it is done.
    fn attempt(&self) -> bool;
    /// Says what tells that another attempt is worth it. Whoever asks attempts once more before it sleeps.
    fn watch<'a>(&'a self, watches: &mut Watches<'a>);
    /// True if what it says is no gate, which the porter could watch too.
    fn needs_words(&self) -> bool {
        false
    }
    /// How long it is worth to look before going to sleep, in ticks.
    fn spin_ticks(&self) -> u64 {
        0
    }
    /// The caller is about to sleep until then.
    fn about_to_sleep(&self) {}
    /// Another arm was done behind a sleep: passes on the wake-up that may have been meant for this.
    fn pass_on(&self) {}
    /// True if done is only that it may be used: then others may use it too.
    fn is_looked_at(&self) -> bool {
        false
    }
}

impl Arm for &dyn Arm {
    fn attempt(&self) -> bool {
        (**self).attempt()
    }

    fn watch<'a>(&'a self, watches: &mut Watches<'a>) {
        (**self).watch(watches);
    }

    fn needs_words(&self) -> bool {
        (**self).needs_words()
    }

    fn spin_ticks(&self) -> u64 {
        (**self).spin_ticks()
    }

    fn about_to_sleep(&self) {
        (**self).about_to_sleep();
    }

    fn pass_on(&self) {
        (**self).pass_on();
    }

    fn is_looked_at(&self) -> bool {
        (**self).is_looked_at()
    }
}

/// What a select is about to sleep on.
#[derive(Default)]
pub struct Watches<'a> {
    words: Vec<(&'a AtomicU32, u32)>,
    /// What the porter watches, as there is no word left.
    extra: Vec<(Post, ArmedGate)>,
    /// Rung by the porter and by tasks for which there is no word left.
    told: Option<Arc<Told>>,
    until_ns: Option<u64>,
    is_over: bool,
}

impl<'a> Watches<'a> {
    /// A gate, and how the porter would get at it.
    pub fn gate(&mut self, gate: &'a Gate, post: &dyn Fn() -> Post) {
        let armed = gate.arm();
        if self.is_full() {
            self.extra.push((post(), armed));
        } else {
            self.words.push(gate.word(armed));
        }
    }

    /// A word and what it holds until then.
    pub fn word(&mut self, word: &'a AtomicU32, expected: u32) {
        if self.is_full() {
            self.until(ticks::system_ns().saturating_add(LOOK_AGAIN_NS));
        } else {
            self.words.push((word, expected));
        }
    }

    /// True if there is no room for another word.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.words.len() >= WORDS_MAX
    }

    /// What to tell instead.
    pub(crate) fn told(&mut self) -> &Arc<Told> {
        self.told.get_or_insert_default()
    }

    /// A moment of the monotonic clock.
    pub fn until(&mut self, at_ns: u64) {
        self.until_ns = Some(self.until_ns.map_or(at_ns, |until| until.min(at_ns)));
    }

    /// It has come already.
    pub fn over(&mut self) {
        self.is_over = true;
    }

    fn of<A: Arm>(arms: &'a [A]) -> Self {
        let mut watches = Self::default();
        arms.iter().filter(|arm| arm.needs_words()).for_each(|arm| arm.watch(&mut watches));
        arms.iter().filter(|arm| !arm.needs_words()).for_each(|arm| arm.watch(&mut watches));
        watches
    }

    /// Sleeps until something happens, or that moment has come.
    fn sleep(mut self, deadline_ns: Option<u64>) {
        let until_ns = self.until_ns.into_iter().chain(deadline_ns).min();
        let left = |until_ns: u64| Duration::from_nanos(until_ns.saturating_sub(ticks::system_ns()));
        let left = until_ns.map(left);
        let extra = std::mem::take(&mut self.extra);
        let errands = if extra.is_empty() { Vec::new() } else { Rung::send_all(extra, self.told()) };
        let Self { told, words, .. } = self;
        let mut words: Vec<(&AtomicU32, u32)> = words;
        // It was made for this sleep, at 0.
        words.extend(told.as_ref().map(|told| (told.word(), 0)));
        if words.is_empty() {
            return std::thread::park_timeout(left.unwrap_or(Duration::MAX));
        }
        futex::wait_any(&words, left);
        errands.into_iter().for_each(|errand| drop(porter::recall(errand)));
    }
}

/// Tells a sleeping select that one of several gates was rung.
struct Rung {
    posts: Vec<Post>,
    armed: Vec<ArmedGate>,
    told: Arc<Told>,
}

impl Rung {
    fn send_all(extra: Vec<(Post, ArmedGate)>, told: &Arc<Told>) -> Vec<ErrandId> {
        let mut rest = extra.into_iter();
        let next = || {
            let (posts, armed): (Vec<_>, Vec<_>) = rest.by_ref().take(POSTS_MAX).unzip();
            (!posts.is_empty()).then(|| Self { posts, armed, told: Arc::clone(told) })
        };
        let send = |rung: Self| {
            let sent = porter::send(Box::new(rung));
            if sent.is_none() {
                // Without a thread nobody watches: the caller looks again at once.
                told.tell();
            }
            sent
        };
        std::iter::from_fn(next).filter_map(send).collect()
    }
}

impl Errand for Rung {
    fn post(&self) -> &Post {
        &self.posts[0]
    }

    fn more_posts(&self) -> &[Post] {
        &self.posts[1..]
    }

    fn is_done(&self) -> bool {
        self.posts.iter().zip(&self.armed).any(|(post, armed)| post.gate().has_rung(*armed))
    }

    fn finish(self: Box<Self>) {
        self.told.tell();
    }
}

impl fmt::Debug for Watches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches")
            .field("words", &self.words.len())
            .field("extra", &self.extra.len())
            .field("until_ns", &self.until_ns)
            .finish_non_exhaustive()
    }
}

/// Tries all arms once; true if one was done.
pub fn select_now(arms: &[&dyn Arm]) -> bool {
    attempt_one(arms).is_some()
}

/// Waits until one arm is done.
///
/// # Blocking
/// Until then. Inside a task it runs tasks of its own meanwhile.
pub fn select_one(arms: &[&dyn Arm]) {
    let _ = select_by(arms, &|| attempt_one(arms), None);
}

/// Waits until one arm is done, at most `timeout`; true if one was.
///
/// # Blocking
/// Until then. Inside a task it runs tasks of its own meanwhile.
pub fn select_within(arms: &[&dyn Arm], timeout: Duration) -> bool {
    select_by(arms, &|| attempt_one(arms), Some(clock::after(timeout))).is_some()
}

/// The first arm that is done, from another one on each time.
fn attempt_one(arms: &[&dyn Arm]) -> Option<usize> {
    thread_local! {
        static TURN: Cell<usize> = const { Cell::new(0) };
    }
    let first = TURN.replace(TURN.get().wrapping_add(1)) % arms.len().max(1);
    (first..arms.len()).chain(0..first).find(|index| arms[*index].attempt())
}

/// Waits until `attempt` has found an arm that is done; none if `deadline_ns` came first.
pub(super) fn select_by<A: Arm>(
    arms: &[A],
    attempt: &dyn Fn() -> Option<usize>,
    deadline_ns: Option<u64>,
) -> Option<usize> {
    // Nobody has rung for this thread while it was awake, so nothing has to be passed on.
    attempt().or_else(|| select_long(arms, attempt, deadline_ns))
}

#[cold]
fn select_long<A: Arm>(
    arms: &[A],
    attempt: &dyn Fn() -> Option<usize>,
    deadline_ns: Option<u64>,
) -> Option<usize> {
    let duty = context::duty();
    let spin_ticks = arms.iter().map(Arm::spin_ticks).max().unwrap_or(0);
    let started = ticks::now();
    let mut has_slept = false;
    loop {
        if let Some(done) = attempt() {
            if has_slept {
                pass_on(arms, done);
            }
            return Some(done);
        }
        if duty.as_ref().is_some_and(|duty| duty.run_one()) {
            continue;
        }
        if deadline_ns.is_some_and(|deadline| ticks::system_ns() >= deadline) {
            return None;
        }
        if !has_slept && ticks::now().wrapping_sub(started) < spin_ticks {
            spin_hint();
            continue;
        }
        let watches = Watches::of(arms);
        if watches.is_over {
            continue;
        }
        if let Some(done) = attempt() {
            if has_slept {
                pass_on(arms, done);
            }
            return Some(done);
        }
        arms.iter().for_each(Arm::about_to_sleep);
        match &duty {
            Some(duty) => duty.wait_in_task(|| watches.sleep(deadline_ns)),
            None => watches.sleep(deadline_ns),
        }
        has_slept = true;
    }
}

/// The wake-up of a select may have been meant for another arm than the one that was done.
fn pass_on<A: Arm>(arms: &[A], done: usize) {
    let others = arms.iter().enumerate().filter(|(index, arm)| *index != done || arm.is_looked_at());
    others.for_each(|(_, arm)| arm.pass_on());
}

/// Waits for whichever of several channels, tasks and times comes first, and does what its arm says.
///
/// ```text
/// recv(receiver) -> pattern => expression,        pattern: Result<T, RecvError>
/// send(sender, value) -> pattern => expression,   pattern: Result<(), SendError<T>>
/// join(handle) => expression,                     the task has ended: `handle.join()` does not wait
/// tick(timer) -> pattern => expression,           a `Timer` or `Ticker` fires; pattern: Tick
/// done(context) -> pattern => expression,         a `Context` is over; pattern: Done
/// default => expression,                          last: nothing was ready
/// timeout(duration) => expression,                last: nothing came in time
/// ```
///
/// Exactly one arm is done. Each arm needs its comma. Waiting takes one sleep for all arms. For arms that are not known
/// before the program runs there is [`Select`](crate::Select).
/// A value that was not sent is dropped; so that it is not lost, send a clone.
///
/// ```
/// use gorun_runtime::{channel, select};
/// use std::time::Duration;
///
/// let (numbers, received) = channel::<u32>(1);
/// let (_texts, others) = channel::<String>(1);
/// numbers.send(7)?;
/// let seen = select! {
///     recv(received) -> number => number.unwrap_or(0),
///     recv(others) -> text => text.map_or(0, |_| 1),
///     timeout(Duration::from_secs(60)) => 2,
/// };
/// assert_eq!(seen, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! select {
    (@ [$($arms:tt)*] recv($receiver:expr) -> $value:pat => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::RecvArm::new(&$receiver)) $value => $body }] $($rest)*)
    };
    (@ [$($arms:tt)*] send($sender:expr, $sent:expr) -> $value:pat => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::SendArm::new(&$sender, $sent)) $value => $body }] $($rest)*)
    };
    (@ [$($arms:tt)*] join($handle:expr) => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::JoinArm::new(&$handle)) () => $body }] $($rest)*)
    };
    (@ [$($arms:tt)*] tick($timer:expr) -> $value:pat => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::TickArm::new(&$timer)) $value => $body }] $($rest)*)
    };
    (@ [$($arms:tt)*] done($context:expr) -> $value:pat => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::DoneArm::new(&$context)) $value => $body }] $($rest)*)
    };
    (@ [$({ $arm:ident ($make:expr) $value:pat => $body:expr })*] default => $default:expr $(,)?) => {{
        $(let $arm = $make;)*
        $crate::channel::select::select_now(&[$(&$arm as &dyn $crate::channel::select::Arm),*]);
        $crate::select!(@done [$({ $arm $value => $body })*] $default)
    }};
    (@ [$({ $arm:ident ($make:expr) $value:pat => $body:expr })*] timeout($timeout:expr) => $late:expr $(,)?) => {{
        $(let $arm = $make;)*
        $crate::channel::select::select_within(&[$(&$arm as &dyn $crate::channel::select::Arm),*], $timeout);
        $crate::select!(@done [$({ $arm $value => $body })*] $late)
    }};
    (@ [$({ $arm:ident ($make:expr) $value:pat => $body:expr })*]) => {{
        $(let $arm = $make;)*
        $crate::channel::select::select_one(&[$(&$arm as &dyn $crate::channel::select::Arm),*]);
        $crate::select!(@done [$({ $arm $value => $body })*] ::core::unreachable!("one arm was done"))
    }};
    (@done [{ $arm:ident $value:pat => $body:expr } $($rest:tt)*] $else:expr) => {
        if let ::core::option::Option::Some(done) = $arm.finish() {
            match done { $value => $body }
        } else {
            $crate::select!(@done [$($rest)*] $else)
        }
    };
    (@done [] $else:expr) => { $else };
    (@ $($rest:tt)*) => {
        ::core::compile_error!("an arm of select! is `recv(receiver) -> pattern => expression,`, `send(sender, value) -> pattern => expression,`, `join(handle) => expression,`, `tick(timer) -> pattern => expression,`, `done(context) -> pattern => expression,`, or last `default => expression` or `timeout(duration) => expression`")
    };
    ($($arms:tt)+) => { $crate::select!(@ [] $($arms)+) };
}
