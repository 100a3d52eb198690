//! Connecting to a channel that another program has bound to a name.

use super::board::{Post, Tie, board};
use super::host::{PEERS_MAX, own_user};
use super::name::Name;
use super::observer::Observer;
use super::packet::{Hello, JOINED, OBSERVE, RECEIVE, Refusal, SEND, VERSION, Welcome};
use super::{NamedError, memory, schema};
use crate::channel::{Channel, Receiver, Sender};
use gorun_shm::ring::mpmc::Role;
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::os::{poll, socket};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use zerocopy::IntoBytes;

/// How long a binder may take to answer before it counts as stopped.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pauses between two looks for a name that nobody has bound yet: doubled from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

impl<T: Portable> Channel<T> {
    /// Connects to the channel that a program of the same user has bound to `name`, in both roles: drop the end that is
    /// not needed, so that its side can end. [`Channel::bind`] shows both sides.
    ///
    /// The ends are like those of [`channel`](crate::channel()), but they stay in this process: they are refused in
    /// tasks and in messages, and blocks and ends are refused in theirs.
    ///
    /// # Errors
    /// [`NamedError::NotFound`], [`NamedError::Schema`] if it carries another type, and the others.
    ///
    /// # Blocking
    /// Until the binder has answered, 10 seconds at most.
    pub fn connect(name: &str) -> Result<(Sender<T>, Receiver<T>), NamedError> {
        Connect::to(name).both()
    }

    /// [`Channel::connect`], and waits for the name to be bound, at most `limit`.
    ///
    /// The kernel tells nobody that a name was bound: it is looked for again after a millisecond, then two, and every
    /// fifty at last.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    ///
    /// # Blocking
    /// Until then, and until the binder has answered.
    pub fn connect_within(name: &str, limit: Duration) -> Result<(Sender<T>, Receiver<T>), NamedError> {
        Connect::to(name).within(limit).both()
    }
}

/// A connection to be made.
///
/// ```
/// use gorun_runtime::Channel;
/// use gorun_runtime::channel::Connect;
/// use std::time::Duration;
///
/// let name = format!("readings-{}", std::process::id());
/// let bound = Channel::<f64>::bounded(10).named(&name).version("kelvin").bind()?;
/// // In another program:
/// let sender = Connect::<f64>::to(&name).version("kelvin").within(Duration::from_secs(5)).sender()?;
/// sender.send(273.15)?;
/// // In a third one, which may only look:
/// let observer = Connect::<f64>::to(&name).version("kelvin").observer()?;
/// assert_eq!(observer.peek(), Some(Ok(273.15)));
/// assert_eq!(bound.receiver().recv(), Ok(273.15));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a connection is made by asking for an end"]
pub struct Connect<T> {
    name: String,
    user: Option<u32>,
    limit: Duration,
    version: String,
    values: PhantomData<fn() -> T>,
}

impl<T: Portable> Connect<T> {
    /// To the channel of that name.
    pub fn to(name: &str) -> Self {
        let (limit, version) = (Duration::ZERO, String::new());
        Self { name: name.to_owned(), user: None, limit, version, values: PhantomData }
    }

    /// Waits so long for the name to be bound.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// To a name of that user's, instead of this process's own. The binder must allow it.
    pub fn of_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// The version of the type's meaning, as the binder gave it.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Connects as a sender.
    ///
    /// # Errors
    /// [`NamedError`].
    ///
    /// # Blocking
    /// As [`Channel::connect_within`].
    pub fn sender(self) -> Result<Sender<T>, NamedError> {
        self.ends(SEND, &[Role::Sender]).map(|mut ends| Sender::of(ends.remove(0)))
    }

    /// Connects as a receiver.
    ///
    /// # Errors
    /// [`NamedError`].
    ///
    /// # Blocking
    /// As [`Channel::connect_within`].
    pub fn receiver(self) -> Result<Receiver<T>, NamedError> {
        self.ends(RECEIVE, &[Role::Receiver]).map(|mut ends| Receiver::of(ends.remove(0)))
    }

    /// Connects as both.
    ///
    /// # Errors
    /// [`NamedError`].
    ///
    /// # Blocking
    /// As [`Channel::connect_within`].
    pub fn both(self) -> Result<(Sender<T>, Receiver<T>), NamedError> {
        let mut ends = self.ends(SEND | RECEIVE, &[Role::Sender, Role::Receiver])?;
        let receiver = Receiver::of(ends.remove(1));
        Ok((Sender::of(ends.remove(0)), receiver))
    }

    /// Connects to look on: the memory is mapped for reading only, and nothing is ever taken from anybody.
    ///
    /// # Errors
    /// [`NamedError`].
    ///
    /// # Blocking
    /// As [`Channel::connect_within`].
    pub fn observer(self) -> Result<Observer<T>, NamedError> {
        let board = board()?;
        let line = self.dial(OBSERVE)?;
        let socket = Arc::new(line.socket);
        let tie = Box::new(Tie::new(board, Arc::clone(&socket)));
        let (segment, blocks) = memory::attach(&line.welcome, line.file, true, tie)?;
        let observer = Observer::new(&segment, blocks, line.welcome.block(), line.schema)
            .ok_or(NamedError::NoChannel { name: self.name.clone() })?;
        socket::send(&*socket, &JOINED, &[]).map_err(|_| NamedError::Gone { name: self.name })?;
        Ok(observer)
    }

