//! Lets every worker's tasks leave processes behind, says who they are, and waits to be killed; or is one of these.

use gorun::prelude::*;
use gorun_test_programs::{offspring, processes};
use std::io::Write;

fn main() {
    let own = std::env::current_exe().expect("know this program").to_string_lossy().into_owned();
    match std::env::args().nth(1).as_deref() {
        Some("linger") => offspring::linger(),
        Some("grandchild") => println!("{}", offspring::started(&own)),
        Some("daemon") => println!("{}", offspring::daemonise()),
        _ => host(own),
    }
}

/// Prints zygote, workers and spare, then what the workers begot.
fn host(own: String) {
    let runtime = Runtime::builder().workers(2).build().expect("build a runtime");
    let family = processes::await_family(&runtime, 1);
    // As many as it takes for each worker to have had one.
    let mut begotten: Vec<i32> = Vec::new();
    for _ in 0..6 {
        begotten.extend(runtime.task(own.clone(), offspring::beget).join().expect("begets"));
    }
    let line = |pids: &[i32]| pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let workers = [&family.seated[..], &family.spares].concat();
    println!("{}\n{}\n{}", family.zygote, line(&workers), line(&begotten));
    std::io::stdout().flush().expect("write to the test");
    loop {
        std::thread::park();
        std::hint::black_box(&runtime);
    }
}
