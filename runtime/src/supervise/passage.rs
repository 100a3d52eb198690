//! Passage: one attempt on its way through its policies, from the host's side.
//!
//! It waits for its turn and for its permit with its input sealed, is started by whichever thread brings the permit,
//! and is the waker of its own task: its end is noticed at once, and not when somebody looks. It belongs to its handle
//! and, while it waits or runs, to whoever will wake it; a dropped handle changes nothing of that.
//!
//! | stage | means | left by |
//! |---|---|---|
//! | Turn | waits for a moment: the rate limit | the alarm |
//! | Line | waits for a permit of the bulkhead | whoever gives one back |
//! | Blocked | has both, but every lane is full | the alarm, by looking again |
//! | Starting | a thread submits it now | that thread |
//! | Running | a worker may see it; its end is noted once | whoever takes the outcome |
//! | Refused | ended without having run | whoever takes the outcome |
//! | Over | nothing is left | |
//!
//! Deadline, cancel and shutdown end the first three. Nothing waits here, and no lock is held while a task is
//! submitted or anybody woken: a waker may run anything.

use super::bulkhead::Bulkhead;
use super::circuit::Call;
use super::line::Entered;
use crate::book::Outcome;
use crate::deadlines::Alarm;
use crate::dispatch::Ticket;
use crate::error::{Place, TaskError};
use crate::runtime::PartsRef;
use crate::sealed::{Sealed, Unsent};
use gorun_shm::os::ticks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Time between two looks for room while every lane is full.
const ROOM_LOOK_NS: u64 = 1_000_000;

/// See the module's head.
pub(crate) struct Passage {
    parts: PartsRef,
    checks: Checks,
    started_ns: u64,
    inside: Mutex<Inside>,
}

/// What an attempt passes. The breaker has let it through already.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) call: Option<Call>,
    /// With its number there.
    pub(super) bulkhead: Option<(Arc<Bulkhead>, u64)>,
    /// When its turn is.
    pub(super) turn_ns: Option<u64>,
    /// It waits for room in the lanes as for a turn, and not in `begin`.
    pub(super) is_second: bool,
}

struct Inside {
    stage: Stage,
    /// Whom to wake when it starts or ends.
    waker: Option<Waker>,
    alarm: Option<Alarm>,
    has_permit: bool,
    /// When its end was noted.
    returned_ns: Option<u64>,
    /// It was killed while it was started.
    is_killed: bool,
    /// Its context was over while it was started.
    is_called_off: bool,
    /// The handle is gone.
    is_unwanted: bool,
}

enum Stage {
    Turn(u64, Box<Sealed>),
    Line(Box<Sealed>),
    Blocked(Box<Sealed>),
    Starting,
    Running(Ticket),
    Refused(TaskError),
    Over,
}

/// Where it is, for whoever waits for it.
pub(super) enum Whereabouts {
    Waiting,
    Running(Ticket),
    Ended,
}

enum Step {
    Rest,
    Enter,
    Submit(Box<Sealed>),
    Watch(Ticket),
    Refuse(Box<Sealed>, TaskError),
}

impl Passage {
    /// Starts an attempt, or has it wait.
    ///
    /// # Blocking
    /// While every lane is full, if it needs neither turn nor permit and is no second attempt.
    pub(super) fn begin(parts: &PartsRef, checks: Checks, sealed: Sealed) -> Arc<Self> {
        let started_ns = ticks::system_ns();
        let stage = match (checks.turn_ns, &checks.bulkhead) {
            (None, None) if !checks.is_second => sealed.submit().map_or_else(Stage::Refused, Stage::Running),
            (turn_ns, _) => Stage::Turn(turn_ns.unwrap_or(0), Box::new(sealed)),
        };
        let inside = Inside {
            stage,
            waker: None,
            alarm: None,
            has_permit: false,
            returned_ns: None,
            is_killed: false,
            is_called_off: false,
            is_unwanted: false,
        };
        let passage = Arc::new(Self { parts: parts.clone(), checks, started_ns, inside: Mutex::new(inside) });
        passage.look();
        passage
    }

