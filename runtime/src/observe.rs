//! Observe: the other end of a [`report`](crate::report), for a launcher that reads a program's runtimes from outside.
//!
//! A [`Listener`] takes the segments that runtimes of the same user hand over; an [`Observed`] reads the counters of
//! one of them, while its program runs and after its death. Everything that comes in is checked, and a segment is
//! mapped for looking only: whoever wrote it may write it still, so that each look may find other numbers.
//!
//! Progress: nothing here waits. A caller sleeps on [`Listener::descriptors`] and on [`Observed::host`].

use crate::profile::Profile;
pub use crate::report::VARIABLE;
use crate::stats::Stats;
use gorun_shm::sync::Ordering;
use gorun_shm::{Segment, SegmentError};
use gorun_worker::os::{identity, pidfd, socket};
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::map::{AttachError, Map};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// Connections that may be open without having said anything; the oldest is closed for a newer one.
const SILENT_MAX: usize = 64;
/// Connections taken in one call, so that somebody who connects without end cannot keep the caller.
const TAKEN_MAX: usize = 64;

/// Takes the reports of runtimes.
#[derive(Debug)]
pub struct Listener {
    /// None once the kernel refused to accept: a socket that nobody empties would hold up programs that connect.
    socket: Option<OwnedFd>,
    name: String,
    user: u32,
    silent: Vec<OwnedFd>,
}

