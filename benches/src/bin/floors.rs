//! What do this machine and the peers give, without gorun?
//!
//! Measured: the floors that the other benches compare with, and every peer they name, alternating in one run. There is
//! no side of ours, so nothing goes to stdout; read it to judge how far a table from this machine can be trusted.

use std::cell::RefCell;
use std::time::Duration;

use gorun_benches::floor::{self, BATCH, Floor, copy_ns};
use gorun_benches::measure::{Effort, Sample, interleave};
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::rivals::rayon_pool::Pool;
use gorun_benches::rivals::{channel_pool, iceoryx, ipc, thread_ring, tokio_pool};

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown = floor::serve(peer).and_then(iceoryx::serve).and_then(ipc::serve);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tokio = tokio_pool::runtime(threads);
    let (one, all) = (Pool::new(1), Pool::new(threads));
    tasks(effort, &tokio, &one, &all);
    let cores = Cores::first_and_last();
    cores.pin_host();
    let mut floor = Floor::start(cores);
    streams(effort, cores, &mut floor);
    round_trips(effort, cores, &mut floor);
    copies(effort);
}

fn streams(effort: Effort, cores: Cores, floor: &mut Floor) {
    let messages = effort.pick(8_000_000, 500_000);
    let floor = RefCell::new(floor);
    let (mut iceoryx, mut ipc) = (iceoryx::Stream::start(cores), ipc::Stream::start(cores));
    let rates = interleave(
        effort.runs(),
        [
            &mut || floor.borrow_mut().ring_rate(messages, BATCH) / 1e6,
            &mut || floor.borrow_mut().ring_rate(messages, 1) / 1e6,
            &mut || thread_ring::rate(cores, messages) / 1e6,
            &mut || iceoryx.rate(messages / 8) / 1e6,
            &mut || ipc.rate(messages / 40) / 1e6,
        ],
    );
    let names =
        ["bare ring", "bare ring, published one by one", "rtrb between threads", "iceoryx2", "ipc-channel"];
    show("64 B stream, M/s", &names, &rates);
}

fn round_trips(effort: Effort, cores: Cores, floor: &mut Floor) {
    let (calls, sleeps) = (effort.pick(200_000, 20_000), effort.pick(1_000, 200));
    let pool = Pool::pinned(cores);
    let floor = RefCell::new(floor);
    let line = interleave(
        effort.runs(),
        [&mut || floor.borrow_mut().line_ns(calls), &mut || pool.round_trip_ns(calls)],
    );
    show("round trip awake, ns", &["cache line", "rayon::spawn"], &line);
    let pause = Duration::from_millis(1);
    let asleep = interleave(
        effort.runs(),
        [
            &mut || floor.borrow_mut().futex_ns(sleeps, Duration::ZERO),
            &mut || floor.borrow_mut().futex_ns(sleeps, pause),
            &mut || pool.round_trip_asleep_ns(sleeps, pause),
        ],
    );
    show("round trip asleep, ns", &["futex", "futex after 1 ms", "rayon::spawn after 1 ms"], &asleep);
}

fn tasks(effort: Effort, tokio: &tokio::runtime::Runtime, one: &Pool, all: &Pool) {
    let tasks = effort.pick(1_000_000, 100_000);
    let items = effort.pick(1_000_000, 100_000);
    let spawns = interleave(
        effort.runs(),
        [
            &mut || one.spawn_ns(tasks),
            &mut || all.spawn_ns(tasks),
            &mut || tokio_pool::spawn_ns(tokio, tasks),
            &mut || channel_pool::task_ns(tasks),
            &mut || all.map_ns(items, 1, |item| item + 1),
            &mut || all.map_ns(10 * items, 1_000, |item| item + 1),
        ],
    );
    let names = [
        "rayon::spawn, 1 thread",
        "rayon::spawn, all cores",
        "tokio::spawn, all cores",
        "boxed closures in a crossbeam channel",
        "par_iter at grain 1",
        "par_iter at grain 1000",
    ];
    show("tiny tasks, ns each", &names, &spawns);
}

fn copies(effort: Effort) {
    for mib in [1, 64] {
        let source = vec![1_u8; mib << 20];
        let mut target = vec![2_u8; mib << 20];
        let [copy] = interleave(effort.runs(), [&mut || copy_ns(&source, &mut target) / 1e3]);
        show(&format!("memcpy of {mib} MiB, us"), &["copy"], &[copy]);
    }
}

fn show(question: &str, names: &[&str], samples: &[Sample]) {
    eprintln!("{question}");
    for (name, sample) in names.iter().zip(samples) {
        eprintln!("    {name:<40} {:>12.2}   spread {:>3.0} %", sample.median, sample.spread * 100.0);
    }
}
