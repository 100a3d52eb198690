//! The user forks after the runtime has started: the fork is refused service, the host is not disturbed.

use gorun_test_programs::Watchdog;
use gorun_test_programs::program::succeed;
use std::process::Command;

fn assert_undisturbed_by(act: &str) {
    let _watchdog = Watchdog::start(act);
    let said = succeed(Command::new(env!("CARGO_BIN_EXE_forks")).arg(act));
    assert_eq!(said.out, "fork exited true with 0\nhost undisturbed, lost 0\n", "{act}: {}", said.err);
}

#[test]
fn tasks_started_in_a_fork_are_refused_at_once() {
    assert_undisturbed_by("starts_tasks");
}

#[test]
fn maps_started_in_a_fork_are_refused_at_once() {
    assert_undisturbed_by("starts_a_map");
}

#[test]
fn memory_is_not_lent_in_a_fork() {
    assert_undisturbed_by("borrows_memory");
}

#[test]
fn a_fork_that_drops_the_runtime_and_its_handles_disturbs_nobody() {
    assert_undisturbed_by("drops_all");
}

#[test]
fn a_fork_may_build_a_runtime_of_its_own() {
    assert_undisturbed_by("builds_its_own");
}

#[test]
fn handles_joined_in_a_fork_are_refused() {
    assert_undisturbed_by("joins");
}
