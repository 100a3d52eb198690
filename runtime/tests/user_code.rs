//! What users write into serde implementations and drops may panic, refuse or crash like any other code.
// UNSAFETY: a fork inside of a task is what one of the tests is about.
#![expect(unsafe_code, reason = "fork is what is tested")]

use gorun_runtime::{ResultRefusal, Runtime, TaskError};
use gorun_test_programs::{Death, Watchdog, eventually};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What happens when a value is encoded, decoded or dropped in a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Act {
    Nothing,
    Panic,
    Refuse,
    Die,
}

fn in_worker() -> bool {
    gorun_worker::context::is_worker()
}

fn play(act: Act) -> bool {
    match act {
        Act::Panic if in_worker() => panic!("in user code"),
        Act::Die if in_worker() => Death::Abort.die(),
        Act::Refuse if in_worker() => true,
        _ => false,
    }
}

/// Acts when a worker decodes it.
#[derive(Debug, Clone, Copy, Serialize)]
struct OnDecode(Act, u64);

impl<'de> Deserialize<'de> for OnDecode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (act, number) = Deserialize::deserialize(deserializer)?;
        if play(act) { Err(D::Error::custom("refused")) } else { Ok(Self(act, number)) }
    }
}

/// Acts when a worker encodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct OnEncode(Act, u64);

impl Serialize for OnEncode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if play(self.0) { Err(S::Error::custom("refused")) } else { (self.0, self.1).serialize(serializer) }
    }
}

/// Acts when a worker drops it.
#[derive(Debug, Serialize, Deserialize)]
struct OnDrop(Act);

impl Drop for OnDrop {
    fn drop(&mut self) {
        play(self.0);
    }
}

fn one_worker() -> Runtime {
    Runtime::builder().workers(1).quarantine_after(0).build().expect("build a runtime")
}

fn deaths(runtime: &Runtime) -> u64 {
    runtime.stats().seats.iter().map(|seat| seat.deaths).sum()
}

/// Every second item acts; gives the outcomes of those, after checking the others.
fn acting_items(act: Act) -> Vec<Result<u64, TaskError>> {
    let runtime = one_worker();
    let items = (0..20_u64).map(move |n| OnDecode(if n % 2 == 1 { act } else { Act::Nothing }, n));
    let run = std::thread::spawn(move || runtime.map(items, |item: OnDecode| item.1 * 7).grain(4).outcomes());
    let outcomes = run.join().expect("the map does not panic");
    assert_eq!(outcomes.len(), 20);
    let (mut acting, mut place) = (Vec::new(), 0_u64);
    for outcome in outcomes {
        if place % 2 == 1 {
            acting.push(outcome);
        } else {
            assert_eq!(outcome, Ok(place * 7), "item {place}");
        }
        place += 1;
    }
    acting
}

