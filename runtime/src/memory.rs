//! Memory: the settings of what a runtime's processes share, validated once like the others in `config`.

use crate::builder::Builder;
use crate::config::{check_limit, in_range};
use crate::environment::{Environment, Switch};
use crate::error::BuildError;
use crate::runtime::Runtime;
use gorun_shm::blocks::{Blocks, Growth, PoolTerms};
use gorun_worker::os::numa;
use std::io;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// How a pool comes by memory for blocks that were never used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PoolGrowth {
    /// Page by page, at the first write to each.
    #[default]
    OnDemand,
    /// As many blocks at once as the class has in use for the first time, up to 64 MiB in a step: fewer page faults, and
    /// memory that is not there is found when a block is asked for, instead of when it is written.
    Doubling,
    /// All of [`MemoryPoolConfig::size`] at the start, divided among the classes: no page fault later, and no growth.
    Fixed,
}

impl FromStr for PoolGrowth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "on-demand" => Ok(Self::OnDemand),
            "doubling" => Ok(Self::Doubling),
            "fixed" => Ok(Self::Fixed),
            _ => Err(()),
        }
    }
}

/// What who asks for shared memory gets when the pool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnFull {
    /// An error, at once.
    #[default]
    Error,
    /// A block as soon as one is free, or the error after this time.
    Wait(Duration),
}

/// The pool of blocks in which values over 32 bytes and shared slices lie. What is not said comes from the environment.
///
/// ```
/// use gorun_runtime::{MemoryPoolConfig, OnFull, PoolGrowth, Runtime, ShareError, SharedSlice};
/// use std::time::Duration;
///
/// let pool = MemoryPoolConfig::new()
///     .size(16 << 20)
///     .growth(PoolGrowth::Doubling)
///     .on_full(OnFull::Wait(Duration::from_millis(10)));
/// let runtime = Runtime::builder().workers(1).memory_pool(pool).build()?;
/// let all = SharedSlice::<u8>::loan_on(&runtime, 16 << 20)?;
/// let more = SharedSlice::<u8>::loan_on(&runtime, 1 << 20);
/// assert_eq!(more.err(), Some(ShareError::NoMemory { bytes: 1 << 20 }));
/// drop(all);
/// assert!(SharedSlice::<u8>::loan_on(&runtime, 1 << 20).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "settings do nothing before `Builder::memory_pool`"]
pub struct MemoryPoolConfig {
    size: Option<u64>,
    growth: Option<PoolGrowth>,
    on_full: Option<OnFull>,
    prefault: Option<Prefault>,
    numa_aware: Option<bool>,
    under_pressure: Option<bool>,
}

impl MemoryPoolConfig {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes that the pool has in use at once, 1 MiB.. . A block counts with the size of its class, a power of two;
    /// blocks under 64 KiB have a quarter of it set aside. No block is larger than this.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// How blocks that were never used before come by their memory.
    pub fn growth(mut self, growth: PoolGrowth) -> Self {
        self.growth = Some(growth);
        self
    }

    /// What who asks for shared memory gets when the pool is full.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = Some(on_full);
        self
    }

    /// Backs `count` blocks of `bytes` bytes with memory at the start: their first users do not wait for page faults.
    pub fn prefault(mut self, bytes: u64, count: u32) -> Self {
        self.prefault = Some(Prefault { bytes, count });
        self
    }

    /// True gives each memory node of the machine a part of the pool, from which workers on its processors are served first.
    /// Changes nothing on a machine of one node.
    pub fn numa_aware(mut self, aware: bool) -> Self {
        self.numa_aware = Some(aware);
        self
    }

    /// False keeps the memory of free blocks when the machine, or the control group, runs out of memory; otherwise it is
    /// given back then, as by [`Runtime::trim`](crate::Runtime::trim).
    pub fn give_back_under_pressure(mut self, give_back: bool) -> Self {
        self.under_pressure = Some(give_back);
        self
    }
}

