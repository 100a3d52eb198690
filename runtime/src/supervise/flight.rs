//! Flight: the attempt of a task that runs now, the second one beside it, and when that is due.
//!
//! Nothing here waits. The alarm is for whoever waits for the task; without one it notices by itself what is due.

use super::guarded::Standing;
use super::hedge::Times;
use super::passage::Whereabouts;
use super::runner::Runner;
use crate::deadlines::Alarm;
use crate::dispatch::Dispatcher;
use gorun_shm::os::ticks;
use std::task::Waker;

/// See the module's head. One of the two is there.
pub(super) struct Flight {
    first: Option<Runner>,
    second: Option<Runner>,
    due: Option<Due>,
}

/// When a second attempt is to be started.
struct Due {
    at_ns: u64,
    alarm: Option<Alarm>,
}

impl Flight {
    /// Of one attempt, and of a second from `due_ns` on.
    pub(super) fn new(runner: Runner, due_ns: Option<u64>) -> Self {
        let due = due_ns.map(|at_ns| Due { at_ns, alarm: None });
        Self { first: Some(runner), second: None, due }
    }

    fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.first.iter().chain(&self.second)
    }

    /// True once, if a second attempt is to be started now.
    pub(super) fn take_due(&mut self, dispatcher: &Dispatcher) -> bool {
        let is_due = self.due.as_ref().is_some_and(|due| due.at_ns <= ticks::system_ns());
        if is_due {
            self.settle_for_these(dispatcher);
        }
        is_due
    }

    /// There will be no further attempt.
    pub(super) fn settle_for_these(&mut self, dispatcher: &Dispatcher) {
        if let Some(alarm) = self.due.take().and_then(|due| due.alarm) {
            dispatcher.drop_alarm(alarm);
        }
    }

    pub(super) fn join(&mut self, second: Runner) {
        self.second = Some(second);
    }

    /// Takes out one that has ended, and says whether it is the second.
    pub(super) fn pull_ended(&mut self, dispatcher: &Dispatcher) -> Option<(Runner, bool)> {
        let ended = |place: &mut Option<Runner>| {
            place.take_if(|runner| matches!(runner.whereabouts(dispatcher), Whereabouts::Ended))
        };
        if let Some(first) = ended(&mut self.first) {
            return Some((first, false));
        }
        ended(&mut self.second).map(|second| (second, true))
    }

    pub(super) fn is_over(&self) -> bool {
        self.runners().next().is_none()
    }

    /// What is to be waited for, with the waker called then; none if one has ended.
    pub(super) fn standing(&mut self, dispatcher: &Dispatcher, waker: Option<&Waker>) -> Option<Standing> {
        if let Some(waker) = waker {
            // Asked before looked at: what ends in between wakes us.
            if !self.runners().all(|runner| runner.ask_to_be_woken(dispatcher, waker)) {
                return None;
            }
            if let Some(due) = &mut self.due {
                // None if the runtime was shut down, which ends the attempts.
                due.alarm = dispatcher.set_alarm(due.alarm, due.at_ns, waker);
            }
        }
        let until_ns = self.due.as_ref().map(|due| due.at_ns);
        let mut standing = None;
        for runner in self.runners() {
            standing = match (runner.whereabouts(dispatcher), standing) {
                (Whereabouts::Ended, _) => return None,
                (Whereabouts::Running(ticket), None) => Some(Standing::Running(ticket, until_ns)),
                _ => Some(Standing::Waiting),
            };
        }
        standing
    }

    /// Where a worker's nested task stands: it has one attempt.
    pub(super) fn nested_standing(&self, dispatcher: &Dispatcher) -> Standing {
        match self.first.as_ref().map(|runner| runner.whereabouts(dispatcher)) {
            Some(Whereabouts::Running(ticket)) => Standing::Running(ticket, None),
            Some(Whereabouts::Waiting) => Standing::Waiting,
            Some(Whereabouts::Ended) | None => Standing::Ended,
        }
    }

    /// True if `end` has ended all.
    pub(super) fn end(&mut self, dispatcher: &Dispatcher, end: impl Fn(&Runner) -> bool) -> bool {
        self.settle_for_these(dispatcher);
        self.runners().fold(true, |all, runner| end(runner) & all)
    }

    /// Another has won: what is left is killed, and its time remembered, which is less than it would have needed.
    pub(super) fn lose(mut self, dispatcher: &Dispatcher, times: Option<&Times>) {
        self.settle_for_these(dispatcher);
        for runner in self.runners() {
            if let (Some(times), Some(took_ns)) = (times, runner.took_ns()) {
                times.note(took_ns);
            }
            runner.kill(dispatcher);
            runner.abandon(dispatcher);
        }
    }

    /// Nobody will look at them.
    pub(super) fn abandon(mut self, dispatcher: &Dispatcher) {
        self.settle_for_these(dispatcher);
        self.runners().for_each(|runner| runner.abandon(dispatcher));
    }
}
