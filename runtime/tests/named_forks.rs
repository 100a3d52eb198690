//! A program that forks without executing another has copies of its connections: they neither count nor work.
// UNSAFETY: a test of forks must fork.
#![expect(unsafe_code, reason = "fork and pause have no safe form")]

use gorun_runtime::channel::Connect;
use gorun_runtime::{Channel, NamedError, SendError};
use gorun_test_programs::{Watchdog, processes, program};
use std::io::{PipeWriter, Read, Write};
use std::process::Stdio;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const NAME: &str = "GORUN_TEST_NAME";

/// What the fork does: it tries what must fail, says so, and stays.
fn live_on(name: &str, sender: &gorun_runtime::Sender<i32>, mut refused: PipeWriter) -> ! {
    let connected = Connect::<i32>::to(name).sender();
    let bound = Channel::<i32>::bounded(1).bind("anything");
    let is_refused = matches!(connected, Err(NamedError::Forked))
        && matches!(bound, Err(NamedError::Forked))
        && matches!(sender.send(1), Err(SendError::NoChannel { .. }));
    let _ = refused.write_all(&[u8::from(is_refused)]);
    loop {
        // SAFETY: waits for a signal, nothing else.
        unsafe { libc::pause() };
    }
}

#[test]
fn the_end_of_a_program_is_seen_though_its_fork_lives_on() {
    const TEST: &str = "the_end_of_a_program_is_seen_though_its_fork_lives_on";
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_some() {
        let name = std::env::var(NAME).unwrap();
        let sender = Connect::<i32>::to(&name).sender().unwrap();
        let (mut answer, question) = std::io::pipe().unwrap();
        // SAFETY: the fork uses memory of its own, and ends by a signal.
        let fork = unsafe { libc::fork() };
        if fork == 0 {
            live_on(&name, &sender, question);
        }
        let mut is_refused = [0];
        answer.read_exact(&mut is_refused).unwrap();
        assert_eq!(is_refused, [1], "a fork uses nothing of its parent's connection, and makes none");
        sender.send(fork).unwrap();
        loop {
            std::thread::park();
        }
    }
    let name = format!("{TEST}-{}", std::process::id());
    let bound = Channel::<i32>::bounded(1).bind(&name).unwrap();
    let mut command = program::again(TEST, "forks");
    let mut child = command.env(NAME, &name).stdout(Stdio::null()).spawn().unwrap();
    let fork = bound.receiver().recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bound.wait_for_departure(LONG));
    assert!(processes::lives(fork), "it is not the fork whose end was seen");
    processes::kill(fork);
}
