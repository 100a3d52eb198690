//! Host: a bound name as its binder has it, and who is connected.

use super::NamedError;
use super::packet::{Hello, JOINED, OBSERVE, RECEIVE, Refusal, SEND, VERSION, Welcome};
use super::recover;
use gorun_shm::blocks::Limits;
use gorun_shm::{OwnerId, Segment};
use gorun_worker::end::Place;
use gorun_worker::os::socket::{self, Credentials};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zerocopy::IntoBytes;

/// Who may connect, and as what.
#[derive(Debug, Clone, Default)]
pub(super) struct Guests {
    pub(super) users: Vec<u32>,
    pub(super) groups: Vec<u32>,
    /// Bits of `packet`.
    pub(super) roles: u32,
}

impl Guests {
    fn admits(&self, who: Credentials) -> bool {
        self.users.contains(&who.user) || self.groups.contains(&who.group)
    }
}

/// A program that is connected to a channel which this one has bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedPeer {
    /// Its process id when it connected; 0 if it has none here.
    pub pid: u32,
    /// Its user.
    pub user: u32,
    /// It has a sender.
    pub sends: bool,
    /// It has a receiver.
    pub receives: bool,
    /// It looks on.
    pub observes: bool,
    /// It has its ends. Before that it was let in, and is about to take them.
    pub joined: bool,
}

/// One connection of a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub(super) peer: NamedPeer,
    /// Who it is in the channel; nobody for one that looks on.
    owner: Option<OwnerId>,
}

/// A channel that has, or had, a name.
pub(super) struct Host {
    segment: Arc<Segment>,
    limits: Limits,
    schema: u64,
    guests: Guests,
    place: Place,
    state: Mutex<State>,
    /// Told when the state changes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_leaving: bool,
    peers: BTreeMap<u64, Guest>,
}

impl Host {
    pub(super) fn new(
        segment: Arc<Segment>,
        limits: Limits,
        schema: u64,
        guests: Guests,
        place: Place,
    ) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { segment, limits, schema, guests, place, state, changed })
    }

    /// Answers the first packet of a connection; true if it is let in, and known as `id` from now on.
    pub(super) fn answer(&self, id: u64, connection: &OwnedFd, bytes: &[u8]) -> bool {
        let answer = self.admit(id, connection, bytes);
        let (welcome, file) = match answer {
            Ok((welcome, file)) => (welcome, Some(file)),
            Err(refusal) => (Welcome::refuse(refusal, self.schema), None),
        };
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        let sent = socket::send(connection, welcome.as_bytes(), &files);
        let is_in = file.is_some();
        if is_in && sent.is_err() {
            // It is gone already.
            self.lose(id);
            return false;
        }
        is_in
    }

    fn admit(&self, id: u64, connection: &OwnedFd, bytes: &[u8]) -> Result<(Welcome, OwnedFd), Refusal> {
        let who = socket::peer_credentials(connection).map_err(|_| Refusal::User)?;
        if !self.guests.admits(who) {
            return Err(Refusal::User);
        }
        let hello = Hello::read(bytes).ok_or(Refusal::Malformed)?;
        if hello.version != VERSION {
            return Err(Refusal::Version);
        }
        let asked = hello.asked().ok_or(Refusal::Role)?;
        if asked & !(self.guests.roles | OBSERVE) != 0 {
            return Err(Refusal::Role);
        }
        if hello.schema != self.schema {
            return Err(Refusal::Schema);
        }
        let file = self.file_for(asked).ok_or(Refusal::NoDescriptor)?;
        let owner = self.enter(id, who, asked)?;
        let (bytes, block) = (self.segment.bytes() as u64, self.place.block().handle());
        Ok((Welcome::new(self.schema, owner, bytes, block, self.limits), file))
    }

    /// The memory, for who looks on through a descriptor that cannot be written through.
    fn file_for(&self, asked: u32) -> Option<OwnedFd> {
        let file = self.segment.file()?;
        if asked == OBSERVE {
            return gorun_shm::os::memfd::read_only(file).ok();
        }
        file.try_clone_to_owned().ok()
    }

    fn enter(&self, id: u64, who: Credentials, asked: u32) -> Result<OwnerId, Refusal> {
        let mut state = self.lock();
        if state.is_leaving {
            return Err(Refusal::Leaving);
        }
        let is_taken = |owner: OwnerId| state.peers.values().any(|guest| guest.owner == Some(owner));
        let owner = if asked == OBSERVE {
            None
        } else {
            let mut free = (0..OwnerId::WORKERS_MAX).filter_map(OwnerId::worker);
            Some(free.find(|owner| !is_taken(*owner)).ok_or(Refusal::Crowded)?)
        };
        let peer = NamedPeer {
            pid: who.pid,
            user: who.user,
            sends: asked & SEND != 0,
            receives: asked & RECEIVE != 0,
            observes: asked == OBSERVE,
            joined: false,
        };
        state.peers.insert(id, Guest { peer, owner });
        drop(state);
        self.changed.notify_all();
        Ok(owner.unwrap_or(OwnerId::NONE))
    }

    /// Hears what somebody says who was let in; false if that is nothing it may say.
    pub(super) fn hear(&self, id: u64, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        let Some(guest) = state.peers.get_mut(&id).filter(|guest| !guest.peer.joined && bytes == JOINED)
        else {
            return false;
        };
        guest.peer.joined = true;
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The connection is over: what its program had in the channel is recovered, and only then its number is free.
    pub(super) fn lose(&self, id: u64) {
        let guest = self.lock().peers.get(&id).copied();
        if let Some(owner) = guest.and_then(|guest| guest.owner) {
            recover::bury_peer(&self.place, owner);
        }
        self.lock().peers.remove(&id);
        self.changed.notify_all();
    }

    /// Nobody is let in from now on.
    pub(super) fn leave(&self) {
        self.lock().is_leaving = true;
    }

    pub(super) fn peers(&self) -> Vec<NamedPeer> {
        self.lock().peers.values().map(|guest| guest.peer).collect()
    }

    /// Waits until `condition` holds of those who are connected; false if it did not within `limit`.
    pub(super) fn wait_for(&self, limit: Duration, condition: impl Fn(&[NamedPeer]) -> bool) -> bool {
        let holds = |state: &State| {
            let peers: Vec<NamedPeer> = state.peers.values().map(|guest| guest.peer).collect();
            condition(&peers)
        };
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, limit, |state| !holds(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        holds(&state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limit on connections that send or receive.
pub(super) const PEERS_MAX: u16 = OwnerId::WORKERS_MAX;

/// The user this process is.
pub(super) fn own_user() -> Result<u32, NamedError> {
    let own = || {
        let (one_end, _) = socket::pair()?;
        socket::peer_user(one_end)
    };
    own().map_err(NamedError::system("ask the kernel for this process's user"))
}