    /// Goes as far as it can, and sees to it that it is woken for the rest.
    fn look(self: &Arc<Self>) {
        loop {
            // The lock is released at the end of this line.
            let step = self.step(&mut self.lock());
            let again = match step {
                Step::Rest => false,
                Step::Enter => self.enter(),
                Step::Submit(sealed) => self.submit(sealed),
                Step::Watch(ticket) => {
                    let waker = Waker::from(Arc::clone(self));
                    if !self.parts.dispatcher().ask_to_be_woken(&ticket, &waker) {
                        self.note_return(&ticket);
                    }
                    false
                }
                Step::Refuse(sealed, error) => {
                    drop(sealed);
                    self.refuse(error);
                    false
                }
            };
            if !again {
                return;
            }
        }
    }

    /// What is to be done now.
    fn step(self: &Arc<Self>, inside: &mut Inside) -> Step {
        match std::mem::replace(&mut inside.stage, Stage::Starting) {
            Stage::Turn(at_ns, sealed) if ticks::system_ns() < at_ns => {
                inside.stage = Stage::Turn(at_ns, sealed);
                self.rest(inside, Some(at_ns))
            }
            Stage::Turn(_, sealed) if self.checks.bulkhead.is_some() => {
                inside.stage = Stage::Line(sealed);
                Step::Enter
            }
            Stage::Turn(_, sealed) => Step::Submit(sealed),
            Stage::Line(sealed) => match overdue(&sealed) {
                Some(error) => Step::Refuse(sealed, error),
                None => {
                    let until_ns = sealed.deadline.map(|(at_ns, _)| at_ns);
                    inside.stage = Stage::Line(sealed);
                    self.rest(inside, until_ns)
                }
            },
            Stage::Blocked(sealed) => match overdue(&sealed) {
                Some(error) => Step::Refuse(sealed, error),
                None => Step::Submit(sealed),
            },
            other => {
                let step = match &other {
                    // Nobody could wake us in a worker: there whoever waits looks.
                    Stage::Running(ticket)
                        if inside.returned_ns.is_none() && !self.parts.dispatcher().is_nested() =>
                    {
                        Step::Watch(*ticket)
                    }
                    _ => Step::Rest,
                };
                inside.stage = other;
                step
            }
        }
    }

    /// Has it woken at that moment, and when the runtime is shut down.
    fn rest(self: &Arc<Self>, inside: &mut Inside, until_ns: Option<u64>) -> Step {
        let Some(until_ns) = until_ns else { return Step::Rest };
        let waker = Waker::from(Arc::clone(self));
        inside.alarm = self.parts.dispatcher().set_alarm(inside.alarm, until_ns, &waker);
        if inside.alarm.is_some() {
            return Step::Rest;
        }
        match std::mem::replace(&mut inside.stage, Stage::Starting) {
            Stage::Turn(_, sealed) | Stage::Line(sealed) | Stage::Blocked(sealed) => {
                Step::Refuse(sealed, TaskError::Closed)
            }
            other => {
                inside.stage = other;
                Step::Rest
            }
        }
    }

    /// Stands in the bulkhead's line; true if there is more to look at.
    fn enter(self: &Arc<Self>) -> bool {
        let Some((bulkhead, number)) = &self.checks.bulkhead else { return false };
        match bulkhead.enter(*number, Arc::clone(self)) {
            Entered::Now(_) => {
                self.admit();
                false
            }
            Entered::Waiting => true,
            Entered::Full(_) => {
                let sealed = self.lock().take_waiting();
                if sealed.is_some() {
                    drop(sealed);
                    self.parts.supervise().count_bulkhead_full();
                    self.refuse(TaskError::Rejected { reason: bulkhead.refusal() });
                }
                false
            }
        }
    }

    /// It was given a permit, which it gives back when it ends.
    pub(super) fn admit(self: &Arc<Self>) {
        let sealed = {
            let mut inside = self.lock();
            let sealed = inside.take_waiting();
            inside.has_permit = sealed.is_some();
            sealed
        };
        match (sealed, &self.checks.bulkhead) {
            (Some(sealed), _) => {
                if self.submit(sealed) {
                    self.look();
                }
            }
            // It was ended while it waited.
            (None, Some((bulkhead, _))) => bulkhead.leave(),
            (None, None) => {}
        }
    }

