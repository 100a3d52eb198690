//! The host is killed in the middle of work: nothing of it runs on.

use gorun_test_programs::Watchdog;
use gorun_test_programs::processes::{await_end, kill, lives, open};
use rustix::fd::OwnedFd;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

struct Host {
    child: Child,
    /// A fork of the host that lives on, or 0.
    fork: i32,
    /// Zygote and workers.
    others: Vec<(i32, OwnedFd)>,
}

fn start(arguments: &[&str]) -> Host {
    let mut child = Command::new(env!("CARGO_BIN_EXE_endless"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("read what it says");
    let mut pids = line.split_whitespace().map(|pid| pid.parse::<i32>().expect("a process id"));
    let fork = pids.next().expect("the fork");
    let others: Vec<_> = pids.map(|pid| (pid, open(pid).expect("it lives"))).collect();
    assert_eq!(others.len(), 5, "a zygote, three workers, a spare: {line}");
    Host { child, fork, others }
}

fn kill_and_await_the_others(mut host: Host) {
    host.child.kill().expect("kill the host");
    host.child.wait().expect("reap the host");
    host.others.iter().for_each(|(_, pidfd)| await_end(pidfd));
}

#[test]
fn killing_the_host_ends_zygote_workers_and_spare() {
    let _watchdog = Watchdog::start("killing_the_host_ends_zygote_workers_and_spare");
    for _ in 0..5 {
        kill_and_await_the_others(start(&[]));
    }
}

#[test]
fn killing_the_host_after_its_zygote_ends_the_workers() {
    let _watchdog = Watchdog::start("killing_the_host_after_its_zygote_ends_the_workers");
    let host = start(&[]);
    let (zygote, pidfd) = &host.others[0];
    kill(*zygote);
    await_end(pidfd);
    kill_and_await_the_others(host);
}

#[test]
fn killing_the_host_ends_all_even_if_a_fork_of_it_lives() {
    let _watchdog = Watchdog::start("killing_the_host_ends_all_even_if_a_fork_of_it_lives");
    let host = start(&["fork"]);
    let fork = host.fork;
    kill_and_await_the_others(host);
    assert!(lives(fork));
    kill(fork);
}
