//! The cases on procspawn's pool.

use gorun_peers::{DEADLINE, End, Job, Peer, WORKERS, run, work};
use procspawn::{JoinHandle, Pool};
use std::time::Duration;

struct Procspawn(Pool);

impl Peer for Procspawn {
    type Task = (Job, JoinHandle<u64>);

    fn start(&mut self, job: Job) -> Self::Task {
        (job, self.0.spawn(job, work))
    }

    /// Its deadlines are the caller's: wait so long, then kill.
    fn finish(&mut self, (job, mut task): Self::Task, patience: Duration) -> End {
        let limit = if job == Job::Endless { DEADLINE } else { patience };
        match task.join_timeout(limit) {
            Ok(value) => End::Value(value),
            Err(error) if error.is_timeout() && job != Job::Endless => End::Hung,
            Err(error) => {
                if error.is_timeout() {
                    // One that has ended meanwhile is fine.
                    let _ = task.kill();
                }
                End::Error(error.to_string())
            }
        }
    }
}

fn main() {
    procspawn::init();
    run("procspawn", || Procspawn(Pool::new(WORKERS).expect("build a pool")));
}
