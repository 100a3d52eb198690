//! Tasks that write to standard error, captured: named by the first argument, each ends the program in its own way.

use gorun::prelude::*;

/// Ten megabytes in lines of a hundred bytes.
const LINES: usize = 100_000;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("abort") => abort(),
        Some("much") => much(),
        Some("leave") => leave(),
        other => panic!("no such part: {other:?}"),
    }
}

/// What the worker said is in the evidence, the last of it, and in the program's own standard error, all of it.
fn abort() {
    let runtime = Runtime::builder().workers(1).capture_stderr(true).build().expect("build a runtime");
    let lost = runtime.task(300, |lines: u32| -> u8 {
        for n in 0..lines {
            eprintln!("line {n} of what the worker said");
        }
        eprintln!("the last line");
        std::process::abort()
    });
    let Err(TaskError::WorkerLost { evidence }) = lost.join() else { panic!("it aborts") };
    println!("{evidence}");
    let tail = evidence.stderr_tail().expect("a tail");
    assert!(tail.ends_with("the last line\n") && tail.len() == 4096, "{tail}");
    // The next worker's evidence begins anew.
    let lost = runtime.go(|| -> u8 { std::process::abort() });
    let Err(TaskError::WorkerLost { evidence }) = lost.join() else { panic!("it aborts") };
    assert_eq!(evidence.stderr_tail(), None);
}

/// More than any pipe holds, from two workers at once.
fn much() {
    let runtime = Runtime::builder().workers(2).capture_stderr(true).build().expect("build a runtime");
    let shout = |()| (0..LINES / 2).for_each(|n| eprintln!("{n:099}"));
    let tasks = [runtime.task((), shout), runtime.task((), shout)];
    for task in tasks {
        assert_eq!(task.join(), Ok(()));
    }
}

/// The default runtime ends with the process; what its tasks have written is not lost.
fn leave() {
    assert_eq!(go_parallel(|| eprintln!("said before the end")).join(), Ok(()));
    std::process::exit(0);
}
