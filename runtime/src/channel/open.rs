//! Opening a channel, and what one can be.

use super::{ChannelError, Receiver, Sender};
use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::blocks::{AllocateError, PoolTerms};
use gorun_shm::ring::mpmc::{Geometry, Header, Terms};
use gorun_shm::sync::Ordering;
use gorun_worker::codec::Portable;
use gorun_worker::context;
use gorun_worker::end::End;
use gorun_worker::frame::CHECKSUM;
use gorun_worker::letter;
use std::marker::PhantomData;
use std::time::Duration;

/// A channel for `capacity` messages between all processes of the current runtime.
///
/// If it cannot be made, its ends say so at their first use, as a task does that is not accepted; [`Channel::open`] says it
/// at once.
///
/// ```
/// use gorun_runtime::{Task, channel};
///
/// let (sender, receiver) = channel::<u64>(100);
/// let squares = Task::with((sender, 10), |(sender, count)| {
///     (0..count).for_each(|n| sender.send(n * n).expect("somebody receives"));
/// });
/// let squares = squares.go();
/// assert_eq!(receiver.iter().sum::<u64>(), 285);
/// squares.join()?;
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[must_use]
pub fn channel<T: Portable>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    or_refused(Channel::bounded(capacity).open())
}

/// A channel that holds nothing: `send` ends when somebody has received.
///
/// ```
/// use gorun_runtime::{Task, rendezvous};
///
/// let (sender, receiver) = rendezvous::<String>();
/// let greeter = Task::with(sender, |sender| sender.send("hello".to_owned()).is_ok()).go();
/// assert_eq!(receiver.recv().as_deref(), Ok("hello"));
/// assert_eq!(greeter.join(), Ok(true));
/// ```
#[must_use]
pub fn rendezvous<T: Portable>() -> (Sender<T>, Receiver<T>) {
    or_refused(Channel::rendezvous().open())
}

fn or_refused<T>(opened: Result<(Sender<T>, Receiver<T>), ChannelError>) -> (Sender<T>, Receiver<T>) {
    opened.unwrap_or_else(|reason| (Sender::refused(reason.clone()), Receiver::refused(reason)))
}

/// What `send` does when the channel is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backpressure {
    /// It waits.
    #[default]
    Wait,
    /// It gives the value back at once, and counts it.
    Reject,
    /// It throws the oldest message away, and counts it.
    OverwriteOldest,
}

/// A channel to be opened.
#[derive(Debug, Clone)]
#[must_use = "a channel is made by `open`"]
pub struct Channel<T> {
    capacity: usize,
    rules: Rules,
    /// Values of so many bytes and more are compressed; 0 is none.
    compress: u64,
    /// How long a message may be taken without acknowledgement; 0 is for ever.
    lease_ns: u64,
    values: PhantomData<fn() -> T>,
}

/// What both ends go by; travels in the channel's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rules {
    pub(super) backpressure: Backpressure,
    pub(super) is_rendezvous: bool,
    pub(super) has_checksum: bool,
    /// `recv` too keeps a message until it is a value.
    pub(super) is_acked: bool,
    /// Deliveries after which a message is given up; 0 is never.
    pub(super) deliveries_max: u8,
}

/// Bits of the rules' word.
const RENDEZVOUS: u64 = 1 << 2;
const ACKED: u64 = 1 << 4;

impl Rules {
    pub(super) fn to_word(self) -> u64 {
        let backpressure = match self.backpressure {
            Backpressure::Wait => 0,
            Backpressure::Reject => 1,
            Backpressure::OverwriteOldest => 2,
        };
        let rendezvous = if self.is_rendezvous { RENDEZVOUS } else { 0 };
        let checksum = if self.has_checksum { CHECKSUM } else { 0 };
        let acked = if self.is_acked { ACKED } else { 0 };
        backpressure | rendezvous | checksum | acked | u64::from(self.deliveries_max) << 8
    }

    /// True if messages go by the shortest way: with nothing to be done about them but to put them into a slot.
    #[inline]
    pub(super) fn are_plain(terms: &Terms) -> bool {
        terms.terms & (RENDEZVOUS | CHECKSUM | ACKED) == 0 && terms.compress == 0
    }

