//! Programs of all kinds use gorun without an init call and without noticing it.

use gorun_test_programs::Watchdog;
use gorun_test_programs::program::{Said, succeed};
use std::io::Write;
use std::process::{Command, Stdio};

fn run(program: &str, arguments: &[&str]) -> Said {
    succeed(Command::new(program).args(arguments).stdin(Stdio::null()))
}

#[test]
fn a_plain_program_works() {
    let _watchdog = Watchdog::start("a_plain_program_works");
    let said = run(env!("CARGO_BIN_EXE_plain"), &[]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((lines[0], lines[1], lines.last()), ("42", "499500", Some(&"after")));
    assert!(lines[2].contains("SIGSEGV") && said.out.contains("at address 0x40"), "{}", said.out);
    assert_eq!(said.err, "", "nothing is said on standard error");
}

#[test]
fn a_program_that_reads_standard_input_gets_all_of_it() {
    let _watchdog = Watchdog::start("a_program_that_reads_standard_input_gets_all_of_it");
    let mut child = Command::new(env!("CARGO_BIN_EXE_reads_stdin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&vec![b'x'; 300_000]).unwrap();
    let said = Said::of(&child.wait_with_output().unwrap());
    assert_eq!(said.out, "a task read 0\nthe program read 300000\n");
}

#[test]
fn a_program_with_a_required_flag_works_with_it_and_fails_without() {
    let _watchdog = Watchdog::start("a_program_with_a_required_flag_works_with_it_and_fails_without");
    assert_eq!(run(env!("CARGO_BIN_EXE_flags"), &["--name", "worker"]).out, "hello worker\n");
    let output = Command::new(env!("CARGO_BIN_EXE_flags")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_swapped_allocator_works_in_host_and_workers() {
    let _watchdog = Watchdog::start("a_swapped_allocator_works_in_host_and_workers");
    assert_eq!(
        run(env!("CARGO_BIN_EXE_counts_memory"), &[]).out,
        "texts 100 counted true\nlost true then 100000\n"
    );
}

#[test]
fn fifty_threads_before_the_first_use_are_no_obstacle() {
    let _watchdog = Watchdog::start("fifty_threads_before_the_first_use_are_no_obstacle");
    assert_eq!(run(env!("CARGO_BIN_EXE_fifty_threads"), &[]).out, "sum 499500 lost true threads 50\n");
}

#[test]
fn a_program_that_reaps_any_child_sees_only_its_own() {
    let _watchdog = Watchdog::start("a_program_that_reaps_any_child_sees_only_its_own");
    assert_eq!(run(env!("CARGO_BIN_EXE_own_children"), &[]).out, "undisturbed\n");
}

#[test]
fn a_program_that_ignores_sigchld_hears_of_deaths() {
    let _watchdog = Watchdog::start("a_program_that_ignores_sigchld_hears_of_deaths");
    assert_eq!(run(env!("CARGO_BIN_EXE_ignores_sigchld"), &[]).out, "told 4 then Ok(5)\n");
}

#[test]
fn a_program_that_blocks_all_signals_hears_of_deaths() {
    let _watchdog = Watchdog::start("a_program_that_blocks_all_signals_hears_of_deaths");
    assert_eq!(
        run(env!("CARGO_BIN_EXE_blocks_signals"), &[]).out,
        "told 4, SIGTERM blocked in tasks: Ok(0)\n"
    );
}

#[test]
fn a_runtime_outlives_the_thread_that_started_it() {
    let _watchdog = Watchdog::start("a_runtime_outlives_the_thread_that_started_it");
    assert_eq!(run(env!("CARGO_BIN_EXE_short_lived_thread"), &[]).out, "Ok(2)\n");
}

#[test]
fn a_program_without_any_environment_works() {
    let _watchdog = Watchdog::start("a_program_without_any_environment_works");
    let said =
        succeed(Command::new(env!("CARGO_BIN_EXE_plain")).env_clear().current_dir("/").stdin(Stdio::null()));
    assert!(said.out.starts_with("42\n"));
}

#[test]
fn a_program_whose_standard_descriptors_are_closed_works() {
    let _watchdog = Watchdog::start("a_program_whose_standard_descriptors_are_closed_works");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" 0<&- 2>&-", env!("CARGO_BIN_EXE_plain")]);
    assert!(succeed(&mut shell).out.starts_with("42\n"));
}

#[test]
fn a_stray_zygote_mark_is_ignored() {
    let _watchdog = Watchdog::start("a_stray_zygote_mark_is_ignored");
    for mark in ["", "1:", "1:zz", "2:00", "1:00000000000000000000000000000001"] {
        let said =
            succeed(Command::new(env!("CARGO_BIN_EXE_plain")).env("GORUN_ZYGOTE", mark).stdin(Stdio::null()));
        assert!(said.out.starts_with("42\n"), "{mark}: {}", said.out);
    }
}

#[test]
fn bad_settings_in_the_environment_are_errors_with_key_value_and_range() {
    let _watchdog = Watchdog::start("bad_settings_in_the_environment_are_errors_with_key_value_and_range");
    for (key, value, allowed) in [
        ("GORUN_WORKERS", "abc", "1..=120"),
        ("GORUN_WORKERS", "-1", "1..=120"),
        ("GORUN_WORKERS", "0", "1..=120"),
        ("GORUN_WORKERS", "10000", "1..=120"),
        ("GORUN_SPARES", "many", "0..=8"),
        ("GORUN_PLACEMENT", "everywhere", "per-core"),
        ("GORUN_QUEUE_SLOTS", "100", "powers of two"),
        ("GORUN_MESSAGE_BYTES_MAX", "1G", "powers of two"),
        ("GORUN_SPIN_US", "5000", "0..="),
        ("GORUN_PROCESSES", "yes", "0, 1"),
        ("GORUN_PROCESSES", "2", "0, 1"),
    ] {
        let said = succeed(Command::new(env!("CARGO_BIN_EXE_settings")).env(key, value)).out;
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].starts_with("error: ") && lines[1].starts_with("map error: "),
            "{key}: {said}"
        );
        let word = value.trim_end_matches("000");
        assert!(
            lines.iter().all(|line| line.contains(word) && line.contains(allowed)),
            "{key}={value}: {said}"
        );
        let setting = key.trim_start_matches("GORUN_").trim_end_matches("_US").to_lowercase();
        assert!(lines[0].contains(key) || lines[0].contains(&setting), "{key}={value} is not named: {said}");
    }
}

#[test]
fn good_settings_in_the_environment_are_used() {
    let _watchdog = Watchdog::start("good_settings_in_the_environment_are_used");
    let said = succeed(
        Command::new(env!("CARGO_BIN_EXE_settings")).env("GORUN_WORKERS", "3").env("GORUN_SPIN_US", "0"),
    );
    assert_eq!(said.out, "value 1 workers 3\nmap right\n");
    let said = succeed(Command::new(env!("CARGO_BIN_EXE_settings")).env("GORUN_PROCESSES", "0"));
    assert!(said.out.starts_with("value 1"));
}

#[test]
fn a_build_with_link_time_optimisation_works() {
    // Builds everything once more: left out where a short run was asked for.
    if std::env::var_os("GORUN_QUICK").is_some() {
        return;
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--profile", "fat", "--bin", "plain", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(Said::of(&built).out.starts_with("42\n499500\n"), "{built:?}");
}
