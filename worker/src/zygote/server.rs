//! The zygote's loop: fork on request, tell of deaths, and leave when the host does.
//!
//! It has one thread and maps the segment before the first fork, so that a worker starts with everything in
//! place. It dies with its host (end of file on the socket) and is replaced if it dies alone; its workers
//! then go on, since their lease is on the host.
//!
//! It adopts what dead workers leave behind and kills it, see [`offspring`]; nothing that a task forked or started
//! outlives its worker.

use super::protocol::{self, Birth, News, Order, Received};
use crate::duty::{Duty, Kind};
use crate::os::children::{self, Deaths};
use crate::os::offspring::{self, Relative};
use crate::os::{allocator, death_word, fork, identity, last_words, lease, pidfd, pin, signals, stream};
use crate::wire::commons::Commons;
use crate::wire::map::Map;
use crate::{context, exit, function};
use gorun_shm::Segment;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// How long the end of its lease may take to end a worker.
const LEASE_MS: i64 = 100;

/// What listings show of a zygote, and of a worker in its first instant.
const NAME: &str = "gorun-zygote";

struct Server {
    socket: OwnedFd,
    deaths: Deaths,
    commons: Arc<Commons>,
    lease: OwnedFd,
    cpus: Vec<u32>,
    /// Which record each living child has.
    children: HashMap<i32, u16>,
    /// What the runtime's processes are marked with.
    family: Option<String>,
    /// An earlier zygote's workers and what these leave behind are no descendants of this one.
    is_successor: bool,
}

/// Serves the host behind standard input; returns the exit code.
///
/// `token` is the one in the environment mark: a host that does not know it is not ours.
#[must_use]
pub fn serve(token: u128) -> i32 {
    identity::set_name(NAME);
    // Once, for all workers: they inherit it.
    signals::reset_all();
    allocator::keep_freed_pages();
    last_words::prepare();
    let Ok(socket) = identity::take_stdin() else { return exit::BAD_MARK };
    let Ok(Some(Received { message, descriptors })) = protocol::receive::<Order>(&socket, true) else {
        return exit::BAD_MARK;
    };
    let Order::Hello { token: told, segment_bytes, first, cpus, is_successor } = message else {
        return exit::BAD_MARK;
    };
    if told != token {
        return exit::BAD_MARK;
    }
    match Server::open(socket, segment_bytes, descriptors, cpus) {
        Ok(mut server) => {
            server.is_successor = is_successor;
            server.run(&first)
        }
        Err(code) => code,
    }
}

impl Server {
    fn open(socket: OwnedFd, bytes: u64, descriptors: Vec<OwnedFd>, cpus: Vec<u32>) -> Result<Self, i32> {
        let fail = |reason: String| {
            // If even this cannot be sent, the host sees the end of the socket instead.
            let _ = protocol::send(&socket, &News::Failed { reason }, &[]);
            exit::ATTACH
        };
        let Ok([file, lease]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(fail("the segment or the lease did not arrive".into()));
        };
        let commons = attach(file, bytes).map_err(fail)?;
        let deaths = Deaths::watch().map_err(|cause| fail(format!("watch for ended workers: {cause}")))?;
        offspring::adopt().map_err(|cause| fail(format!("adopt what workers leave behind: {cause}")))?;
        context::install_panic_hook();
        let family = std::env::var(offspring::VARIABLE).ok();
        let (commons, children) = (Arc::new(commons), HashMap::new());
        Ok(Self { socket, deaths, commons, lease, cpus, children, family, is_successor: false })
    }

    fn run(&mut self, first: &[Birth]) -> i32 {
        for worker in first {
            self.fork(*worker, None);
        }
        let ready = News::Ready { libraries: function::libraries() };
        let own = pidfd::open(identity::pid());
        let beside: Vec<_> = own.iter().map(AsFd::as_fd).collect();
        if protocol::send(&self.socket, &ready, &beside).is_err() {
            return exit::ASKED;
        }
        if self.is_successor {
            self.sweep();
        }
        loop {
            let Ok(woken) = self.deaths.wait(self.socket.as_fd()) else { return exit::INTERNAL };
            if woken.children {
                self.reap();
            }
            if woken.socket && !self.obey() {
                return self.retire();
            }
        }
    }

    /// The host is gone or has let go of us: its workers end with their lease, and are reaped before we leave, with
    /// all that they have begotten.
    fn retire(&mut self) -> i32 {
        self.reap();
        while !self.children.is_empty() || self.kill_adopted() > 0 {
            match self.deaths.wait_for_child(LEASE_MS) {
                Ok(true) => self.reap(),
                // A task closed the descriptor of its worker's lease. Not reaped yet, so the numbers are theirs.
                Ok(false) => self.children.keys().for_each(|pid| identity::kill(*pid)),
                Err(_) => break,
            }
        }
        if let Some(family) = self.family.as_deref().filter(|_| self.is_successor) {
            offspring::kill_strays(family, |_| false);
        }
        exit::ASKED
    }

    /// Kills what is below a dead worker. Whoever dies of it leaves us its own children, and we are told.
    fn kill_adopted(&self) -> usize {
        offspring::kill_adopted(|pid| self.children.contains_key(&pid))
    }

