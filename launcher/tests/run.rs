//! `gorun run`, as a user runs it: the real launcher around small programs.
//!
//! Plain programs are shell lines. A program that uses gorun is this test executable again, asked for one of the
//! `subject_` tests at the end, which do nothing unless their variable is set.

mod launched;

use gorun::prelude::*;
use launched::{
    Launched, SUBJECT, Scratch, WAIT_FOR_STDIN, Watchdog, json, launcher, output, send, subject, text,
};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn exit_code_passes_through() {
    let _watchdog = Watchdog::start();
    assert_eq!(output(&["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
}

#[test]
fn arguments_pass_unread() {
    let _watchdog = Watchdog::start();
    let output = output(&["echo", "--workers", "0", "--", "-x"]);
    assert_eq!(text(&output.stdout), "--workers 0 -- -x\n");
}

#[test]
fn stdin_and_stdout_are_the_programs() {
    let _watchdog = Watchdog::start();
    let mut launched = Launched::start(&["--", "cat"]);
    launched.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    assert_eq!(launched.rest_of_stdout(), "one\ntwo\n");
    assert_eq!(launched.end(), Some(0));
}

#[test]
fn flags_set_variables_and_missing_flags_leave_them() {
    let _watchdog = Watchdog::start();
    let output = launcher(&["--workers", "3", "--message-bytes-max", "64K", "--threads", "--", "env"])
        .env("GORUN_SPARES", "5")
        .env("GORUN_WORKERS", "9")
        .env_remove("GORUN_SPIN_US")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    let set: Vec<&str> = printed.lines().collect();
    for expected in
        ["GORUN_WORKERS=3", "GORUN_MESSAGE_BYTES_MAX=65536", "GORUN_PROCESSES=0", "GORUN_SPARES=5"]
    {
        assert!(set.contains(&expected), "{expected} in {set:?}");
    }
    assert!(!set.iter().any(|line| line.starts_with("GORUN_SPIN_US")), "{set:?}");
}

#[test]
fn a_bad_flag_names_flag_value_and_range() {
    let _watchdog = Watchdog::start();
    for (flag, value, range) in [
        ("--workers", "121", "1..=120"),
        ("--workers", "many", "1..=120"),
        ("--spares", "9", "0..=8"),
        ("--queue-slots", "100", "powers of two, 64..=65536"),
        ("--message-bytes-max", "4G", "powers of two, 4096..=2147483648"),
        ("--spin-us", "1001", "0..=1000"),
        ("--placement", "moon", "per-core, per-l3, per-node, none"),
        ("--smt", "on", "spread, pack, avoid"),
    ] {
        let output = output(&[flag, value, "--", "true"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(flag) && said.contains(value) && said.contains(range), "{said}");
    }
}

#[test]
fn a_missing_program_is_127() {
    let _watchdog = Watchdog::start();
    let output = output(&["--", "no-such-program-anywhere"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).contains("cannot run no-such-program-anywhere"), "{}", text(&output.stderr));
}

#[test]
fn a_program_that_cannot_be_executed_is_126() {
    let _watchdog = Watchdog::start();
    let file = Scratch::new("not-executable");
    std::fs::write(&file.0, "true\n").unwrap();
    std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = output(&["--", file.0.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output.stderr).contains("chmod +x"), "{}", text(&output.stderr));
}

#[test]
fn every_passed_signal_reaches_the_program() {
    let _watchdog = Watchdog::start();
    for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"] {
        let trap = format!("trap 'echo got {signal}; exit 7' {signal}; echo ready; {WAIT_FOR_STDIN}");
        let mut launched = Launched::start(&["--", "sh", "-c", &trap]);
        assert_eq!(launched.line(), "ready");
        send(signal, launched.child.id());
        assert_eq!(launched.line(), format!("got {signal}"));
        drop(launched.stdin.take());
        assert_eq!(launched.end(), Some(7));
    }
}

#[test]
fn death_by_signal_is_128_more() {
    let _watchdog = Watchdog::start();
    let output = output(&["--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.code(), Some(128 + 15));
    assert!(text(&output.stderr).contains("was ended by SIGTERM"), "{}", text(&output.stderr));
}

#[test]
fn death_by_a_realtime_signal_is_128_more() {
    let _watchdog = Watchdog::start();
    assert_eq!(output(&["--", "sh", "-c", "kill -40 $$"]).status.code(), Some(128 + 40));
}

#[test]
fn a_stopped_program_is_waited_for() {
    let _watchdog = Watchdog::start();
    let mut launched = Launched::start(&["--", "sh", "-c", "echo $$; read line; echo $line; exit 4"]);
    let program = launched.line();
    send("STOP", &program);
    send("CONT", launched.child.id());
    launched.stdin.take().unwrap().write_all(b"on\n").unwrap();
    assert_eq!(launched.line(), "on");
    assert_eq!(launched.end(), Some(4));
}

#[test]
fn a_launcher_killed_takes_its_program_along() {
    let _watchdog = Watchdog::start();
    let mut launched = Launched::start(&["--", "sh", "-c", "echo ready; exec cat"]);
    assert_eq!(launched.line(), "ready");
    send("KILL", launched.child.id());
    // Ends only when nobody holds the pipe any more, and standard input stays open.
    assert_eq!(launched.rest_of_stdout(), "");
    assert_eq!(launched.end(), None);
}

#[test]
fn the_program_starts_with_the_launchers_signal_mask() {
    let _watchdog = Watchdog::start();
    let grep = ["grep", "^Sig[BI]", "/proc/self/status"];
    let direct = Command::new(grep[0]).args(&grep[1..]).output().unwrap();
    let launched = output(&[&["--"], &grep[..]].concat());
    assert_eq!(text(&launched.stdout), text(&direct.stdout));
}

#[test]
fn a_program_without_runtime_is_said_so() {
    let _watchdog = Watchdog::start();
    let said = text(&output(&["--", "true"]).stderr);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("no runtime"), "{said}");
}

#[test]
fn quiet_prints_nothing() {
    let _watchdog = Watchdog::start();
    assert_eq!(text(&output(&["--quiet", "--", "true"]).stderr), "");
}

#[test]
fn outcomes_are_summarised() {
    let _watchdog = Watchdog::start();
    let output = subject("subject_runs_tasks", &["--workers", "2", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary = json(&text(&output.stderr));
    let runtime = &summary["runtimes"][0];
    assert_eq!(runtime["seats"].as_array().unwrap().len(), 2);
    assert_eq!(runtime["pid"], summary["program"]["pid"]);
    let counts =
        ["submitted", "finished", "panicked", "lost", "unfinished"].map(|key| runtime[key].as_u64().unwrap());
    assert_eq!(counts, [50, 48, 1, 1, 0]);
    let deaths: u64 =
        runtime["seats"].as_array().unwrap().iter().map(|seat| seat["deaths"].as_u64().unwrap()).sum();
    assert_eq!(deaths, 1);
    assert_eq!(runtime["degraded"], false);
}

#[test]
fn each_runtime_is_listed() {
    let _watchdog = Watchdog::start();
    let output = subject("subject_starts_three_runtimes", &["--json"]).output().unwrap();
    let summary = json(&text(&output.stderr));
    let submitted =
        summary["runtimes"].as_array().unwrap().iter().map(|runtime| runtime["submitted"].as_u64());
    assert_eq!(submitted.collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_killed_program_is_summarised() {
    let _watchdog = Watchdog::start();
    let mut launched = Launched::of(subject("subject_waits_after_tasks", &[]));
    let program = launched.answer("host ");
    send("KILL", &program);
    let said = launched.rest_of_stderr();
    assert_eq!(launched.end(), Some(128 + 9), "{said}");
    assert!(said.contains("was ended by SIGKILL"), "{said}");
    assert!(said.contains(&format!("runtime of process {program}: ")), "{said}");
    assert!(said.contains("submitted 10, finished 10,"), "{said}");
}

#[test]
fn summary_goes_to_a_file() {
    let _watchdog = Watchdog::start();
    let file = Scratch::new("summary");
    let output = output(&["--json", "--summary-file", file.0.to_str().unwrap(), "--", "sh", "-c", "exit 3"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(3), String::new()));
    let summary = json(&std::fs::read_to_string(&file.0).unwrap());
    assert_eq!(summary["program"]["exit_code"], 3);
}

#[test]
fn a_summary_file_that_cannot_be_written_stops_before_the_program() {
    let _watchdog = Watchdog::start();
    let output = output(&["--summary-file", "/proc/no/such/folder", "--", "echo", "ran"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(125), String::new()));
}

#[test]
fn a_false_report_is_an_error_line() {
    let _watchdog = Watchdog::start();
    let output = subject("subject_reports_nonsense", &[]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("a report was refused: a message of 3 bytes with 0 descriptors"), "{said}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let _watchdog = Watchdog::start();
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_gorun")).args(["completions", shell]).output().unwrap();
        assert!(text(&output.stdout).contains("summary-file"), "{shell}");
    }
}

fn is_subject(name: &str) -> bool {
    std::env::var(SUBJECT).is_ok_and(|asked| asked == name)
}

#[test]
fn subject_runs_tasks() {
    if !is_subject("subject_runs_tasks") {
        return;
    }
    let work = |n: u64| match n {
        10 => panic!("asked to"),
        20 => std::process::abort(),
        _ => n,
    };
    let tasks: Vec<_> = (0..50).map(|n| Task::with(n, work).go()).collect();
    assert_eq!(tasks.into_iter().filter_map(|task| task.join().ok()).count(), 48);
}

#[test]
fn subject_starts_three_runtimes() {
    if !is_subject("subject_starts_three_runtimes") {
        return;
    }
    for tasks in 1..=3 {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        for _ in 0..tasks {
            runtime.go(|| ()).join().unwrap();
        }
    }
}

#[test]
fn subject_waits_after_tasks() {
    if !is_subject("subject_waits_after_tasks") {
        return;
    }
    for _ in 0..10 {
        go_parallel(|| ()).join().unwrap();
    }
    println!("host {}", std::process::id());
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn subject_reports_nonsense() {
    if !is_subject("subject_reports_nonsense") {
        return;
    }
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket};
    use std::os::fd::AsRawFd;
    let name = std::env::var(gorun::observe::VARIABLE).unwrap();
    let kind = SockType::SeqPacket;
    let socket = socket(AddressFamily::Unix, kind, SockFlag::empty(), None).unwrap();
    connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).unwrap()).unwrap();
    send(socket.as_raw_fd(), b"abc", MsgFlags::empty()).unwrap();
}
