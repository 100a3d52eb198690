//! A ring for messages of up to so many bytes, from one program to one other, in whatever language either is written.
//!
//! The layout and the steps of both sides stand in `gorun/include/gorun_ring.h`, which is the other implementation.
//! Each side keeps its own position to itself and checks the other's; a message is published by the Release store of a
//! position, and who sleeps is woken through a doorbell (`gorun_shm::doorbell` has that protocol, its proof and its model).

use super::{RingError, Segment};
use gorun_shm::doorbell::Doorbell;
use gorun_shm::os::ticks;
use gorun_shm::sync::{AtomicU32, AtomicU64, Ordering};
use gorun_shm::{OutOfSegment, Plain, View, ViewSlice};
use std::sync::Arc;
use std::time::Duration;

const MAGIC: u64 = u64::from_le_bytes(*b"gorunrg1");
/// Offsets in the ring.
const SHAPE: u64 = 8;
const TAIL: u64 = 64;
const HEAD: u64 = 128;
const READABLE: u64 = 192;
const WRITABLE: u64 = 196;
const CLOSED: u64 = 200;
const SLOTS: u64 = 256;
/// Before the bytes of a slot stands their count.
const LENGTH_BYTES: u64 = 8;

/// How large a ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingShape {
    slots: u32,
    slot_bytes: u32,
}

impl RingShape {
    /// Most slots of a ring.
    pub const SLOTS_MAX: u32 = 1 << 24;
    /// Most bytes of a message.
    pub const SLOT_BYTES_MAX: u32 = 1 << 20;

    /// At least `slots` messages (1 to [`RingShape::SLOTS_MAX`], rounded up to a power of two) of up to `slot_bytes` bytes
    /// (1 to [`RingShape::SLOT_BYTES_MAX`], rounded up to a multiple of 8). Others are taken for the nearest.
    #[must_use]
    pub fn new(slots: u32, slot_bytes: u32) -> Self {
        let slots = slots.clamp(1, Self::SLOTS_MAX).next_power_of_two();
        let slot_bytes = slot_bytes.clamp(1, Self::SLOT_BYTES_MAX).next_multiple_of(8);
        Self { slots, slot_bytes }
    }

    /// Bytes it takes in the memory, from an offset that is a multiple of 64.
    #[must_use]
    pub fn bytes(self) -> u64 {
        SLOTS + u64::from(self.slots) * self.stride()
    }

    fn stride(self) -> u64 {
        LENGTH_BYTES + u64::from(self.slot_bytes)
    }

    /// Makes an empty ring at `offset`, before the other side opens it.
    ///
    /// # Errors
    /// [`RingError::Outside`] if it does not fit.
    pub fn format(self, segment: &Segment, offset: u64) -> Result<(), RingError> {
        let ring = Ring::view(segment, offset, self)?;
        for word in ring.words.iter().skip(1) {
            word.store(0, Ordering::Relaxed); // Relaxed: the Release store below publishes it.
        }
        let shape = ring.memory.view_slice::<AtomicU32>(offset + SHAPE, 2)?;
        shape[0].store(self.slots, Ordering::Relaxed); // Relaxed: as above.
        shape[1].store(self.slot_bytes, Ordering::Relaxed); // Relaxed: as above.
        ring.words[0].store(MAGIC, Ordering::Release); // Release: pairs with the Acquire in `open`.
        Ok(())
    }
}

/// A ring as either side has it.
#[derive(Debug)]
struct Ring {
    memory: Arc<gorun_shm::Segment>,
    offset: u64,
    shape: RingShape,
    /// The header.
    words: ViewSlice<AtomicU64>,
    tail: View<AtomicU64>,
    head: View<AtomicU64>,
    readable: View<Doorbell>,
    writable: View<Doorbell>,
    closed: View<AtomicU32>,
}

impl Ring {
    fn view(segment: &Segment, offset: u64, shape: RingShape) -> Result<Self, OutOfSegment> {
        let memory = Arc::clone(segment.memory());
        let count = usize::try_from(shape.bytes() / 8).unwrap_or(usize::MAX);
        // The whole of it fits, and begins at a whole word.
        memory.view_slice::<AtomicU64>(offset, count)?;
        Ok(Self {
            words: memory.view_slice(offset, 32)?,
            tail: memory.view(offset + TAIL)?,
            head: memory.view(offset + HEAD)?,
            readable: memory.view(offset + READABLE)?,
            writable: memory.view(offset + WRITABLE)?,
            closed: memory.view(offset + CLOSED)?,
            memory,
            offset,
            shape,
        })
    }

