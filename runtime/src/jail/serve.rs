//! Serve: the keeper's thread. It sleeps on descriptors only: its wake-up, the jailer's socket, the bells of cells whose
//! tasks somebody waits for, and processes of which no jailer tells any more.

use super::cell::{Cell, Standing};
use super::inmate::{Inmate, Phase, Verdict};
use super::keeper::Keeper;
use super::memory::Memory;
use super::state::{CLOSED, Effects, State, StockId, bare};
use crate::pool::{Link, open_lease};
use gorun_shm::os::ticks;
use gorun_worker::jail::JailRefusal;
use gorun_worker::os::poll::{self, WakeUp};
use gorun_worker::os::{fork, lease, pidfd};
use gorun_worker::wire::ids::{Seat, WorkerId};
use gorun_worker::wire::status::Status;
use gorun_worker::zygote::protocol::ProcessEnd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the kernel to tear a killed process down.
const TEAR_DOWN_MS_MAX: i64 = 10_000;

/// The zygote of jailed workers, as its host sees it.
pub(super) struct Jailer {
    pub(super) link: Link,
    /// Its life ends every worker that this jailer forked.
    lease: Lease,
    /// Its process, once it has told.
    pub(super) process: Option<OwnedFd>,
    pub(super) is_ready: bool,
}

impl Jailer {
    fn start(keeper: &Keeper) -> io::Result<Self> {
        let (read_end, write_end) = open_lease()?;
        let link = Link::start_jailer(read_end.as_fd(), keeper.settings.cpus)?;
        Ok(Self { link, lease: Lease(write_end), process: None, is_ready: false })
    }

    /// Kills all its workers, of which it cannot tell any more.
    pub(super) fn revoke(&self) {
        lease::revoke(&self.lease);
    }
}

/// The host's end of a lease.
struct Lease(OwnedFd);

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        fork::allow_in_forks(self.0.as_fd());
    }
}

/// What the thread does next, as found under the lock.
#[derive(Default)]
struct Chores {
    effects: Effects,
    /// Cells whose task has ended.
    to_read: Vec<u16>,
    /// The cell to start, and under which number and generation.
    to_start: Option<(StockId, u16, u32)>,
    needs_jailer: bool,
    bells: Vec<(u16, Arc<WakeUp>)>,
    /// Processes of a jailer that is gone.
    orphans: Vec<(u16, Arc<OwnedFd>)>,
    next_due_ns: Option<u64>,
}

/// Serves until the runtime stops.
pub(super) fn run(keeper: &Arc<Keeper>) {
    let Some(wake_up) = keeper.own_wake_up() else { return };
    let mut jailer: Option<Jailer> = None;
    loop {
        let Some(mut chores) = look(keeper) else { break };
        keeper.carry_out(std::mem::take(&mut chores.effects));
        chores.to_read.iter().for_each(|cell| keeper.read(*cell));
        let needs_jailer = chores.needs_jailer || chores.to_start.is_some();
        let ready = !needs_jailer || jailer.is_some() || start_jailer(keeper, &mut jailer);
        if let (Some((stock, number, generation)), true) = (chores.to_start, ready) {
            start_cell(keeper, &mut jailer, stock, (number, generation));
        }
        if chores.to_start.is_some() || !chores.to_read.is_empty() {
            // There may be more of it; what has been said meanwhile is heard first.
            sleep(keeper, wake_up, &mut jailer, &chores, Some(Duration::ZERO));
            continue;
        }
        let now = ticks::system_ns();
        let limit = chores.next_due_ns.map(|due| Duration::from_nanos(due.saturating_sub(now)));
        sleep(keeper, wake_up, &mut jailer, &chores, limit);
    }
    shut_down(keeper, jailer);
}

/// Finds what there is to do; none if the runtime stops.
fn look(keeper: &Keeper) -> Option<Chores> {
    let limit = keeper.settings.workers;
    let mut chores = Chores::default();
    let mut state = keeper.lock();
    if state.is_stopped {
        return None;
    }
    state.expire(&mut chores.effects, &mut chores.to_read);
    let wanted = state.serve(limit, &mut chores.effects).map(|stock| (stock, limit + 1));
    let wanted = wanted.or_else(|| state.wanted_ahead(limit));
    chores.to_start = wanted.and_then(|(stock, most)| {
        let (number, generation) = state.place_for(stock, most)?;
        Some((stock, number, generation))
    });
    state.arm(&mut chores.to_read);
    chores.needs_jailer = state.is_asked_for_libraries && state.libraries.is_none();
    let armed = state.numbered().filter(|(_, cell)| cell.is_armed);
    chores.bells = armed.map(|(number, cell)| (number, Arc::clone(&cell.bell))).collect();
    let orphans = state.numbered().filter(|(_, cell)| cell.is_orphan);
    chores.orphans = orphans.filter_map(|(number, cell)| Some((number, cell.pidfd()?))).collect();
    chores.next_due_ns = state.next_due_ns();
    Some(chores)
}

