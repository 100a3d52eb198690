//! What tasks fork and start lives as long as its worker, and not longer, whoever dies first.

use gorun::prelude::*;
use gorun_test_programs::offspring::{Birth, beget};
use gorun_test_programs::processes::{
    Process, all, await_end, await_family, kill, lives, open, signal, stop,
};
use gorun_test_programs::{Death, Watchdog, eventually};
use rustix::fd::OwnedFd;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BEGETS: &str = env!("CARGO_BIN_EXE_begets");

/// Descriptors of living processes, opened while they live.
fn all_of(pids: &[i32]) -> Vec<OwnedFd> {
    pids.iter().map(|pid| open(*pid).expect("it lives")).collect()
}

fn await_ends(pidfds: &[OwnedFd]) {
    pidfds.iter().for_each(await_end);
}

/// A runtime with one worker that has begotten one process in each way.
fn parent() -> (Runtime, Vec<i32>) {
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let begotten = runtime.task(BEGETS.to_owned(), beget).join().expect("begets");
    assert_eq!(begotten.len(), Birth::ALL.len());
    (runtime, begotten)
}

#[test]
fn it_lives_on_while_its_worker_does_and_ends_with_the_runtime() {
    let _watchdog = Watchdog::start("it_lives_on_while_its_worker_does_and_ends_with_the_runtime");
    let (runtime, begotten) = parent();
    for n in 0..1000_u32 {
        assert_eq!(runtime.task(n, |n| n + 1).join(), Ok(n + 1));
    }
    assert!(begotten.iter().all(|pid| lives(*pid)));
    drop(runtime);
    // The zygote leaves only when nothing is left.
    assert_eq!(begotten.iter().filter(|pid| lives(**pid)).count(), 0);
}

#[test]
fn it_ends_with_its_worker_however_that_ends() {
    let _watchdog = Watchdog::start("it_ends_with_its_worker_however_that_ends");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    for death in [Death::Abort, Death::Exit(3), Death::Kill, Death::Segfault, Death::StackOverflow] {
        let begotten = runtime.task(BEGETS.to_owned(), beget).join().expect("begets");
        let ends = all_of(&begotten);
        let lost = runtime.task(death, |death: Death| -> u8 { death.die() }).join();
        assert!(matches!(lost, Err(TaskError::WorkerLost { .. })), "{lost:?}");
        await_ends(&ends);
    }
}

#[test]
fn it_ends_with_the_task_that_has_just_made_it() {
    let _watchdog = Watchdog::start("it_ends_with_the_task_that_has_just_made_it");
    let told = std::env::temp_dir().join(format!("gorun-offspring-{}", std::process::id()));
    let runtime = Runtime::builder().workers(1).quarantine_after(0).build().expect("build a runtime");
    for _ in 0..10 {
        let lost = runtime.task((BEGETS.to_owned(), told.clone()), |(begets, told)| -> u8 {
            let line = beget(begets).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            std::fs::write(told, line).expect("tell the test");
            std::process::abort()
        });
        assert!(matches!(lost.join(), Err(TaskError::WorkerLost { .. })));
        let line = std::fs::read_to_string(&told).expect("read what it told");
        let begotten: Vec<i32> = line.split(' ').map(|pid| pid.parse().expect("a process id")).collect();
        assert_eq!(begotten.len(), Birth::ALL.len());
        eventually(|| begotten.iter().all(|pid| !lives(*pid)));
    }
    std::fs::remove_file(told).expect("remove it");
}

#[test]
fn it_ends_at_the_deadline_of_its_task() {
    let _watchdog = Watchdog::start("it_ends_at_the_deadline_of_its_task");
    let (runtime, begotten) = parent();
    let ends = all_of(&begotten);
    let endless = Task::with((), |()| -> u8 {
        loop {
            std::hint::spin_loop();
        }
    });
    let outcome = endless.deadline(Duration::from_millis(50)).go_on(&runtime).join();
    assert!(matches!(outcome, Err(TaskError::TimedOut { .. })), "{outcome:?}");
    await_ends(&ends);
}

#[test]
fn it_ends_with_a_worker_that_makes_room() {
    let _watchdog = Watchdog::start("it_ends_with_a_worker_that_makes_room");
    let runtime = Runtime::builder().workers(1).max_tasks_per_worker(1).build().expect("build a runtime");
    let begotten = runtime.task(BEGETS.to_owned(), beget).join().expect("begets");
    eventually(|| begotten.iter().all(|pid| !lives(*pid)));
}

struct Host {
    child: Child,
    zygote: OwnedFd,
    zygote_pid: i32,
    workers: Vec<(i32, OwnedFd)>,
    begotten: Vec<OwnedFd>,
}

impl Host {
    fn start() -> Self {
        let mut child = Command::new(BEGETS).stdout(Stdio::piped()).spawn().expect("start");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut pids = || -> Vec<i32> {
            let line = lines.next().expect("a line").expect("read what it says");
            line.split_whitespace().map(|pid| pid.parse().expect("a process id")).collect()
        };
        let (zygote_pid, workers, begotten) = (pids()[0], pids(), pids());
        let zygote = open(zygote_pid).expect("it lives");
        let workers = workers.iter().map(|pid| (*pid, open(*pid).expect("it lives"))).collect();
        Self { child, zygote, zygote_pid, workers, begotten: all_of(&begotten) }
    }

