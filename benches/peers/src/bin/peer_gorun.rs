//! The cases on gorun.

use gorun::{Runtime, Task, TaskHandle};
use gorun_peers::{DEADLINE, End, Job, MEMORY_MAX, Peer, WORKERS, run, work};
use std::time::Duration;

struct Gorun(Runtime);

impl Peer for Gorun {
    type Task = TaskHandle<u64>;

    fn start(&mut self, job: Job) -> Self::Task {
        let task = Task::with(job, work);
        let task = if job == Job::Endless { task.timeout(DEADLINE) } else { task };
        task.go_on(&self.0)
    }

    fn finish(&mut self, task: Self::Task, patience: Duration) -> End {
        match task.join_timeout(patience) {
            Ok(Ok(value)) => End::Value(value),
            Ok(Err(error)) => End::Error(error.to_string()),
            Err(_) => End::Hung,
        }
    }
}

fn main() {
    run("gorun", || {
        let builder = Runtime::builder().workers(WORKERS).memory_max(MEMORY_MAX as u64);
        Gorun(builder.build().expect("build a runtime"))
    });
}