    /// Submits it; true if there is more to look at.
    fn submit(self: &Arc<Self>, sealed: Box<Sealed>) -> bool {
        match sealed.try_submit() {
            Ok(ticket) => {
                let (is_killed, is_called_off) = {
                    let mut inside = self.lock();
                    inside.stage = Stage::Running(ticket);
                    (inside.is_killed, inside.is_called_off)
                };
                if is_killed {
                    self.parts.dispatcher().kill(&ticket);
                } else if is_called_off {
                    self.parts.dispatcher().cancel(&ticket);
                }
                true
            }
            Err(Unsent::Full(sealed)) => self.block(sealed),
            Err(Unsent::Refused(error)) => {
                self.refuse(error);
                false
            }
        }
    }

    /// Every lane is full: looks again in a while, which is soon over, because lanes are served.
    #[cold]
    fn block(self: &Arc<Self>, sealed: Box<Sealed>) -> bool {
        let soon_ns = ticks::system_ns().saturating_add(ROOM_LOOK_NS);
        let until_ns = sealed.deadline.map_or(soon_ns, |(at_ns, _)| at_ns.min(soon_ns));
        let step = {
            let mut inside = self.lock();
            if inside.is_killed {
                Step::Refuse(sealed, TaskError::Cancelled)
            } else {
                inside.stage = Stage::Blocked(sealed);
                self.rest(&mut inside, Some(until_ns))
            }
        };
        if let Step::Refuse(sealed, error) = step {
            drop(sealed);
            self.refuse(error);
        }
        false
    }

    /// It ends without having run. The stage is Starting, so nobody else does this.
    fn refuse(&self, error: TaskError) {
        let (waker, alarm, had_permit) = {
            let mut inside = self.lock();
            let error = if inside.is_killed { TaskError::Cancelled } else { error };
            inside.stage = if inside.is_unwanted { Stage::Over } else { Stage::Refused(error) };
            inside.end()
        };
        if let Some((bulkhead, number)) = &self.checks.bulkhead {
            bulkhead.forget(*number);
        }
        self.tell(waker, alarm, had_permit);
    }

    /// The task has ended, however: everybody hears of it, once.
    fn note_return(&self, ticket: &Ticket) {
        let (is_unwanted, (waker, alarm, had_permit)) = {
            let mut inside = self.lock();
            if inside.returned_ns.is_some() {
                return;
            }
            inside.returned_ns = Some(ticks::system_ns());
            if inside.is_unwanted {
                inside.stage = Stage::Over;
            }
            (inside.is_unwanted, inside.end())
        };
        if is_unwanted {
            self.parts.dispatcher().detach(ticket);
        }
        if let Some(call) = &self.checks.call {
            call.note_return();
        }
        self.tell(waker, alarm, had_permit);
    }