/// Sleeps until something happens, and takes in what it was.
fn sleep(
    keeper: &Keeper,
    wake_up: &WakeUp,
    jailer: &mut Option<Jailer>,
    chores: &Chores,
    limit: Option<Duration>,
) {
    let socket = jailer.as_ref().map(|jailer| jailer.link.socket());
    let mut waited: Vec<BorrowedFd<'_>> = vec![wake_up.as_fd()];
    waited.extend(chores.bells.iter().map(|(_, bell)| bell.as_fd()));
    waited.extend(chores.orphans.iter().map(|(_, pidfd)| pidfd.as_fd()));
    waited.extend(socket.iter().map(|socket| socket.as_fd()));
    // A child that was stopped as soon as it was forked still holds the jailer's end of the socket.
    waited.extend(jailer.iter().filter_map(|jailer| jailer.process.as_ref()).map(AsFd::as_fd));
    let Ok(ready) = poll::wait_within(&waited, limit) else { return };
    wake_up.clear();
    let bells = 1..1 + chores.bells.len();
    let orphans = bells.end..bells.end + chores.orphans.len();
    let heard = ready[orphans.end..].contains(&true);
    for ((number, bell), _) in chores.bells.iter().zip(&ready[bells]).filter(|(_, ready)| **ready) {
        bell.clear();
        keeper.read(*number);
    }
    for ((number, pidfd), _) in chores.orphans.iter().zip(&ready[orphans]).filter(|(_, ready)| **ready) {
        if pidfd::has_ended(&**pidfd) {
            let mut effects = Effects::default();
            keeper.lock().died(*number, ProcessEnd::Unknown, &mut effects);
            keeper.carry_out(effects);
        }
    }
    if heard {
        super::hear::hear(keeper, jailer);
    }
}

/// Starts a zygote for jailed workers; false if there can be none, and then nobody waits for one any more.
fn start_jailer(keeper: &Keeper, jailer: &mut Option<Jailer>) -> bool {
    match Jailer::start(keeper) {
        Ok(started) => *jailer = Some(started),
        Err(cause) => refuse_waiting(keeper, &cause.to_string()),
    }
    jailer.is_some()
}

/// No worker can be had now: refuses all that wait for one.
pub(super) fn refuse_waiting(keeper: &Keeper, message: &str) {
    let mut effects = Effects::default();
    let mut state = keeper.lock();
    state.refuse_waiting(&JailRefusal::NoProcess { message: message.to_owned() }, &mut effects);
    state.is_asked_for_libraries = false;
    drop(state);
    keeper.changed.notify_all();
    keeper.carry_out(effects);
}

