//! Hunter: kills workers, spares and zygotes from outside at random instants, and measures how soon a seat is filled.

use super::numbers::Numbers;
use crate::processes;
use gorun::Runtime;
use gorun_shm::os::ticks::system_ns;
use gorun_shm::sync::{AtomicBool, Ordering};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Pause between two attacks, in microseconds.
const PAUSE_US: std::ops::Range<u64> = 1_000..50_000;
/// How long a worker stays stopped, in microseconds.
const STOP_US: std::ops::Range<u64> = 1_000..150_000;
/// A seat that is empty for so long stays empty.
const PATIENCE_NS: u64 = 20_000_000_000;
/// Looks at an empty seat before the hunter rests between two.
const EAGER_LOOKS: u32 = 2_000;

/// What the hunter did.
#[derive(Debug, Default)]
pub struct Hunt {
    /// Deadly signals by process.
    pub kills: HashMap<i32, Vec<i32>>,
    /// Workers whose zygote was killed: nobody can tell how they end.
    pub orphans: HashSet<i32>,
    /// When zygotes were killed.
    pub zygote_kills_ns: Vec<u64>,
    /// Workers that were stopped.
    pub stops: u64,
    /// From the kill of a seated worker to the next one in its seat, in microseconds.
    pub recoveries_us: Vec<u64>,
    /// Seats that stayed empty, and zygotes that were not replaced.
    pub never_filled: u64,
}

struct Stopped {
    pid: i32,
    pidfd: OwnedFd,
    until_ns: u64,
    is_killed_then: bool,
}

/// See the module's head.
#[derive(Debug)]
pub struct Hunter<'a> {
    runtime: &'a Runtime,
    numbers: Numbers,
    stopped: Vec<Stopped>,
    /// Zygotes that were seen at rest.
    ready_zygotes: HashSet<i32>,
    hunt: Hunt,
}

impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stopped({})", self.pid)
    }
}

impl<'a> Hunter<'a> {
    /// A hunter of this runtime's processes.
    #[must_use]
    pub fn new(runtime: &'a Runtime, seed: u64) -> Self {
        Self {
            runtime,
            numbers: Numbers::new(seed, 0),
            stopped: Vec::new(),
            ready_zygotes: HashSet::new(),
            hunt: Hunt::default(),
        }
    }

