//! Where workers run: as planned, read back from the kernel, after a death too.

use gorun_runtime::topology::{Placement, PlacementError, Smt, Topology};
use gorun_runtime::{BuildError, Runtime, Task, TaskError};
use gorun_test_programs::{Watchdog, eventually};
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::os::pin;

/// Where the task's worker may run.
fn allowed() -> String {
    pin::allowed().to_string()
}

fn die() -> u8 {
    std::process::abort()
}

fn asked(runtime: &Runtime) -> CpuSet {
    let told = Task::new(allowed).go_on(runtime).join().expect("the task runs");
    told.parse().expect("a list of processors")
}

fn usable() -> Vec<u32> {
    pin::allowed().iter().collect()
}

#[test]
fn workers_run_on_the_processors_that_are_named() {
    let last = *usable().last().expect("a processor");
    let runtime = Runtime::builder().workers(1).placement(Placement::Cores(vec![last])).build().unwrap();
    assert_eq!(asked(&runtime).single(), Some(last));
    assert_eq!(runtime.stats().seats[0].cpus.single(), Some(last));
}

#[test]
fn who_follows_a_dead_worker_runs_where_it_ran() {
    let last = *usable().last().expect("a processor");
    let builder = Runtime::builder().workers(1).quarantine_after(0);
    let runtime = builder.placement(Placement::Cores(vec![last])).build().unwrap();
    for _ in 0..3 {
        let lost = Task::new(die).go_on(&runtime).join();
        assert!(matches!(lost, Err(TaskError::WorkerLost { .. })), "{lost:?}");
        assert_eq!(asked(&runtime).single(), Some(last));
    }
}

#[test]
fn a_group_is_all_of_its_processors() {
    let machine = Topology::usable();
    let first = machine.cpus()[0];
    let group: CpuSet = machine.cpus().iter().filter(|cpu| cpu.l3 == first.l3).map(|cpu| cpu.id).collect();
    let runtime = Runtime::builder().workers(1).placement(Placement::PerL3).build().unwrap();
    assert_eq!(asked(&runtime), group);
    let node: CpuSet = machine.cpus().iter().filter(|cpu| cpu.node == first.node).map(|cpu| cpu.id).collect();
    let runtime = Runtime::builder().workers(1).placement(Placement::PerNode).build().unwrap();
    assert_eq!(asked(&runtime), node);
}

#[test]
fn where_the_kernel_decides_workers_may_use_what_the_host_may() {
    let runtime = Runtime::builder().workers(1).placement(Placement::None).build().unwrap();
    assert_eq!(asked(&runtime), pin::allowed());
    assert!(runtime.stats().seats[0].cpus.is_empty());
}

#[test]
fn more_workers_than_processors_share_them_evenly() {
    let cpus = usable();
    let runtime = Runtime::builder().workers(cpus.len() * 2).placement(Placement::PerCore).build().unwrap();
    // Seats are filled one after the other.
    let _watchdog = Watchdog::start("more_workers_than_processors_share_them_evenly");
    eventually(|| {
        let stats = runtime.stats();
        let seats_of = |cpu| stats.seats.iter().filter(|seat| seat.cpus.single() == Some(cpu)).count();
        cpus.iter().all(|cpu| seats_of(*cpu) == 2)
    });
}

#[test]
fn siblings_stay_free_if_they_are_to() {
    let builder = Runtime::builder().workers(1).placement(Placement::PerCore).smt(Smt::Avoid);
    let config = builder.config().unwrap();
    let machine = Topology::usable();
    let cpu = config.plan.seats()[0].cpus.single().expect("one processor");
    assert_eq!(machine.cpu(cpu).map(|cpu| cpu.thread), Some(0));
}

#[test]
fn a_processor_that_is_not_there_is_an_error() {
    let refused = Runtime::builder().placement(Placement::Cores(vec![1023])).build();
    let Err(BuildError::Placement(PlacementError::NotUsable { cpu, usable })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((cpu, *usable), (1023, pin::allowed()));
}