    fn tell(&self, waker: Option<Waker>, alarm: Option<Alarm>, had_permit: bool) {
        if let Some(alarm) = alarm {
            self.parts.dispatcher().drop_alarm(alarm);
        }
        if let (true, Some((bulkhead, _))) = (had_permit, &self.checks.bulkhead) {
            bulkhead.leave();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Nothing of the user's runs under this lock, and each step leaves what it guards whole.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What its handle does.
impl Passage {
    /// Where it is. If its task has ended, everybody has heard of that afterwards.
    pub(super) fn whereabouts(&self) -> Whereabouts {
        let (ticket, has_returned) = {
            let inside = self.lock();
            match &inside.stage {
                Stage::Turn(..) | Stage::Line(_) | Stage::Blocked(_) | Stage::Starting => {
                    return Whereabouts::Waiting;
                }
                Stage::Running(ticket) => (*ticket, inside.returned_ns.is_some()),
                Stage::Refused(_) | Stage::Over => return Whereabouts::Ended,
            }
        };
        if !has_returned {
            if !self.parts.dispatcher().is_done(&ticket) {
                return Whereabouts::Running(ticket);
            }
            self.note_return(&ticket);
        }
        Whereabouts::Ended
    }

    /// Has the waker called when it has ended; false if it has.
    pub(super) fn ask_to_be_woken(&self, waker: &Waker) -> bool {
        let mut inside = self.lock();
        let goes_on =
            inside.returned_ns.is_none() && !matches!(inside.stage, Stage::Refused(_) | Stage::Over);
        let old = goes_on.then(|| inside.waker.replace(waker.clone()));
        drop(inside);
        // With the lock released: a waker may run anything when it goes.
        drop(old);
        goes_on
    }

    /// The outcome of one that has ended.
    pub(super) fn take(&self) -> Result<Outcome, TaskError> {
        let (stage, is_killed) = {
            let mut inside = self.lock();
            (std::mem::replace(&mut inside.stage, Stage::Over), inside.is_killed)
        };
        match stage {
            Stage::Running(ticket) if is_killed => {
                self.parts.dispatcher().detach(&ticket);
                Err(TaskError::Cancelled)
            }
            Stage::Running(ticket) => {
                let outcome = self.parts.dispatcher().take(&ticket);
                outcome.ok_or(TaskError::Decode { place: Place::Slot })
            }
            Stage::Refused(error) => Err(error),
            _ => Err(TaskError::Closed),
        }
    }

    /// Ends it if nobody has started it; false if somebody has.
    pub(super) fn cancel(&self) -> bool {
        self.end(false)
    }

    /// Its context is over: it ends if nobody has started it, and is asked to stop if it runs.
    pub(crate) fn call_off(&self) {
        {
            let mut inside = self.lock();
            if matches!(inside.stage, Stage::Starting) {
                inside.is_called_off = true;
                return;
            }
        }
        self.cancel();
    }

    /// True once nobody can end it any more.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.whereabouts(), Whereabouts::Ended)
    }

    /// Ends it whether it was started or not; false if it has ended already, or cannot be killed.
    pub(super) fn kill(&self) -> bool {
        self.end(true)
    }

    fn end(&self, runs_too: bool) -> bool {
        let (sealed, ticket) = {
            let mut inside = self.lock();
            match &inside.stage {
                Stage::Starting => {
                    inside.is_killed |= runs_too;
                    return runs_too;
                }
                Stage::Running(ticket) => (None, Some(*ticket)),
                _ => (inside.take_waiting(), None),
            }
        };
        let dispatcher = self.parts.dispatcher();
        match (sealed, ticket) {
            (Some(sealed), _) => {
                drop(sealed);
                self.refuse(TaskError::Cancelled);
                true
            }
            (None, Some(ticket)) if runs_too => dispatcher.kill(&ticket),
            (None, Some(ticket)) => dispatcher.cancel(&ticket),
            (None, None) => false,
        }
    }

    /// From its begin until it has ended, or until now.
    pub(super) fn took_ns(&self) -> u64 {
        let returned_ns = self.lock().returned_ns;
        returned_ns.unwrap_or_else(ticks::system_ns).saturating_sub(self.started_ns)
    }

    /// Tells the breaker how it ended.
    pub(super) fn report(&self, outcome: Result<(), &TaskError>) {
        if let Some(call) = &self.checks.call {
            call.end(outcome);
        }
    }

    /// The handle is gone: it goes on, and nobody will take its outcome.
    pub(super) fn abandon(&self) {
        let (ended, waker) = {
            let mut inside = self.lock();
            inside.is_unwanted = true;
            let ended = match inside.stage {
                Stage::Running(ticket) if inside.returned_ns.is_some() => Some(ticket),
                _ => None,
            };
            if ended.is_some() {
                inside.stage = Stage::Over;
            }
            (ended, inside.waker.take())
        };
        drop(waker);
        if let Some(ticket) = ended {
            self.parts.dispatcher().detach(&ticket);
        }
        if let Some(call) = &self.checks.call {
            call.abandon();
        }
    }
}

impl Inside {
    /// The task of one that waits; the stage is Starting then.
    fn take_waiting(&mut self) -> Option<Box<Sealed>> {
        match std::mem::replace(&mut self.stage, Stage::Starting) {
            Stage::Turn(_, sealed) | Stage::Line(sealed) | Stage::Blocked(sealed) => Some(sealed),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Whom to tell of the end, and whether a permit is to be given back.
    fn end(&mut self) -> (Option<Waker>, Option<Alarm>, bool) {
        (self.waker.take(), self.alarm.take(), std::mem::take(&mut self.has_permit))
    }
}

impl Wake for Passage {
    fn wake(self: Arc<Self>) {
        // Woken for nothing, it has itself woken again.
        self.look();
    }
}

/// The error of a task that has waited until its deadline.
fn overdue(sealed: &Sealed) -> Option<TaskError> {
    let (at_ns, after) = sealed.deadline?;
    (ticks::system_ns() >= at_ns).then_some(TaskError::TimedOut { after })
}
