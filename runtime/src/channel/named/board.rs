//! Board: the one thread of a process that listens under its names, answers those who connect, and hears who hangs up.
//! Started with the first name that is bound or connected to; asleep while nothing happens.
//!
//! It never runs code of the user, and never waits for a peer: a connection that says nothing is looked at again when it does.

use super::NamedError;
use super::host::Host;
use super::recover;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, Blocks};
use gorun_worker::os::poll::{self, WakeUp};
use gorun_worker::os::{fork, socket};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Connections to one process that have not said anything yet; the oldest is closed for a newer one.
const SILENT_MAX: usize = 64;
/// Connections taken in one look, so that somebody who connects without end keeps nobody from being heard.
const TAKEN_MAX: usize = 64;
/// Where no descriptor is left for a connection, the next look is so much later.
const DEAF_MS: i64 = 100;

/// What a socket on the board is.
#[derive(Clone)]
pub(super) enum Post {
    /// A bound name.
    Name(Arc<Host>),
    /// A connection that has not said anything yet.
    Silent(Arc<Host>),
    /// A program that was let in.
    Peer(Arc<Host>),
    /// This program's connection to a binder.
    Link {
        /// Its view of the binder's memory.
        blocks: Weak<Blocks>,
        /// The channel.
        channel: BlockHandle,
        /// Who this program is in it.
        me: OwnerId,
    },
}

struct Entry {
    socket: Arc<OwnedFd>,
    post: Post,
}

#[derive(Default)]
struct Entries {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// A connection could not be taken for want of a descriptor.
    is_deaf: bool,
}

/// See the module's head.
pub(super) struct Board {
    entries: Mutex<Entries>,
    wake: WakeUp,
    /// Told when the thread has let go of the sockets it was looking at.
    round: Condvar,
    /// Forks behind this process when the thread was started.
    forks: u32,
}

/// The board of this process.
///
/// # Errors
/// [`NamedError::Forked`] in a fork of a process that has one, or what the kernel said.
pub(super) fn board() -> Result<&'static Board, NamedError> {
    static BOARD: OnceLock<Board> = OnceLock::new();
    static START: Mutex<()> = Mutex::new(());
    if let Some(board) = BOARD.get() {
        return if fork::forks() == board.forks { Ok(board) } else { Err(NamedError::Forked) };
    }
    let _one_at_a_time = START.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(board) = BOARD.get() {
        return Ok(board);
    }
    let wake = WakeUp::new().map_err(NamedError::system("make a descriptor to wake a thread by"))?;
    let fresh = Board { entries: Mutex::default(), wake, round: Condvar::new(), forks: fork::forks() };
    let board = BOARD.get_or_init(|| fresh);
    let thread = std::thread::Builder::new().name("gorun-named".into());
    // Without the thread nobody serves: the next one who asks tries to start it again.
    thread.spawn(|| board.serve()).map_err(NamedError::system("start the thread of named channels"))?;
    Ok(board)
}

impl Board {
    /// A number for a socket that will be put up.
    pub(super) fn number(&self) -> u64 {
        let mut entries = self.lock();
        entries.next += 1;
        entries.next
    }

    /// Puts a socket up.
    pub(super) fn put(&self, id: u64, socket: Arc<OwnedFd>, post: Post) {
        fork::keep_from_forks(socket.as_fd());
        self.lock().entries.insert(id, Entry { socket, post });
        self.wake.wake();
    }

    /// Takes a socket down; it is closed a moment later.
    pub(super) fn take(&self, id: u64) -> Option<Weak<OwnedFd>> {
        if fork::forks() != self.forks {
            return None;
        }
        let entry = self.lock().entries.remove(&id)?;
        fork::allow_in_forks(entry.socket.as_fd());
        let weak = Arc::downgrade(&entry.socket);
        drop(entry);
        self.wake.wake();
        Some(weak)
    }

