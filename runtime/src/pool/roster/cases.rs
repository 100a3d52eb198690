//! The roster's decisions, one by one. Long lives of it are lived in `pool::sim`.

use super::super::breaker::PROOF_NS;
use super::*;
use gorun_worker::exit;

const KILLED: ProcessEnd = ProcessEnd::Signalled { signal: 9, dumped: false };
const SECOND: u64 = 1_000_000_000;
const IN_TASK: Passing = Passing { cause: Cause::InTask, was_productive: false };
const IDLE: Passing = Passing { cause: Cause::BetweenTasks, was_productive: false };
const FAILED: Passing = Passing { cause: Cause::FailedStart, was_productive: false };
const SERVED: Passing = Passing { cause: Cause::Tenure, was_productive: true };
const RESTED: Passing = Passing { cause: Cause::Rest, was_productive: true };

fn terms(seats: u16, spares: u16) -> Terms {
    let intensity = Intensity { crashes_max: 5, period_ns: 10 * SECOND };
    let records = seats * 2 + spares;
    Terms { seats, records, spares, intensity, restart: Restart::Permanent, seed: 1 }
}

/// Does as the roster says, with processes that can be had; gives what was done.
fn obey(roster: &mut Roster, mut actions: Vec<Action>, now: u64) -> Vec<Action> {
    static PIDS: gorun_shm::sync::AtomicU32 = gorun_shm::sync::AtomicU32::new(1000);
    let done = actions.clone();
    while let Some(action) = actions.pop() {
        match action {
            Action::Fork { record, .. } => {
                // Relaxed: only different numbers are asked for.
                let pid = PIDS.fetch_add(1, gorun_shm::sync::Ordering::Relaxed).cast_signed();
                roster.forked(record, pid, now);
            }
            Action::Degrade { seat } => drop(roster.degraded(seat, now)),
            _ => {}
        }
    }
    done
}

fn open(terms: Terms) -> Roster {
    let mut roster = Roster::new(terms);
    let actions = roster.open();
    obey(&mut roster, actions, 0);
    roster
}

/// The worker of `seat` passes away and is buried; gives what the roster said to that.
fn pass(roster: &mut Roster, seat: u16, passing: Passing, now: u64) -> Vec<Action> {
    let sitting = roster.sitting(seat);
    let (record, pid) = (sitting.record.expect("somebody"), sitting.pid.expect("a process"));
    let actions = roster.ended(record, (pid, KILLED), passing, now);
    obey(roster, actions, now)
}

fn degrades(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Degrade { .. }))
}

#[test]
fn opening_fills_every_seat_and_the_bench() {
    let actions = Roster::new(terms(2, 1)).open();
    assert_eq!(
        actions,
        [
            Action::Fork { record: 0, seat: Some(0) },
            Action::Fork { record: 1, seat: Some(1) },
            Action::Fork { record: 2, seat: None }
        ]
    );
}

#[test]
fn a_death_hands_the_seat_to_the_spare_and_asks_for_another() {
    let mut roster = open(terms(2, 1));
    let actions = roster.dying(1, IN_TASK, 5);
    assert_eq!(
        actions,
        [
            Action::Vacate { record: 1, seat: 1 },
            Action::Assign { record: 2, seat: 1 },
            Action::Fork { record: 3, seat: None }
        ]
    );
    assert_eq!(roster.seat_of(2).map(|(seat, generation, _)| (seat, generation)), Some((1, 2)));
}

#[test]
fn the_end_buries_once_whichever_sign_came_first() {
    let mut roster = open(terms(1, 0));
    let pid = roster.sitting(0).pid.unwrap();
    roster.dying(0, IN_TASK, 5);
    let worker = WorkerId { seat: Seat(0), generation: 1 };
    let actions = roster.ended(0, (pid, KILLED), IN_TASK, 5);
    assert_eq!(actions[0], Action::Bury { record: 0, worker, pid, end: KILLED });
    assert_eq!(roster.ended(0, (pid, KILLED), IN_TASK, 5), []);
}

#[test]
fn a_dying_record_is_not_used_again_before_its_burial() {
    let mut roster = open(terms(1, 0));
    for action in roster.dying(0, IN_TASK, 5) {
        assert!(!matches!(action, Action::Fork { record: 0, .. }), "{action:?}");
    }
}

