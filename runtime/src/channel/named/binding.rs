//! Binding: giving a channel a name under which other programs find it.

use super::board::{Post, board};
use super::host::{Guests, Host, NamedPeer, own_user};
use super::memory::{self, VALUE_BYTES_MAX};
use super::name::Name;
use super::packet::{RECEIVE, SEND};
use super::{NamedError, schema};
use crate::channel::{Channel, ChannelStats, Receiver, Sender};
use gorun_shm::os::ticks::Rate;
use gorun_worker::codec::Portable;
use gorun_worker::end::Place;
use gorun_worker::os::socket;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a waiting thread looks before it sleeps, where there is another processor to look at.
const SPIN: Duration = Duration::from_micros(8);

impl<T: Portable> Channel<T> {
    /// Opens the channel under a name, for programs that are started separately: [`Channel::connect`] finds it. Neither
    /// side needs a runtime.
    ///
    /// The name belongs to this process's user. Nothing of it is on disk or in `/dev/shm`; it is gone when the
    /// [`NamedChannel`] is dropped or this process ends, however it ends.
    ///
    /// ```
    /// use gorun_runtime::Channel;
    ///
    /// let name = format!("squares-{}", std::process::id());
    /// let bound = Channel::<u64>::bounded(100).bind(&name)?;
    /// // In another program:
    /// let (sender, _) = Channel::<u64>::connect(&name)?;
    /// sender.send(49)?;
    /// assert_eq!(bound.receiver().recv(), Ok(49));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NamedError::InUse`], [`NamedError::BadName`], and what the kernel refuses.
    pub fn bind(self, name: &str) -> Result<NamedChannel<T>, NamedError> {
        self.named(name).bind()
    }

    /// [`Channel::bind`] with options.
    pub fn named(self, name: &str) -> Binding<T> {
        let guests = Guests { roles: SEND | RECEIVE, ..Guests::default() };
        Binding {
            channel: self,
            name: name.to_owned(),
            guests,
            value_bytes: VALUE_BYTES_MAX,
            version: String::new(),
        }
    }
}

/// A channel that is about to get a name.
#[derive(Debug, Clone)]
#[must_use = "a name is bound by `bind`"]
pub struct Binding<T> {
    channel: Channel<T>,
    name: String,
    guests: Guests,
    value_bytes: u64,
    version: String,
}

impl<T: Portable> Binding<T> {
    /// Lets programs of that user in, beside those of this process's own. They can write the whole memory of the channel.
    pub fn allow_user(mut self, user: u32) -> Self {
        self.guests.users.push(user);
        self
    }

    /// Lets programs in whose first group is that one (further groups of a process are not looked at).
    pub fn allow_group(mut self, group: u32) -> Self {
        self.guests.groups.push(group);
        self
    }

    /// Others get senders only.
    pub fn others_send(mut self) -> Self {
        self.guests.roles = SEND;
        self
    }

    /// Others get receivers only.
    pub fn others_receive(mut self) -> Self {
        self.guests.roles = RECEIVE;
        self
    }

    /// The most bytes a value may have when it is encoded, 64 to 2^30; by default 16 MiB. Memory is used only for values that
    /// are on their way.
    pub fn value_bytes_max(mut self, bytes: u64) -> Self {
        self.value_bytes = bytes.clamp(64, 1 << 30);
        self
    }

    /// A version of the type's meaning: who connects must give the same. For changes that its form does not show.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Binds the name.
    ///
    /// # Errors
    /// As [`Channel::bind`].
    pub fn bind(mut self) -> Result<NamedChannel<T>, NamedError> {
        let user = own_user()?;
        let name = Name::new(&self.name, user)?;
        self.guests.users.push(user);
        let board = board()?;
        let listener = socket::listen_abstract(&name.address()).map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => NamedError::InUse { name: name.text.clone() },
            _ => NamedError::System { what: "listen under the name of a channel", cause },
        })?;
        let (geometry, rules) = self.channel.plan()?;
        let kind = schema::of::<T>(&self.version);
        let terms = self.channel.terms(rules, kind, spin_ticks());
        let fresh = memory::make(geometry, terms, self.value_bytes)?;
        let (sender, receiver) = fresh.ends;
        let no_channel = |_| NamedError::NoChannel { name: name.text.clone() };
        let place = Place::open(sender.block().clone()).map_err(no_channel)?;
        let host = Host::new(fresh.segment, fresh.limits, kind, self.guests, place);
        let id = board.number();
        board.put(id, Arc::new(listener), Post::Name(Arc::clone(&host)));
        let (sender, receiver) = (Sender::of(sender), Receiver::of(receiver));
        Ok(NamedChannel { name: name.text, listener: Some(id), host, sender, receiver })
    }
}

fn spin_ticks() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let nanos = if cores > 1 { u64::try_from(SPIN.as_nanos()).unwrap_or(0) } else { 0 };
    Rate::measured().ticks(nanos)
}

/// A channel that has a name. While this lives, programs may connect, and neither side of the channel counts as gone, though
/// no program may be connected.
///
/// Dropped, it gives the name up: those who are connected stay so, and the channel ends as every channel does, when the last
/// sender or the last receiver is gone. This process recovers what programs leave behind that are killed; if it ends itself,
/// the channel ends for all: senders find it closed, receivers receive what was sent and are
/// [`Disconnected`](crate::RecvError::Disconnected) then.
pub struct NamedChannel<T> {
    name: String,
    listener: Option<u64>,
    host: Arc<Host>,
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl<T> NamedChannel<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A sender of this process.
    #[must_use]
    pub fn sender(&self) -> Sender<T> {
        self.sender.clone()
    }

    /// A receiver of this process.
    #[must_use]
    pub fn receiver(&self) -> Receiver<T> {
        self.receiver.clone()
    }

    /// Gives the name up and keeps both ends: drop the one that is not needed, so that its side can end.
    #[must_use]
    pub fn into_ends(self) -> (Sender<T>, Receiver<T>) {
        (self.sender.clone(), self.receiver.clone())
    }

    /// The programs that are connected now, those about to be among them; one that has connected twice is there twice.
    #[must_use]
    pub fn peers(&self) -> Vec<NamedPeer> {
        self.host.peers()
    }

    /// Waits until at least `count` connections have their ends, at most `limit`; false if they did not come.
    ///
    /// # Blocking
    /// Until then.
    #[must_use]
    pub fn wait_for_peers(&self, count: usize, limit: Duration) -> bool {
        self.host.wait_for(limit, |peers| peers.iter().filter(|peer| peer.joined).count() >= count)
    }

    /// Waits until nobody is connected, at most `limit`; false if somebody is still.
    ///
    /// # Blocking
    /// Until then.
    #[must_use]
    pub fn wait_for_departure(&self, limit: Duration) -> bool {
        self.host.wait_for(limit, <[NamedPeer]>::is_empty)
    }

    /// Numbers of the channel.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.sender.stats()
    }
}

impl<T> Drop for NamedChannel<T> {
    fn drop(&mut self) {
        self.host.leave();
        if let (Some(listener), Ok(board)) = (self.listener.take(), board()) {
            // The name is free when this returns.
            board.take_and_wait(listener);
        }
    }
}

impl<T> fmt::Debug for NamedChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedChannel")
            .field("name", &self.name)
            .field("peers", &self.peers())
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
