//! What does one task that does nothing cost, from the call to its result?
//!
//! Measured: the median of many single `go(|| 1).join()`, one worker on another core; once back to back, so that the
//! worker still spins, once with a pause of 1 ms before each call, so that it sleeps. Peers: a cache line and a futex
//! there and back between the same cores, `rayon::spawn` seen by a spinning waiter, tokio's `spawn` awaited from outside.

use std::time::Duration;

use gorun::prelude::*;
use gorun_benches::floor::{self, Floor};
use gorun_benches::measure::{Effort, call_after_pause_ns, call_ns, interleave};
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::report::{Better, Row};
use gorun_benches::rivals::rayon_pool::Pool;
use gorun_benches::rivals::tokio_pool;

/// Long enough for a worker to give up spinning and sleep.
const PAUSE: Duration = Duration::from_millis(1);

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown = floor::serve(peer);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    let tokio = tokio_pool::runtime(1);
    let runtime = Runtime::builder().workers(1).build().expect("the runtime starts");
    call(&runtime);
    let cores = runtime.stats().seats[0].cpu.map_or_else(Cores::first_and_last, Cores::apart_from);
    cores.pin_host();
    let (mut floor, rayon) = (Floor::start(cores), Pool::pinned(cores));

    let calls = effort.pick(200_000, 20_000);
    let [ours, line, rayon_awake, tokio] = interleave(
        effort.runs(),
        [
            &mut || call_ns(calls, || call(&runtime)),
            &mut || floor.line_ns(calls),
            &mut || rayon.round_trip_ns(calls),
            &mut || tokio_pool::round_trip_ns(&tokio, calls / 10),
        ],
    );
    let peers = [
        ("cache line round trip", line, Some(1.3)),
        ("rayon::spawn, spinning waiter", rayon_awake, Some(0.5)),
        ("tokio::spawn, block_on", tokio, None),
    ];
    for (peer, reference, reach) in peers {
        let metric = "null task, worker awake";
        Row { metric, unit: "ns", ours, peer, reference, better: Better::Lower, reach }.print();
    }

    let sleeps = effort.pick(1_000, 200);
    let [ours, futex, rayon] = interleave(
        effort.runs(),
        [
            &mut || call_after_pause_ns(sleeps, PAUSE, || call(&runtime)),
            &mut || floor.futex_ns(sleeps, PAUSE),
            &mut || rayon.round_trip_asleep_ns(sleeps, PAUSE),
        ],
    );
    let peers = [("futex round trip", futex, Some(1.2)), ("rayon::spawn, spinning waiter", rayon, None)];
    for (peer, reference, reach) in peers {
        let metric = "null task, worker asleep";
        Row { metric, unit: "ns", ours, peer, reference, better: Better::Lower, reach }.print();
    }
}

fn call(runtime: &Runtime) {
    assert_eq!(runtime.go(|| 1_u64).join().expect("the task ends"), 1);
}