/// Why a report was not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// It came from another user.
    #[error("user {found} is not user {own}, who listens")]
    Stranger {
        /// Who connected.
        found: u32,
        /// Who listens.
        own: u32,
    },
    /// The message is not one segment and its size.
    #[error("a message of {bytes} bytes with {descriptors} descriptors is no report")]
    Message {
        /// Bytes that came.
        bytes: usize,
        /// Descriptors that came.
        descriptors: usize,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Connection(#[source] io::Error),
    /// The kernel accepts no more connections; the listener is closed.
    #[error("no further runtime can be seen (raise RLIMIT_NOFILE)")]
    Deaf(#[source] io::Error),
    /// What came cannot be mapped.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// What came is no runtime's segment.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

impl Listener {
    /// Listens under a name that nobody can guess.
    ///
    /// # Errors
    /// What the kernel said: no descriptors left, sockets forbidden.
    pub fn open() -> io::Result<Self> {
        let name = format!("gorun-report-{:032x}", identity::random_token()?);
        let (own_end, _) = socket::pair()?;
        let user = socket::peer_user(own_end)?;
        Ok(Self { socket: Some(socket::listen_abstract(&name)?), name, user, silent: Vec::new() })
    }

    /// The value of [`VARIABLE`] for a program whose runtimes are to report here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When one of these is readable, [`Listener::accept_all`] has something to do.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.socket.iter().chain(&self.silent).map(AsFd::as_fd)
    }

    /// Takes every report that has come, and says of each that was refused why.
    pub fn accept_all(&mut self) -> Vec<Result<Observed, ObserveError>> {
        let mut taken = Vec::new();
        if let Err(error) = self.take_connections(&mut taken) {
            self.socket = None;
            taken.push(Err(ObserveError::Deaf(error)));
        }
        for connection in std::mem::take(&mut self.silent) {
            match hear(&connection) {
                Ok(Some(observed)) => taken.push(Ok(observed)),
                Ok(None) => {}
                Err(ObserveError::Connection(cause)) if cause.kind() == io::ErrorKind::WouldBlock => {
                    self.silent.push(connection);
                }
                Err(error) => taken.push(Err(error)),
            }
        }
        taken
    }

    fn take_connections(&mut self, taken: &mut Vec<Result<Observed, ObserveError>>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        for _ in 0..TAKEN_MAX {
            let Some(connection) = socket::accept(socket)? else { return Ok(()) };
            match socket::peer_user(&connection) {
                Ok(found) if found == self.user => self.silent.push(connection),
                Ok(found) => taken.push(Err(ObserveError::Stranger { found, own: self.user })),
                Err(cause) => taken.push(Err(ObserveError::Connection(cause))),
            }
            if self.silent.len() > SILENT_MAX {
                self.silent.remove(0);
            }
        }
        Ok(())
    }
}

/// Reads the one message of a connection; none if it was closed without one.
fn hear(connection: &OwnedFd) -> Result<Option<Observed>, ObserveError> {
    let packet = socket::receive(connection, false).map_err(ObserveError::Connection)?;
    let Some(packet) = packet else { return Ok(None) };
    let refusal = ObserveError::Message { bytes: packet.bytes.len(), descriptors: packet.descriptors.len() };
    let Ok(bytes) = <[u8; 8]>::try_from(packet.bytes).map(u64::from_ne_bytes) else { return Err(refusal) };
    let Ok([file]) = <[OwnedFd; 1]>::try_from(packet.descriptors) else { return Err(refusal) };
    Observed::attach(file, bytes).map(Some)
}

/// A runtime of another process.
#[derive(Debug)]
pub struct Observed {
    commons: Commons,
    host: Option<OwnedFd>,
}

impl Observed {
    fn attach(file: OwnedFd, bytes: u64) -> Result<Self, ObserveError> {
        let short = AttachError::Short { found: usize::MAX as u64, expected: bytes };
        let segment = Segment::observe(file, usize::try_from(bytes).map_err(|_| short)?)?;
        let map = Map::read(&segment, None)?;
        let commons = Commons::open(segment, map)?;
        let pid = commons.host.pid.load(Ordering::Relaxed); // Relaxed: stored before the report was sent.
        // A host that is gone already, or that lives where its number means nothing, is read all the same.
        let host = i32::try_from(pid).ok().and_then(|pid| pidfd::open(pid).ok());
        Ok(Self { commons, host })
    }

    /// The counters as of now, or as of its stop.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::read(&self.commons)
    }

    /// What the tasks of each function cost. Names are there once the runtime has ended by itself.
    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile::read(&self.commons, None)
    }

    /// Readable once the process that the runtime belongs to has ended; none if that cannot be known.
    #[must_use]
    pub fn host(&self) -> Option<BorrowedFd<'_>> {
        self.host.as_ref().map(AsFd::as_fd)
    }

    /// True once the process that the runtime belongs to has ended: its counters stand still.
    #[must_use]
    pub fn host_has_ended(&self) -> bool {
        self.host.as_ref().is_some_and(pidfd::has_ended)
    }

    /// True once the runtime was shut down. Values that are joined later still count.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        // Acquire: pairs with the Release in `report::stopped`.
        self.commons.host.stop_ns.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun_worker::wire::map::Shape;
    use std::sync::Arc;

    const SHAPE: Shape = Shape {
        seats: 2,
        records: 6,
        lane_slots: 64,
        nested_slots: 64,
        notice_slots: 64,
        block_bytes_max: 4096,
        pool_bytes: 0,
        reserve_bytes: 0,
    };

    fn runtime_segment() -> Arc<Segment> {
        let map = Map::plan(SHAPE);
        let segment = Segment::create("observe-test", usize::try_from(map.bytes).unwrap()).unwrap();
        map.format(&segment, 1).unwrap();
        segment
    }

    /// Sends one message to the listener and returns what it makes of it.
    fn report(bytes: &[u8], files: &[BorrowedFd<'_>]) -> Vec<Result<Observed, ObserveError>> {
        let mut listener = Listener::open().unwrap();
        let connection = socket::connect_abstract(listener.name()).unwrap();
        socket::send(&connection, bytes, files).unwrap();
        listener.accept_all()
    }

    fn report_segment(segment: &Segment, bytes: u64) -> Result<Observed, ObserveError> {
        report(&bytes.to_ne_bytes(), &[segment.file().unwrap()]).pop().unwrap()
    }

    #[test]
    fn counters_of_a_reported_segment_are_read() {
        let segment = runtime_segment();
        let commons = Commons::open(Arc::clone(&segment), Map::plan(SHAPE)).unwrap();
        commons.host.pid.store(std::process::id(), Ordering::Relaxed);
        let observed = report_segment(&segment, segment.bytes() as u64).unwrap();
        commons.seats[1].ledger.submitted.add(5);
        commons.seats[1].tasks.add(3);
        let stats = observed.stats();
        assert_eq!((stats.pid, stats.submitted, stats.seats[1].tasks), (std::process::id(), 5, 3));
        assert!(observed.host().is_some() && !observed.host_has_ended() && !observed.has_stopped());
        crate::report::stopped(&commons, Vec::new);
        assert!(observed.has_stopped());
    }

    #[test]
    fn a_connection_that_has_not_spoken_is_heard_later() {
        let mut listener = Listener::open().unwrap();
        let connection = socket::connect_abstract(listener.name()).unwrap();
        assert!(listener.accept_all().is_empty());
        assert_eq!(listener.descriptors().count(), 2);
        let segment = runtime_segment();
        let bytes = (segment.bytes() as u64).to_ne_bytes();
        socket::send(&connection, &bytes, &[segment.file().unwrap()]).unwrap();
        assert_eq!(listener.accept_all().iter().filter(|taken| taken.is_ok()).count(), 1);
        assert_eq!(listener.descriptors().count(), 1);
    }

    #[test]
    fn a_connection_closed_in_silence_is_no_error() {
        let mut listener = Listener::open().unwrap();
        drop(socket::connect_abstract(listener.name()).unwrap());
        assert!(listener.accept_all().is_empty());
        assert_eq!(listener.descriptors().count(), 1);
    }

    #[test]
    fn silent_connections_are_limited() {
        let mut listener = Listener::open().unwrap();
        let mut connections = Vec::new();
        for _ in 0..SILENT_MAX + 8 {
            connections.push(socket::connect_abstract(listener.name()).unwrap());
            assert!(listener.accept_all().is_empty());
        }
        assert_eq!(listener.descriptors().count(), 1 + SILENT_MAX);
    }

    #[test]
    fn a_message_of_another_form_is_refused() {
        let segment = runtime_segment();
        let file = segment.file().unwrap();
        for (bytes, files) in [(&[1_u8; 7][..], &[file][..]), (&[0; 8], &[]), (&[0; 8], &[file, file])] {
            let taken = report(bytes, files).pop().unwrap();
            assert!(matches!(taken, Err(ObserveError::Message { .. })), "{taken:?}");
        }
    }

    #[test]
    fn a_size_that_is_not_there_is_refused() {
        let segment = runtime_segment();
        for bytes in [segment.bytes() as u64 + 1, u64::MAX] {
            let taken = report_segment(&segment, bytes);
            assert!(
                matches!(taken, Err(ObserveError::Segment(SegmentError::NotASegment { .. }))),
                "{taken:?}"
            );
        }
        let taken = report_segment(&segment, 0);
        assert!(matches!(taken, Err(ObserveError::Segment(SegmentError::Refused { .. }))), "{taken:?}");
        let taken = report_segment(&segment, 4096);
        assert!(matches!(taken, Err(ObserveError::Attach(AttachError::Short { .. }))), "{taken:?}");
    }

    #[test]
    fn a_file_that_can_shrink_is_refused() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let taken = report(&4096_u64.to_ne_bytes(), &[file.as_fd()]).pop().unwrap();
        assert!(matches!(taken, Err(ObserveError::Segment(SegmentError::NotASegment { .. }))), "{taken:?}");
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let zeroes = Segment::create("observe-test", 1 << 20).unwrap();
        let taken = report_segment(&zeroes, 1 << 20);
        assert!(matches!(taken, Err(ObserveError::Attach(AttachError::NotGorun { .. }))), "{taken:?}");
        let impossible = Shape { seats: 0, ..SHAPE };
        Map { shape: impossible, ..Map::plan(SHAPE) }.format(&zeroes, 1).unwrap();
        let taken = report_segment(&zeroes, 1 << 20);
        assert!(matches!(taken, Err(ObserveError::Attach(AttachError::Shape))), "{taken:?}");
    }
}