/// What the processes of a runtime share, and how values travel between them. What is not said comes from the environment.
///
/// ```
/// use gorun_runtime::{Runtime, SharedMemoryConfig, SharedSlice};
///
/// // Nobody shares a block with anybody: slices travel by value, and large messages are compressed.
/// let alone = SharedMemoryConfig::new().zero_copy(false).compression(64 << 10);
/// let runtime = Runtime::builder().workers(1).shared_memory(alone).build()?;
/// let slice = SharedSlice::copy_on(&runtime, &[7_u64; 100_000])?;
/// let back = runtime.task(slice.clone(), |slice: SharedSlice<u64>| slice).join()?;
/// assert_eq!(back, slice);
/// assert!(runtime.stats().memory.bytes_copied > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "settings do nothing before `Builder::shared_memory`"]
pub struct SharedMemoryConfig {
    size: Option<u64>,
    buffer_size: Option<u64>,
    message_queue: Option<bool>,
    zero_copy: Option<bool>,
    compression: Option<u64>,
}

impl SharedMemoryConfig {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes of address space that all blocks together take, used or not, 1 MiB.. . Without it, 17 GiB, of which memory
    /// is taken page by page.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Bytes of the buffer of a channel that names no capacity: see [`Channel::buffered`](crate::Channel::buffered).
    /// 1 KiB to 1 GiB.
    pub fn buffer_size(mut self, bytes: u64) -> Self {
        self.buffer_size = Some(bytes);
        self
    }

    /// False makes every channel a rendezvous: a message goes from hand to hand, and none ever waits in a queue. Tasks have
    /// their queue: see [`Builder::queue_slots`].
    pub fn message_queue(mut self, queue: bool) -> Self {
        self.message_queue = Some(queue);
        self
    }

    /// False lets shared slices lie in memory of each process, and travel by value, also to jailed tasks.
    pub fn zero_copy(mut self, zero_copy: bool) -> Self {
        self.zero_copy = Some(zero_copy);
        self
    }

    /// Compresses inputs and results of tasks from `bytes` bytes on, 1 KiB.. , if that makes them smaller. Only together
    /// with `zero_copy(false)`: what is not copied is not compressed either.
    pub fn compression(mut self, bytes: u64) -> Self {
        self.compression = Some(bytes);
        self
    }
}

/// Blocks to be backed with memory at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefault {
    /// Bytes of each.
    pub bytes: u64,
    /// How many.
    pub count: u32,
}

impl FromStr for Prefault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (bytes, count) = text.split_once('x').ok_or(())?;
        Ok(Self { bytes: bytes.parse().map_err(drop)?, count: count.parse().map_err(drop)? })
    }
}

/// What a runtime's processes share, all of it valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemory {
    /// Most bytes of all blocks together, used or not. Default none, which is 17 GiB. `GORUN_SHARED_MEMORY_SIZE`.
    pub size: Option<u64>,
    /// Most bytes in use at once. Default none. `GORUN_MEMORY_POOL_SIZE`.
    pub pool_size: Option<u64>,
    /// How fresh blocks come by their memory. Default on demand. `GORUN_MEMORY_GROWTH=on-demand|doubling|fixed`.
    pub growth: PoolGrowth,
    /// What happens when the pool is full. Default an error. `GORUN_MEMORY_WAIT_MS`.
    pub on_full: OnFull,
    /// What is backed with memory at the start. Default none. `GORUN_PREFAULT=BYTESxCOUNT`.
    pub prefault: Option<Prefault>,
    /// Whether each memory node has a part of the pool. Default no. `GORUN_NUMA_AWARE=0|1`.
    pub numa_aware: bool,
    /// Whether free blocks give their memory back under pressure. Default yes. `GORUN_GIVE_BACK_UNDER_PRESSURE=0|1`.
    pub give_back_under_pressure: bool,
    /// Bytes of the buffer of a channel without a capacity. Default 64 KiB. `GORUN_BUFFER_SIZE`.
    pub buffer_size: u64,
    /// Whether channels have queues. Default yes. `GORUN_MESSAGE_QUEUE=0|1`.
    pub message_queue: bool,
    /// Whether shared slices travel by reference. Default yes. `GORUN_ZERO_COPY=0|1`.
    pub zero_copy: bool,
    /// From how many bytes on messages are compressed. Default never. `GORUN_COMPRESSION`, in bytes.
    pub compression: Option<u64>,
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryWishes {
    pool: MemoryPoolConfig,
    shared: SharedMemoryConfig,
}