    fn kill_host(&mut self) {
        self.child.kill().expect("kill the host");
        self.child.wait().expect("reap the host");
    }

    fn kill_zygote(&self) {
        kill(self.zygote_pid);
        await_end(&self.zygote);
    }

    fn kill_workers(&self) {
        self.workers.iter().for_each(|(pid, _)| kill(*pid));
        self.workers.iter().for_each(|(_, end)| await_end(end));
    }

    fn await_nothing_left(&self) {
        await_end(&self.zygote);
        self.workers.iter().for_each(|(_, end)| await_end(end));
        await_ends(&self.begotten);
    }
}

#[test]
fn nothing_is_left_of_a_killed_host() {
    let _watchdog = Watchdog::start("nothing_is_left_of_a_killed_host");
    let mut host = Host::start();
    host.kill_host();
    host.await_nothing_left();
}

#[test]
fn nothing_is_left_after_workers_then_host() {
    let _watchdog = Watchdog::start("nothing_is_left_after_workers_then_host");
    let mut host = Host::start();
    host.kill_workers();
    // It lives as long as its worker.
    await_ends(&host.begotten);
    host.kill_host();
    host.await_nothing_left();
}

#[test]
fn nothing_is_left_after_zygote_then_workers_then_host() {
    let _watchdog = Watchdog::start("nothing_is_left_after_zygote_then_workers_then_host");
    let mut host = Host::start();
    host.kill_zygote();
    host.kill_workers();
    // The zygote that adopted it is gone: the next one finds it by its mark.
    await_ends(&host.begotten);
    host.kill_host();
    host.await_nothing_left();
}

#[test]
fn nothing_is_left_after_workers_then_zygote_then_host() {
    let _watchdog = Watchdog::start("nothing_is_left_after_workers_then_zygote_then_host");
    let mut host = Host::start();
    host.workers.iter().for_each(|(pid, _)| kill(*pid));
    host.kill_zygote();
    await_ends(&host.begotten);
    host.kill_host();
    host.await_nothing_left();
}

/// What a zygote and all below it are marked with.
fn family_of(pid: i32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let entries = String::from_utf8_lossy(&environment).into_owned();
    entries.split('\0').find(|entry| entry.starts_with("GORUN_FAMILY=")).map(ToOwned::to_owned)
}

#[test]
fn nothing_is_left_after_zygote_then_host() {
    let _watchdog = Watchdog::start("nothing_is_left_after_zygote_then_host");
    let mut host = Host::start();
    let family = family_of(host.zygote_pid).expect("it is marked");
    host.kill_zygote();
    // Only a host and a zygote that are killed at one instant leave nobody who knows of daemons.
    let is_next = |process: &Process| {
        process.name == "gorun-zygote" && family_of(process.pid).as_deref() == Some(family.as_str())
    };
    eventually(|| all().iter().any(is_next));
    host.kill_host();
    host.await_nothing_left();
}

#[test]
fn nothing_is_left_of_a_host_whose_zygote_is_stopped() {
    let _watchdog = Watchdog::start("nothing_is_left_of_a_host_whose_zygote_is_stopped");
    let mut host = Host::start();
    stop(host.zygote_pid);
    host.kill_host();
    // The workers die with their lease, and the groups that they lead; daemons once the zygote may go on.
    host.workers.iter().for_each(|(_, end)| await_end(end));
    signal(host.zygote_pid, rustix::process::Signal::CONT);
    host.await_nothing_left();
}

#[test]
fn what_stayed_in_its_workers_group_dies_by_the_lease_alone() {
    let _watchdog = Watchdog::start("what_stayed_in_its_workers_group_dies_by_the_lease_alone");
    let mut host = Host::start();
    // Nobody reaps the workers or kills what they leave behind.
    stop(host.zygote_pid);
    host.kill_workers();
    host.kill_host();
    let of_birth = |birth| host.begotten.iter().skip(birth).step_by(Birth::ALL.len());
    let daemons = Birth::ALL.iter().position(|birth| *birth == Birth::Daemon).expect("one of them");
    (0..Birth::ALL.len()).filter(|birth| *birth != daemons).flat_map(of_birth).for_each(await_end);
    signal(host.zygote_pid, rustix::process::Signal::CONT);
    host.await_nothing_left();
}

#[test]
fn a_stopped_worker_survives_its_zygote() {
    let _watchdog = Watchdog::start("a_stopped_worker_survives_its_zygote");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let family = await_family(&runtime, 1);
    let worker = open(family.seated[0]).expect("it lives");
    stop(family.seated[0]);
    let task = runtime.go(|| 7_u8);
    let zygote = open(family.zygote).expect("it lives");
    kill(family.zygote);
    await_end(&zygote);
    eventually(|| runtime.stats().zygote_restarts == 1);
    signal(family.seated[0], rustix::process::Signal::CONT);
    assert_eq!(task.join(), Ok(7));
    assert!(!gorun_worker::os::pidfd::has_ended(&worker));
}
