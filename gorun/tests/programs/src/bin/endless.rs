//! Keeps every worker busy with tasks that never end, says so, and waits to be killed.
//!
//! With `fork` it leaves a fork of itself behind that lives on.
// UNSAFETY: forking a program with threads is what is tested.
#![expect(unsafe_code, reason = "fork is what is tested")]

use gorun::prelude::*;
use gorun_test_programs::{Gate, gate};
use std::io::Write;

fn main() {
    let runtime = Runtime::builder().workers(3).build().expect("build a runtime");
    let gate = Gate::new();
    let tasks: Vec<_> = (0..3)
        .map(|n| {
            runtime.task((gate.name(), n), |(name, n): (String, u32)| -> u8 {
                if n == 0 {
                    // One that computes, for it is not asleep when the host dies.
                    gate::pass(&name);
                    loop {
                        std::hint::black_box(n);
                    }
                }
                gate::stand_at(&name);
                loop {
                    std::thread::park();
                }
            })
        })
        .collect();
    let queued: Vec<_> = (0..100_u32).map(|n| runtime.task(n, |n: u32| n)).collect();
    let _standing = [gate.await_task(), gate.await_task(), gate.await_task()];
    let family = gorun_test_programs::processes::await_family(&runtime, 1);
    let mut line = vec![family.zygote];
    line.extend(family.seated.iter().chain(&family.spares));
    let fork = if std::env::args().nth(1).as_deref() == Some("fork") { fork_and_live() } else { 0 };
    let pids = line.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    println!("{fork} {pids}");
    std::io::stdout().flush().expect("write to the test");
    loop {
        std::thread::park();
        std::hint::black_box((&tasks, &queued));
    }
}

/// The fork waits for a signal; gives its id.
fn fork_and_live() -> i32 {
    // SAFETY: the child calls nothing but pause, which a fork of a program with threads may call.
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: pause takes nothing and may be called at any time.
            unsafe { libc::pause() };
        },
        pid => pid,
    }
}
