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