const SIZE: RangeInclusive<u64> = 1 << 20..=1 << 50;
const BUFFER: RangeInclusive<u64> = 1 << 10..=1 << 30;
const BUFFER_DEFAULT: u64 = 64 << 10;
const COMPRESSION: RangeInclusive<u64> = 1 << 10..=1 << 50;
const COUNT: RangeInclusive<u32> = 1..=1 << 16;

impl SharedMemory {
    /// Validates `wishes` and fills in the rest from the environment.
    pub(crate) fn resolve<F: Fn(&str) -> Option<String>>(
        wishes: &MemoryWishes,
        read: &Environment<F>,
    ) -> Result<Self, BuildError> {
        let MemoryWishes { pool, shared } = wishes;
        let number = |key, wish: Option<u64>, variable, range: &RangeInclusive<u64>| {
            let allowed = format!("{}..={}", range.start(), range.end());
            let asked = wish.or(read.parse(variable, &allowed)?);
            asked.map(|bytes| in_range(key, bytes, range)).transpose()
        };
        let switch = |wish: Option<bool>, variable, usual: bool| -> Result<bool, BuildError> {
            let read = read.parse::<Switch>(variable, "0, 1")?.map(|on| on.0);
            Ok(wish.or(read).unwrap_or(usual))
        };
        let growth = pool.growth.or(read.parse("GORUN_MEMORY_GROWTH", "on-demand, doubling, fixed")?);
        let waits = read.milliseconds("GORUN_MEMORY_WAIT_MS")?.map(OnFull::Wait);
        let prefault = pool.prefault.or(read.parse("GORUN_PREFAULT", "BYTESxCOUNT, such as 1048576x16")?);
        let resolved = Self {
            size: number("shared_memory_size", shared.size, "GORUN_SHARED_MEMORY_SIZE", &SIZE)?,
            pool_size: number("memory_pool_size", pool.size, "GORUN_MEMORY_POOL_SIZE", &SIZE)?,
            growth: growth.unwrap_or_default(),
            on_full: check_patience(pool.on_full.or(waits).unwrap_or_default())?,
            prefault: prefault.map(check_prefault).transpose()?,
            numa_aware: switch(pool.numa_aware, "GORUN_NUMA_AWARE", false)?,
            give_back_under_pressure: switch(pool.under_pressure, "GORUN_GIVE_BACK_UNDER_PRESSURE", true)?,
            buffer_size: number("buffer_size", shared.buffer_size, "GORUN_BUFFER_SIZE", &BUFFER)?
                .unwrap_or(BUFFER_DEFAULT),
            message_queue: switch(shared.message_queue, "GORUN_MESSAGE_QUEUE", true)?,
            zero_copy: switch(shared.zero_copy, "GORUN_ZERO_COPY", true)?,
            compression: number("compression", shared.compression, "GORUN_COMPRESSION", &COMPRESSION)?,
        };
        resolved.check()
    }

    /// Refuses settings that contradict each other.
    fn check(self) -> Result<Self, BuildError> {
        if self.growth == PoolGrowth::Fixed && self.pool_size.is_none() {
            let allowed = "fixed only with a memory_pool_size".to_owned();
            return Err(BuildError::OutOfRange { key: "memory_growth", value: "fixed".to_owned(), allowed });
        }
        if let (Some(bytes), true) = (self.compression, self.zero_copy) {
            let allowed = "none with zero_copy, which copies nothing; switch that off".to_owned();
            return Err(BuildError::OutOfRange { key: "compression", value: bytes.to_string(), allowed });
        }
        Ok(self)
    }

    /// Bytes in use, and bytes of all blocks, that the segment is laid out for; 0 for what there usually are.
    pub(crate) fn budget(&self) -> (u64, u64) {
        let (pool, all) = (self.pool_size.unwrap_or(0), self.size.unwrap_or(0));
        // A fixed pool has no more blocks than it may use.
        if self.growth == PoolGrowth::Fixed {
            (pool, if all == 0 { pool } else { pool.min(all) })
        } else {
            (pool, all)
        }
    }