    /// Takes a socket down and waits until it is closed.
    ///
    /// # Blocking
    /// Until the thread has finished what it is doing.
    pub(super) fn take_and_wait(&self, id: u64) {
        let Some(socket) = self.take(id) else { return };
        let entries = self.lock();
        let waited = self.round.wait_while(entries, |_| socket.strong_count() > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn serve(&self) {
        loop {
            // Over scribbled memory a check that never fails may: that must not make this process deaf for its other names.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.look()));
            // Whoever waits for a socket to be closed looks under this lock.
            drop(self.lock());
            self.round.notify_all();
        }
    }

    /// Waits until something happens at a socket, and deals with it.
    fn look(&self) {
        let (watched, is_deaf) = self.watched();
        let sockets: Vec<BorrowedFd<'_>> = std::iter::once(self.wake.as_fd())
            .chain(watched.iter().map(|(_, socket)| socket.as_fd()))
            .collect();
        let Ok(ready) = poll::wait(&sockets, is_deaf.then_some(DEAF_MS)) else {
            // No memory for it: a little later, perhaps.
            let _ = poll::wait_one(self.wake.as_fd(), DEAF_MS);
            return;
        };
        self.wake.clear();
        for ((id, socket), _) in watched.iter().zip(&ready[1..]).filter(|(_, is_ready)| **is_ready) {
            self.look_at(*id, socket);
        }
    }

    fn watched(&self) -> (Vec<(u64, Arc<OwnedFd>)>, bool) {
        let mut entries = self.lock();
        let is_deaf = std::mem::take(&mut entries.is_deaf);
        let heard =
            entries.entries.iter().filter(|(_, entry)| !(is_deaf && matches!(entry.post, Post::Name(_))));
        (heard.map(|(id, entry)| (*id, Arc::clone(&entry.socket))).collect(), is_deaf)
    }

    fn look_at(&self, id: u64, socket: &Arc<OwnedFd>) {
        // Gone if it was taken down meanwhile.
        let Some(post) = self.lock().entries.get(&id).map(|entry| entry.post.clone()) else { return };
        match post {
            Post::Name(host) => self.let_in(socket, &host),
            Post::Silent(host) => match hear(socket) {
                Heard::Nothing => {}
                Heard::Packet(bytes) if host.answer(id, socket, &bytes) => {
                    if let Some(entry) = self.lock().entries.get_mut(&id) {
                        entry.post = Post::Peer(host);
                    }
                }
                Heard::Packet(_) | Heard::End => drop(self.take(id)),
            },
            Post::Peer(host) => match hear(socket) {
                Heard::Nothing => {}
                Heard::Packet(bytes) if host.hear(id, &bytes) => {}
                Heard::Packet(_) | Heard::End => {
                    drop(self.take(id));
                    host.lose(id);
                }
            },
            Post::Link { blocks, channel, me } => {
                if !matches!(hear(socket), Heard::Nothing) {
                    drop(self.take(id));
                    if let Some(blocks) = blocks.upgrade() {
                        recover::bury_binder(&blocks, channel, me);
                    }
                }
            }
        }
    }

    fn let_in(&self, listener: &OwnedFd, host: &Arc<Host>) {
        for _ in 0..TAKEN_MAX {
            match socket::accept(listener) {
                Ok(Some(connection)) => {
                    let id = self.number();
                    self.put(id, Arc::new(connection), Post::Silent(Arc::clone(host)));
                }
                Ok(None) => break,
                Err(_) => {
                    self.lock().is_deaf = true;
                    break;
                }
            }
        }
        let entries = self.lock();
        let silent = entries.entries.iter().filter(|(_, entry)| matches!(entry.post, Post::Silent(_)));
        let silent: Vec<u64> = silent.map(|(id, _)| *id).collect();
        drop(entries);
        for id in &silent[..silent.len().saturating_sub(SILENT_MAX)] {
            drop(self.take(*id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Heard {
    Nothing,
    Packet(Vec<u8>),
    End,
}

/// What a connection says now. Descriptors that come with it are closed.
fn hear(connection: &OwnedFd) -> Heard {
    match socket::receive(connection, false) {
        Ok(Some(packet)) => Heard::Packet(packet.bytes),
        Ok(None) => Heard::End,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
        Err(_) => Heard::End,
    }
}

/// A program's connection to a binder: when the last thing that needs it is dropped, it hangs up.
pub(super) struct Tie {
    board: &'static Board,
    id: u64,
    socket: Arc<OwnedFd>,
}

impl Tie {
    pub(super) fn new(board: &'static Board, socket: Arc<OwnedFd>) -> Self {
        Self { board, id: board.number(), socket }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        if fork::forks() == self.board.forks {
            socket::hang_up(&*self.socket);
            drop(self.board.take(self.id));
        }
    }
}