    fn open(segment: &Segment, offset: u64) -> Result<Self, RingError> {
        // Acquire: pairs with the Release in `format`.
        if segment.view::<AtomicU64>(offset)?.load(Ordering::Acquire) != MAGIC {
            return Err(RingError::NoRing);
        }
        let shape = segment.view_slice::<AtomicU32>(offset + SHAPE, 2)?;
        // Relaxed, both: the Acquire came before.
        let (slots, slot_bytes) = (shape[0].load(Ordering::Relaxed), shape[1].load(Ordering::Relaxed));
        let shape = RingShape { slots, slot_bytes };
        if shape != RingShape::new(slots, slot_bytes) {
            return Err(RingError::NoRing);
        }
        Ok(Self::view(segment, offset, shape)?)
    }

    fn slot(&self, position: u64) -> u64 {
        self.offset + SLOTS + (position & u64::from(self.shape.slots - 1)) * self.shape.stride()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0 // Acquire: pairs with the Release in `close`.
    }

    fn close(&self) {
        self.closed.store(1, Ordering::Release); // Release: all that was written before is seen by who sees this.
        self.readable.ring();
        self.writable.ring();
    }
}

/// Repeats `attempt` while it gives `again`, asleep at `bell` in between, until `timeout`.
fn patiently<R>(
    bell: &Doorbell,
    timeout: Option<Duration>,
    again: RingError,
    mut attempt: impl FnMut() -> Result<R, RingError>,
) -> Result<R, RingError> {
    let limit = timeout.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    let deadline = limit.map(|limit| ticks::system_ns().saturating_add(limit));
    loop {
        match attempt() {
            Err(error) if error == again => {}
            other => return other,
        }
        let now = ticks::system_ns();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(again);
        }
        let armed = bell.arm();
        match attempt() {
            Err(error) if error == again => {
                bell.wait_until(armed, deadline.map(|deadline| Duration::from_nanos(deadline - now)));
            }
            other => {
                bell.disarm();
                return other;
            }
        }
    }
}

/// The side that writes. One at a time, in all programs together: nobody checks that.
#[derive(Debug)]
pub struct RingWriter {
    ring: Ring,
    tail: u64,
}

impl RingWriter {
    /// The ring at `offset`; goes on where the last writer stopped.
    ///
    /// # Errors
    /// [`RingError::NoRing`], [`RingError::Outside`].
    pub fn open(segment: &Segment, offset: u64) -> Result<Self, RingError> {
        let ring = Ring::open(segment, offset)?;
        let tail = ring.tail.load(Ordering::Acquire); // Acquire: what the last writer wrote comes before.
        Ok(Self { ring, tail })
    }

    /// Writes a message if there is room.
    ///
    /// # Errors
    /// [`RingError::Full`], [`RingError::TooLong`], [`RingError::Closed`], [`RingError::NoRing`].
    pub fn try_write(&mut self, message: &[u8]) -> Result<(), RingError> {
        let Self { ring, tail } = self;
        let slot_bytes = ring.shape.slot_bytes as usize;
        if message.len() > slot_bytes {
            return Err(RingError::TooLong { bytes: message.len(), slot_bytes });
        }
        if ring.is_closed() {
            return Err(RingError::Closed);
        }
        let head = ring.head.load(Ordering::Acquire); // Acquire: pairs with the Release in `try_read`; the slot is free.
        match tail.wrapping_sub(head) {
            used if used < u64::from(ring.shape.slots) => {}
            used if used == u64::from(ring.shape.slots) => return Err(RingError::Full),
            _ => return Err(RingError::NoRing),
        }
        let slot = ring.slot(*tail);
        ring.memory.copy_in(slot, &(message.len() as u64).to_ne_bytes())?;
        ring.memory.copy_in(slot + LENGTH_BYTES, message)?;
        *tail = tail.wrapping_add(1);
        ring.tail.store(*tail, Ordering::Release); // Release: pairs with the Acquire in `try_read`; publishes the slot.
        ring.readable.notify();
        Ok(())
    }

