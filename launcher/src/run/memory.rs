//! Memory flags: what a program's processes share, each with its variable.

use super::flags::limit_ms;
use crate::limit::{Limit, NotAllowed};
use clap::ValueEnum;

const SIZE: Limit = Limit::whole(1 << 20, 1 << 50);
const BUFFER: Limit = Limit::whole(1 << 10, 1 << 30);
const COMPRESSION: Limit = Limit::whole(1 << 10, 1 << 50);

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Memory settings")]
pub(super) struct MemoryFlags {
    /// Most address space of all shared blocks together, 1M and more; K, M, G may follow [GORUN_SHARED_MEMORY_SIZE]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    shared_memory_size: Option<u64>,

    /// Most shared memory in use at once, 1M and more; K, M, G may follow [GORUN_MEMORY_POOL_SIZE]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    memory_pool_size: Option<u64>,

    /// How shared memory comes by its pages [GORUN_MEMORY_GROWTH; default: on-demand]
    #[arg(long, value_name = "HOW")]
    memory_growth: Option<Growth>,

    /// Milliseconds to wait for shared memory when there is none [GORUN_MEMORY_WAIT_MS; default: an error at once]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    memory_wait_ms: Option<u64>,

    /// Blocks to be backed with memory at the start, such as 1048576x16 [GORUN_PREFAULT]
    #[arg(long, value_name = "BYTESxCOUNT")]
    prefault: Option<String>,

    /// Give each memory node a part of the pool [GORUN_NUMA_AWARE=1]
    #[arg(long)]
    numa_aware: bool,

    /// Keep the memory of free blocks when memory runs short [GORUN_GIVE_BACK_UNDER_PRESSURE=0]
    #[arg(long)]
    keep_under_pressure: bool,

    /// Size of channels that name no capacity, 1K to 1G; K, M, G may follow [GORUN_BUFFER_SIZE; default: 64K]
    #[arg(long, value_name = "BYTES", value_parser = buffer)]
    buffer_size: Option<u64>,

    /// Let every channel hand over from hand to hand [GORUN_MESSAGE_QUEUE=0]
    #[arg(long)]
    no_message_queue: bool,

    /// Let nobody share slices: they travel by value [GORUN_ZERO_COPY=0]
    #[arg(long)]
    no_zero_copy: bool,

    /// Compress messages from this size on, 1K and more; K, M, G may follow; with --no-zero-copy [GORUN_COMPRESSION]
    #[arg(long, value_name = "BYTES", value_parser = compression, requires = "no_zero_copy")]
    compression: Option<u64>,
}

/// How fresh blocks come by their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Growth {
    /// Page by page, when they are first written
    OnDemand,
    /// As many blocks at once as were used before
    Doubling,
    /// All of --memory-pool-size at the start
    Fixed,
}

impl MemoryFlags {
    /// The variables that the given flags set.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let numbers = [
            ("GORUN_SHARED_MEMORY_SIZE", self.shared_memory_size),
            ("GORUN_MEMORY_POOL_SIZE", self.memory_pool_size),
            ("GORUN_MEMORY_WAIT_MS", self.memory_wait_ms),
            ("GORUN_NUMA_AWARE", self.numa_aware.then_some(1)),
            ("GORUN_GIVE_BACK_UNDER_PRESSURE", self.keep_under_pressure.then_some(0)),
            ("GORUN_BUFFER_SIZE", self.buffer_size),
            ("GORUN_MESSAGE_QUEUE", self.no_message_queue.then_some(0)),
            ("GORUN_ZERO_COPY", self.no_zero_copy.then_some(0)),
            ("GORUN_COMPRESSION", self.compression),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key, number?.to_string())));
        let growth = self.memory_growth.and_then(|growth| growth.to_possible_value());
        let growth = growth.map(|growth| ("GORUN_MEMORY_GROWTH", growth.get_name().to_owned()));
        let prefault = self.prefault.clone().map(|prefault| ("GORUN_PREFAULT", prefault));
        numbers.chain(growth).chain(prefault).collect()
    }
}

fn size(text: &str) -> Result<u64, NotAllowed> {
    SIZE.parse_bytes(text)
}

fn buffer(text: &str) -> Result<u64, NotAllowed> {
    BUFFER.parse_bytes(text)
}

fn compression(text: &str) -> Result<u64, NotAllowed> {
    COMPRESSION.parse_bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun::{BuildError, MemoryPoolConfig, Runtime, SharedMemoryConfig};

    #[test]
    fn no_flag_sets_no_variable() {
        assert_eq!(MemoryFlags::default().environment(), []);
    }

    #[test]
    fn each_flag_sets_its_variable() {
        let flags = MemoryFlags {
            shared_memory_size: Some(1 << 30),
            memory_pool_size: Some(1 << 20),
            memory_growth: Some(Growth::Doubling),
            memory_wait_ms: Some(70),
            prefault: Some("4096x2".to_owned()),
            numa_aware: true,
            keep_under_pressure: true,
            buffer_size: Some(4096),
            no_message_queue: true,
            no_zero_copy: true,
            compression: Some(8192),
        };
        let expected = [
            ("GORUN_SHARED_MEMORY_SIZE", "1073741824"),
            ("GORUN_MEMORY_POOL_SIZE", "1048576"),
            ("GORUN_MEMORY_WAIT_MS", "70"),
            ("GORUN_NUMA_AWARE", "1"),
            ("GORUN_GIVE_BACK_UNDER_PRESSURE", "0"),
            ("GORUN_BUFFER_SIZE", "4096"),
            ("GORUN_MESSAGE_QUEUE", "0"),
            ("GORUN_ZERO_COPY", "0"),
            ("GORUN_COMPRESSION", "8192"),
            ("GORUN_MEMORY_GROWTH", "doubling"),
            ("GORUN_PREFAULT", "4096x2"),
        ];
        assert_eq!(flags.environment(), expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn names_and_limits_are_the_runtimes() {
        for growth in Growth::value_variants() {
            let value = growth.to_possible_value().expect("a name");
            assert!(value.get_name().parse::<gorun::PoolGrowth>().is_ok());
        }
        let allowed = |builder: gorun::Builder| match builder.processes(false).build() {
            Err(BuildError::OutOfRange { allowed, .. }) => allowed,
            other => panic!("{other:?}"),
        };
        let pool = MemoryPoolConfig::new().size(0);
        assert_eq!(allowed(Runtime::builder().memory_pool(pool)), SIZE.to_string());
        let shared = SharedMemoryConfig::new().buffer_size(0);
        assert_eq!(allowed(Runtime::builder().shared_memory(shared)), BUFFER.to_string());
        let shared = SharedMemoryConfig::new().zero_copy(false).compression(0);
        assert_eq!(allowed(Runtime::builder().shared_memory(shared)), COMPRESSION.to_string());
    }
}
