//! Settings of shared memory: each changes what a runtime does.

use gorun_runtime::{
    BuildError, Channel, MemoryPoolConfig, OnFull, PoolGrowth, Rejection, Runtime, SendError, ShareError,
    SharedMemoryConfig, SharedSlice, Task, TaskError,
};
use gorun_test_programs::{Gate, Watchdog, eventually, gate};
use std::time::Duration;

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(3600);

fn with_pool(pool: MemoryPoolConfig) -> Runtime {
    Runtime::builder().workers(1).memory_pool(pool).build().expect("build a runtime")
}

fn with_shared(shared: SharedMemoryConfig) -> Runtime {
    Runtime::builder().workers(1).shared_memory(shared).build().expect("build a runtime")
}

fn loan(runtime: &Runtime, bytes: usize) -> Result<(), ShareError> {
    SharedSlice::<u8>::loan_on(runtime, bytes).map(drop)
}

fn resident(runtime: &Runtime) -> u64 {
    runtime.stats().memory.bytes_resident
}

#[test]
fn a_pool_of_a_size_refuses_what_is_more_in_host_and_worker() {
    let _watchdog = Watchdog::start("a_pool_of_a_size_refuses_what_is_more_in_host_and_worker");
    let runtime = with_pool(MemoryPoolConfig::new().size(8 * MIB as u64));
    let held = SharedSlice::<u8>::loan_on(&runtime, 6 * MIB).unwrap();
    assert_eq!(loan(&runtime, MIB), Err(ShareError::NoMemory { bytes: MIB as u64 }));
    let in_task = runtime.go(|| SharedSlice::<u8>::loan(1 << 20).map(drop).is_err());
    assert_eq!(in_task.join(), Ok(true));
    let message = runtime.task(vec![0_u8; MIB], |bytes: Vec<u8>| bytes.len()).join();
    assert_eq!(message, Err(TaskError::Rejected { reason: Rejection::NoMemory { bytes: MIB as u64 } }));
    assert!(runtime.stats().memory.refused >= 3);
    drop(held);
    let larger = ShareError::TooLarge { bytes: 9 * MIB as u64, largest: 8 * MIB as u64 };
    assert_eq!(loan(&runtime, 9 * MIB), Err(larger));
    assert_eq!(runtime.task(vec![0_u8; MIB], |bytes: Vec<u8>| bytes.len()).join(), Ok(MIB));
    let largest = runtime
        .stats()
        .memory
        .classes
        .iter()
        .filter(|class| class.total > 0)
        .map(|class| class.block_bytes)
        .max();
    assert_eq!(largest, Some(8 * MIB as u64));
}

#[test]
fn who_finds_the_pool_full_waits_for_a_worker_to_let_go() {
    let _watchdog = Watchdog::start("who_finds_the_pool_full_waits_for_a_worker_to_let_go");
    let pool = MemoryPoolConfig::new().size(4 * MIB as u64).on_full(OnFull::Wait(LONG));
    let runtime = with_pool(pool);
    let gate = Gate::new();
    let all = SharedSlice::<u8>::loan_on(&runtime, 4 * MIB).unwrap().publish().unwrap();
    let holds = |(name, slice): (String, SharedSlice<u8>)| {
        gate::wait(name);
        slice.len()
    };
    let holding = runtime.task((gate.name(), all), holds);
    let standing = gate.await_task();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| loan(&runtime, MIB));
        eventually(|| runtime.stats().memory.waited > 0);
        assert!(!waiting.is_finished());
        drop(standing);
        assert_eq!(holding.join(), Ok(4 * MIB));
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
}

#[test]
fn who_finds_the_pool_full_waits_for_a_worker_to_die() {
    let _watchdog = Watchdog::start("who_finds_the_pool_full_waits_for_a_worker_to_die");
    let pool = MemoryPoolConfig::new().size(4 * MIB as u64).on_full(OnFull::Wait(LONG));
    let runtime = with_pool(pool);
    let gate = Gate::new();
    let takes = |name: String| {
        let _all = SharedSlice::<u8>::loan(4 << 20).expect("the pool is empty");
        gate::wait(name);
    };
    let taking = runtime.task(gate.name(), takes);
    let _standing = gate.await_task();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| loan(&runtime, MIB));
        eventually(|| runtime.stats().memory.waited > 0);
        taking.kill();
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
}

#[test]
fn patience_with_a_full_pool_ends_with_the_error() {
    let _watchdog = Watchdog::start("patience_with_a_full_pool_ends_with_the_error");
    let pool = MemoryPoolConfig::new().size(MIB as u64).on_full(OnFull::Wait(Duration::from_millis(1)));
    let runtime = with_pool(pool);
    let _all = SharedSlice::<u8>::loan_on(&runtime, MIB).unwrap();
    assert_eq!(loan(&runtime, MIB), Err(ShareError::NoMemory { bytes: MIB as u64 }));
}

#[test]
fn growth_decides_when_memory_is_there() {
    let _watchdog = Watchdog::start("growth_decides_when_memory_is_there");
    let after_five = |growth| {
        let runtime = with_pool(MemoryPoolConfig::new().size(64 * MIB as u64).growth(growth));
        let before = resident(&runtime);
        let blocks: Vec<_> = (0..5).map(|_| SharedSlice::<u8>::loan_on(&runtime, MIB / 2).unwrap()).collect();
        assert_eq!(blocks.len(), 5);
        (before / MIB as u64, (resident(&runtime) - before) / MIB as u64)
    };
    let (before, grown) = after_five(PoolGrowth::OnDemand);
    assert!(before < 16 && grown == 0, "on demand: {before} MiB, then {grown} more");
    let (before, grown) = after_five(PoolGrowth::Doubling);
    assert!(before < 16 && grown == 4, "doubling: {before} MiB, then {grown} more");
    let (before, grown) = after_five(PoolGrowth::Fixed);
    assert!(before > 32 && grown == 0, "fixed: {before} MiB, then {grown} more");
}

