//! Conformance: every behaviour of the task API, in every mode, asked for by the runtime and by the task.

use gorun_runtime::{
    Backoff, Fallback, IntoTask, Jail, Mode, Rejection, Retry, Runtime, SharedSlice, Task, TaskError,
    TaskHandle, go_all,
};
use gorun_test_programs::{Gate, Watchdog, gate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

/// A runtime, and the mode that its tasks are given.
struct Place {
    mode: Mode,
    runtime: Runtime,
    /// True if each task asks for the mode, and not the runtime.
    by_task: bool,
}

impl Place {
    fn task<A, R>(&self, input: A, function: fn(A) -> R) -> Task<A, R>
    where
        A: Serialize + serde::de::DeserializeOwned + 'static,
        R: Serialize + serde::de::DeserializeOwned + 'static,
    {
        let task = Task::with(input, function);
        if self.by_task { task.mode(self.mode) } else { task }
    }

    fn go<A, R>(&self, input: A, function: fn(A) -> R) -> TaskHandle<R>
    where
        A: Serialize + serde::de::DeserializeOwned + 'static,
        R: Serialize + serde::de::DeserializeOwned + 'static,
    {
        self.start(self.task(input, function))
    }

    fn start<R>(&self, task: impl IntoTask<R>) -> TaskHandle<R> {
        task.start(&self.runtime)
    }
}

/// Runs a behaviour in a mode, asked for in both ways.
fn assert_in(mode: Mode, name: &str, behaviour: fn(&Place)) {
    let _watchdog = Watchdog::start(&format!("{name} in mode {mode}"));
    // What some tasks write down, a jail lets them write there.
    let jail = Jail::custom().allow_write(std::env::temp_dir()).best_effort();
    let builder = Runtime::builder().workers(2).message_bytes_max(1 << 20).jail(jail);
    let other = if mode == Mode::Thread { Mode::Inline } else { Mode::Thread };
    let by_runtime = builder.clone().mode(mode).build().expect("build a runtime");
    behaviour(&Place { mode, runtime: by_runtime, by_task: false });
    let by_task = builder.mode(other).build().expect("build a runtime");
    behaviour(&Place { mode, runtime: by_task, by_task: true });
}

macro_rules! in_every_mode {
    ($($name:ident)*) => {
        $(mod $name {
            use super::{Mode, assert_in};

            #[test]
            fn inline() {
                assert_in(Mode::Inline, stringify!($name), super::behaviours::$name);
            }

            #[test]
            fn thread() {
                assert_in(Mode::Thread, stringify!($name), super::behaviours::$name);
            }

            #[test]
            fn process() {
                assert_in(Mode::Process, stringify!($name), super::behaviours::$name);
            }

            #[test]
            fn jailed() {
                assert_in(Mode::Jailed, stringify!($name), super::behaviours::$name);
            }
        })*
    };
}

in_every_mode! {
    values_of_every_size_come_back
    it_runs_where_it_was_asked_to
    a_panic_is_told_with_message_and_place
    what_cannot_travel_is_told
    handles_can_be_waited_for_in_every_way
    maps_keep_the_order_and_name_the_items_that_failed
    several_are_started_together
    a_retry_tries_again
    a_fallback_stands_in
    a_breaker_opens_for_every_mode_of_its_runtime
    tasks_start_tasks
    slices_come_back
    limits_are_kept_or_refused
    a_kill_ends_it_or_says_that_it_cannot
    a_handle_ends_though_its_runtime_is_gone
}

/// A value that refuses to be encoded, or to be decoded.
#[derive(Debug, PartialEq)]
struct Stubborn {
    encodes: bool,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.encodes { serializer.serialize_u8(1) } else { Err(serde::ser::Error::custom("not me")) }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not me either"))
    }
}

/// Fails until the file has this many bytes, one for each attempt.
fn succeed_at((path, attempts): (String, u64)) -> u64 {
    let mut file = OpenOptions::new().append(true).create(true).open(&path).expect("open the file");
    file.write_all(b"x").expect("count the attempt");
    let made = fs::metadata(&path).expect("look at the file").len();
    assert!(made >= attempts, "attempt {made}");
    made
}