#[test]
fn an_input_that_refuses_to_be_decoded_fails_its_task_only() {
    let _watchdog = Watchdog::start("an_input_that_refuses_to_be_decoded_fails_its_task_only");
    let runtime = one_worker();
    let outcome = runtime.task(OnDecode(Act::Refuse, 1), |input: OnDecode| input.1).join();
    assert!(matches!(outcome, Err(TaskError::Decode { .. })), "{outcome:?}");
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn an_input_that_panics_when_decoded_is_a_panic_of_its_task() {
    let _watchdog = Watchdog::start("an_input_that_panics_when_decoded_is_a_panic_of_its_task");
    let runtime = one_worker();
    for _ in 0..5 {
        let outcome = runtime.task(OnDecode(Act::Panic, 1), |input: OnDecode| input.1).join();
        assert!(matches!(outcome, Err(TaskError::Panicked { .. })), "{outcome:?}");
    }
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    assert!(!runtime.is_degraded());
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn an_input_that_crashes_when_decoded_costs_its_task_only() {
    let _watchdog = Watchdog::start("an_input_that_crashes_when_decoded_costs_its_task_only");
    let runtime = one_worker();
    for _ in 0..5 {
        let outcome = runtime.task(OnDecode(Act::Die, 1), |input: OnDecode| input.1).join();
        assert!(matches!(outcome, Err(TaskError::WorkerLost { .. })), "{outcome:?}");
        assert_eq!(runtime.task(OnDecode(Act::Nothing, 3), |input: OnDecode| input.1).join(), Ok(3));
    }
}

#[test]
fn a_result_that_refuses_to_be_encoded_is_refused() {
    let _watchdog = Watchdog::start("a_result_that_refuses_to_be_encoded_is_refused");
    let runtime = one_worker();
    let outcome = runtime.go(|| OnEncode(Act::Refuse, 1)).join();
    assert_eq!(outcome, Err(TaskError::ResultRefused { reason: ResultRefusal::Unencodable }));
    assert_eq!(runtime.go(|| OnEncode(Act::Nothing, 2)).join(), Ok(OnEncode(Act::Nothing, 2)));
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn a_result_that_panics_when_encoded_is_a_panic_of_its_task() {
    let _watchdog = Watchdog::start("a_result_that_panics_when_encoded_is_a_panic_of_its_task");
    let runtime = one_worker();
    for _ in 0..5 {
        let outcome = runtime.go(|| OnEncode(Act::Panic, 1)).join();
        assert!(matches!(outcome, Err(TaskError::Panicked { .. })), "{outcome:?}");
    }
    assert!(!runtime.is_degraded());
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn a_result_that_panics_when_dropped_does_not_cost_the_worker() {
    let _watchdog = Watchdog::start("a_result_that_panics_when_dropped_does_not_cost_the_worker");
    let runtime = one_worker();
    for _ in 0..5 {
        // Its value was encoded before the drop; either outcome is honest, a lost worker is not.
        let outcome = runtime.go(|| OnDrop(Act::Panic)).join();
        assert!(matches!(outcome, Ok(_) | Err(TaskError::Panicked { .. })), "{outcome:?}");
    }
    assert!(!runtime.is_degraded());
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn an_item_that_crashes_when_decoded_is_lost_and_its_neighbours_are_not() {
    let _watchdog = Watchdog::start("an_item_that_crashes_when_decoded_is_lost_and_its_neighbours_are_not");
    for outcome in acting_items(Act::Die) {
        assert!(matches!(outcome, Err(TaskError::WorkerLost { .. })), "{outcome:?}");
    }
}

#[test]
fn a_first_item_that_crashes_when_decoded_ends() {
    let _watchdog = Watchdog::start("a_first_item_that_crashes_when_decoded_ends");
    let runtime = one_worker();
    let watched = runtime.clone();
    let run = std::thread::spawn(move || {
        runtime.map([OnDecode(Act::Die, 0)], |item: OnDecode| item.1).outcomes().pop()
    });
    eventually(|| run.is_finished() || deaths(&watched) > 20);
    assert!(run.is_finished(), "the item has killed more than twenty workers");
    let outcome = run.join().unwrap().unwrap();
    assert!(matches!(outcome, Err(TaskError::WorkerLost { .. })), "{outcome:?}");
}

#[test]
fn an_item_that_crashes_when_decoded_does_not_get_an_older_result() {
    let _watchdog = Watchdog::start("an_item_that_crashes_when_decoded_does_not_get_an_older_result");
    let runtime = one_worker();
    let act = |item: OnDecode| item.1;
    for round in 0..20 {
        let before = runtime.map([OnDecode(Act::Nothing, 1000 + round)], act).outcomes();
        assert_eq!(before, [Ok(1000 + round)]);
        let outcomes = runtime.map([OnDecode(Act::Die, 5)], act).outcomes();
        assert!(matches!(outcomes[..], [Err(TaskError::WorkerLost { .. })]), "round {round}: {outcomes:?}");
    }
}

#[test]
fn items_that_panic_when_decoded_fail_and_their_neighbours_do_not() {
    let _watchdog = Watchdog::start("items_that_panic_when_decoded_fail_and_their_neighbours_do_not");
    for outcome in acting_items(Act::Panic) {
        assert!(matches!(outcome, Err(TaskError::Panicked { .. })), "{outcome:?}");
    }
}

#[test]
fn items_whose_results_refuse_or_panic_fail_and_their_neighbours_do_not() {
    let _watchdog = Watchdog::start("items_whose_results_refuse_or_panic_fail_and_their_neighbours_do_not");
    let runtime = one_worker();
    let outcomes = runtime.map(0..30_u64, |n| {
        let act = [Act::Nothing, Act::Refuse, Act::Panic][usize::try_from(n % 3).unwrap()];
        OnEncode(act, n)
    });
    for (n, outcome) in (0..30_u64).zip(outcomes.grain(6).outcomes()) {
        let expected = match n % 3 {
            0 => outcome == Ok(OnEncode(Act::Nothing, n)),
            1 => outcome == Err(TaskError::ResultRefused { reason: ResultRefusal::Unencodable }),
            _ => matches!(outcome, Err(TaskError::Panicked { .. })),
        };
        assert!(expected, "{n}: {outcome:?}");
    }
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn a_task_may_exit_with_any_code_without_costing_the_isolation() {
    let _watchdog = Watchdog::start("a_task_may_exit_with_any_code_without_costing_the_isolation");
    let runtime = one_worker();
    // 90 to 94 and 127 are codes with which gorun itself ends processes.
    for code in [127, 127, 127, 127, 94, 94, 94, 94, 92, 91, 90, 0, 255] {
        let outcome = runtime.task(code, |code: i32| -> u8 { Death::Exit(code).die() }).join();
        let Err(TaskError::WorkerLost { evidence }) = outcome else { panic!("{code}: {outcome:?}") };
        assert_eq!(evidence.exit_code(), Some(code));
        assert!(!runtime.is_degraded(), "after exit code {code}");
    }
}

/// A value whose drop panics in workers.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct PanicsInDrop {
    number: u64,
    bytes: Vec<u8>,
    host: u32,
}

impl PanicsInDrop {
    fn new(number: u64, bytes: usize, host: u32) -> Self {
        Self { number, bytes: vec![1; bytes], host }
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        assert!(self.host == std::process::id() || !self.number.is_multiple_of(3), "drop of {}", self.number);
    }
}

#[test]
fn a_result_whose_drop_panics_costs_only_its_own_item() {
    let _watchdog = Watchdog::start("a_result_whose_drop_panics_costs_only_its_own_item");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let host = std::process::id();
    for bytes in [0, 5_000] {
        let items = (0..40_u64).map(|number| (number, bytes, host));
        let outcomes =
            runtime.map(items, |(n, bytes, host)| PanicsInDrop::new(n, bytes, host)).grain(10).outcomes();
        assert_eq!(outcomes.len(), 40);
        for (n, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert_eq!((value.number, n % 3 == 0), (n, false)),
                Err(error) => assert!(error.to_string().contains(&format!("drop of {n}")), "{n}: {error}"),
            }
        }
    }
}

#[test]
fn a_large_result_whose_drop_panics_leaks_no_shared_memory() {
    let _watchdog = Watchdog::start("a_large_result_whose_drop_panics_leaks_no_shared_memory");
    let runtime = Runtime::builder().workers(1).message_bytes_max(1 << 20).build().unwrap();
    let host = std::process::id();
    for _ in 0..3_000 {
        let task =
            runtime.task((0_u64, 1_usize << 18, host), |(n, bytes, host)| PanicsInDrop::new(n, bytes, host));
        match task.join() {
            Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "drop of 0"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_panic_that_was_resumed_is_told_as_itself() {
    let _watchdog = Watchdog::start("a_panic_that_was_resumed_is_told_as_itself");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let caught = runtime.go(|| std::panic::catch_unwind(|| panic!("of another task")).is_err());
    assert_eq!(caught.join(), Ok(true));
    let resumed = runtime.go(|| -> u8 { std::panic::resume_unwind(Box::new("of its own")) }).join();
    assert_eq!(resumed, Err(TaskError::Panicked { message: "of its own".into(), location: None }));
}

#[test]
fn a_fork_that_returns_from_its_task_does_not_become_a_second_worker() {
    let _watchdog = Watchdog::start("a_fork_that_returns_from_its_task_does_not_become_a_second_worker");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    for n in 0..30_u32 {
        let task = runtime.task(n, |n: u32| {
            // SAFETY: a worker has one thread; the child goes back into gorun's own code, which is what is tested.
            let pid = unsafe { libc::fork() };
            (n, pid > 0, std::process::id())
        });
        let (value, parent, pid) = task.join().unwrap();
        assert_eq!((value, parent), (n, true));
        assert_eq!(runtime.go(std::process::id).join(), Ok(pid));
    }
    assert_eq!(runtime.stats().seats[0].deaths, 0);
}
