//! Whether a runtime listens for memory that runs short. Alone in its file: it looks at the descriptors of its process.

use gorun_runtime::{MemoryPoolConfig, Runtime};
use gorun_test_programs::{Watchdog, eventually};

/// Descriptors at which the kernel tells of memory pressure.
fn listening() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("own descriptors").flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("pressure")).count()
}

fn is_told_here() -> bool {
    gorun_worker::os::pressure::Pressure::open().is_ok()
}

#[test]
fn a_runtime_listens_for_pressure_unless_told_not_to() {
    let _watchdog = Watchdog::start("a_runtime_listens_for_pressure_unless_told_not_to");
    let deaf = MemoryPoolConfig::new().give_back_under_pressure(false);
    let runtime = Runtime::builder().workers(1).memory_pool(deaf).build().unwrap();
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    drop(runtime);
    assert_eq!(listening(), 0);
    if !is_told_here() {
        println!("the kernel tells nobody of memory pressure here");
        return;
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    eventually(|| listening() == 1);
    drop(runtime);
    assert_eq!(listening(), 0);
}