    /// True if a sender that finds no room may find some later.
    pub(super) fn waits(self) -> bool {
        self.backpressure != Backpressure::Reject
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes 8 bits out of the word")]
    pub(super) fn from_word(word: u64) -> Self {
        let backpressure = match word & 3 {
            1 => Backpressure::Reject,
            2 => Backpressure::OverwriteOldest,
            _ => Backpressure::Wait,
        };
        Self {
            backpressure,
            is_rendezvous: word & RENDEZVOUS != 0,
            has_checksum: word & CHECKSUM != 0,
            is_acked: word & ACKED != 0,
            deliveries_max: (word >> 8) as u8,
        }
    }
}

impl<T> Channel<T> {
    /// Another with the same settings.
    pub(super) fn alike(&self) -> Self {
        Self { values: PhantomData, ..*self }
    }
}

impl<T: Portable> Channel<T> {
    /// One that holds `capacity` messages, 1 to 2^24.
    pub fn bounded(capacity: usize) -> Self {
        Self { capacity, rules: Rules::default(), compress: 0, lease_ns: 0, values: PhantomData }
    }

    /// One that holds as many messages as the runtime's
    /// [`buffer_size`](crate::SharedMemoryConfig::buffer_size) has room for, one at least.
    pub fn buffered() -> Self {
        Self::bounded(BUFFERED)
    }

    /// One that holds none.
    pub fn rendezvous() -> Self {
        let rules = Rules { is_rendezvous: true, ..Rules::default() };
        Self { capacity: 1, rules, compress: 0, lease_ns: 0, values: PhantomData }
    }

    /// What `send` does when it is full. A rendezvous always waits.
    pub fn backpressure(mut self, backpressure: Backpressure) -> Self {
        if !self.rules.is_rendezvous {
            self.rules.backpressure = backpressure;
        }
        self
    }

    /// After how many deliveries, 1 to 7, without acknowledgement a message is given up and counted, instead of being
    /// delivered again: see [`Receiver::take`].
    pub fn deliveries_max(mut self, deliveries: u8) -> Self {
        self.rules.deliveries_max = deliveries.clamp(1, 7);
        self
    }

    /// At least once instead of at most once: a message keeps its place until it was acknowledged, and comes back when
    /// whoever has it dies. [`Receiver::take`] gives the message to be acknowledged; `recv` acknowledges it by itself once
    /// it is a value.
    ///
    /// Unless [`deliveries_max`](Self::deliveries_max) says otherwise, a message is given up after seven deliveries.
    pub fn acked(mut self) -> Self {
        self.rules.is_acked = true;
        if self.rules.deliveries_max == 0 {
            self.rules.deliveries_max = 7;
        }
        self
    }

    /// [`Channel::acked`], and what is not acknowledged within `limit` is taken from its consumer, dead, stopped or silent,
    /// and delivered again; a later acknowledgement is an [`AckError`](super::AckError) and changes nothing.
    ///
    /// Whoever waits in `recv` or `take` watches over this; while nobody receives, nothing is delivered again. A future or
    /// a `select!` looks whenever it is tried, but does not wake up for it. Values are copied out of
    /// their blocks in such a channel, so that a consumer can lose one without harm; shared blocks in them are not.
    ///
    /// ```
    /// use gorun_runtime::channel::{AckError, Channel};
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = Channel::<u64>::bounded(8).ack_within(Duration::from_millis(5)).open()?;
    /// sender.send(7).expect("somebody receives");
    /// let forgotten = receiver.take().expect("a message is there");
    /// let again = receiver.take().expect("it comes again");
    /// assert_eq!((*again, again.deliveries()), (7, 2));
    /// assert_eq!(forgotten.ack(), Err(AckError::TooLate));
    /// assert_eq!(receiver.stats().returned, 1);
    /// # drop(again);
    /// # Ok::<(), gorun_runtime::channel::ChannelError>(())
    /// ```
    pub fn ack_within(mut self, limit: Duration) -> Self {
        self.lease_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.acked()
    }

