//! Reactor: the thread that talks with the zygote and learns for certain that a process is gone.
//!
//! It starts the zygote and lives as long as the pool, replaces a zygote that dies, and takes a worker's end
//! from the zygote's word or, if there is no zygote to tell, from its pidfd.

use super::link::{Hello, Link};
use super::{Pool, PoolState, Trouble, open_lease};
use crate::mode::Mode;
use gorun_shm::OwnerId;
use gorun_shm::os::ticks;
use gorun_worker::os::identity;
use gorun_worker::os::pressure::Pressure;
use gorun_worker::wire::control::WorkerRecord;
use gorun_worker::zygote::protocol::{self, News, ProcessEnd, Received};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How often the host looks after workers of which neither a zygote nor a descriptor tells it: their zygote was killed,
/// and this process had no descriptor left.
const UNWATCHED_MS: i64 = 10;

/// Serves until the pool stops.
pub(super) fn run(pool: &Pool) {
    {
        let mut state = pool.lock();
        let actions = state.roster.open();
        pool.carry_out(&mut state, actions);
        start_zygote(pool, &mut state);
    }
    let mut pressure = listen_for_pressure(pool);
    while !pool.is_stopping() {
        pool.bury_threads();
        let (pidfds, link, zygote, until_look) = {
            let mut state = pool.lock();
            let until_look = look(pool, &mut state);
            let open = state.pidfds.iter().filter(|(_, (_, _, ended))| !ended);
            let pidfds: Vec<(u16, Arc<OwnedFd>)> =
                open.map(|(record, (_, pidfd, _))| (*record, Arc::clone(pidfd))).collect();
            let socket = state.link.as_ref().map(Link::socket);
            let zygote = state.zygote.clone().filter(|_| socket.is_some());
            (pidfds, socket, zygote, until_look)
        };
        let mut waited: Vec<BorrowedFd<'_>> = vec![pool.wake_up.as_fd()];
        waited.extend(pidfds.iter().map(|(_, pidfd)| pidfd.as_fd()));
        waited.extend(link.as_ref().map(|socket| socket.as_fd()));
        // A worker that was stopped as soon as it was forked still holds the zygote's end of the socket.
        waited.extend(zygote.as_ref().map(|zygote| zygote.as_fd()));
        let others = waited.len();
        waited.extend(pressure.as_ref().map(|pressure| pressure.as_fd()));
        let look_again = bury_unwatched(pool).then_some(UNWATCHED_MS);
        let limit = look_again.into_iter().chain(until_look).min();
        let Ok(ready) = gorun_worker::os::poll::wait(&waited, limit) else { continue };
        pool.wake_up.clear();
        if ready[1 + pidfds.len()..others].contains(&true) {
            hear(pool);
        }
        if ready[others..].contains(&true) {
            relieve(pool);
            pressure = pressure.filter(|pressure| !pressure.is_broken());
        }
        for (index, (record, _)) in pidfds.iter().enumerate() {
            if ready[index + 1] {
                seen_ended(pool, *record);
            }
        }
    }
}

/// What tells of memory that runs short, if free blocks are to be given back then.
fn listen_for_pressure(pool: &Pool) -> Option<Pressure> {
    if !pool.config.memory.give_back_under_pressure || pool.commons.segment().file().is_none() {
        return None;
    }
    // Where the kernel tells nobody of it, free blocks are given back when somebody asks for that.
    Pressure::open().ok()
}

/// Memory runs short: what free blocks have is given back.
fn relieve(pool: &Pool) {
    match pool.commons.blocks.give_back(OwnerId::HOST) {
        Ok(bytes) => tracing::info!(bytes, "memory runs short: free blocks were given back"),
        Err(cause) => tracing::warn!(%cause, "memory runs short, and free blocks could not be given back"),
    }
}

/// Lets time pass in the roster; gives the milliseconds until it must again, if ever.
fn look(pool: &Pool, state: &mut PoolState) -> Option<i64> {
    let now_ns = ticks::system_ns();
    if state.roster.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
        let actions = state.roster.look(now_ns);
        pool.carry_out(state, actions);
    }
    state.look_due_ns = state.roster.due_ns();
    let left_ns = state.look_due_ns?.saturating_sub(ticks::system_ns());
    // Rounded up: a sleep that ends too early would be followed by others of no length.
    Some(i64::try_from(left_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX))
}

