//! Whole programs that try to break out of jails: every attempt is denied, the host is fine, the next task is served.

use gorun_test_programs::program::succeed;
use gorun_test_programs::{Watchdog, processes};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the programs of this test keep their files; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number matters.
        let name = format!("gorun-jailed-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("make a folder");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jailed"));
    // By their folder the processes of one run are known.
    command.env("GORUN_TEST_SECRET", "1").env("TMPDIR", &folder.0);
    command
}

/// Runs the attempts of these groups. Where the kernel lacks the jail, every task was refused by name instead.
fn attempts(groups: &[&str]) {
    let folder = Folder::new();
    let said = succeed(program(&folder).args(groups));
    if said.out.starts_with("refused: ") {
        assert!(said.out.contains("Landlock") || said.out.contains("seccomp"), "{}", said.out);
        return;
    }
    for group in groups {
        assert!(said.out.contains(&format!("group {group}\n")), "{}\n{}", said.out, said.err);
    }
    assert!(said.out.ends_with("dropped\n"), "{}", said.out);
}

#[test]
fn files_are_out_of_reach() {
    attempts(&["files"]);
}

#[test]
fn the_network_is_out_of_reach() {
    attempts(&["network"]);
}

#[test]
fn no_process_and_no_program_can_be_started() {
    attempts(&["processes"]);
}

#[test]
fn the_kernels_wider_doors_are_shut() {
    attempts(&["kernel"]);
}

#[test]
fn the_jail_cannot_be_taken_off() {
    attempts(&["own-jail"]);
}

#[test]
fn memory_has_a_limit() {
    attempts(&["memory"]);
}

#[test]
fn the_host_cannot_be_harmed() {
    attempts(&["host"]);
}

#[test]
fn a_neighbour_cannot_be_harmed() {
    attempts(&["neighbour"]);
}

#[test]
fn read_only_means_these_paths_and_reading() {
    attempts(&["read-only"]);
}

#[test]
fn custom_allows_what_it_says_and_no_more() {
    attempts(&["custom"]);
}

#[test]
fn nothing_of_the_host_is_found_inside() {
    attempts(&["inside"]);
}

#[test]
fn a_scribbled_segment_costs_its_own_task() {
    attempts(&["scribble"]);
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    attempts(&["endless"]);
}

#[test]
fn a_dead_jailer_is_replaced() {
    attempts(&["jailer-killed"]);
}

#[test]
fn nothing_is_left_of_jails() {
    attempts(&["leftovers"]);
}

#[test]
fn jailed_workers_die_with_their_host() {
    let _watchdog = Watchdog::start("jailed_workers_die_with_their_host");
    for _ in 0..3 {
        let folder = Folder::new();
        let mut command = program(&folder);
        command.arg("wait-to-be-killed").stdout(Stdio::piped());
        let mut host = command.spawn().expect("start the program");
        let mut line = String::new();
        BufReader::new(host.stdout.take().expect("a pipe")).read_line(&mut line).expect("read what it says");
        let pids = line.split_whitespace().filter_map(|pid| pid.parse().ok());
        let processes: Vec<_> = pids.filter_map(processes::open).collect();
        host.kill().expect("kill the host");
        host.wait().expect("reap the host");
        processes.iter().for_each(processes::await_end);
        assert!(line.starts_with("refused: ") || processes.len() == 7, "{line}");
    }
}

fn lacking(part: &str) -> String {
    succeed(Command::new(env!("CARGO_BIN_EXE_jail_lacking")).arg(part)).out
}

fn line<'a>(said: &'a str, head: &str) -> &'a str {
    said.lines().find_map(|line| line.strip_prefix(head)).unwrap_or_else(|| panic!("no {head} in {said}"))
}

#[test]
fn without_landlock_a_jail_is_refused_by_name() {
    let said = lacking("landlock");
    for profile in ["strict: ", "files: "] {
        assert!(line(&said, profile).contains("lacks the path restriction (Landlock)"), "{said}");
    }
    assert_eq!(line(&said, "loose: "), "peeked false", "the filter alone still denies files");
}

#[test]
fn without_filters_a_jail_is_refused_by_name() {
    let said = lacking("filter");
    for profile in ["strict: ", "files: "] {
        assert!(line(&said, profile).contains("lacks the system call filter (seccomp)"), "{said}");
    }
    assert!(line(&said, "loose: ").starts_with("peeked "), "{said}");
}