#[test]
fn deaths_inside_of_tasks_never_keep_a_seat_empty() {
    let mut roster = open(terms(1, 1));
    for n in 0..10_000 {
        let actions = pass(&mut roster, 0, IN_TASK, n);
        assert!(actions.iter().any(|action| matches!(action, Action::Assign { .. })), "{n}: {actions:?}");
    }
}

#[test]
fn planned_ends_never_keep_a_seat_empty() {
    let mut roster = open(terms(1, 0));
    for n in 0..1000 {
        for cause in [Cause::Tenure, Cause::Killed] {
            pass(&mut roster, 0, Passing { cause, was_productive: n % 2 == 0 }, n);
            assert!(roster.sitting(0).pid.is_some(), "{n}: {cause:?}");
        }
    }
}

#[test]
fn the_sixth_crash_in_ten_seconds_leaves_the_seat_to_the_others_for_a_while() {
    let mut roster = open(terms(2, 1));
    for n in 0..5 {
        pass(&mut roster, 0, IDLE, n);
        assert!(roster.sitting(0).record.is_some(), "crash {n} is borne");
    }
    let actions = pass(&mut roster, 0, IDLE, 6);
    assert!(actions.contains(&Action::Abandon { seat: 0 }) && !degrades(&actions), "{actions:?}");
    assert_eq!(roster.sitting(0).breaker, Some(BreakerState::Open));
    let due = roster.due_ns().unwrap();
    assert_eq!(roster.look(due - 1), []);
    let actions = roster.look(due);
    assert!(matches!(actions[0], Action::Assign { seat: 0, .. }), "{actions:?}");
    assert_eq!(roster.sitting(0).breaker, Some(BreakerState::HalfOpen));
    obey(&mut roster, actions, due);
    roster.look(due + PROOF_NS);
    assert_eq!(roster.sitting(0).breaker, Some(BreakerState::Closed));
}

#[test]
fn a_storm_of_crashes_between_tasks_never_costs_the_isolation_and_never_a_second() {
    let mut roster = open(terms(2, 1));
    let mut now = 0;
    for _ in 0..500 {
        for seat in 0..2 {
            if roster.sitting(seat).pid.is_some() {
                assert!(!degrades(&pass(&mut roster, seat, IDLE, now)));
            }
        }
        if roster.is_alone() {
            let due = roster.due_ns().expect("a probe");
            assert!(due <= now + ALONE_NS, "nobody serves, and nobody will for {} ns", due - now);
            now = due;
            let actions = roster.look(now);
            obey(&mut roster, actions, now);
        }
    }
}

#[test]
fn refused_forks_degrade_only_when_nobody_is_left() {
    let mut roster = Roster::new(terms(2, 0));
    roster.open();
    assert_eq!(roster.refused(0, 0), [Action::Abandon { seat: 0 }]);
    assert_eq!(roster.refused(1, 0), [Action::Degrade { seat: 1 }]);
}

#[test]
fn workers_that_cannot_start_are_not_forked_for_ever() {
    let mut roster = open(terms(1, 0));
    for _ in 0..10 {
        if degrades(&pass(&mut roster, 0, FAILED, 0)) {
            return assert!(roster.sitting(0).is_thread);
        }
    }
    panic!("still forking after ten failed starts");
}

#[test]
fn a_thread_is_recalled_once_a_process_has_proven_itself() {
    let mut roster = Roster::new(terms(1, 0));
    roster.open();
    let actions = roster.refused(0, 0);
    obey(&mut roster, actions, 0);
    assert!(roster.has_threads());
    let mut now = 0;
    let recalled = loop {
        now = roster.due_ns().expect("it tries again").max(now);
        let actions = roster.look(now);
        obey(&mut roster, actions.clone(), now);
        if let Some(Action::Recall { record }) =
            actions.iter().find(|action| matches!(action, Action::Recall { .. }))
        {
            break *record;
        }
    };
    let actions = roster.thread_left(recalled, now);
    assert!(matches!(actions[0], Action::Bury { pid: 0, .. }), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Assign { seat: 0, .. })), "{actions:?}");
    assert!(!roster.has_threads());
}