/// Starts the zygote after one that was lost.
pub(super) fn replace_zygote(pool: &Pool, state: &mut PoolState) {
    pool.commons.host.zygote_restarts.add(1);
    start_zygote(pool, state);
}

fn start_zygote(pool: &Pool, state: &mut PoolState) {
    state.link = None;
    state.zygote_is_ready = false;
    let started =
        if pool.config.mode == Mode::Process { try_start(pool, state) } else { Err(switched_off()) };
    match started {
        Ok((link, zygote)) => {
            state.link = Some(link);
            state.zygote = zygote.map(Arc::new);
        }
        Err(cause) => without_zygote(pool, state, &cause.to_string()),
    }
}

fn switched_off() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "processes are switched off")
}

fn try_start(pool: &Pool, state: &mut PoolState) -> io::Result<(Link, Option<OwnedFd>)> {
    if state.lease.is_none() {
        state.family = identity::random_token()?;
        state.lease = Some(open_lease()?);
    }
    let Some((read_end, _)) = &state.lease else { return Err(switched_off()) };
    let unborn = state.roster.unborn();
    // Each of them comes with a pipe of its own where standard error is captured.
    let (first, later) = if pool.streams.is_none() { (unborn, Vec::new()) } else { (Vec::new(), unborn) };
    let hello = Hello {
        first: first.into_iter().map(|record| pool.birth_in(record)).collect(),
        cpus: pool.config.cpus,
        family: state.family,
        is_successor: state.roster.has_orphans(),
    };
    let (link, zygote) = Link::start(pool.commons.segment(), read_end.as_fd(), hello)?;
    for record in later {
        pool.order(&link, record);
    }
    Ok((link, zygote))
}

/// No zygote: serve the seats by threads, and say so.
fn without_zygote(pool: &Pool, state: &mut PoolState, cause: &str) {
    let again = pool.config.mode == Mode::Process;
    let actions = state.roster.no_zygote(again, ticks::system_ns());
    if again {
        tell_of_threads(pool, state, cause);
    }
    pool.carry_out(state, actions);
}

fn tell_of_threads(pool: &Pool, state: &mut PoolState, cause: &str) {
    let text = format!(
        "no worker process can be had ({cause}); until one can, tasks run on threads of this process, \
         a crash in one ends the program. Raise RLIMIT_NOFILE and RLIMIT_NPROC, or allow memfd_create and clone."
    );
    pool.warn_once(state, Trouble::NoZygote, &text);
}

/// Reads everything the zygote has said; replaces it if it is gone.
fn hear(pool: &Pool) {
    let mut state = pool.lock();
    // Looked at first: what a zygote said before its end is there once it has ended.
    let has_ended = state.zygote.as_ref().is_some_and(|zygote| gorun_worker::os::pidfd::has_ended(&**zygote));
    loop {
        let Some(link) = &state.link else { return };
        match protocol::receive::<News>(&*link.socket(), false) {
            Ok(Some(Received { message, descriptors })) => heard(pool, &mut state, message, descriptors),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !has_ended => return,
            Ok(None) | Err(_) => return zygote_ended(pool, &mut state),
        }
    }
}

fn heard(pool: &Pool, state: &mut PoolState, news: News, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    if let News::Forked { record, pid } | News::Ended { record, pid, .. } = news
        && pool
            .commons
            .workers
            .get(usize::from(record))
            .and_then(WorkerRecord::tenant)
            .is_some_and(|found| found != pid)
    {
        return adopt(pool, state, record);
    }
    let now_ns = ticks::system_ns();
    let actions = match news {
        News::Ready { libraries } => {
            state.libraries = Some(libraries);
            state.zygote = descriptors.next().map(Arc::new).or(state.zygote.take());
            state.zygote_is_ready = true;
            state.roster.zygote_ready(now_ns);
            Vec::new()
        }
        News::Failed { reason } => {
            pool.warn(&format!("the zygote cannot serve: {reason}"));
            state.roster.zygote_failed();
            Vec::new()
        }
        News::Forked { record, pid } => {
            if let Some(pidfd) = descriptors.next() {
                state.pidfds.insert(record, (pid, Arc::new(pidfd), false));
            }
            state.roster.forked(record, pid, now_ns);
            pool.publish_assignment(state, record);
            // The watcher may have seen the death word before this; let it look again.
            pool.commons.host.bell.ring();
            Vec::new()
        }
        News::Refused { record, errno } => {
            let cause = io::Error::from_raw_os_error(errno);
            let text = format!(
                "a worker process was refused ({cause}); raise RLIMIT_NPROC or the cgroup's pids.max"
            );
            pool.warn_once(state, Trouble::Refused, &text);
            state.roster.refused(record, now_ns)
        }
        // Said of workers that this zygote never has.
        News::NotJailed { .. } => Vec::new(),
        News::Ended { record, pid, end } => {
            let passing = pool.passing(state, record);
            state.roster.ended(record, (pid, end), passing, now_ns)
        }
    };
    pool.carry_out(state, actions);
}