#[test]
fn what_is_prefaulted_has_memory_from_the_start() {
    let _watchdog = Watchdog::start("what_is_prefaulted_has_memory_from_the_start");
    let runtime = with_pool(MemoryPoolConfig::new().prefault(2 * MIB as u64, 8));
    assert_eq!(runtime.stats().memory.bytes_prefaulted, 16 * MIB as u64);
    assert!(resident(&runtime) >= 16 * MIB as u64);
}

#[test]
fn trimming_gives_free_memory_back_and_keeps_what_is_held() {
    let _watchdog = Watchdog::start("trimming_gives_free_memory_back_and_keeps_what_is_held");
    // A machine that runs short just now would have it given back before.
    let runtime = with_pool(MemoryPoolConfig::new().give_back_under_pressure(false));
    let filled = || {
        let mut loan = SharedSlice::<u8>::loan_on(&runtime, 8 * MIB).unwrap();
        loan.fill(7);
        loan.publish().unwrap()
    };
    let (kept, dropped) = (filled(), filled());
    drop(dropped);
    let before = resident(&runtime);
    assert_eq!(runtime.trim().unwrap(), 8 * MIB as u64);
    let after = resident(&runtime);
    assert!(before - after > 7 * MIB as u64, "the runtime itself takes a page now and then");
    assert!(kept.iter().all(|byte| *byte == 7));
    assert_eq!(runtime.stats().memory.bytes_given_back, 8 * MIB as u64);
    let in_task =
        runtime.go(|| Runtime::current().map(|runtime| runtime.trim().is_ok()).is_ok_and(|trimmed| trimmed));
    assert_eq!(in_task.join(), Ok(true));
}

#[test]
fn the_size_of_shared_memory_bounds_all_blocks_together() {
    let _watchdog = Watchdog::start("the_size_of_shared_memory_bounds_all_blocks_together");
    let bytes = |runtime: &Runtime| -> u64 {
        let classes = runtime.stats().memory.classes;
        classes.iter().map(|class| class.block_bytes * u64::from(class.total)).sum()
    };
    let usual = Runtime::builder().workers(1).build().unwrap();
    let small = with_shared(SharedMemoryConfig::new().size(32 * MIB as u64));
    assert!(bytes(&usual) > 16 << 30 && bytes(&small) <= 32 * MIB as u64);
    assert_eq!(small.task(vec![1_u8; MIB / 2], |bytes: Vec<u8>| bytes.len()).join(), Ok(MIB / 2));
    assert!(matches!(loan(&small, 64 * MIB), Err(ShareError::TooLarge { .. })));
}

#[test]
fn a_buffered_channel_is_as_large_as_the_buffers() {
    let _watchdog = Watchdog::start("a_buffered_channel_is_as_large_as_the_buffers");
    let capacity = |shared| {
        let (sender, _receiver) = Channel::<u64>::buffered().open_on(&with_shared(shared)).unwrap();
        sender.capacity()
    };
    let small = capacity(SharedMemoryConfig::new().buffer_size(4 << 10));
    let large = capacity(SharedMemoryConfig::new().buffer_size(256 << 10));
    assert!(small >= 16 && large >= 32 * small, "{small} and {large} messages");
    let runtime = with_shared(SharedMemoryConfig::new().buffer_size(4 << 10));
    let in_task = runtime.go(|| Channel::<u64>::buffered().open().map_or(0, |(sender, _)| sender.capacity()));
    assert_eq!(in_task.join(), Ok(small));
}

#[test]
fn without_message_queues_every_channel_is_a_rendezvous() {
    let _watchdog = Watchdog::start("without_message_queues_every_channel_is_a_rendezvous");
    let try_alone = |runtime: &Runtime| {
        let (sender, _receiver) = Channel::<u8>::bounded(10).open_on(runtime).unwrap();
        sender.try_send(1)
    };
    assert_eq!(try_alone(&with_shared(SharedMemoryConfig::new())), Ok(()));
    let runtime = with_shared(SharedMemoryConfig::new().message_queue(false));
    assert!(matches!(try_alone(&runtime), Err(SendError::Full(1))), "nobody is there to receive it");
    let (sender, receiver) = Channel::<u8>::bounded(10).open_on(&runtime).unwrap();
    let sending = Task::with(sender, |sender| (0..5).all(|n| sender.send(n).is_ok())).go_on(&runtime);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(sending.join(), Ok(true));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let key = |builder: gorun_runtime::Builder| match builder.processes(false).build() {
        Err(BuildError::OutOfRange { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    let builder = Runtime::builder;
    let compressed = SharedMemoryConfig::new().compression(4096);
    assert_eq!(key(builder().shared_memory(compressed)), "compression");
    let fixed = MemoryPoolConfig::new().growth(PoolGrowth::Fixed);
    assert_eq!(key(builder().memory_pool(fixed)), "memory_growth");
    assert_eq!(key(builder().memory_pool_size(1000)), "memory_pool_size");
    assert_eq!(key(builder().shared_memory_size(1000)), "shared_memory_size");
    assert_eq!(key(builder().shared_memory(SharedMemoryConfig::new().buffer_size(1))), "buffer_size");
    assert_eq!(key(builder().memory_pool(MemoryPoolConfig::new().prefault(0, 1))), "prefault");
    let never = MemoryPoolConfig::new().on_full(OnFull::Wait(Duration::ZERO));
    assert_eq!(key(builder().memory_pool(never)), "memory_wait");
}
