//! A short run of the chaos program, and proofs that its reckoning finds what it looks for.

use gorun_test_programs::chaos::hunter::Hunt;
use gorun_test_programs::chaos::plan::{Doom, Kind};
use gorun_test_programs::chaos::runs::FILE_NAME;
use gorun_test_programs::chaos::tally::{Loss, Tally};
use gorun_test_programs::chaos::verdict::{Verdict, judge};
use gorun_test_programs::program::Said;
use gorun_test_programs::{Death, Watchdog};
use std::collections::HashMap;
use std::process::Command;

#[test]
fn three_seconds_of_chaos_lose_nothing_without_a_cause() {
    let _watchdog = Watchdog::start("three_seconds_of_chaos_lose_nothing_without_a_cause");
    let folder = std::env::temp_dir().join(format!("gorun-chaos-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(["--seed", "11", "--seconds", "3"]).env("TMPDIR", &folder);
    let output = command.output().unwrap();
    let said = Said::of(&output);
    assert!(output.status.success(), "{}\n{}\n{}", output.status, said.out, said.err);
    std::fs::remove_file(folder.join(FILE_NAME)).unwrap();
    std::fs::remove_dir(folder).unwrap();
}

const PID: i32 = 77;

fn loss(id: u64, kind: Kind, signal: Option<i32>) -> Loss {
    Loss { id, kind, pid: PID, signal, code: None, as_planned: false, since_ns: 10, until_ns: 20 }
}

fn killed_with(signal: i32) -> Hunt {
    Hunt { kills: HashMap::from([(PID, vec![signal])]), ..Hunt::default() }
}

fn verdict(losses: Vec<Loss>, hunt: &Hunt) -> Verdict {
    let mut tally = Tally { losses, ..Tally::default() };
    judge(&mut tally, hunt, &HashMap::new())
}

#[test]
fn a_kill_from_outside_is_a_cause_only_with_its_own_signal() {
    let lost = || vec![loss(1, Kind::Quick, Some(9))];
    assert_eq!(verdict(lost(), &killed_with(9)).killed_from_outside, 1);
    assert_eq!(verdict(lost(), &killed_with(11)).without_cause, 1);
    assert_eq!(verdict(lost(), &Hunt::default()).without_cause, 1);
}

#[test]
fn an_unknown_end_needs_a_killed_zygote() {
    let lost = || vec![loss(1, Kind::Quick, None)];
    assert_eq!(verdict(lost(), &killed_with(9)).without_cause, 1);
    for (zygote_kill_ns, expected) in [(9, 0), (10, 1), (20, 1), (21, 0)] {
        let hunt = Hunt { zygote_kills_ns: vec![zygote_kill_ns], ..killed_with(9) };
        assert_eq!(verdict(lost(), &hunt).killed_from_outside, expected, "killed at {zygote_kill_ns}");
    }
    let orphaned = Hunt { orphans: [PID].into(), ..killed_with(9) };
    assert_eq!(verdict(lost(), &orphaned).killed_from_outside, 1);
}

#[test]
fn a_death_that_cost_two_tasks_is_found() {
    let lost = vec![loss(1, Kind::Quick, Some(9)), loss(2, Kind::Bulky, Some(9))];
    assert_eq!(verdict(lost, &killed_with(9)).without_cause, 1);
    let helping = vec![loss(1, Kind::Quick, Some(9)), loss(2, Kind::Nested, Some(9))];
    assert_eq!(verdict(helping, &killed_with(9)).without_cause, 0);
}

#[test]
fn a_doomed_task_takes_only_those_with_it_that_waited_inside() {
    let doomed = Kind::Doomed(Doom::Death(Death::Segfault));
    let planned = || Loss { as_planned: true, ..loss(1, doomed, Some(11)) };
    let beside = |kind| verdict(vec![planned(), loss(2, kind, Some(11))], &Hunt::default());
    assert_eq!((beside(Kind::Nested).planned, beside(Kind::Nested).killed_while_helping), (1, 1));
    assert_eq!(beside(Kind::Nested).without_cause, 0);
    // Without a cause of its own, and the second task of one death.
    assert_eq!(beside(Kind::InTime).without_cause, 2);
}

#[test]
fn a_doomed_task_that_ends_in_another_way_is_found() {
    let doomed = Kind::Doomed(Doom::Death(Death::Segfault));
    assert_eq!(verdict(vec![loss(1, doomed, Some(6))], &Hunt::default()).without_cause, 1);
    let endless = Kind::Doomed(Doom::Endless);
    assert_eq!(verdict(vec![loss(1, endless, Some(9))], &Hunt::default()).without_cause, 1);
}

#[test]
fn a_task_that_ran_twice_is_found() {
    let runs = HashMap::from([(1, vec![70, 71]), (2, vec![70])]);
    assert_eq!(judge(&mut Tally::default(), &Hunt::default(), &runs).run_twice, 1);
}

#[test]
fn a_value_without_a_run_and_a_loss_of_what_ran_elsewhere_are_found() {
    let lost = loss(3, Kind::Quick, Some(9));
    let mut tally = Tally { noted: vec![1, 2], losses: vec![lost], ..Tally::default() };
    let runs = HashMap::from([(1, vec![70]), (3, vec![PID + 1])]);
    assert_eq!(judge(&mut tally, &killed_with(9), &runs).not_where_they_ran, 2);
}

#[test]
fn a_task_that_was_lost_sight_of_is_found() {
    let mut tally = Tally { submitted: 5, right: 2, planned: 1, ..Tally::default() };
    tally.losses = vec![loss(1, Kind::Quick, Some(9))];
    let verdict = judge(&mut tally, &killed_with(9), &HashMap::new());
    assert_eq!((verdict.lost, verdict.unaccounted(&tally)), (1, 1));
}
