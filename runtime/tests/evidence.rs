//! Evidence: a death says which signal, where, in which function, on which stack, under which limits.
// UNSAFETY: the faults are real ones.
#![expect(unsafe_code, reason = "an invalid access is what is tested")]

use gorun_runtime::{Evidence, Runtime, Task, TaskError};
use gorun_test_programs::{Death, Watchdog};
use std::hint::black_box;

#[inline(never)]
fn inner_that_faults(address: usize) -> u8 {
    let nowhere = std::ptr::without_provenance::<u8>(black_box(address));
    // SAFETY: none: nothing is mapped there, so the processor stops this process, which is what the test wants.
    unsafe { nowhere.read_volatile() }
}

fn outer_that_faults(address: usize) -> u8 {
    inner_that_faults(black_box(address)).wrapping_add(1)
}

fn evidence_of(runtime: &Runtime, task: Task<usize, u8>) -> Evidence {
    match task.go_on(runtime).join() {
        Err(TaskError::WorkerLost { evidence }) => *evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fault_is_told_with_address_function_and_stack() {
    let _watchdog = Watchdog::start("a_fault_is_told_with_address_function_and_stack");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let evidence = evidence_of(&runtime, Task::with(0x1234, outer_that_faults));
    assert_eq!((evidence.signal(), evidence.fault_address()), (Some(11), Some(0x1234)));
    assert_eq!(evidence.input_bytes(), Some(8));
    let function = evidence.function().expect("the function is known");
    assert!(function.ends_with("outer_that_faults"), "{function}");
    let stack = evidence.backtrace();
    let frame =
        |name: &str| stack.iter().position(|frame| frame.contains(name) && frame.contains("evidence.rs:"));
    let (inner, outer) = (frame("inner_that_faults"), frame("outer_that_faults"));
    assert!(inner.is_some() && inner < outer, "{stack:#?}");
    let text = evidence.to_string();
    for part in ["SIGSEGV", "nothing is mapped at address 0x1234", "outer_that_faults", "limits:", "next:"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(text.lines().next(), Some(evidence.summary().as_str()));
}

fn dive(depth: usize) -> u8 {
    let frame = black_box([1_u8; 256]);
    if depth == 0 { frame[0] } else { dive(black_box(depth + 1)).wrapping_add(frame[depth % 256]) }
}

#[test]
fn a_stack_overflow_is_told_from_a_stack_of_its_own() {
    let _watchdog = Watchdog::start("a_stack_overflow_is_told_from_a_stack_of_its_own");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let evidence = evidence_of(&runtime, Task::with(1, dive));
    assert_eq!(evidence.signal(), Some(11));
    assert!(evidence.fault_address().is_some());
    let stack = evidence.backtrace();
    assert!(stack.len() > 10 && stack[5].contains("dive"), "{stack:#?}");
}

#[test]
fn an_abort_names_who_aborted() {
    let _watchdog = Watchdog::start("an_abort_names_who_aborted");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    fn aborts(_: usize) -> u8 {
        std::process::abort()
    }
    let evidence = evidence_of(&runtime, Task::with(0, aborts));
    assert_eq!((evidence.signal(), evidence.fault_address()), (Some(6), None));
    let stack = evidence.backtrace();
    assert!(stack.iter().any(|frame| frame.contains("aborts")), "{stack:#?}");
}

#[test]
fn deaths_without_last_words_name_the_function_all_the_same() {
    let _watchdog = Watchdog::start("deaths_without_last_words_name_the_function_all_the_same");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    fn exits(code: usize) -> u8 {
        Death::Exit(i32::try_from(code).unwrap_or(1)).die()
    }
    fn is_killed(_: usize) -> u8 {
        Death::Kill.die()
    }
    for (task, name) in
        [(Task::with(5, exits as fn(usize) -> u8), "exits"), (Task::with(0, is_killed), "is_killed")]
    {
        let evidence = evidence_of(&runtime, task);
        assert!(evidence.function().is_some_and(|function| function.ends_with(name)), "{evidence}");
        assert_eq!(evidence.backtrace(), Vec::<String>::new());
    }
}

#[test]
fn an_item_of_a_map_has_evidence_too() {
    let _watchdog = Watchdog::start("an_item_of_a_map_has_evidence_too");
    let runtime = Runtime::builder().workers(2).build().expect("build a runtime");
    fn sometimes(n: usize) -> u8 {
        if n == 70 { outer_that_faults(0x70) } else { 0 }
    }
    let outcomes = runtime.map(0..100, sometimes).outcomes();
    let lost: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    let [TaskError::WorkerLost { evidence }] = lost[..] else { panic!("{lost:?}") };
    assert_eq!(evidence.fault_address(), Some(0x70));
    assert!(evidence.function().is_some_and(|function| function.ends_with("sometimes")), "{evidence}");
}

#[test]
fn a_worker_whose_code_handles_the_signal_itself_dies_its_own_way() {
    let _watchdog = Watchdog::start("a_worker_whose_code_handles_the_signal_itself_dies_its_own_way");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    fn handles(_: usize) -> u8 {
        extern "C" fn leave(_: libc::c_int) {
            // SAFETY: may be called in a handler.
            unsafe { libc::_exit(33) };
        }
        // SAFETY: a handler of the right type.
        unsafe { libc::signal(libc::SIGSEGV, leave as *const () as usize) };
        inner_that_faults(64)
    }
    let evidence = evidence_of(&runtime, Task::with(0, handles));
    assert_eq!((evidence.exit_code(), evidence.backtrace().len()), (Some(33), 0));
}

extern "C" fn panics_without_unwinding(n: usize) -> u8 {
    assert!(n > 1000, "{n} is too small");
    0
}

#[test]
fn a_panic_that_ends_in_an_abort_is_told_with_its_message() {
    let _watchdog = Watchdog::start("a_panic_that_ends_in_an_abort_is_told_with_its_message");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let earlier = Task::with(0, |_| -> u8 { panic!("of another task") }).go_on(&runtime).join();
    assert!(matches!(earlier, Err(TaskError::Panicked { .. })));
    let evidence = evidence_of(&runtime, Task::with(77, |n| panics_without_unwinding(n)));
    assert_eq!(evidence.signal(), Some(6));
    let panic = evidence.panic().expect("it is noted");
    assert!(panic.starts_with("77 is too small at ") && panic.contains("evidence.rs:"), "{panic}");
    assert!(evidence.to_string().contains("\n  panic:     77 is too small"), "{evidence}");
    // One that an earlier task had, and survived, is not this one's.
    let earlier = Task::with(0, |_| -> u8 { panic!("of another task") }).go_on(&runtime).join();
    assert!(matches!(earlier, Err(TaskError::Panicked { .. })));
    assert_eq!(evidence_of(&runtime, Task::with(64, outer_that_faults)).panic(), None);
}

fn counted(n: usize) -> u8 {
    black_box(n).to_le_bytes()[0]
}

#[test]
fn the_last_tasks_are_told_the_last_one_first() {
    let _watchdog = Watchdog::start("the_last_tasks_are_told_the_last_one_first");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    for n in 0..50 {
        assert!(runtime.task(n, counted).join().is_ok());
    }
    let evidence = evidence_of(&runtime, Task::with(64, outer_that_faults));
    let recent = evidence.recent_tasks();
    assert_eq!(recent.len(), 16);
    assert!(recent[0].function.ends_with("outer_that_faults") && recent[0].took.is_none(), "{recent:?}");
    for (later, earlier) in recent.iter().zip(&recent[1..]) {
        assert!(earlier.function.ends_with("counted") && earlier.age >= later.age, "{recent:?}");
        assert!(earlier.took.is_some_and(|took| took <= earlier.age), "{recent:?}");
    }
    assert!(evidence.to_string().contains("\n  last tasks: "), "{evidence}");
}

#[test]
fn a_task_that_waits_for_one_that_kills_their_worker_is_among_its_last() {
    let _watchdog = Watchdog::start("a_task_that_waits_for_one_that_kills_their_worker_is_among_its_last");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    fn outer(address: usize) -> u8 {
        Task::with(address, outer_that_faults).go().join().unwrap_or(0)
    }
    let evidence = evidence_of(&runtime, Task::with(64, outer));
    let open = evidence.recent_tasks().into_iter().filter(|task| task.took.is_none());
    let names: Vec<String> = open.map(|task| task.function).collect();
    assert!(
        matches!(&names[..], [inner, outer] if inner.ends_with("outer_that_faults") && outer.ends_with("outer")),
        "{names:?}"
    );
}
