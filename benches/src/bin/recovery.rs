//! How soon after a kill does the dead worker's seat give results again?
//!
//! Measured: the time from `kill -9` of the only worker to the result of a task that another process computed: median and
//! the 99th of a hundred kills. With a spare waiting, once with a small worker and once with one that holds 256 MiB, which
//! the kernel needs long to tear down; and without a spare, when the zygote has to fork first. Peers: limits of 150 µs
//! with a spare and 400 µs without, and the same kill of a plain program that is executed again and says one line.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, spin_until, time_ns};
use gorun_benches::report::{Better, Row};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const LIMIT_US: f64 = 150.0;
const LIMIT_WITHOUT_SPARE_US: f64 = 400.0;
const MIB: usize = 1 << 20;
/// Tells this program that it is the plain one.
const ECHO: &str = "--echo";

fn main() {
    if std::env::args().any(|argument| argument == ECHO) {
        return echo();
    }
    let effort = Effort::from_args();
    let kills = effort.pick(100, 20);
    for (spares, sizes, limit) in
        [(1, effort.pick(&[0, 256][..], &[0]), LIMIT_US), (0, &[0][..], LIMIT_WITHOUT_SPARE_US)]
    {
        for mib in sizes {
            // The larger one takes the kernel so long that fewer kills have to do.
            let kills = if *mib > 0 { kills / 5 } else { kills };
            compare(effort, (spares, *mib), kills, limit);
        }
    }
}

fn compare(effort: Effort, (spares, mib): (usize, usize), kills: usize, limit: f64) {
    let runtime = Runtime::builder()
        .workers(1)
        .spares(spares)
        .quarantine_after(0)
        // Kills between tasks, one after the other: what is asked is how fast a seat is filled, not how long it is left.
        .restart_intensity(1000, Duration::from_millis(1))
        .build()
        .expect("the runtime starts");
    let (mut ours_p99, mut again_p99) = (Vec::new(), Vec::new());
    let mut plain = Echo::start();
    let [ours, again] = interleave(
        effort.pick(5, 3),
        [
            &mut || quantiles((0..kills).map(|_| recovery_us(&runtime, mib)).collect(), &mut ours_p99),
            &mut || quantiles((0..kills).map(|_| plain.recovery_us()).collect(), &mut again_p99),
        ],
    );
    let spare = if spares == 0 { "no spare" } else { "spare" };
    let metric = format!("kill -9 to the next result, {spare}, worker of {mib} MiB");
    let row = |metric: &str, ours, peer, reference, reach| {
        Row { metric, unit: "us", ours, peer, reference, better: Better::Lower, reach }.print();
    };
    row(&metric, ours, "limit", Sample::constant(limit), Some(1.0));
    row(&metric, ours, "plain program executed again", again, None);
    let p99 = format!("{metric}, p99");
    row(&p99, Sample::of(ours_p99), "plain program executed again, p99", Sample::of(again_p99), None);
}

/// Gives the median and keeps the 99th percentile.
fn quantiles(mut times: Vec<f64>, p99: &mut Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    p99.push(times[(times.len() * 99 / 100).min(times.len() - 1)]);
    times[times.len() / 2]
}

/// Kills the worker once and waits for its successor's first result.
fn recovery_us(runtime: &Runtime, mib: usize) -> f64 {
    let mut victim = 0;
    spin_until(|| {
        // The seat of the last round may still be without its spare; let it be filled again before the next kill.
        victim = runtime.stats().seats[0].pid.unwrap_or(0);
        victim != 0 && settle(runtime, mib) == victim
    });
    time_ns(|| {
        kill(victim);
        // A result of the victim's last microseconds, or its loss, is not yet the recovery.
        while runtime.go(std::process::id).join().is_ok_and(|pid| pid == victim) {}
        let successor = runtime.go(std::process::id).join().expect("the task ends");
        assert_ne!(successor, victim, "another process took the seat");
    }) / 1e3
}

/// Lets the worker hold `mib` MiB, waits as long as a spare needs to be forked, and gives the worker's pid.
fn settle(runtime: &Runtime, mib: usize) -> u32 {
    gorun_benches::measure::spin_for(std::time::Duration::from_millis(20));
    let hold = |mib: usize| {
        std::mem::forget(vec![1_u8; mib * MIB]);
        std::process::id()
    };
    runtime.task(mib, hold).join().expect("the task ends")
}

fn kill(pid: u32) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive i32");
    kill_process(process, Signal::KILL).expect("the process can be killed");
}

/// A program that answers each line, without a runtime.
struct Echo {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Echo {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("know this program"));
        let mut child =
            command.arg(ECHO).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start it");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut echo = Self { child, to, from: BufReader::new(from) };
        echo.ask();
        echo
    }

    fn ask(&mut self) -> String {
        self.to.write_all(b"1\n").expect("it listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        line
    }

    /// Kills it, sees its end, executes it again and waits for its first answer.
    fn recovery_us(&mut self) -> f64 {
        time_ns(|| {
            kill(self.child.id());
            self.child.wait().expect("reap it");
            *self = Self::start();
        }) / 1e3
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // One that is gone already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers each line with a line.
fn echo() {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return };
        println!("{line}");
    }
}