    /// What the processes go by.
    pub(crate) fn terms(&self) -> PoolTerms {
        let (growth, limit_bytes) = match self.growth {
            PoolGrowth::OnDemand => (Growth::OnDemand, self.pool_size),
            PoolGrowth::Doubling => (Growth::Doubling, self.pool_size),
            PoolGrowth::Fixed => (Growth::Fixed, None),
        };
        PoolTerms {
            limit_bytes: limit_bytes.unwrap_or(0),
            patience: match self.on_full {
                OnFull::Error => Duration::ZERO,
                OnFull::Wait(time) => time,
            },
            growth,
            by_value: !self.zero_copy,
            compress_from: self.compression.unwrap_or(0),
            ring_bytes: self.buffer_size,
            without_queue: !self.message_queue,
        }
    }

    /// Gives each memory node its part, if there is more than one.
    fn deal_out(&self, blocks: &Blocks, nodes: &[u32]) {
        if nodes.len() < 2 {
            return;
        }
        match blocks.bind_to_nodes(nodes) {
            Ok(()) => blocks.record().set_nodes(u32::try_from(nodes.len()).unwrap_or(1)),
            // Slower, and right: memory comes from the node of whoever writes it first.
            Err(cause) => tracing::warn!(%cause, "the pool's memory is not bound to memory nodes"),
        }
    }

    /// Backs what is to have memory from the start.
    pub(crate) fn prepare(&self, blocks: &Blocks) -> io::Result<()> {
        if self.numa_aware {
            self.deal_out(blocks, &numa::nodes().iter().map(|(node, _)| *node).collect::<Vec<_>>());
        }
        if self.growth == PoolGrowth::Fixed {
            blocks.populate_all()?;
        }
        self.prefault.map_or(Ok(()), |prefault| blocks.populate(prefault.bytes, prefault.count))
    }
}

fn check_patience(on_full: OnFull) -> Result<OnFull, BuildError> {
    match on_full {
        OnFull::Error => Ok(on_full),
        OnFull::Wait(time) => check_limit("memory_wait", time).map(OnFull::Wait),
    }
}

fn check_prefault(prefault: Prefault) -> Result<Prefault, BuildError> {
    let Prefault { bytes, count } = prefault;
    let bytes = in_range("prefault", bytes, &(1..=1 << 31))?;
    Ok(Prefault { bytes, count: in_range("prefault", count, &COUNT)? })
}

impl Runtime {
    /// Gives the memory of free blocks of 64 KiB and more back to the kernel, and says how many bytes that were. What is used
    /// next pays for its pages again. It happens by itself when memory runs short: see
    /// [`MemoryPoolConfig::give_back_under_pressure`](crate::MemoryPoolConfig::give_back_under_pressure).
    ///
    /// ```
    /// use gorun_runtime::{Runtime, SharedSlice};
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// let mut loan = SharedSlice::<u8>::loan_on(&runtime, 1 << 20)?;
    /// loan.fill(1);
    /// drop(loan);
    /// assert_eq!(runtime.trim()?, 1 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the kernel said.
    pub fn trim(&self) -> std::io::Result<u64> {
        let dispatcher = self.dispatcher();
        if dispatcher.is_foreign() {
            return Ok(0);
        }
        dispatcher.commons.blocks.give_back(dispatcher.me)
    }
}

impl Builder {
    /// The pool of blocks: its size, how it grows, what happens when it is full.
    pub fn memory_pool(mut self, pool: MemoryPoolConfig) -> Self {
        self.wishes.memory.pool = pool;
        self
    }

    /// What the processes share, and how values travel between them.
    pub fn shared_memory(mut self, shared: SharedMemoryConfig) -> Self {
        self.wishes.memory.shared = shared;
        self
    }

    /// [`MemoryPoolConfig::size`] by itself.
    pub fn memory_pool_size(mut self, bytes: u64) -> Self {
        self.wishes.memory.pool.size = Some(bytes);
        self
    }

    /// [`SharedMemoryConfig::size`] by itself.
    pub fn shared_memory_size(mut self, bytes: u64) -> Self {
        self.wishes.memory.shared.size = Some(bytes);
        self
    }

    /// [`SharedMemoryConfig::zero_copy`] by itself.
    pub fn zero_copy(mut self, zero_copy: bool) -> Self {
        self.wishes.memory.shared.zero_copy = Some(zero_copy);
        self
    }

    /// [`MemoryPoolConfig::numa_aware`] by itself.
    pub fn numa_aware(mut self, aware: bool) -> Self {
        self.wishes.memory.pool.numa_aware = Some(aware);
        self
    }
}
