//! The zygote's loop: fork on request, tell of deaths, and leave when the host does.
//!
//! A zygote of jailed workers maps no segment: each of its workers attaches one of its own, and puts on its jail.
//!
//! It has one thread and maps the segment before the first fork, so that a worker starts with everything in
//! place. It dies with its host (end of file on the socket) and is replaced if it dies alone; its workers
//! then go on, since their lease is on the host.
//!
//! It adopts what dead workers leave behind and kills it, see [`offspring`]; nothing that a task forked or started
//! outlives its worker.

use super::protocol::{self, Birth, News, Order, Received};
use crate::cpu_set::CpuSet;
use crate::duty::{Duty, Kind};
use crate::jail::{Jail, JailPart, JailRefusal};
use crate::os::children::{self, Deaths};
use crate::os::numa;
use crate::os::offspring::{self, Relative};
use crate::os::poll::WakeUp;
use crate::os::{
    allocator, death_word, fork, identity, jail as os_jail, last_words, lease, pidfd, pin, signals, stream,
};
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
    /// None in a zygote of jailed workers.
    commons: Option<Arc<Commons>>,
    lease: OwnedFd,
    cpus: CpuSet,
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
    match message {
        Order::Hello { token: told, segment_bytes, first, cpus, is_successor } if told == token => {
            match Server::open(socket, segment_bytes, descriptors, cpus) {
                Ok(mut server) => {
                    server.is_successor = is_successor;
                    server.run(&first)
                }
                Err(code) => code,
            }
        }
        Order::HelloJailer { token: told, cpus } if told == token => {
            match Server::open_jailer(socket, descriptors, cpus) {
                Ok(mut server) => server.run(&[]),
                Err(code) => code,
            }
        }
        _ => exit::BAD_MARK,
    }
}

/// Tells the host why this zygote cannot serve; gives its exit code.
fn fail(socket: &OwnedFd, reason: String) -> i32 {
    // If even this cannot be sent, the host sees the end of the socket instead.
    let _ = protocol::send(socket, &News::Failed { reason }, &[]);
    exit::ATTACH
}

impl Server {
    fn open(socket: OwnedFd, bytes: u64, descriptors: Vec<OwnedFd>, cpus: CpuSet) -> Result<Self, i32> {
        let Ok([file, lease]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(fail(&socket, "the segment or the lease did not arrive".into()));
        };
        match attach(file, bytes) {
            Ok(commons) => Self::with(socket, Some(Arc::new(commons)), lease, cpus),
            Err(reason) => Err(fail(&socket, reason)),
        }
    }

    /// A zygote of jailed workers: what it has mapped, all of them would have.
    fn open_jailer(socket: OwnedFd, descriptors: Vec<OwnedFd>, cpus: CpuSet) -> Result<Self, i32> {
        let Ok([lease]) = <[OwnedFd; 1]>::try_from(descriptors) else {
            return Err(fail(&socket, "the lease did not arrive".into()));
        };
        Self::with(socket, None, lease, cpus)
    }

