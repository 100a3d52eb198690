//! Link: the control socket to a living zygote, and how a zygote comes to life.

use gorun_shm::Segment;
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::jail::Jail;
use gorun_worker::os::{fork, identity, offspring, poll, socket};
use gorun_worker::zygote::protocol::{self, Birth, News, Order, Received};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

/// The host's end.
#[derive(Debug)]
pub(crate) struct Link {
    /// Shared, not duplicated: a fork of the host must not hold a second one that nobody knows of.
    socket: Arc<OwnedFd>,
}

/// What a zygote is told at its start.
#[derive(Debug)]
pub(crate) struct Hello {
    /// Workers to fork at once.
    pub(crate) first: Vec<Birth>,
    /// Processors that a worker without a processor of its own may run on.
    pub(crate) cpus: CpuSet,
    /// Marks every process of the runtime, and what these start.
    pub(crate) family: u128,
    /// True if it is not the first.
    pub(crate) is_successor: bool,
}

impl Link {
    /// Starts a zygote: this program again, recognised before main by a token nobody else knows. Gives its pidfd too,
    /// where the kernel makes one with the process; otherwise the zygote sends one when it is ready.
    ///
    /// # Errors
    /// What the kernel said: no descriptors, no processes left.
    ///
    /// # Blocking
    /// Until the new image is being executed, about a millisecond.
    pub(crate) fn start(
        segment: &Arc<Segment>,
        lease: BorrowedFd<'_>,
        hello: Hello,
    ) -> io::Result<(Self, Option<OwnedFd>)> {
        let file = segment.file().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        let segment_bytes = segment.bytes() as u64;
        let Hello { first, cpus, family, is_successor } = hello;
        let hello = |token| Order::Hello { token, segment_bytes, first, cpus, is_successor };
        Self::execute(hello, &[file, lease], (Some(family), |_| true))
    }

    /// Starts a zygote of jailed workers, which gets no segment, and of the environment only what the loader and locales
    /// need.
    ///
    /// # Errors
    /// As [`Link::start`].
    ///
    /// # Blocking
    /// As [`Link::start`].
    pub(crate) fn start_jailer(lease: BorrowedFd<'_>, cpus: CpuSet) -> io::Result<Self> {
        let started =
            Self::execute(|token| Order::HelloJailer { token, cpus }, &[lease], (None, is_for_jails));
        started.map(|(link, _)| link)
    }

    fn execute(
        hello: impl FnOnce(u128) -> Order,
        descriptors: &[BorrowedFd<'_>],
        (family, passes): (Option<u128>, impl Fn(&OsStr) -> bool),
    ) -> io::Result<(Self, Option<OwnedFd>)> {
        let (ours, theirs) = socket::pair()?;
        fork::keep_from_forks(ours.as_fd());
        let token = identity::random_token()?;
        // Sent before the zygote exists, so that it finds everything when it looks.
        protocol::send(&ours, &hello(token), descriptors)?;
        let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("gorun"));
        let environment = environment_with(&protocol::mark(token), family, passes);
        let zygote =
            fork::execute_detached(c"/proc/self/exe", &[c_string(name)], &environment, theirs.as_fd())?;
        Ok((Self { socket: Arc::new(ours) }, zygote))
    }

    /// The socket, to wait on.
    pub(crate) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Lets the zygote go and returns when it is gone, with its pidfd if it told of itself only now.
    ///
    /// # Blocking
    /// Until the zygote has reaped its workers and left, at most `milliseconds` for each thing it still says.
    pub(crate) fn close(self, milliseconds: i64) -> Option<OwnedFd> {
        socket::end_sending(&self.socket);
        let mut zygote = None;
        while poll::wait_one(self.socket.as_fd(), milliseconds) {
            match protocol::receive::<News>(&self.socket, false) {
                Ok(Some(Received { message: News::Ready { .. }, descriptors })) => {
                    zygote = descriptors.into_iter().next()
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        zygote
    }

    /// Has what a worker of an earlier zygote left behind killed.
    ///
    /// # Errors
    /// What the kernel said; the zygote may be dead.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        protocol::send(&self.socket, &Order::Sweep, &[])
    }

    /// Asks for a worker, with `stderr` for its standard error, or the host's.
    ///
    /// # Errors
    /// What the kernel said; the zygote may be dead.
    pub(crate) fn fork(&self, worker: Birth, stderr: Option<BorrowedFd<'_>>) -> io::Result<()> {
        protocol::send(&self.socket, &Order::Fork(worker), stderr.as_slice())
    }

    /// Asks for a jailed worker under this number; with its segment and its bell.
    ///
    /// # Errors
    /// What the kernel said; the zygote may be dead. `InvalidInput` if the profile is too long to be sent.
    pub(crate) fn jail(
        &self,
        cell: u16,
        (segment_bytes, jail): (u64, Jail),
        descriptors: [BorrowedFd<'_>; 2],
    ) -> io::Result<()> {
        protocol::send(&self.socket, &Order::Jail { cell, segment_bytes, jail }, &descriptors)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        fork::allow_in_forks(self.socket.as_fd());
    }
}

/// Variables that jailed workers get too: the loader's, and those that say how text and time look.
fn is_for_jails(key: &OsStr) -> bool {
    const NAMES: [&str; 6] = ["LANG", "LANGUAGE", "TZ", "TMPDIR", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];
    let key = key.to_string_lossy();
    key.starts_with("LD_") || key.starts_with("LC_") || NAMES.contains(&key.as_ref())
}

fn environment_with(mark: &str, family: Option<u128>, passes: impl Fn(&OsStr) -> bool) -> Vec<CString> {
    // A program that a task of another runtime started has that one's mark.
    let own = std::env::vars_os().filter(|(key, _)| key != offspring::VARIABLE && passes(key)).map(
        |(key, value)| {
            let mut entry = key;
            entry.push("=");
            entry.push(value);
            c_string(entry)
        },
    );
    let mark = format!("{}={mark}", protocol::VARIABLE);
    let family = family.map(|family| format!("{}={family:032x}", offspring::VARIABLE));
    own.chain([mark].into_iter().chain(family).map(|entry| c_string(OsString::from(entry)))).collect()
}

fn c_string(text: OsString) -> CString {
    // The environment and the arguments came from C strings, so there is no zero in them.
    CString::new(text.into_vec()).unwrap_or_default()
}