#[test]
fn zygotes_that_do_not_start_are_followed_by_threads_and_by_another_try() {
    let mut roster = Roster::new(terms(2, 1));
    roster.open();
    assert_eq!(roster.zygote_ended(false, 0), [Action::StartZygote]);
    let actions = roster.zygote_ended(false, 0);
    assert_eq!(actions, [Action::Degrade { seat: 0 }, Action::Degrade { seat: 1 }]);
    obey(&mut roster, actions, 0);
    let due = roster.due_ns().expect("it tries again");
    let actions = roster.look(due);
    assert!(matches!(actions[..], [Action::Fork { seat: None, .. }, Action::StartZygote]), "{actions:?}");
}

#[test]
fn processes_that_are_switched_off_are_not_tried_again() {
    let mut roster = Roster::new(terms(1, 1));
    roster.open();
    let actions = roster.no_zygote(false, 0);
    assert_eq!(obey(&mut roster, actions, 0), [Action::Degrade { seat: 0 }]);
    assert_eq!(roster.due_ns(), None);
}

#[test]
fn a_zygote_that_dies_again_and_again_is_given_a_pause() {
    let mut roster = open(terms(1, 0));
    let restarts = (0..20).filter(|_| roster.zygote_ended(true, 0) == [Action::StartZygote]).count();
    assert_eq!(restarts, 5);
    let due = roster.due_ns().expect("it tries again");
    assert_eq!(roster.look(due), [Action::StartZygote]);
}

#[test]
fn a_second_try_at_a_worker_ends_without_harm_to_the_first() {
    let mut roster = Roster::new(terms(1, 0));
    roster.open();
    roster.forked(0, 200, 0);
    roster.adopted(0, 100, 0);
    let taken = ProcessEnd::Exited { code: exit::RECORD_TAKEN };
    assert_eq!(roster.ended(0, (200, taken), FAILED, 0), []);
    assert_eq!((roster.seat_of(0), roster.processes()), (Some((0, 1, 100)), vec![(0, 100)]));
    assert!(!roster.is_child_of_current_zygote(0));
    // Counted first, told then.
    let actions = roster.ended(0, (100, KILLED), IDLE, 0);
    assert!(matches!(actions[..2], [Action::Vacate { .. }, Action::Bury { pid: 100, .. }]), "{actions:?}");
}

#[test]
fn a_closed_roster_fills_nothing() {
    let mut roster = open(terms(2, 1));
    roster.close();
    assert_eq!(roster.dying(0, IDLE, 0), [Action::Vacate { record: 0, seat: 0 }]);
    assert_eq!((roster.due_ns(), roster.look(SECOND)), (None, Vec::new()));
}

#[test]
fn a_transient_seat_is_filled_after_a_death_and_not_after_a_tenure() {
    let mut roster = open(Terms { restart: Restart::Transient, ..terms(2, 0) });
    pass(&mut roster, 0, IN_TASK, 0);
    assert!(roster.sitting(0).pid.is_some());
    let actions = pass(&mut roster, 0, SERVED, 0);
    assert!(actions.contains(&Action::Abandon { seat: 0 }) && !actions.contains(&Action::Exhaust));
    assert!(pass(&mut roster, 1, SERVED, 0).contains(&Action::Exhaust));
}

#[test]
fn a_temporary_seat_is_never_filled_again_and_has_no_spare() {
    let mut roster = open(Terms { restart: Restart::Temporary, ..terms(2, 1) });
    assert_eq!(roster.processes().len(), 2);
    assert!(!pass(&mut roster, 1, IN_TASK, 0).contains(&Action::Exhaust));
    let actions = pass(&mut roster, 0, IN_TASK, 0);
    assert!(actions.contains(&Action::Exhaust), "{actions:?}");
    assert_eq!(roster.processes(), []);
}

#[test]
fn a_resting_seat_is_filled_when_it_is_called() {
    let mut roster = open(terms(2, 0));
    assert!(pass(&mut roster, 1, RESTED, 0).contains(&Action::Rest));
    assert_eq!((roster.resting(), roster.due_ns()), (1, None));
    // Whichever seat the task stands at.
    let actions = roster.rouse(0, 0);
    assert!(matches!(actions[..], [Action::Fork { seat: Some(1), .. }]), "{actions:?}");
    assert_eq!((roster.resting(), roster.rouse(0, 0)), (0, Vec::new()));
}
