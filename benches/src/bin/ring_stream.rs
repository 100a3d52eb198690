//! How many 64-byte messages a second does a ring carry from one process to another?
//!
//! Measured: messages per second from the first push to the last pop, both ends on their own core and spinning, a
//! checksum proving that all arrived. Peers: a bare ring written without any safety net (the floor), iceoryx2
//! publish-subscribe, ipc-channel in bytes, and rtrb between two threads, which crosses no process.

use gorun_benches::floor::{self, BATCH, Floor};
use gorun_benches::measure::{Effort, interleave};
use gorun_benches::our_ring;
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::report::{Better, Row};
use gorun_benches::rivals::{iceoryx, ipc, thread_ring};

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown =
            our_ring::serve(peer).and_then(floor::serve).and_then(iceoryx::serve).and_then(ipc::serve);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    let cores = Cores::first_and_last();
    cores.pin_host();
    let messages = effort.pick(8_000_000, 500_000);
    let (mut ours, mut floor) = (our_ring::Stream::start(cores), Floor::start(cores));
    let (mut iceoryx, mut ipc) = (iceoryx::Stream::start(cores), ipc::Stream::start(cores));
    let [ours, bare, iceoryx, ipc, rtrb] = interleave(
        effort.runs(),
        [
            &mut || ours.rate(messages) / 1e6,
            &mut || floor.ring_rate(messages, BATCH) / 1e6,
            &mut || iceoryx.rate(messages / 8) / 1e6,
            &mut || ipc.rate(messages / 40) / 1e6,
            &mut || thread_ring::rate(cores, messages) / 1e6,
        ],
    );
    let peers = [
        ("bare ring", bare, Some(0.9)),
        ("iceoryx2", iceoryx, Some(15.0)),
        ("ipc-channel", ipc, None),
        ("rtrb between threads", rtrb, None),
    ];
    for (peer, reference, reach) in peers {
        let metric = "64 B stream between processes";
        Row { metric, unit: "M/s", ours, peer, reference, better: Better::Higher, reach }.print();
    }
}