    /// Kills what dead workers of earlier zygotes have left behind.
    fn sweep(&self) {
        if let Some(family) = &self.family {
            offspring::kill_strays(family, |relative| self.is_worker(relative));
        }
    }

    /// True of a living worker, and of one that may be about to move into its record.
    fn is_worker(&self, relative: &Relative) -> bool {
        if relative.name == NAME {
            // Forked by the last zygote in its last instant: it has not come as far as its own name.
            return true;
        }
        let Some(record) = identity::record_of(&relative.name) else { return false };
        let Some(worker) = self.commons.workers.get(usize::from(record)) else { return false };
        match worker.tenant() {
            Some(pid) => pid == relative.pid,
            None => !self.children.values().any(|known| *known == record),
        }
    }

    /// Carries out one order; false if the host is gone.
    fn obey(&mut self) -> bool {
        match protocol::receive::<Order>(&self.socket, false) {
            Ok(Some(Received { message: Order::Fork(worker), descriptors })) => {
                self.fork(worker, descriptors.into_iter().next());
                true
            }
            Ok(Some(Received { message: Order::Sweep, .. })) => {
                self.sweep();
                true
            }
            Ok(Some(_)) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(None) | Err(_) => false,
        }
    }

    fn fork(&mut self, worker: Birth, stderr: Option<OwnedFd>) {
        let record = worker.record;
        let news = match fork::fork() {
            Ok(fork::Side::Child) => {
                self.let_go_of_socket();
                if let Some(stderr) = stderr {
                    stream::become_stderr(stderr);
                }
                let code =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.become_worker(worker)));
                fork::leave(code.unwrap_or(exit::INTERNAL))
            }
            Ok(fork::Side::Parent(pid)) => return self.announce(record, pid),
            Err(error) => News::Refused { record, errno: error.raw_os_error().unwrap_or(0) },
        };
        // A host that is gone is noticed by the loop.
        let _ = self.tell(&news);
    }

    /// A worker must not keep the zygote's end open: the host would not see the zygote's end of life.
    fn let_go_of_socket(&mut self) {
        match identity::null() {
            Ok(null) => self.socket = null,
            // Better no worker than one that hides a death.
            Err(_) => fork::leave(exit::INTERNAL),
        }
    }

    fn announce(&mut self, record: u16, pid: i32) {
        self.children.insert(pid, record);
        let news = News::Forked { record, pid };
        // The child is not reaped yet, so the descriptor names it and nobody else.
        let sent = match pidfd::open(pid) {
            Ok(descriptor) => protocol::send(&self.socket, &news, &[descriptor.as_fd()]),
            Err(_) => self.tell(&news),
        };
        // A host that is gone is noticed by the loop.
        let _ = sent;
    }

    /// Tells of workers that have ended, after what they left behind was killed.
    fn reap(&mut self) {
        let (mut ended, mut any) = (Vec::new(), false);
        while let Some((pid, end)) = children::reap() {
            any = true;
            ended.extend(self.children.remove(&pid).map(|record| News::Ended { record, pid, end }));
        }
        if any {
            self.kill_adopted();
        }
        for news in ended {
            // A host that is gone is noticed by the loop.
            let _ = self.tell(&news);
        }
    }

    fn tell(&self, news: &News) -> io::Result<()> {
        protocol::send(&self.socket, news, &[])
    }

    /// The rest of a worker's life; returns its exit code.
    fn become_worker(&self, Birth { record, birth }: Birth) -> i32 {
        signals::unblock_all();
        identity::set_name(&identity::worker_name(record));
        if offspring::lead().and_then(|()| offspring::adopt()).is_err() {
            return exit::INTERNAL;
        }
        let Ok(_lease) = lease::take(&self.lease) else { return exit::LEASE };
        let Some(worker) = self.commons.workers.get(usize::from(record)) else { return exit::INTERNAL };
        if !worker.move_in(birth, identity::pid()) {
            return exit::RECORD_TAKEN;
        }
        let commons: &'static Arc<Commons> = Box::leak(Box::new(Arc::clone(&self.commons)));
        last_words::write_to(&commons.workers[usize::from(record)].black_box);
        match death_word::hold(&worker.death_word) {
            Ok(()) => {}
            // The C library keeps its words elsewhere: the pidfd tells of the death, a little later.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(_) => return exit::DEATH_WORD,
        }
        let Some(duty) = Duty::new(Arc::clone(&self.commons), record, Kind::Process) else {
            return exit::INTERNAL;
        };
        Rc::new(duty).serve(&|_, cpu| self.settle(cpu));
        exit::ASKED
    }

    fn settle(&self, cpu: Option<u32>) {
        let pinned = cpu.is_some_and(pin::pin);
        if !pinned {
            pin::unpin(&self.cpus);
        }
    }
}

fn attach(file: OwnedFd, bytes: u64) -> Result<Commons, String> {
    let bytes = usize::try_from(bytes).map_err(|error| error.to_string())?;
    let segment = Segment::attach(file, bytes).map_err(|error| error.to_string())?;
    let map = Map::read(&segment, Some(function::build_identity())).map_err(|error| error.to_string())?;
    Commons::open(segment, map).map_err(|error| error.to_string())
}