    /// Compresses values that take `bytes` bytes or more when encoded, where that makes them shorter: less memory for
    /// time. A value that carries what is not copied, a shared block or an end of a channel, is then refused by `send`.
    ///
    /// ```
    /// use gorun_runtime::channel::Channel;
    ///
    /// let (sender, receiver) = Channel::<String>::bounded(8).compress(1024).open()?;
    /// sender.send("again and ".repeat(1000)).expect("somebody receives");
    /// assert_eq!(receiver.recv().map(|text| text.len()), Ok(10_000));
    /// let stats = receiver.stats();
    /// assert!(stats.compressed_to_bytes * 10 < stats.compressed_from_bytes);
    /// # Ok::<(), gorun_runtime::channel::ChannelError>(())
    /// ```
    pub fn compress(mut self, bytes: usize) -> Self {
        self.compress = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Sends a checksum with each value, so that one whose bytes another process has overwritten is
    /// [`Unreadable`](super::RecvError::Unreadable) instead of wrong. What a value carries without copying it is not summed.
    ///
    /// ```
    /// use gorun_runtime::channel::Channel;
    ///
    /// let (sender, receiver) = Channel::<u64>::bounded(8).checksum().open()?;
    /// sender.send(7).expect("somebody receives");
    /// assert_eq!(receiver.recv(), Ok(7));
    /// # Ok::<(), gorun_runtime::channel::ChannelError>(())
    /// ```
    pub fn checksum(mut self) -> Self {
        self.rules.has_checksum = true;
        self
    }

    /// The shape of its ring, and what both ends go by.
    pub(super) fn plan(&self) -> Result<(Geometry, Rules), ChannelError> {
        let bad = ChannelError::BadCapacity { asked: self.capacity, most: Geometry::CAPACITY_MAX as usize };
        let capacity = u32::try_from(self.capacity).map_err(|_| bad.clone())?;
        let geometry = Geometry::new(capacity, self.words()).ok_or(bad)?;
        Ok((geometry, self.rules))
    }

    /// Words of payload in a slot.
    fn words(&self) -> u32 {
        letter::words_for::<T>(self.rules.has_checksum) + u32::from(self.lease_ns > 0)
    }

    /// What stands in its head.
    pub(super) fn terms(&self, rules: Rules, kind: u64, spin_ticks: u64) -> Terms {
        Terms { kind, terms: rules.to_word(), spin_ticks, compress: self.compress, lease_ns: self.lease_ns }
    }

    /// Opens it on the current runtime: the default one, or the one whose task this is.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(self) -> Result<(Sender<T>, Receiver<T>), ChannelError> {
        let runtime = Runtime::current().map_err(ChannelError::NoRuntime)?;
        self.open_on(&runtime)
    }

    /// Opens it on `runtime`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open_on(mut self, runtime: &Runtime) -> Result<(Sender<T>, Receiver<T>), ChannelError> {
        self.go_by(runtime.dispatcher().commons.blocks.terms());
        let (geometry, rules) = self.plan()?;
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        let commons = &dispatcher.commons;
        let spin_ticks = commons.host.spin_ticks.load(Ordering::Relaxed); // Relaxed: written before the first worker.
        let terms = self.terms(rules, kind_of::<T>(), spin_ticks);
        let opened = End::channel(&commons.blocks, dispatcher.me, geometry, terms);
        let (sender, receiver) = opened.map_err(|error| match error {
            AllocateError::NotAnOwner { .. } => ChannelError::Closed,
            _ => ChannelError::NoMemory { bytes: geometry.bytes() as u64 },
        })?;
        // Looked at behind the making: either this sees the end of the runtime, or that sees the channel.
        let is_over = dispatcher.is_closed() || context::duty().is_some_and(|duty| duty.is_told_to_stop());
        if is_over {
            return Err(ChannelError::Closed);
        }
        Ok((Sender::of(sender), Receiver::of(receiver)))
    }
}

/// A capacity that stands for what the runtime's buffers hold.
const BUFFERED: usize = usize::MAX;

