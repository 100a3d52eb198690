//! Forks after the runtime was started; the argument says what the fork does.
// UNSAFETY: forking a program with threads is what is tested.
#![expect(unsafe_code, reason = "fork is what is tested")]

use gorun::prelude::*;
use gorun::{Rejection, TaskHandle};
use gorun_test_programs::{Gate, Watchdog, gate};

/// What the fork does: the value it ends with is 0 if all was well there.
///
/// What it is given is dropped only if it takes it out: leaving drops nothing.
type Act = fn(&mut Option<Shared>) -> i32;

/// What host and fork both have in hand at the fork.
struct Shared {
    runtime: Runtime,
    finished: Vec<TaskHandle<Vec<u8>>>,
    queued: Vec<TaskHandle<u32>>,
}

fn main() {
    let _watchdog = Watchdog::start("forks");
    let act: Act = match std::env::args().nth(1).as_deref() {
        Some("starts_tasks") => starts_tasks,
        Some("starts_a_map") => starts_a_map,
        Some("borrows_memory") => borrows_memory,
        Some("drops_all") => drops_all,
        Some("joins") => joins,
        Some("builds_its_own") => builds_its_own,
        other => panic!("no such act: {other:?}"),
    };
    // The default runtime as well: a fork must not take it for its own.
    assert_eq!(go_parallel(|| 1_u8).join(), Ok(1));
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let finished: Vec<_> = (0..20).map(|_| runtime.go(|| vec![7_u8; 5000])).collect();
    gorun_test_programs::eventually(|| finished.iter().all(TaskHandle::is_finished));
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let queued: Vec<_> = (0..200_u32).map(|n| runtime.task(n, |n| n)).collect();
    let mut shared = Some(Shared { runtime, finished, queued });
    // SAFETY: the child uses what the test is about: gorun's own answers in a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let _watchdog = Watchdog::start("the fork");
        let code = act(&mut shared);
        // SAFETY: may be called at any time.
        unsafe { libc::_exit(code) };
    }
    let Some(shared) = shared else { unreachable!("only the fork takes it out") };
    let mut status = 0;
    // SAFETY: `status` has room for the answer; `pid` is our child.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    println!("fork exited {} with {}", libc::WIFEXITED(status), libc::WEXITSTATUS(status));
    drop(standing);
    assert_eq!(running.join(), Ok(()));
    for (n, task) in (0..).zip(shared.queued) {
        assert_eq!(task.join(), Ok(n), "a task of the host");
    }
    for task in shared.finished {
        assert_eq!(task.join(), Ok(vec![7; 5000]), "a result the host had not read at the fork");
    }
    assert_eq!(shared.runtime.go(|| 7_u8).join(), Ok(7));
    println!("host undisturbed, lost {}", shared.runtime.stats().lost);
}

fn is_refused<R>(outcome: &Result<R, TaskError>) -> bool {
    matches!(outcome, Err(TaskError::Rejected { reason: Rejection::ForkedHost }))
}

fn starts_tasks(shared: &mut Option<Shared>) -> i32 {
    let Some(shared) = shared else { return 50 };
    let default = is_refused(&go_parallel(|| 1_u8).join());
    let own = is_refused(&shared.runtime.go(|| 1_u8).join());
    i32::from(!default) + 2 * i32::from(!own)
}

fn starts_a_map(shared: &mut Option<Shared>) -> i32 {
    let Some(shared) = shared else { return 50 };
    let outcomes = shared.runtime.map(0..10_u8, |n| n).outcomes();
    i32::from(!(outcomes.len() == 10 && outcomes.iter().all(is_refused)))
}

fn borrows_memory(shared: &mut Option<Shared>) -> i32 {
    let Some(shared) = shared else { return 50 };
    let loan = SharedSlice::<u8>::loan_on(&shared.runtime, 1000);
    i32::from(loan.is_ok())
}

fn drops_all(shared: &mut Option<Shared>) -> i32 {
    drop(shared.take());
    0
}

fn joins(shared: &mut Option<Shared>) -> i32 {
    let Some(shared) = shared else { return 50 };
    let mut wrong = 0;
    for task in shared.queued.drain(..) {
        wrong += i32::from(task.cancel());
        wrong += i32::from(!is_refused(&task.join()));
    }
    for task in shared.finished.drain(..) {
        wrong += i32::from(!is_refused(&task.join()));
    }
    wrong.min(100)
}

fn builds_its_own(_shared: &mut Option<Shared>) -> i32 {
    let Ok(own) = Runtime::builder().workers(1).build() else { return 1 };
    i32::from(own.go(|| 3_u8).join() != Ok(3))
}
