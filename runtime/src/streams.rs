//! Streams: the standard error of workers, if it is captured: a pipe for each record, read by a thread of the host.
//!
//! The thread writes to the host's own standard error what comes, and keeps the last bytes of each worker for the
//! evidence of its death. What a worker wrote before it died is still in its pipe then, so nothing is lost with it. A
//! standard error that takes nothing makes this thread wait, then the pipes fill, then tasks wait that write: as they
//! would without a pipe. Nobody else ever waits here: a burial takes what is in the pipe, and leaves the writing to the
//! thread. At the host's exit the rest is written by whoever exits; workers of a killed host die with it.

use gorun_worker::os::poll::{self, WakeUp};
use gorun_worker::os::stream;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread::JoinHandle;

/// Bytes of a worker's last words that are kept.
const TAIL_BYTES: usize = 4096;
/// Bytes read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Streams {
    /// One for each record, made when its first worker is.
    streams: Vec<Mutex<Option<Stream>>>,
    /// Held from taking bytes out of a pipe to writing them, so that they come out in the order of their way in.
    output: Mutex<Output>,
    wake_up: WakeUp,
    /// The process that made it; a fork of it must not read its pipes.
    process: i32,
}

#[derive(Debug)]
struct Stream {
    reader: Arc<OwnedFd>,
    writer: Arc<OwnedFd>,
    /// The last bytes.
    tail: VecDeque<u8>,
    /// Taken out at a burial and not yet written.
    pending: Vec<u8>,
}

#[derive(Debug, Default)]
struct Output {
    is_over: bool,
}

impl Streams {
    /// Streams for as many records, none of them open yet, and the thread that serves them.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn start(records: u16) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        let streams = (0..records).map(|_| Mutex::new(None)).collect();
        let process = gorun_worker::os::identity::pid();
        let output = Mutex::default();
        let streams = Arc::new(Self { streams, output, wake_up: WakeUp::new()?, process });
        let served = Arc::clone(&streams);
        let thread = std::thread::Builder::new().name("gorun-stderr".to_owned());
        let thread = thread.spawn(move || served.serve())?;
        register(&streams);
        Ok((streams, thread))
    }

    /// What the worker of the record is to write to; none if no pipe can be had.
    pub(crate) fn writer(&self, record: u16) -> Option<Arc<OwnedFd>> {
        let mut place = lock(self.streams.get(usize::from(record))?);
        if place.is_none() {
            let (reader, writer) = stream::pipe().ok()?;
            let (reader, writer) = (Arc::new(reader), Arc::new(writer));
            *place = Some(Stream { reader, writer, tail: VecDeque::new(), pending: Vec::new() });
            self.wake_up.wake();
        }
        place.as_ref().map(|stream| Arc::clone(&stream.writer))
    }

    /// The last bytes that the record's worker, which is dead, has written. The next one begins anew.
    pub(crate) fn take_tail(&self, record: u16) -> Vec<u8> {
        let Some(place) = self.streams.get(usize::from(record)) else { return Vec::new() };
        let mut place = lock(place);
        let Some(stream) = place.as_mut() else { return Vec::new() };
        let mut chunk = vec![0; CHUNK_BYTES];
        let count = stream.read(&mut chunk);
        if count > 0 {
            stream.pending.extend_from_slice(&chunk[..count]);
            self.wake_up.wake();
        }
        std::mem::take(&mut stream.tail).into()
    }

    /// Writes what is left and ends the thread.
    ///
    /// # Blocking
    /// While standard error takes nothing.
    pub(crate) fn stop(&self, thread: JoinHandle<()>) {
        lock(&self.output).is_over = true;
        self.wake_up.wake();
        // One that panicked has said so on standard error.
        let _ = thread.join();
    }

    fn serve(&self) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let readers: Vec<Arc<OwnedFd>> = self.streams.iter().filter_map(reader_of).collect();
            let mut waited: Vec<BorrowedFd<'_>> = vec![self.wake_up.as_fd()];
            waited.extend(readers.iter().map(|reader| reader.as_fd()));
            let is_over = lock(&self.output).is_over;
            if !is_over && poll::wait(&waited, None).is_err() {
                continue;
            }
            self.wake_up.clear();
            self.forward(&mut chunk);
            if is_over {
                return;
            }
        }
    }

    /// Writes what was taken out of the pipes, and of each as much as it can hold.
    fn forward(&self, chunk: &mut [u8]) {
        // Held over the write: whoever exits meanwhile waits for it.
        let _output = lock(&self.output);
        for place in &self.streams {
            // A program whose standard error is closed loses nothing that it had not lost before.
            let _ = io::stderr().write_all(&next(place, chunk));
        }
    }
}

impl Stream {
    /// Takes out what is there, at most one chunk.
    fn read(&mut self, chunk: &mut [u8]) -> usize {
        let count = stream::read(&*self.reader, chunk);
        self.tail.extend(&chunk[..count]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        count
    }
}

fn next(place: &Mutex<Option<Stream>>, chunk: &mut [u8]) -> Vec<u8> {
    let mut place = lock(place);
    let Some(stream) = place.as_mut() else { return Vec::new() };
    let mut bytes = std::mem::take(&mut stream.pending);
    let count = stream.read(chunk);
    bytes.extend_from_slice(&chunk[..count]);
    bytes
}

fn reader_of(place: &Mutex<Option<Stream>>) -> Option<Arc<OwnedFd>> {
    lock(place).as_ref().map(|stream| Arc::clone(&stream.reader))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static ALL: Mutex<Vec<Weak<Streams>>> = Mutex::new(Vec::new());

/// What is still in the pipes when this process exits is written then.
fn register(streams: &Arc<Streams>) {
    static REGISTERED: Once = Once::new();
    let mut all = lock(&ALL);
    all.retain(|known| known.strong_count() > 0);
    all.push(Arc::downgrade(streams));
    REGISTERED.call_once(|| stream::at_exit(write_the_rest));
}

extern "C" fn write_the_rest() {
    // A fork of this process may have been made while another thread held the lock.
    let Ok(all) = ALL.try_lock() else { return };
    let process = gorun_worker::os::identity::pid();
    let mut chunk = vec![0; CHUNK_BYTES];
    for streams in all.iter().filter_map(Weak::upgrade).filter(|streams| streams.process == process) {
        streams.forward(&mut chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded_and_taken_once() {
        let streams = Streams {
            streams: vec![Mutex::new(None)],
            output: Mutex::default(),
            wake_up: WakeUp::new().unwrap(),
            process: 0,
        };
        assert!(streams.take_tail(0).is_empty() && streams.writer(1).is_none());
        let writer = streams.writer(0).unwrap();
        let mut file = std::fs::File::from(writer.try_clone().unwrap());
        let text: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        file.write_all(&text).unwrap();
        assert_eq!(streams.take_tail(0), text[text.len() - TAIL_BYTES..]);
        assert!(streams.take_tail(0).is_empty());
        let place = streams.streams[0].lock().unwrap();
        assert_eq!(place.as_ref().unwrap().pending, text);
    }
}