    /// Writes a message when there is room.
    ///
    /// # Errors
    /// As [`RingWriter::try_write`].
    ///
    /// # Blocking
    /// While the ring is full, at most `timeout`.
    pub fn write(&mut self, message: &[u8], timeout: Option<Duration>) -> Result<(), RingError> {
        let bell = self.ring.writable.clone();
        patiently(&bell, timeout, RingError::Full, || self.try_write(message))
    }

    /// Writes a value as it lies in memory.
    ///
    /// # Errors
    /// As [`RingWriter::try_write`].
    ///
    /// # Blocking
    /// As [`RingWriter::write`].
    pub fn write_plain<T: Plain>(&mut self, value: &T, timeout: Option<Duration>) -> Result<(), RingError> {
        self.write(value.as_bytes(), timeout)
    }

    /// Nothing more will be written: a reader reads what is there, and then hears of it.
    pub fn close(&self) {
        self.ring.close();
    }
}

/// The side that reads. One at a time, in all programs together: nobody checks that.
#[derive(Debug)]
pub struct RingReader {
    ring: Ring,
    head: u64,
}

impl RingReader {
    /// The ring at `offset`; goes on where the last reader stopped.
    ///
    /// # Errors
    /// [`RingError::NoRing`], [`RingError::Outside`].
    pub fn open(segment: &Segment, offset: u64) -> Result<Self, RingError> {
        let ring = Ring::open(segment, offset)?;
        let head = ring.head.load(Ordering::Acquire); // Acquire: what the last reader read comes before.
        Ok(Self { ring, head })
    }

    /// The next message, if there is one.
    ///
    /// # Errors
    /// [`RingError::Empty`], [`RingError::Closed`], [`RingError::NoRing`].
    pub fn try_read(&mut self) -> Result<Vec<u8>, RingError> {
        let Self { ring, head } = self;
        // Looked at before the tail: what was written before the end is found behind it.
        let is_closed = ring.is_closed();
        let tail = ring.tail.load(Ordering::Acquire); // Acquire: pairs with the Release in `try_write`.
        match tail.wrapping_sub(*head) {
            0 => return Err(if is_closed { RingError::Closed } else { RingError::Empty }),
            used if used <= u64::from(ring.shape.slots) => {}
            _ => return Err(RingError::NoRing),
        }
        let slot = ring.slot(*head);
        let mut length = [0; 8];
        ring.memory.copy_out(slot, &mut length)?;
        let length = usize::try_from(u64::from_ne_bytes(length)).unwrap_or(usize::MAX);
        if length > ring.shape.slot_bytes as usize {
            return Err(RingError::NoRing);
        }
        let mut message = vec![0; length];
        ring.memory.copy_out(slot + LENGTH_BYTES, &mut message)?;
        *head = head.wrapping_add(1);
        ring.head.store(*head, Ordering::Release); // Release: pairs with the Acquire in `try_write`; the slot was read.
        ring.writable.notify();
        Ok(message)
    }

    /// The next message.
    ///
    /// # Errors
    /// As [`RingReader::try_read`].
    ///
    /// # Blocking
    /// While the ring is empty, at most `timeout`.
    pub fn read(&mut self, timeout: Option<Duration>) -> Result<Vec<u8>, RingError> {
        let bell = self.ring.readable.clone();
        patiently(&bell, timeout, RingError::Empty, || self.try_read())
    }

    /// The next message as a value.
    ///
    /// # Errors
    /// As [`RingReader::try_read`], and [`RingError::OtherLength`].
    ///
    /// # Blocking
    /// As [`RingReader::read`].
    pub fn read_plain<T: Plain>(&mut self, timeout: Option<Duration>) -> Result<T, RingError> {
        let bytes = self.read(timeout)?;
        let other = RingError::OtherLength { bytes: bytes.len(), expected: size_of::<T>() };
        T::read_from_bytes(&bytes).map_err(|_| other)
    }

    /// Nothing more will be read: a writer hears of it.
    pub fn close(&self) {
        self.ring.close();
    }
}
