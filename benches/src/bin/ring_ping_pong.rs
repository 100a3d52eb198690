//! How long does a 64-byte message take to another process and back?
//!
//! Measured: the median round trip through two rings, once with both ends spinning, once with both asleep on their
//! doorbells. Peers: a cache line bounced between the same cores; a futex wake there and back.

use std::time::Duration;

use gorun_benches::floor::{self, Floor};
use gorun_benches::measure::{Effort, interleave};
use gorun_benches::our_ring::{self, Echo};
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::report::{Better, Row};

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown = our_ring::serve(peer).and_then(floor::serve);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    let cores = Cores::first_and_last();
    cores.pin_host();
    let mut floor = Floor::start(cores);

    let (rounds, mut spinning) = (effort.pick(200_000, 20_000), Echo::start(cores, false));
    let [ours, reference] = interleave(
        effort.runs(),
        [&mut || spinning.round_trip_ns(rounds, Duration::ZERO), &mut || floor.line_ns(rounds)],
    );
    let (metric, peer, reach) = ("64 B ping-pong, spinning", "cache line round trip", Some(1.3));
    Row { metric, unit: "ns", ours, peer, reference, better: Better::Lower, reach }.print();

    let (rounds, mut parking) = (effort.pick(5_000, 500), Echo::start(cores, true));
    let [ours, reference] = interleave(
        effort.runs(),
        [&mut || parking.round_trip_ns(rounds, Duration::ZERO), &mut || {
            floor.futex_ns(rounds, Duration::ZERO)
        }],
    );
    let (metric, peer, reach) = ("64 B ping-pong, both asleep", "futex round trip", Some(1.1));
    Row { metric, unit: "ns", ours, peer, reference, better: Better::Lower, reach }.print();
}
