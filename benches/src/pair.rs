//! Two processes for a floor: this one and a peer, the same program started again with `--role NAME ARGUMENT`.
//!
//! They share one memfd, inherited by the peer as its stdin. Between runs the peer sleeps on a futex, so a pair costs
//! other measurements nothing; it ends with [`Pair`], or with its parent.

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use core_affinity::CoreId;

use crate::measure::Watchdog;
use crate::segment::{Line, Segment};

/// How long the host waits for the peer to finish: far more than any run takes.
const PEER_LIMIT: Duration = Duration::from_secs(60);
/// The count that ends the peer.
const EXIT: u64 = u64::MAX;

/// Where the two sides run.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// Core of the process that measures.
    pub host: CoreId,
    /// Core of the peer.
    pub peer: CoreId,
}

impl Cores {
    /// The first and the last usable core; the same one twice on a machine with one core.
    ///
    /// # Panics
    /// When the affinity mask of this process cannot be read.
    #[must_use]
    pub fn first_and_last() -> Self {
        let cores = core_affinity::get_core_ids().expect("the affinity mask is readable");
        Self { host: cores[0], peer: cores[cores.len() - 1] }
    }

    /// The peer on `peer`, the host on another core where there is one.
    ///
    /// # Panics
    /// When the affinity mask of this process cannot be read.
    #[must_use]
    pub fn apart_from(peer: usize) -> Self {
        let cores = core_affinity::get_core_ids().expect("the affinity mask is readable");
        let host = cores.iter().find(|core| core.id != peer).unwrap_or(&cores[0]);
        Self { host: *host, peer: CoreId { id: peer } }
    }

    /// Pins the calling thread to the host's core.
    pub fn pin_host(self) {
        core_affinity::set_for_current(self.host);
    }
}

/// The host's side of a pair.
#[derive(Debug)]
pub struct Pair {
    segment: Segment,
    peer: Child,
    command: u32,
}

impl Pair {
    /// Starts the peer in `role` with `argument`, pinned to `cores.peer`, and returns when it is ready.
    ///
    /// # Panics
    /// When memory or a process cannot be had, or the peer dies at once.
    #[must_use]
    pub fn start(role: &str, argument: &str, cores: Cores, slots_count: usize) -> Self {
        let segment = Segment::create(slots_count);
        let stdin = segment.memory().try_clone_to_owned().expect("a descriptor is free");
        let peer = Command::new("/proc/self/exe")
            .args(["--role", role, argument, &cores.peer.id.to_string()])
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::null())
            .spawn()
            .expect("the peer can be started");
        let mut pair = Self { segment, peer, command: 0 };
        pair.begin(0);
        pair.wait();
        pair
    }

    /// The shared memory.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Tells the peer to do `count` rounds and returns at once.
    pub fn begin(&mut self, count: u64) {
        // Relaxed: published by the Release store of the bell.
        self.segment.word(Line::Count).store(count, Ordering::Relaxed);
        self.command += 1;
        self.segment.wake(Line::Command, self.command);
    }

    /// Spins until the peer has done what it was told, and gives its result.
    ///
    /// # Panics
    /// When the peer has died or takes longer than a minute.
    pub fn wait(&mut self) -> u64 {
        let watchdog = Watchdog::start(PEER_LIMIT);
        let mut polls = 0_u64;
        // Acquire: pairs with the Release in `Peer::serve`; the result is seen after it.
        while self.segment.half(Line::Done).load(Ordering::Acquire) != self.command {
            polls += 1;
            if polls.is_multiple_of(1 << 20) {
                let ended = self.peer.try_wait().expect("the peer can be waited for");
                assert!(ended.is_none(), "the peer died: {ended:?}");
                watchdog.check("the end of the peer's run");
            }
            std::hint::spin_loop();
        }
        self.segment.word(Line::Result).load(Ordering::Relaxed)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.begin(EXIT);
        if std::thread::panicking() {
            // The peer may be in the middle of a run that never ends.
            let _ = self.peer.kill();
        }
        let _ = self.peer.wait();
    }
}

/// The peer's side of a pair.
#[derive(Debug)]
pub struct Peer {
    /// What it was started for.
    pub role: String,
    /// What it was told on the command line.
    pub argument: String,
    segment: Segment,
}

impl Peer {
    /// `Some` in a process that [`Pair::start`] made. Call it first thing in `main`.
    ///
    /// # Panics
    /// When the command line or stdin is not what `Pair::start` hands over.
    #[must_use]
    pub fn from_args() -> Option<Self> {
        let mut arguments = std::env::args().skip_while(|argument| argument != "--role").skip(1);
        let (role, argument, core) = (arguments.next()?, arguments.next()?, arguments.next()?);
        let core = core.parse().expect("the core is a number");
        core_affinity::set_for_current(CoreId { id: core });
        let killed = rustix::process::Signal::KILL;
        rustix::process::set_parent_process_death_signal(Some(killed)).expect("the death signal can be set");
        let memory = std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor is free");
        Some(Self { role, argument, segment: Segment::attach(memory) })
    }

    /// The shared memory.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Does `work(segment, count)` for each command, until the host ends. The first command has count 0.
    pub fn serve(self, mut work: impl FnMut(&Segment, u64) -> u64) {
        let mut command = 0;
        loop {
            command = self.segment.sleep_while(Line::Command, command);
            let count = self.segment.word(Line::Count).load(Ordering::Relaxed);
            if count == EXIT {
                return;
            }
            let result = work(&self.segment, count);
            self.segment.word(Line::Result).store(result, Ordering::Relaxed);
            // Release: pairs with the Acquire in `Pair::wait`; publishes the result.
            self.segment.half(Line::Done).store(command, Ordering::Release);
        }
    }
}