    fn ends(self, asked: u32, roles: &[Role]) -> Result<Vec<Arc<End>>, NamedError> {
        let board = board()?;
        let line = self.dial(asked)?;
        let (welcome, socket) = (line.welcome, Arc::new(line.socket));
        let (channel, me) = (welcome.block(), welcome.owner());
        let tie = Tie::new(board, Arc::clone(&socket));
        let id = tie.id();
        let (_, blocks) = memory::attach(&welcome, line.file, false, Box::new(tie))?;
        let post = Post::Link { blocks: Arc::downgrade(&blocks), channel, me };
        // Before the ends: from here on the binder's death is heard of.
        board.put(id, Arc::clone(&socket), post);
        let gone = || NamedError::Gone { name: self.name.clone() };
        let attach = |role: &Role| End::attach(&blocks, channel, me, *role).map_err(|_| gone());
        let ends = roles.iter().map(attach).collect::<Result<Vec<_>, _>>()?;
        if ends.iter().any(|end| end.terms().kind != line.schema) {
            return Err(NamedError::NoChannel { name: self.name });
        }
        // Only now does the binder count on this program: its own ends may be the last until here.
        socket::send(&*socket, &JOINED, &[]).map_err(|_| gone())?;
        Ok(ends)
    }

    /// Says hello, and hears the answer.
    fn dial(&self, asked: u32) -> Result<Line, NamedError> {
        let own = own_user()?;
        let name = Name::new(&self.name, self.user.unwrap_or(own))?;
        let schema = schema::of::<T>(&self.version);
        let mut patience = Patience { left: self.limit, pause: PAUSE_MIN };
        loop {
            match call(&name, Hello::new(schema, asked)) {
                // It went away in between: another may come.
                Err(NamedError::NotFound { .. } | NamedError::Gone { .. }) if patience.pause() => {}
                Err(error) => return Err(error),
                Ok((socket, welcome, file)) => {
                    if let Some(refusal) = welcome.refusal() {
                        return Err(self.refused(refusal, own, schema, asked, &welcome));
                    }
                    let file = file.ok_or(NamedError::NoChannel { name: name.text })?;
                    return Ok(Line { socket, welcome, file, schema });
                }
            }
        }
    }

    fn refused(&self, refusal: Refusal, user: u32, schema: u64, asked: u32, welcome: &Welcome) -> NamedError {
        let name = self.name.clone();
        match refusal {
            Refusal::User => NamedError::NotAllowed { name, user },
            Refusal::Version => NamedError::Version { name, expected: VERSION, found: welcome.version },
            Refusal::Schema => NamedError::Schema {
                name,
                asked_type: std::any::type_name::<T>(),
                expected: schema,
                found: welcome.schema,
            },
            Refusal::Role => NamedError::RoleRefused { name, asked: called(asked) },
            Refusal::Crowded => NamedError::Crowded { name, most: PEERS_MAX },
            Refusal::Leaving => NamedError::Gone { name },
            Refusal::Malformed => NamedError::NoChannel { name },
            Refusal::NoDescriptor => NamedError::System {
                what: "have the binder pass its memory on: it has no descriptor left",
                cause: io::Error::other("refused by the binder"),
            },
        }
    }
}

fn called(asked: u32) -> &'static str {
    match asked {
        SEND => "senders",
        RECEIVE => "receivers",
        _ => "both ends at once",
    }
}

/// An open connection.
struct Line {
    socket: OwnedFd,
    welcome: Welcome,
    file: OwnedFd,
    schema: u64,
}

/// Time that may be spent on waiting for a name.
struct Patience {
    left: Duration,
    pause: Duration,
}

impl Patience {
    /// Waits a little; false if the time is over.
    fn pause(&mut self) -> bool {
        let pause = self.pause.min(self.left);
        if pause.is_zero() {
            return false;
        }
        // No descriptor tells of a name that is bound. Fails only for want of memory, and then there was no pause.
        let _ = poll::wait_within(&[], Some(pause));
        self.left -= pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

type Answer = (OwnedFd, Welcome, Option<OwnedFd>);

/// One call: connects, says hello, hears the answer.
fn call(name: &Name, hello: Hello) -> Result<Answer, NamedError> {
    let gone = || NamedError::Gone { name: name.text.clone() };
    let silent = || NamedError::Silent { name: name.text.clone(), waited: ANSWER_MAX };
    let mut patience = Patience { left: ANSWER_MAX, pause: PAUSE_MIN };
    let socket = loop {
        match socket::try_connect_abstract(&name.address()) {
            Ok(socket) => break socket,
            // Others stand in line before a binder that is slow, or stopped.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !patience.pause() {
                    return Err(silent());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(NamedError::NotFound { name: name.text.clone(), user: name.user });
            }
            Err(cause) => return Err(NamedError::System { what: "connect to the name of a channel", cause }),
        }
    };
    let who = socket::peer_credentials(&socket).map_err(NamedError::system("ask who has bound a name"))?;
    if who.user != name.user {
        let (expected, found) = (name.user, who.user);
        return Err(NamedError::Impostor { name: name.text.clone(), found, expected });
    }
    socket::send(&socket, hello.as_bytes(), &[]).map_err(|_| gone())?;
    let milliseconds = i64::try_from(ANSWER_MAX.as_millis()).unwrap_or(i64::MAX);
    if !poll::wait_one(socket.as_fd(), milliseconds) {
        return Err(silent());
    }
    let packet = socket::receive(&socket, false).ok().flatten().ok_or_else(gone)?;
    let welcome = Welcome::read(&packet.bytes).ok_or(NamedError::NoChannel { name: name.text.clone() })?;
    if welcome.refusal() == Some(Refusal::Leaving) {
        return Err(gone());
    }
    Ok((socket, welcome, packet.descriptors.into_iter().next()))
}