fn zygote_ended(pool: &Pool, state: &mut PoolState) {
    state.link = None;
    if pool.is_stopping() {
        return;
    }
    // Nobody will tell of these any more.
    let ended: Vec<(u16, i32)> = state
        .pidfds
        .iter()
        .filter(|(_, (_, _, ended))| *ended)
        .map(|(record, (pid, _, _))| (*record, *pid))
        .collect();
    // Workers of its last forks may live without our having been told; who has not moved in by now never will.
    for record in state.roster.unborn() {
        if pool.commons.workers[usize::from(record)].shut().is_some() {
            adopt(pool, state, record);
        }
    }
    state.zygote = None;
    let now_ns = ticks::system_ns();
    let actions = state.roster.zygote_ended(state.zygote_is_ready, now_ns);
    if state.roster.is_without_zygote() {
        tell_of_threads(pool, state, "the zygote does not start");
    }
    pool.carry_out(state, actions);
    for (record, pid) in ended {
        bury(pool, state, record, pid);
    }
}

/// The process is gone, and nobody says how it ended.
fn bury(pool: &Pool, state: &mut PoolState, record: u16, pid: i32) {
    let passing = pool.passing(state, record);
    let actions = state.roster.ended(record, (pid, ProcessEnd::Unknown), passing, ticks::system_ns());
    pool.carry_out(state, actions);
}

/// A pidfd says that its process is gone. The zygote says how it ended, if it is there to say.
fn seen_ended(pool: &Pool, record: u16) {
    let mut state = pool.lock();
    let Some((pid, pidfd, ended)) = state.pidfds.get_mut(&record) else { return };
    if !gorun_worker::os::pidfd::has_ended(&*pidfd) {
        return;
    }
    *ended = true;
    let pid = *pid;
    if pool
        .commons
        .workers
        .get(usize::from(record))
        .and_then(WorkerRecord::tenant)
        .is_some_and(|found| found != pid)
    {
        // A second try at a worker that was there already.
        return adopt(pool, &mut state, record);
    }
    let passing = pool.passing(&state, record);
    let actions = state.roster.dying(record, passing, ticks::system_ns());
    pool.carry_out(&mut state, actions);
    if !is_told_by_zygote(&state, record) {
        bury(pool, &mut state, record, pid);
    }
}

fn is_told_by_zygote(state: &PoolState, record: u16) -> bool {
    state.link.is_some() && state.roster.is_child_of_current_zygote(record)
}

/// The worker that moved into the record is not one that this zygote told of: an earlier one forked it.
fn adopt(pool: &Pool, state: &mut PoolState, record: u16) {
    let Some(pid) = pool.commons.workers[usize::from(record)].tenant() else { return };
    if state.roster.processes().contains(&(record, pid)) {
        return;
    }
    state.roster.adopted(record, pid, ticks::system_ns());
    match pool.open_worker(record, pid) {
        Some(pidfd) => {
            state.pidfds.insert(record, (pid, Arc::new(pidfd), false));
        }
        // Dead already, or no descriptor to be had: `bury_unwatched` looks after it.
        None => {
            state.pidfds.remove(&record);
        }
    }
    pool.publish_assignment(state, record);
    // The watcher looks at its death word from now on, and this thread at its descriptor.
    pool.commons.host.bell.ring();
    pool.wake_up.wake();
}

/// Buries workers that have ended where nothing else would tell; true if some are still there.
fn bury_unwatched(pool: &Pool) -> bool {
    let mut state = pool.lock();
    let unwatched: Vec<(u16, i32)> = state
        .roster
        .processes()
        .into_iter()
        .filter(|(record, _)| !state.pidfds.contains_key(record) && !is_told_by_zygote(&state, *record))
        .collect();
    let mut left = false;
    for (record, pid) in unwatched {
        if pool.is_worker(record, pid) {
            left = true;
        } else {
            bury(pool, &mut state, record, pid);
        }
    }
    left
}
