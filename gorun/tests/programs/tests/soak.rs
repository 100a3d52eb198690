//! Short soaks, and a proof that growth would be found.

use gorun_test_programs::Watchdog;
use gorun_test_programs::program::succeed;
use gorun_test_programs::soak::flat::{Point, complaints};
use std::process::Command;

fn soak(name: &str, arguments: &[&str]) -> String {
    let folder = std::env::temp_dir().join(format!("gorun-soak-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("make a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    let said = succeed(command.args(arguments).arg("--json").env("TMPDIR", &folder));
    std::fs::remove_dir(folder).expect("remove an empty folder");
    said.out
}

#[test]
fn two_hundred_kills_leave_nothing() {
    let _watchdog = Watchdog::start("two_hundred_kills_leave_nothing");
    let report = soak("kills", &["kills", "--count", "200"]);
    assert!(report.contains("\"kills\":200,") && report.contains("\"complaints\":[]"), "{report}");
}

#[test]
fn of_five_thousand_tasks_only_the_fatal_ones_fail() {
    let _watchdog = Watchdog::start("of_five_thousand_tasks_only_the_fatal_ones_fail");
    let report = soak("fatal", &["fatal", "--tasks", "5000"]);
    assert!(report.contains("\"right\":4950,") && report.contains("\"complaints\":[]"), "{report}");
}

#[test]
fn a_curve_that_rises_is_found() {
    let point = |faults: u64, anonymous_kib, descriptors| Point {
        faults,
        anonymous_kib,
        segment_kib: 1,
        descriptors,
    };
    let flat: Vec<Point> = (0..100).map(|n| point(n, 5000 + n % 7, 20)).collect();
    assert_eq!(complaints(&flat), Vec::<String>::new());
    let rises: Vec<Point> = (0..100).map(|n| point(n, 5000 + n * 100, 20)).collect();
    assert_eq!(complaints(&rises).len(), 1);
    let leaks: Vec<Point> = (20..120).map(|n| point(0, 5000, n)).collect();
    assert_eq!(complaints(&leaks).len(), 1);
}
