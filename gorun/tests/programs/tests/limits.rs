//! Limits of the kernel are reached: a clear error, or tasks on threads with a warning, never a hang.

use gorun_test_programs::Watchdog;
use gorun_test_programs::program::{Said, succeed};
use std::process::Command;

fn limited(arguments: &[&str]) -> Said {
    let _watchdog = Watchdog::start(&arguments.join(" "));
    succeed(Command::new(env!("CARGO_BIN_EXE_limited")).args(arguments))
}

/// What the documentation promises: work done, refused with a fix, or done on threads with a warning.
fn assert_honest(said: &Said, fix: &str) {
    let last = said.out.lines().last().unwrap_or_default();
    let degraded =
        last == "right true degraded true" && said.err.contains("warning") && said.err.contains(fix);
    let refused = (last.starts_with("refused: ") || last.starts_with("failed: ")) && said.out.contains(fix);
    let closed = last.starts_with("failed: ") && said.err.contains("warning");
    assert!(last == "right true degraded false" || degraded || refused || closed, "{said:?}");
}

#[test]
fn any_number_of_descriptors_is_enough_or_too_few_with_a_clear_word() {
    for limit in 3..24 {
        assert_honest(&limited(&["nofile", &limit.to_string()]), "RLIMIT_NOFILE");
    }
}

#[test]
fn any_number_of_processes_is_enough_or_too_few_with_a_clear_word() {
    for limit in 1..10 {
        assert_honest(&limited(&["nproc", &limit.to_string()]), "RLIMIT_NPROC");
    }
}

#[test]
fn too_little_address_space_is_refused_with_the_fix() {
    let said = limited(&["as", "2000000000"]);
    assert!(said.out.starts_with("refused: ") && said.out.contains("RLIMIT_AS"), "{said:?}");
}

#[test]
fn processes_used_up_after_the_start_do_not_make_deaths_unheard() {
    for limit in ["1", "6"] {
        let said = limited(&["nproc", limit, "after"]);
        assert!(said.out.starts_with("lost true\n"), "limit {limit}: {said:?}");
        assert_honest(&said, "RLIMIT_NPROC");
    }
}

#[test]
fn descriptors_used_up_after_the_start_do_not_make_deaths_unheard() {
    for limit in ["3", "8", "12", "16"] {
        let said = limited(&["nofile", limit, "after"]);
        assert!(said.out.starts_with("lost true\n"), "limit {limit}: {said:?}");
        assert_honest(&said, "RLIMIT_NOFILE");
    }
}

#[test]
fn forks_that_are_refused_for_a_while_cost_the_isolation_for_a_while() {
    let _watchdog = Watchdog::start("forks_that_are_refused_for_a_while_cost_the_isolation_for_a_while");
    assert_recovers("forks");
}

#[test]
fn a_zygote_that_cannot_be_had_for_a_while_costs_the_isolation_for_a_while() {
    let _watchdog =
        Watchdog::start("a_zygote_that_cannot_be_had_for_a_while_costs_the_isolation_for_a_while");
    assert_recovers("zygote");
}

#[test]
fn without_graceful_degradation_tasks_wait_for_a_process() {
    let _watchdog = Watchdog::start("without_graceful_degradation_tasks_wait_for_a_process");
    for what in ["forks", "zygote"] {
        let said = succeed(Command::new(env!("CARGO_BIN_EXE_recovers")).args([what, "strictly"]));
        assert_eq!(said.out.trim(), "recovered", "{what}: {said:?}");
        assert!(said.err.contains("graceful_degradation is off"), "{what}: {said:?}");
    }
}

/// Three times over, and each time both the loss and the recovery are told.
fn assert_recovers(what: &str) {
    let said = succeed(Command::new(env!("CARGO_BIN_EXE_recovers")).arg(what));
    assert_eq!(said.out.trim(), "recovered", "{said:?}");
    let told = said.err.matches("worker processes can be had again").count();
    assert_eq!(told, 3, "{said:?}");
}
