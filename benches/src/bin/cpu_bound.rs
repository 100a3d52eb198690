//! Does CPU-bound work run as many times faster as there are workers?
//!
//! Measured: the time of one worker divided by the time of one per core, counting primes in tasks of some hundred
//! microseconds. Peers: the number of cores, and the speed-up of rayon's `par_iter` over the same pieces.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, time_ns};
use gorun_benches::report::{Better, Row};
use gorun_benches::rivals::rayon_pool::Pool;

/// Numbers looked at by one task.
const SPAN: u64 = 5_000;
/// Share of the ideal speed-up to reach: 1.97 of 2.
const REACH: f64 = 0.985;

fn main() {
    let effort = Effort::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pieces = effort.pick(2_000, 200);
    let start = |workers| Runtime::builder().workers(workers).build().expect("the runtime starts");
    let (one, all) = (start(1), start(cores));
    let (rayon_one, rayon_all) = (Pool::new(1), Pool::new(cores));
    let [ours, rayon] = interleave(
        effort.runs(),
        [&mut || ours_ns(&one, pieces) / ours_ns(&all, pieces), &mut || {
            rayon_one.map_ns(pieces, 1, primes) / rayon_all.map_ns(pieces, 1, primes)
        }],
    );
    let metric = &format!("CPU-bound work, 1 to {cores} workers");
    let ideal = Sample::constant(cores as f64);
    row(metric, ours, "number of cores", ideal, Some(REACH));
    row(metric, ours, "rayon par_iter", rayon, None);
}

fn ours_ns(runtime: &Runtime, pieces: usize) -> f64 {
    let mut counts = Vec::new();
    let ns = time_ns(|| {
        let mapped = runtime.map(0..pieces as u64, primes).grain(1).collect::<Vec<u64>>();
        counts = mapped.expect("every task ends");
    });
    assert_eq!(counts[0], 669, "there are 669 primes below 5000");
    assert_eq!(counts.len(), pieces, "every piece has a count");
    ns
}

/// Primes among the `SPAN` numbers of a piece. The pieces repeat after 64, so that all are of one kind of weight.
fn primes(piece: u64) -> u64 {
    let first = piece % 64 * SPAN;
    (first..first + SPAN).filter(|number| is_prime(*number)).count() as u64
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn row(metric: &str, ours: Sample, peer: &str, reference: Sample, reach: Option<f64>) {
    Row { metric, unit: "times", ours, peer, reference, better: Better::Higher, reach }.print();
}