fn awaited<R>(handle: impl Future<Output = R>) -> R {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut handle = std::pin::pin!(handle);
    loop {
        match handle.as_mut().poll(&mut context) {
            std::task::Poll::Ready(outcome) => return outcome,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

mod behaviours {
    use super::*;

    pub(super) fn values_of_every_size_come_back(place: &Place) {
        assert_eq!(place.start(Task::new(|| ()).mode(place.mode)).join(), Ok(()));
        assert_eq!(place.go((), |()| 5_u8).join(), Ok(5));
        for bytes in [0, 1, 31, 32, 33, 1000, 100_000] {
            let text = "x".repeat(bytes);
            let expected = text.clone() + "y";
            assert_eq!(place.go(text, |text: String| text + "y").join(), Ok(expected));
            let values = vec![7_u64; bytes / 8];
            assert_eq!(place.go(values.clone(), |values: Vec<u64>| values).join(), Ok(values));
        }
        let pair = (Some(-1_i64), vec![("a".to_owned(), 1.5_f32)]);
        assert_eq!(place.go(pair.clone(), |pair: (Option<i64>, Vec<(String, f32)>)| pair).join(), Ok(pair));
        let many: Vec<_> = (0..2000_u64).map(|n| place.go(n, |n| n * n)).collect();
        for (n, handle) in (0..).zip(many) {
            assert_eq!(handle.join(), Ok(n * n));
        }
    }

    pub(super) fn it_runs_where_it_was_asked_to(place: &Place) {
        let here = std::thread::current().id();
        let same_process = place.go((), |()| std::process::id()).join() == Ok(std::process::id());
        let same_thread = place.go((), |()| format!("{:?}", std::thread::current().id())).join();
        assert_eq!(same_process, matches!(place.mode, Mode::Inline | Mode::Thread));
        assert_eq!(same_process && same_thread == Ok(format!("{here:?}")), place.mode == Mode::Inline);
        assert_eq!(place.runtime.mode() == place.mode, !place.by_task);
    }

    pub(super) fn a_panic_is_told_with_message_and_place(place: &Place) {
        let outcome = place.go(3, |n: u32| -> u32 { panic!("no {n}") }).join();
        match outcome {
            Err(TaskError::Panicked { message, location: Some(location) }) => {
                assert_eq!(message, "no 3");
                assert!(location.contains("conformance.rs:"), "{location}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(place.go(3, |n: u32| n).join(), Ok(3));
    }

    pub(super) fn what_cannot_travel_is_told(place: &Place) {
        let unencodable = place.go(Stubborn { encodes: false }, |_| ()).join();
        assert!(
            matches!(&unencodable, Err(TaskError::Rejected { reason: Rejection::InputUnencodable { .. } })),
            "{unencodable:?}"
        );
        let undecodable = place.go(Stubborn { encodes: true }, |_| ()).join();
        assert!(matches!(&undecodable, Err(TaskError::Decode { .. })), "{undecodable:?}");
        let refused = place.go((), |()| Stubborn { encodes: false }).join();
        assert!(matches!(&refused, Err(TaskError::ResultRefused { .. })), "{refused:?}");
        let large = place.go(vec![0_u8; (1 << 20) + 1], |bytes: Vec<u8>| bytes.len()).join();
        assert!(
            matches!(&large, Err(TaskError::Rejected { reason: Rejection::InputTooLarge { .. } })),
            "{large:?}"
        );
        let result = place.go((1 << 20) + 1, |bytes: usize| vec![0_u8; bytes]).join();
        assert!(matches!(&result, Err(TaskError::ResultRefused { .. })), "{result:?}");
        assert_eq!(place.go(1, |n: u8| n).join(), Ok(1));
    }

    pub(super) fn handles_can_be_waited_for_in_every_way(place: &Place) {
        let text = "a text that does not fit a slot of thirty-two bytes".to_owned();
        let start = || place.go(text.clone(), |text: String| text.len());
        assert_eq!(awaited(start()), Ok(text.len()));
        let handle = start();
        while !handle.is_finished() {
            std::thread::yield_now();
        }
        assert!(!handle.cancel() && !handle.kill());
        assert_eq!(handle.join_timeout(Duration::ZERO).expect("it has ended"), Ok(text.len()));
        drop(start());
        let elsewhere = start();
        let joined = std::thread::spawn(move || elsewhere.join()).join().expect("the thread ends");
        assert_eq!(joined, Ok(text.len()));
    }

    pub(super) fn maps_keep_the_order_and_name_the_items_that_failed(place: &Place) {
        if place.by_task {
            // A map runs in its runtime's mode.
            return;
        }
        for grain in [1, 10, 1000] {
            let odd = |n: u32| if n == 77 { panic!("seventy-seven") } else { vec![n; 3] };
            let outcomes = place.runtime.map(0..500, odd).grain(grain).outcomes();
            for (n, outcome) in (0..).zip(outcomes) {
                match n {
                    77 => assert!(matches!(outcome, Err(TaskError::Panicked { .. }))),
                    _ => assert_eq!(outcome, Ok(vec![n; 3])),
                }
            }
        }
    }

    pub(super) fn several_are_started_together(place: &Place) {
        // On the program's default runtime: only what the task asks for itself counts.
        let tasks = [1_u32, 2, 3].map(|n| Task::with(n, |n| n * 10).mode(place.mode));
        assert_eq!(go_all(tasks), [Ok(10), Ok(20), Ok(30)]);
        let first = gorun_runtime::go_race([Task::with(4_u32, |n| n).mode(place.mode)]);
        assert_eq!(first, Ok(4));
        let moody = |n: u32| if n == 1 { panic!("not this one") } else { n };
        let tasks = [1, 2].map(|n| Task::with(n, moody).mode(place.mode));
        assert_eq!(gorun_runtime::go_any(tasks), Ok(2));
    }

    pub(super) fn a_retry_tries_again(place: &Place) {
        let gate = Gate::new();
        let path = |name: &str| {
            let unique = gate.name().replace(|c: char| !c.is_alphanumeric(), "-");
            let path =
                std::env::temp_dir().join(format!("gorun-conformance-{unique}-{name}-{}", place.by_task));
            let _ = fs::remove_file(&path);
            path.to_str().expect("a path of letters").to_owned()
        };
        for (name, pause) in
            [("at-once", Backoff::none()), ("later", Backoff::fixed(Duration::from_millis(1)))]
        {
            let retry = || Retry::attempts(3).backoff(pause);
            let joined = path(name);
            let task = place.task((joined.clone(), 3), succeed_at).retry(retry());
            assert_eq!(place.start(task).join(), Ok(3));
            let polled = path(&format!("{name}-awaited"));
            let task = place.task((polled.clone(), 3), succeed_at).retry(retry());
            assert_eq!(awaited(place.start(task)), Ok(3));
            fs::remove_file(joined).and_then(|()| fs::remove_file(polled)).expect("remove the files");
        }
    }

    pub(super) fn a_fallback_stands_in(place: &Place) {
        let failing = place.task(1, |_: u8| -> u8 { panic!("never") }).fallback(Fallback::value(9));
        assert_eq!(place.start(failing).join(), Ok(9));
    }

    pub(super) fn a_breaker_opens_for_every_mode_of_its_runtime(place: &Place) {
        place.runtime.breaker("service").force_open();
        let guarded = place.task(1, |n: u8| n).breaker("service");
        assert!(matches!(place.start(guarded).join(), Err(TaskError::CircuitOpen { .. })));
        place.runtime.breaker("service").reset();
        let guarded = place.task(1, |n: u8| n).breaker("service");
        assert_eq!(place.start(guarded).join(), Ok(1));
    }

    pub(super) fn tasks_start_tasks(place: &Place) {
        let outer = |n: u64| -> u64 {
            let inner: Vec<_> = (0..n).map(|n| Task::with(n, |n: u64| n * 2).go()).collect();
            inner.into_iter().map(|handle| handle.join().expect("it ends well")).sum()
        };
        assert_eq!(place.go(20, outer).join(), Ok(380));
    }

    pub(super) fn slices_come_back(place: &Place) {
        let build = |length: usize| {
            let mut loan = SharedSlice::<u32>::loan(length).expect("shared memory is free");
            loan.as_mut_slice().iter_mut().zip(0..).for_each(|(place, n)| *place = n);
            loan.publish().expect("the loan is ours")
        };
        let built = place.go(1000, build).join();
        if place.mode == Mode::Jailed {
            // A jailed worker maps no memory that would outlive it.
            assert!(matches!(built, Err(TaskError::ResultRefused { .. })), "{built:?}");
            return;
        }
        let slice = built.expect("it ends well");
        assert_eq!((slice.as_slice().len(), slice.as_slice()[999]), (1000, 999));
    }

    pub(super) fn limits_are_kept_or_refused(place: &Place) {
        let allowed = Duration::from_millis(30);
        let endless = |(): ()| loop {
            std::hint::spin_loop();
        };
        for task in [place.task((), endless).deadline(allowed), place.task((), endless).timeout(allowed)] {
            let outcome: Result<(), TaskError> = place.start(task).join();
            match place.mode {
                Mode::Process | Mode::Jailed => {
                    assert_eq!(outcome, Err(TaskError::TimedOut { after: allowed }))
                }
                _ => assert!(
                    matches!(&outcome, Err(TaskError::Rejected { reason: Rejection::CannotKill { .. } })),
                    "{outcome:?}"
                ),
            }
        }
    }

    pub(super) fn a_kill_ends_it_or_says_that_it_cannot(place: &Place) {
        if place.mode == Mode::Inline {
            let done = place.go(1, |n: u8| n);
            assert!(!done.kill() && done.join() == Ok(1));
            return;
        }
        if place.mode == Mode::Jailed {
            // It cannot reach a gate.
            let endless = place.go((), |()| {
                loop {
                    std::hint::spin_loop();
                }
            });
            assert!(endless.kill());
            let outcome: Result<(), TaskError> = endless.join();
            assert_eq!(outcome, Err(TaskError::Cancelled));
            return;
        }
        let gate = Gate::new();
        let standing_task = place.go(gate.name(), gate::wait);
        let standing = gate.await_task();
        let killed = standing_task.kill();
        assert_eq!(killed, place.mode != Mode::Thread);
        drop(standing);
        let outcome = standing_task.join();
        assert_eq!(outcome, if killed { Err(TaskError::Cancelled) } else { Ok(()) });
    }

    pub(super) fn a_handle_ends_though_its_runtime_is_gone(place: &Place) {
        let builder =
            Runtime::builder().workers(1).mode(if place.by_task { Mode::Thread } else { place.mode });
        let runtime = builder.build().expect("build a runtime");
        let handle = Task::with(1_u8, |n| n).mode(place.mode).go_on(&runtime);
        drop(runtime);
        let outcome = handle.join();
        assert!(matches!(outcome, Ok(1) | Err(TaskError::Closed)), "{outcome:?}");
    }
}