    /// Hunts until `is_over`, then lets go of whoever is stopped.
    ///
    /// # Blocking
    /// Until then.
    #[must_use]
    pub fn run(mut self, is_over: &AtomicBool) -> Hunt {
        // Acquire: pairs with the Release of whoever ends the hunt.
        while !is_over.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_micros(
                self.numbers.between(PAUSE_US.start, PAUSE_US.end),
            ));
            self.let_go(system_ns());
            match self.numbers.draw() % 100 {
                0..35 => self.kill_seated(Signal::KILL),
                35..50 => self.kill_seated(Signal::SEGV),
                50..65 => self.kill_spare(),
                65..88 => self.stop_seated(),
                _ => self.kill_zygote(),
            }
        }
        self.let_go(u64::MAX);
        self.hunt
    }

    fn kill_seated(&mut self, signal: Signal) {
        let Some((seat, pid, pidfd)) = self.seated() else { return };
        let since_ns = system_ns();
        if !self.kill(pid, &pidfd, signal) {
            return;
        }
        for look in 0.. {
            let now_in_seat = self.runtime.stats().seats[seat].pid.map(u32::cast_signed);
            let passed_ns = system_ns() - since_ns;
            if now_in_seat.is_some_and(|now| now != pid) {
                self.hunt.recoveries_us.push(passed_ns / 1000);
                return;
            }
            if passed_ns > PATIENCE_NS {
                self.hunt.never_filled += 1;
                return;
            }
            self.let_go(system_ns());
            if look < EAGER_LOOKS {
                std::thread::yield_now();
            } else {
                std::thread::park_timeout(Duration::from_micros(200));
            }
        }
    }

    fn kill_spare(&mut self) {
        let seated: Vec<u32> = self.runtime.stats().seats.iter().filter_map(|seat| seat.pid).collect();
        let workers = processes::of_this_run().into_iter();
        let spares: Vec<i32> = workers
            .filter(|worker| worker.name != ZYGOTE && !seated.contains(&worker.pid.cast_unsigned()))
            .map(|worker| worker.pid)
            .collect();
        let signal = if self.numbers.chance(70) { Signal::KILL } else { Signal::SEGV };
        let Some(pid) = self.numbers.pick(&spares).copied() else { return };
        let Some(pidfd) = processes::open(pid) else { return };
        // Looked at again after the descriptor was opened: it still is one of ours.
        if processes::of_this_run().iter().any(|worker| worker.pid == pid) {
            self.kill(pid, &pidfd, signal);
        }
    }

    fn stop_seated(&mut self) {
        let Some((_, pid, pidfd)) = self.seated() else { return };
        if pidfd_send_signal(&pidfd, Signal::STOP).is_ok() {
            self.hunt.stops += 1;
            let until_ns = system_ns() + 1000 * self.numbers.between(STOP_US.start, STOP_US.end);
            let is_killed_then = self.numbers.chance(40);
            self.stopped.push(Stopped { pid, pidfd, until_ns, is_killed_then });
        }
    }

    /// Kills the zygote, stopped at a random instant, so that it is known whom it leaves behind.
    fn kill_zygote(&mut self) {
        let zygotes = processes::of_this_run().into_iter().filter(|process| process.name == ZYGOTE);
        let Some(zygote) = zygotes.map(|zygote| zygote.pid).next() else { return };
        let Some(pidfd) = processes::open(zygote) else { return };
        // One that sleeps and has children is ready: two in a row that die before are taken for unable to start.
        if !self.ready_zygotes.contains(&zygote) {
            if state_of(zygote) != Some('S') || children_of(zygote).is_empty() {
                return;
            }
            self.ready_zygotes.insert(zygote);
            return;
        }
        if pidfd_send_signal(&pidfd, Signal::STOP).is_err() {
            return;
        }
        let before = self.runtime.stats().zygote_restarts;
        crate::eventually(|| !matches!(state_of(zygote), Some('R' | 'S' | 'D')));
        self.hunt.orphans.extend(children_of(zygote));
        self.hunt.zygote_kills_ns.push(system_ns());
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        let since_ns = system_ns();
        let mut is_replaced = false;
        crate::eventually(|| {
            is_replaced = self.runtime.stats().zygote_restarts > before;
            is_replaced || system_ns() - since_ns > PATIENCE_NS
        });
        self.hunt.never_filled += u64::from(!is_replaced);
    }

    /// Sends the signal, and notes it if it arrived.
    fn kill(&mut self, pid: i32, pidfd: &OwnedFd, signal: Signal) -> bool {
        let sent = pidfd_send_signal(pidfd, signal).is_ok();
        if sent {
            self.hunt.kills.entry(pid).or_default().push(signal.as_raw());
        }
        sent
    }

    /// Somebody who has a seat; the descriptor was opened while he had it.
    fn seated(&mut self) -> Option<(usize, i32, OwnedFd)> {
        let seats = self.runtime.stats().seats;
        let seat = self.numbers.pick(&seats)?;
        let pid = seat.pid?.cast_signed();
        let pidfd = processes::open(pid)?;
        let now_in_seat = self.runtime.stats().seats.get(seat.seat)?.pid;
        (now_in_seat == seat.pid).then_some((seat.seat, pid, pidfd))
    }

    /// Ends the stops that are due.
    fn let_go(&mut self, now_ns: u64) {
        let (due, left) =
            std::mem::take(&mut self.stopped).into_iter().partition(|one| one.until_ns <= now_ns);
        self.stopped = left;
        let due: Vec<Stopped> = due;
        for one in due {
            if one.is_killed_then {
                self.kill(one.pid, &one.pidfd, Signal::KILL);
            } else {
                // One that was killed meanwhile is gone.
                let _ = pidfd_send_signal(&one.pidfd, Signal::CONT);
            }
        }
    }
}

const ZYGOTE: &str = "gorun-zygote";

fn children_of(parent: i32) -> Vec<i32> {
    let children = processes::all().into_iter().filter(|process| process.parent == parent);
    children.map(|child| child.pid).collect()
}

fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
