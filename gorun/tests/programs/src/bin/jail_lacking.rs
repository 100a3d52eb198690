//! Runs under a filter of its own that takes a part of the jail away, as an old kernel or a container would.

use gorun::prelude::*;
use gorun_test_programs::Watchdog;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;

fn main() {
    let _watchdog = Watchdog::start("jail_lacking");
    let part = std::env::args().nth(1).unwrap_or_default();
    match part.as_str() {
        "landlock" => deny(libc::SYS_landlock_create_ruleset),
        "filter" => deny(libc::SYS_seccomp),
        _ => {}
    }
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let peek = || std::fs::read("/etc/passwd").is_ok();
    let strict = Task::new(peek).jail(Jail::compute()).go_on(&runtime).join();
    println!(
        "strict: {}",
        strict.map_or_else(|error| error.to_string(), |peeked| format!("peeked {peeked}"))
    );
    let files = Task::new(peek).jail(Jail::read_only(["/dev/null"])).go_on(&runtime).join();
    println!("files: {}", files.map_or_else(|error| error.to_string(), |peeked| format!("peeked {peeked}")));
    let loose = Task::new(peek).jail(Jail::compute().best_effort()).go_on(&runtime).join();
    println!("loose: {}", loose.map_or_else(|error| error.to_string(), |peeked| format!("peeked {peeked}")));
}

/// Has this program, and all it starts, find that there is no such call.
fn deny(call: i64) {
    let machine = TargetArch::try_from(std::env::consts::ARCH).expect("a known machine");
    let rules = BTreeMap::from([(call, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, machine).expect("a filter");
    let program = BpfProgram::try_from(filter).expect("a program");
    seccompiler::apply_filter_all_threads(&program).expect("filters are to be had here");
}
