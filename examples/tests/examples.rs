//! Runs every example as a user would and checks what it prints.

#![expect(clippy::unwrap_used, reason = "a test that cannot do its work fails")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Watchdog: `timeout` ends an example that hangs, and the test fails by its exit code.
const SECONDS_MAX: &str = "120";

/// Builds the example if this test was asked for alone, else it lies beside the test already.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    if !program.exists() {
        let profile = match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "gorun-examples",
                "--profile",
                profile,
                "--example",
                name,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success(), "example {name} does not build");
    }
    program
}

fn run(name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", SECONDS_MAX]).arg(example(name)).args(arguments).output().unwrap()
}

/// What the example prints, given that it succeeds.
fn printed(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(output.status.success(), "{name}: {}\n{}", output.status, told(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn hello_prints_the_answer() {
    assert_eq!(printed("hello", &[]), "42\n");
}

#[test]
fn crash_loses_one_task_of_three() {
    let text = printed("crash", &[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "task 1 delivered \"first\"");
    assert!(lines[1].starts_with("task 2 was lost: "), "{text}");
    assert_eq!(lines.last(), Some(&"task 3 delivered \"third\""));
}

#[test]
fn capture_takes_its_variables_along() {
    assert_eq!(printed("capture", &[]), "be to not\n");
}

#[test]
fn tiles_travel_without_a_copy() {
    let path = env::temp_dir().join(format!("gorun-tiles-{}.pgm", std::process::id()));
    let text = printed("tiles", &["--pgm", path.to_str().unwrap()]);
    let picture = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(text.ends_with("2097152 bytes of pixels travelled, 0 were copied\n"), "{text}");
    let pixels = picture.strip_prefix(b"P5 1024 1024 255\n").unwrap();
    assert_eq!(pixels.len(), 1 << 20);
    // The innermost ring ends 40 pixels from the middle.
    let bright = |x: usize, y: usize| pixels[y * 1024 + x] > 32;
    assert!((545..560).any(|x| bright(x, 512)) && (515..545).all(|x| !bright(x, 512)));
}

#[test]
fn race_ends_with_all_with_the_first_and_with_any() {
    let text = printed("race", &[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["all: 1000", "all: 2000"]);
    // Which one is first is up to the machine.
    assert!(lines[2].starts_with("race: ") && lines[2].ends_with(" steps"), "{text}");
    assert_eq!(lines[3..], ["any: quick, after 1000 steps", "squares: [1, 4, 9, 16]"]);
}

#[test]
fn pipeline_draws_and_adds_up_every_picture() {
    assert_eq!(printed("pipeline", &[]), format!("100 pictures, sum {}\n", 10 * 45 * (1_u64 << 16)));
}

#[test]
fn word_count_is_right_whatever_is_killed() {
    let text = printed("word_count", &[]);
    assert_eq!(
        text,
        "40000 words, 23 different ones; 10 workers killed; the counts are those of one thread\n"
    );
}

#[test]
fn two_programs_find_each_other_by_name() {
    assert_eq!(printed("named", &[]), "6 words: to be or not to be\n4 words: that is the question\n");
}

#[test]
fn big_data_is_summed_where_it_lies() {
    assert_eq!(printed("big_data", &[]), "the sum of 1048576 numbers is 549755289600\n");
}

/// A folder of sources with known totals, made anew for each test.
fn sources(test: &str, copies: usize) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sources-{test}"));
    let _ = fs::remove_dir_all(&folder);
    for copy in 0..copies {
        let package = folder.join(format!("package{copy:02}/src"));
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("lib.rs"), "// ring\nfn ring_head(tail: u64) -> u64 { tail }\n\n").unwrap();
        fs::write(package.join("main.c"), "/* a\n\n b */\nint ring_head(int tail);\r\nint last").unwrap();
        fs::write(package.join("notes.md"), b"caf\xE9\n").unwrap();
        fs::write(package.join("picture.png"), "no source").unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed("codestats", arguments)).unwrap()
}

#[test]
fn codestats_counts_a_known_folder() {
    let report = json(&[&sources("known", 5), "--workers", "2", "--json"]);
    let total = &report["total"];
    let count = |key: &str| total[key].as_u64().unwrap();
    assert_eq!(["files", "lines", "code", "comment", "blank"].map(count), [15, 45, 20, 15, 10]);
    assert_eq!(count("bytes"), 5 * (49 + 46 + 5));
    assert_eq!(report["check"]["state"], "equal");
    let names: Vec<_> = report["identifiers"].as_array().unwrap().iter().collect();
    assert_eq!((names[0]["name"].as_str(), names[0]["count"].as_u64()), (Some("tail"), Some(15)));
    assert_eq!((names[1]["name"].as_str(), names[1]["count"].as_u64()), (Some("ring_head"), Some(10)));
}

#[test]
fn codestats_tells_shares_and_times_of_three_runs() {
    let report = json(&[&sources("shares", 10), "--workers", "2", "--json"]);
    let tasks: u64 =
        report["workers"].as_array().unwrap().iter().map(|row| row["tasks"].as_u64().unwrap()).sum();
    assert_eq!(tasks, 30);
    let runs: Vec<_> =
        report["runs"].as_array().unwrap().iter().map(|row| row["run"].as_str().unwrap()).collect();
    assert_eq!(runs, ["plain thread", "1 worker", "2 workers"]);
}

#[test]
fn codestats_prints_plain_tables_to_a_pipe() {
    let text = printed("codestats", &[&sources("plain", 2), "--workers", "2", "--top", "1"]);
    assert!(text.contains("\nRust          2      6     2"), "{text}");
    assert!(text.contains("Check: the totals of all runs are equal."), "{text}");
    assert!(!text.contains('\x1B') && !text.contains("ring_head"), "{text}");
}

#[test]
fn codestats_goes_on_when_every_tenth_file_kills_its_worker() {
    let folder = sources("crash", 25);
    let report = json(&[&folder, "--workers", "2", "--crash-every", "10", "--json"]);
    let lost: Vec<_> =
        report["lost"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(lost.len(), 7);
    assert_eq!(lost[..2], ["package03/src/lib.rs", "package06/src/main.c"]);
    assert_eq!(report["crashes_planned"], 7);
    assert_eq!(report["total"]["files"], 68);
    assert_eq!(report["check"]["state"], "equal");
}

#[test]
fn codestats_lists_the_first_lost_files_and_counts_the_others() {
    let text = printed("codestats", &[&sources("lost", 8), "--crash-every", "1", "--no-compare"]);
    assert!(text.contains("Lost with their workers (24 planned): 24 files"), "{text}");
    assert!(text.ends_with("  and 4 more\n"), "{text}");
}

#[test]
fn codestats_without_comparison_runs_once() {
    let report = json(&[&sources("once", 2), "--no-compare", "--json"]);
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
    assert_eq!(report["check"]["state"], "skipped");
}

#[test]
fn codestats_refuses_a_bad_call_and_names_the_fix() {
    let folder = sources("bad", 1);
    let package = format!("{folder}/package00/src");
    let empty = format!("{folder}/empty");
    fs::create_dir(&empty).unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&[&format!("{folder}/none")], "check the path"),
        (&[&format!("{package}/lib.rs")], "is not a folder; name the folder that holds the sources"),
        (&[&empty], "there are no source files below"),
        (&[&folder, "--workers", "0"], "give 1 or more, or leave --workers out"),
        (&[&folder, "--workers", "many"], "give 1 or more, or leave --workers out"),
        (&[&folder, "--crash-every", "0"], "give 1 or more, or leave --crash-every out"),
    ];
    for (arguments, fix) in cases {
        let output = run("codestats", arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", told(&output));
        assert!(stderr.contains(fix) && output.stdout.is_empty(), "{arguments:?}: {stderr}");
    }
}