    fn with(
        socket: OwnedFd,
        commons: Option<Arc<Commons>>,
        lease: OwnedFd,
        cpus: CpuSet,
    ) -> Result<Self, i32> {
        let deaths = match Deaths::watch() {
            Ok(deaths) => deaths,
            Err(cause) => return Err(fail(&socket, format!("watch for ended workers: {cause}"))),
        };
        if let Err(cause) = offspring::adopt() {
            return Err(fail(&socket, format!("adopt what workers leave behind: {cause}")));
        }
        context::install_panic_hook();
        let family = std::env::var(offspring::VARIABLE).ok();
        let children = HashMap::new();
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
        if self.children.contains_key(&relative.pid) {
            // Forked here, and perhaps on its way to its record and to its first task.
            return true;
        }
        if relative.name == NAME {
            // Forked by the last zygote in its last instant: it has not come as far as its own name.
            return true;
        }
        let Some(record) = identity::record_of(&relative.name) else { return false };
        let worker = self.commons.as_ref().and_then(|commons| commons.workers.get(usize::from(record)));
        let Some(worker) = worker else { return false };
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
            Ok(Some(Received { message: Order::Jail { cell, segment_bytes, jail }, descriptors })) => {
                self.fork_jailed(Inmate { cell, segment_bytes, jail }, descriptors);
                true
            }
            Ok(Some(_)) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(None) | Err(_) => false,
        }
    }

    fn fork(&mut self, worker: Birth, stderr: Option<OwnedFd>) {
        self.fork_into(worker.record, |server| {
            server.let_go_of_socket();
            if let Some(stderr) = stderr {
                stream::become_stderr(stderr);
            }
            server.become_worker(worker)
        });
    }

    fn fork_jailed(&mut self, inmate: Inmate, descriptors: Vec<OwnedFd>) {
        self.fork_into(inmate.cell, |server| server.become_jailed(&inmate, descriptors));
    }

    /// Forks a process that lives as `body` says, and tells the host of it under this number.
    fn fork_into(&mut self, number: u16, body: impl FnOnce(&mut Self) -> i32) {
        let news = match fork::fork() {
            Ok(fork::Side::Child) => {
                let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(self)));
                fork::leave(code.unwrap_or(exit::INTERNAL))
            }
            Ok(fork::Side::Parent(pid)) => return self.announce(number, pid),
            Err(error) => News::Refused { record: number, errno: error.raw_os_error().unwrap_or(0) },
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
        let Some(commons) = &self.commons else { return exit::INTERNAL };
        let Ok(_lease) = lease::take(&self.lease) else { return exit::LEASE };
        match move_in(commons, record, birth) {
            Ok(duty) => Rc::new(duty).serve(&|_, cpus| self.settle(&cpus)),
            Err(code) => return code,
        }
        exit::ASKED
    }

    /// The rest of a jailed worker's life; returns its exit code.
    fn become_jailed(
        &mut self,
        Inmate { cell, segment_bytes, jail }: &Inmate,
        descriptors: Vec<OwnedFd>,
    ) -> i32 {
        signals::unblock_all();
        identity::set_name(&identity::jailed_name(*cell));
        if offspring::lead().and_then(|()| offspring::adopt()).is_err() {
            return exit::INTERNAL;
        }
        pin::unpin(&self.cpus);
        let Ok([file, bell]) = <[OwnedFd; 2]>::try_from(descriptors) else { return exit::ATTACH };
        let Ok(lease) = lease::take(&self.lease) else { return exit::LEASE };
        let Ok(commons) = attach(file, *segment_bytes) else { return exit::ATTACH };
        let commons = Arc::new(commons);
        // Nobody but the host has ever mapped the segment, so what stands there is what the host wrote.
        let birth = commons.workers[0].birth();
        let duty = match move_in(&commons, 0, birth) {
            Ok(duty) => duty,
            Err(code) => return code,
        };
        let Ok(null) = identity::null() else { return exit::INTERNAL };
        let socket = std::mem::replace(&mut self.socket, null);
        match confine(jail, [lease.into_descriptor(), bell], socket) {
            Ok(bell) => Rc::new(duty.calling(bell)).serve(&|_, _| {}),
            Err((socket, refusal)) => {
                // A host that cannot be told sees the exit code.
                let _ = socket
                    .map(|socket| protocol::send(socket, &News::NotJailed { cell: *cell, refusal }, &[]));
                return exit::JAIL;
            }
        }
        exit::ASKED
    }

    /// Pins this worker, and takes blocks of the memory node that its processors belong to, where the pool has a part in each.
    fn settle(&self, cpus: &CpuSet) {
        pin::settle(cpus, &self.cpus);
        let Some(commons) = self.commons.as_ref().filter(|commons| commons.blocks.record().nodes() > 1)
        else {
            return;
        };
        let nodes = numa::nodes();
        if let Some(place) = cpus.first().and_then(|cpu| numa::place_of(cpu, &nodes)) {
            commons.blocks.settle(place, commons.blocks.record().nodes());
        }
    }
}

/// A jailed worker to be.
struct Inmate {
    cell: u16,
    segment_bytes: u64,
    jail: Jail,
}

/// Makes this process the worker of the record, up to its first look for a task; the exit code if it cannot be.
fn move_in(commons: &Arc<Commons>, record: u16, birth: u32) -> Result<Duty, i32> {
    let worker = commons.workers.get(usize::from(record)).ok_or(exit::INTERNAL)?;
    if !worker.move_in(birth, identity::pid()) {
        return Err(exit::RECORD_TAKEN);
    }
    let leaked: &'static Arc<Commons> = Box::leak(Box::new(Arc::clone(commons)));
    last_words::write_to(&leaked.workers[usize::from(record)].black_box);
    match death_word::hold(&worker.death_word) {
        Ok(()) => {}
        // The C library keeps its words elsewhere: the pidfd tells of the death, a little later.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(_) => return Err(exit::DEATH_WORD),
    }
    Duty::new(Arc::clone(commons), record, Kind::Process).ok_or(exit::INTERNAL)
}

/// Puts the jail on this process, which keeps of its descriptors the lease and the bell, and the socket until then.
/// Gives the bell; or why not, and the socket to say so.
fn confine(
    jail: &Jail,
    [lease, bell]: [OwnedFd; 2],
    socket: OwnedFd,
) -> Result<WakeUp, (Option<OwnedFd>, JailRefusal)> {
    let held = match os_jail::hold_only(vec![lease, bell], socket) {
        Ok(held) => held,
        Err(error) => return Err((None, JailRefusal::lacking(JailPart::Descriptors, &error))),
    };
    // The socket goes only after the last step that can fail: until then no code but ours has run.
    if let Err(refusal) = os_jail::put_on(jail, &held) {
        return Err((Some(held.passing), refusal));
    }
    drop(held.passing);
    let mut kept = held.kept;
    let bell = kept.pop();
    // The lease is held to the end of the process.
    std::mem::forget(kept);
    match bell {
        Some(bell) => Ok(WakeUp::from_descriptor(bell)),
        None => fork::leave(exit::INTERNAL),
    }
}

fn attach(file: OwnedFd, bytes: u64) -> Result<Commons, String> {
    let bytes = usize::try_from(bytes).map_err(|error| error.to_string())?;
    let segment = Segment::attach(file, bytes).map_err(|error| error.to_string())?;
    let map = Map::read(&segment, Some(function::build_identity())).map_err(|error| error.to_string())?;
    let commons = Commons::open(segment, map).map_err(|error| error.to_string())?;
    // Read before any task could write over them; forks have them from here.
    commons.blocks.terms();
    Ok(commons)
}