/// Makes a segment, and asks for a worker in it.
fn start_cell(
    keeper: &Keeper,
    jailer: &mut Option<Jailer>,
    stock: StockId,
    (number, generation): (u16, u32),
) {
    let jail = Arc::clone(&keeper.lock().stocks[stock.0].jail);
    let bytes = keeper.message_limit(stock);
    let made = Memory::open(bytes, keeper.settings.by_value, keeper.settings.spin_ticks)
        .map_err(|error| error.to_string())
        .and_then(|memory| Ok((memory, WakeUp::new().map_err(|error| error.to_string())?)));
    let (memory, bell) = match made {
        Ok(made) => made,
        Err(message) => return refuse_waiting(keeper, &message),
    };
    let Some(Jailer { link, .. }) = jailer else { return };
    let asked = match memory.file() {
        Some((file, bytes)) => link.jail(number, (bytes, (*jail).clone()), [file, bell.as_fd()]),
        None => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let mut effects = Effects::default();
    match asked {
        Ok(()) => {
            let worker = WorkerId { seat: Seat(number), generation };
            let cell = Cell::new(worker, stock, Arc::new(memory), Arc::new(bell));
            let mut state = keeper.lock();
            state.started += 1;
            state.cells[usize::from(number)] = Some(cell);
            state.serve(keeper.settings.workers, &mut effects);
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let refusal = JailRefusal::NoProcess { message: error.to_string() };
            keeper.lock().give_up(stock, &refusal, &mut effects);
        }
        // The jailer is dead; the thread hears of that next, and starts another.
        Err(_) => super::hear::lose(keeper, jailer),
    }
    keeper.carry_out(effects);
}

/// Ends every worker and the jailer, and then every task that was not ended.
fn shut_down(keeper: &Keeper, jailer: Option<Jailer>) {
    if let Some(Jailer { link, lease, process, .. }) = jailer {
        // Ends any worker that is being forked just now, too; the jailer waits for those.
        lease::revoke(&lease);
        let process = process.or(link.close(TEAR_DOWN_MS_MAX));
        if let Some(process) = process {
            let _ = poll::wait_one(process.as_fd(), TEAR_DOWN_MS_MAX);
        }
    }
    let orphans: Vec<Arc<OwnedFd>> = keeper.lock().numbered().filter_map(|(_, cell)| cell.pidfd()).collect();
    for pidfd in orphans {
        // All have lost their lease; one that a task had closed is killed here.
        let _ = pidfd::kill(&*pidfd);
        let _ = poll::wait_one(pidfd.as_fd(), TEAR_DOWN_MS_MAX);
    }
    // What ended before the shutdown has its outcome.
    let cells: Vec<u16> = keeper.lock().numbered().map(|(number, _)| number).collect();
    cells.into_iter().for_each(|number| keeper.read(number));
    let mut effects = Effects::default();
    let mut state = keeper.lock();
    let open: Vec<(u64, u8)> = state.inmates.iter().map(|(task, inmate)| (*task, inmate.attempt)).collect();
    for (task, attempt) in open {
        state.end(task, bare(CLOSED, attempt), &mut effects);
    }
    state.cells.clear();
    drop(state);
    keeper.changed.notify_all();
    keeper.carry_out(effects);
}

impl State {
    /// True if the keeper's thread has something to do now: a task waits, or a cell is to be started ahead.
    pub(super) fn has_chores(&self, limit: usize) -> bool {
        !self.waiting.is_empty() || self.wanted_ahead(limit).is_some()
    }

    /// True if the keeper's thread has to look after a task that runs now: for its end, or at a time.
    pub(super) fn is_watched(&self, task: u64) -> bool {
        let Some(inmate) = self.inmates.get(&task) else { return false };
        !self.waiting.is_empty() || Self::is_to_be_told(inmate) || !inmate.dues.is_empty()
    }

    /// True if the keeper must hear of the task's end by itself.
    fn is_to_be_told(inmate: &Inmate) -> bool {
        inmate.is_detached || inmate.waker.is_some()
    }

    /// Has the bells rung for the ends that the keeper must hear of: all of them while tasks wait. Cells whose task
    /// has ended already go to `to_read`.
    fn arm(&mut self, to_read: &mut Vec<u16>) {
        let all = !self.waiting.is_empty();
        for (number, place) in (0..=u16::MAX).zip(&mut self.cells) {
            let Some(cell) = place else { continue };
            let Standing::Busy(task) = cell.standing else { continue };
            let Some(inmate) = self.inmates.get(&task) else { continue };
            let runs = matches!(inmate.phase, Phase::Running(_));
            if runs && !cell.is_armed && (all || Self::is_to_be_told(inmate)) {
                cell.is_armed = cell.memory.ask_for_bell(cell.current());
                if !cell.is_armed {
                    to_read.push(number);
                }
            }
        }
    }

    /// Ends what stands in line too long, and condemns what runs too long. Cells whose task has ended in time go to
    /// `to_read`.
    fn expire(&mut self, effects: &mut Effects, to_read: &mut Vec<u16>) {
        let now = ticks::system_ns();
        while let Some(entry) = self.dues.first_entry() {
            let (at_ns, task) = *entry.key();
            if at_ns > now {
                return;
            }
            let verdict = Verdict { status: Status::TimedOut, allowed_ns: entry.remove() };
            let Some(inmate) = self.inmates.get_mut(&task) else { continue };
            inmate.dues.retain(|due| *due != at_ns);
            if self.end_waiting(task, verdict, effects) {
                continue;
            }
            let ended = self.cell_of(task).filter(|(_, cell)| cell.memory.has_ended(cell.current()));
            match ended.map(|(number, _)| number) {
                Some(number) => to_read.push(number),
                None => drop(self.condemn(task, verdict)),
            }
        }
    }

    /// Refuses all that wait.
    fn refuse_waiting(&mut self, refusal: &JailRefusal, effects: &mut Effects) {
        for task in std::mem::take(&mut self.waiting) {
            self.end(task, super::state::refused_with(refusal.clone()), effects);
        }
    }
}