impl<T: Portable> Channel<T> {
    /// What the runtime's settings make of it.
    fn go_by(&mut self, terms: &PoolTerms) {
        if terms.without_queue {
            *self = Self {
                rules: Rules { is_rendezvous: true, backpressure: Backpressure::Wait, ..self.rules },
                ..*self
            };
            self.capacity = 1;
        } else if self.capacity == BUFFERED {
            let fits = |capacity: &u32| {
                let geometry = Geometry::new(*capacity, self.words());
                geometry.is_some_and(|geometry| geometry.bytes() as u64 <= terms.ring_bytes)
            };
            let doubled = std::iter::successors(Some(2_u32), |capacity| capacity.checked_mul(2));
            self.capacity = doubled.take_while(fits).last().unwrap_or(1) as usize;
        }
    }
}

/// Names a type, so that an end is not taken for one of other values by a slip of serde.
pub(super) fn kind_of<T>() -> u64 {
    // FNV-1a, over the name: both sides are the same build.
    let name = std::any::type_name::<T>();
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Numbers of a channel since it was opened, all processes together. Stale as soon as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelStats {
    /// Places that senders have taken, those given up among them.
    pub sent: u64,
    /// Of those, places that are free again.
    pub received: u64,
    /// Values given back because the channel was full: [`Backpressure::Reject`].
    pub rejected: u64,
    /// Messages thrown away for newer ones: [`Backpressure::OverwriteOldest`].
    pub overwritten: u64,
    /// Sends that were given up: by the dead, at the end of the channel, and by a rendezvous whose time was over.
    pub abandoned: u64,
    /// Messages that came back from who had taken them, dead or alive.
    pub returned: u64,
    /// Messages given up after too many deliveries.
    pub dead_letters: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// Messages taken from consumers that did not acknowledge them in time: [`Channel::ack_within`].
    pub overdue: u64,
    /// Bytes of values that were compressed, before: [`Channel::compress`].
    pub compressed_from_bytes: u64,
    /// Bytes of the same values afterwards.
    pub compressed_to_bytes: u64,
}

impl ChannelStats {
    pub(super) fn of(header: &Header) -> Self {
        Self {
            sent: header.tail(),
            received: header.head(),
            rejected: header.rejected.get(),
            overwritten: header.overwritten.get(),
            abandoned: header.abandoned.get(),
            returned: header.returned.get(),
            dead_letters: header.dead_letters.get(),
            unreadable: header.unreadable.get(),
            overdue: header.seized.get(),
            compressed_from_bytes: header.compressed_from.get(),
            compressed_to_bytes: header.compressed_to.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::RecvError;
    use gorun_shm::os::ticks;

    /// Flips a bit of each payload word of the first slot, where a hostile process would.
    fn scribble(sender: &Sender<[u64; 4]>) {
        let end = sender.end().unwrap();
        let words = end.blocks().words(end.block().handle()).unwrap();
        let first = Geometry::HEADER_BYTES / size_of::<u64>() + 1;
        for word in &words[first..first + 4] {
            word.fetch_xor(1 << (ticks::now() % 64), Ordering::Relaxed); // Relaxed: one thread looks at it.
        }
    }

    #[test]
    fn a_message_that_was_scribbled_over_is_unreadable_only_with_a_checksum() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let channel = || Channel::<[u64; 4]>::bounded(4);
        let (sender, receiver) = channel().checksum().open_on(&runtime).unwrap();
        sender.send([7; 4]).unwrap();
        scribble(&sender);
        assert!(
            matches!(receiver.recv(), Err(RecvError::Unreadable { reason }) if reason.contains("checksum"))
        );
        assert_eq!(receiver.stats().unreadable, 1);
        sender.send([8; 4]).unwrap();
        assert_eq!(receiver.recv(), Ok([8; 4]));
        let (sender, receiver) = channel().open_on(&runtime).unwrap();
        sender.send([7; 4]).unwrap();
        scribble(&sender);
        assert!(receiver.recv().is_ok_and(|value| value != [7; 4]));
    }
}
