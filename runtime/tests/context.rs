//! Contexts between processes: cancelling, deadlines, values, and what the deaths of those who could cancel mean.
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_runtime::channel::{Channel, ChannelError};
use gorun_runtime::context::{CANCELLERS_MAX, ContextError, VALUES_BYTES_MAX};
use gorun_runtime::{
    BulkheadSettings, Canceller, Context, Done, Receiver, RecvError, Retry, Runtime, SendError, Sender, Task,
    TaskError, is_cancelled, select,
};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::{Death, Gate, Watchdog, gate};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn cancellable(runtime: &Runtime) -> (Context, Canceller) {
    Context::background().with_cancel_on(runtime).expect("there is memory for a context")
}

fn because(cause: &str) -> Done {
    Done::Cancelled { cause: Some(cause.to_owned()) }
}

/// Says that it is there, then waits for the end and tells of it.
fn await_end((context, here): (Context, Sender<()>)) -> Done {
    here.send(()).unwrap();
    context.done()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn cancelling_a_parent_ends_all_below_it_in_every_process() {
    let _watchdog = Watchdog::start("cancelling_a_parent_ends_all_below_it_in_every_process");
    let runtime = runtime(3);
    let (root, canceller) = cancellable(&runtime);
    let (left, _left_canceller) = root.with_cancel_on(&runtime).unwrap();
    let (leaf, leaf_canceller) = left.with_timeout(LONG).with_cancel_on(&runtime).unwrap();
    let (right, right_canceller) = root.with_cancel_on(&runtime).unwrap();
    assert!(right_canceller.cancel_because("only this one"));
    assert!(!right_canceller.cancel_because("too late"));
    assert_eq!(right.reason(), Some(because("only this one")));
    assert!(!root.is_done() && !left.is_done() && !leaf.is_done());
    let (here, arrived) = Channel::bounded(4).open_on(&runtime).unwrap();
    let waits: Vec<_> =
        [&root, &left, &leaf].map(|context| runtime.task((context.clone(), here.clone()), await_end)).into();
    assert_eq!(arrived.iter().take(3).count(), 3);
    assert!(canceller.cancel_because("the whole tree"));
    for wait in waits {
        assert_eq!(wait.join(), Ok(because("the whole tree")));
    }
    assert_eq!(right.reason(), Some(because("only this one")), "what was seen once stays");
    assert!(leaf_canceller.cancel(), "its own word was still open");
    assert!(leaf.check().is_err());
}

#[test]
fn a_task_cancels_for_the_host() {
    let _watchdog = Watchdog::start("a_task_cancels_for_the_host");
    let runtime = runtime(1);
    let (context, canceller) = cancellable(&runtime);
    let cancels = runtime.task(canceller, |canceller: Canceller| canceller.cancel_because("found it"));
    assert_eq!(context.done(), because("found it"));
    assert_eq!(cancels.join(), Ok(true));
    // It comes back as a result too, and through a channel.
    let (context, canceller) = cancellable(&runtime);
    let (sender, receiver) = Channel::bounded(1).open_on(&runtime).unwrap();
    let passes = |(canceller, to): (Canceller, Sender<Canceller>)| to.send(canceller).is_ok();
    assert_eq!(runtime.task((canceller, sender), passes).join(), Ok(true));
    let canceller = receiver.recv().unwrap();
    let canceller = runtime.task(canceller, |canceller: Canceller| canceller).join().unwrap();
    assert!(!context.is_done());
    assert!(canceller.cancel());
    assert_eq!(context.reason(), Some(Done::Cancelled { cause: None }));
}

#[test]
fn a_context_made_in_a_task_ends_for_the_host() {
    let _watchdog = Watchdog::start("a_context_made_in_a_task_ends_for_the_host");
    let runtime = runtime(1);
    let made = runtime.go(|| Context::background().with_cancel());
    let (context, canceller) = made.join().unwrap();
    assert!(!context.is_done());
    drop(canceller);
    assert_eq!(context.done(), Done::Abandoned);
}

#[test]
fn a_deadline_is_one_moment_in_all_processes() {
    let _watchdog = Watchdog::start("a_deadline_is_one_moment_in_all_processes");
    let runtime = runtime(1);
    let since_ns = system_ns();
    let context = Context::background().with_timeout(SHORT);
    let late = context.with_timeout(LONG);
    assert!(late.remaining().unwrap() <= SHORT, "a child is over with its parent");
    let waits = runtime.task(late.clone(), |context: Context| (context.done().to_string(), system_ns()));
    assert_eq!(context.done(), Done::DeadlineExceeded);
    assert!(system_ns() - since_ns >= 20_000_000);
    let (reason, ended_ns) = waits.join().unwrap();
    assert_eq!(reason, Done::DeadlineExceeded.to_string());
    assert!(ended_ns - since_ns >= 20_000_000);
    assert_eq!(late.remaining(), Some(Duration::ZERO));
    let (context, canceller) = cancellable(&runtime);
    assert_eq!((context.deadline(), context.done_within(SHORT)), (None, None));
    drop(canceller);
}

#[test]
fn values_go_with_it() {
    let _watchdog = Watchdog::start("values_go_with_it");
    let runtime = runtime(1);
    let context = Context::background().with_value("user", &String::from("ada")).unwrap();
    let inner =
        context.with_value("depth", &7_u32).unwrap().with_value("user", &String::from("grace")).unwrap();
    let look = |context: Context| (context.value::<String>("user"), context.value::<u32>("depth"));
    let seen = runtime.task(inner, look).join();
    assert_eq!(seen, Ok((Some(String::from("grace")), Some(7))));
    assert_eq!(look(context.clone()), (Some(String::from("ada")), None));
    let too_large = context.with_value("all", &vec![0_u8; VALUES_BYTES_MAX]).unwrap_err();
    assert!(matches!(too_large, ContextError::TooLarge { limit: VALUES_BYTES_MAX, .. }));
    let (sender, _receiver) = Channel::<u8>::bounded(1).open_on(&runtime).unwrap();
    assert!(matches!(context.with_value("end", &sender), Err(ContextError::Unencodable { .. })));
}

#[test]
fn whoever_waits_goes_on_when_the_last_canceller_dies() {
    let _watchdog = Watchdog::start("whoever_waits_goes_on_when_the_last_canceller_dies");
    let runtime = runtime(2);
    for death in Death::QUICK {
        let (context, canceller) = cancellable(&runtime);
        let (child, _kept) = context.with_cancel_on(&runtime).unwrap();
        let (here, arrived) = Channel::bounded(1).open_on(&runtime).unwrap();
        let waits = runtime.task((child, here), await_end);
        arrived.recv().unwrap();
        let dies = runtime.task((canceller, death), |(canceller, death): (Canceller, Death)| -> bool {
            let _held = canceller;
            death.die()
        });
        assert_eq!(waits.join(), Ok(Done::OwnerDied), "{death:?}");
        assert_eq!(context.done(), Done::OwnerDied, "{death:?}");
        assert!(matches!(dies.join(), Err(TaskError::WorkerLost { .. })));
    }
    // Somebody else has one still.
    let (context, canceller) = cancellable(&runtime);
    let dies = runtime.task(canceller.clone(), |canceller: Canceller| -> bool {
        let _held = canceller;
        Death::Kill.die()
    });
    assert!(dies.join().is_err());
    assert!(!context.is_done());
    canceller.cancel();
    assert!(context.is_done());
}

#[test]
fn a_canceller_that_nobody_receives_is_gone() {
    let _watchdog = Watchdog::start("a_canceller_that_nobody_receives_is_gone");
    let runtime = runtime(1);
    let (context, canceller) = cancellable(&runtime);
    let (sender, receiver) = Channel::bounded(1).open_on(&runtime).unwrap();
    sender.send(canceller).unwrap();
    assert!(!context.is_done());
    drop(receiver);
    assert_eq!(context.done(), Done::Abandoned);
    // On its way to a task that never starts.
    let (context, canceller) = cancellable(&runtime);
    let gate = Gate::new();
    let _busy = runtime.task(gate.name(), gate::wait);
    let _standing = gate.await_task();
    let queued = runtime.task(canceller, |canceller: Canceller| canceller.cancel());
    assert!(queued.cancel());
    assert_eq!(context.done(), Done::Abandoned);
    assert_eq!(queued.join(), Err(TaskError::Cancelled));
}

#[test]
fn the_end_of_the_runtime_ends_its_contexts() {
    let _watchdog = Watchdog::start("the_end_of_the_runtime_ends_its_contexts");
    let runtime = runtime(1);
    let (context, canceller) = cancellable(&runtime);
    let waits = std::thread::spawn({
        let context = context.clone();
        move || context.done()
    });
    drop(runtime);
    assert_eq!(waits.join().unwrap(), Done::RuntimeEnded);
    assert!(!canceller.cancel());
}

#[test]
fn it_is_an_arm_and_a_future() {
    let _watchdog = Watchdog::start("it_is_an_arm_and_a_future");
    let runtime = runtime(1);
    let (_sender, receiver) = Channel::<u8>::bounded(1).open_on(&runtime).unwrap();
    let (context, canceller) = cancellable(&runtime);
    let early = select! { done(context) -> _ => true, recv(receiver) -> _ => true, default => false };
    assert!(!early);
    let cancels = runtime.task(canceller, |canceller: Canceller| canceller.cancel_because("now"));
    let reason = select! {
        recv(receiver) -> _ => None,
        done(context) -> reason => Some(reason),
    };
    assert_eq!(reason, Some(because("now")));
    assert_eq!(cancels.join(), Ok(true));
    let (context, canceller) = cancellable(&runtime);
    let (here, arrived) = Channel::bounded(1).open_on(&runtime).unwrap();
    let cancels = runtime.task((canceller, arrived), |(canceller, go): (Canceller, Receiver<()>)| {
        go.recv().unwrap();
        canceller.cancel_because("later")
    });
    let mut first = pin!(context.done_async());
    let polled = first.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Pending);
    here.send(()).unwrap();
    assert_eq!(block_on(async { (&context).await }), because("later"));
    assert_eq!(block_on(first), because("later"));
    assert_eq!(cancels.join(), Ok(true));
    assert_eq!(block_on(Context::background().with_timeout(SHORT).done_async()), Done::DeadlineExceeded);
    let (context, _canceller) = context.with_timeout(SHORT).with_cancel_on(&runtime).unwrap();
    assert_eq!(block_on(context.into_future()), because("later"));
}

#[test]
fn channels_wait_as_long_as_it_is_wanted() {
    let _watchdog = Watchdog::start("channels_wait_as_long_as_it_is_wanted");
    let runtime = runtime(1);
    let (sender, receiver) = Channel::bounded(1).open_on(&runtime).unwrap();
    let (context, canceller) = cancellable(&runtime);
    assert_eq!(sender.send_in(&context, 1), Ok(()));
    let full = sender.send_in(&context.with_timeout(SHORT), 2);
    assert_eq!(full, Err(SendError::Done { value: 2, reason: Done::DeadlineExceeded }));
    assert_eq!(receiver.recv_in(&context), Ok(1));
    let waits =
        runtime.task((receiver.clone(), context.clone()), |(receiver, context): (Receiver<u8>, Context)| {
            matches!(receiver.recv_in(&context), Err(RecvError::Done(Done::Cancelled { .. })))
        });
    canceller.cancel();
    assert_eq!(waits.join(), Ok(true));
    sender.send(3).unwrap();
    assert!(matches!(receiver.recv_in(&context), Err(RecvError::Done(_))), "over is over");
    assert_eq!(receiver.recv(), Ok(3));
}

#[test]
fn tasks_in_line_end_and_running_ones_are_asked() {
    let _watchdog = Watchdog::start("tasks_in_line_end_and_running_ones_are_asked");
    let runtime = runtime(1);
    let (context, canceller) = cancellable(&runtime);
    let until_asked = |(here, go): (Sender<()>, Receiver<()>)| {
        here.send(()).unwrap();
        while !is_cancelled() {
            std::hint::spin_loop();
        }
        go.recv().map_or(0, |()| 7)
    };
    let (here, arrived) = Channel::bounded(1).open_on(&runtime).unwrap();
    let (release, released) = Channel::bounded(1).open_on(&runtime).unwrap();
    let running = Task::with((here, released), until_asked).context(&context).go_on(&runtime);
    arrived.recv().unwrap();
    let queued: Vec<_> = (0..500)
        .map(|n| Task::with(n, |n: u64| n).context(&context.with_timeout(LONG)).go_on(&runtime))
        .collect();
    let more: Vec<_> =
        (0..500).map(|n| Task::with(n, |n: u64| n).context(&context).go_on(&runtime)).collect();
    canceller.cancel();
    for task in queued.into_iter().chain(more) {
        assert_eq!(task.join(), Err(TaskError::Cancelled));
    }
    release.send(()).unwrap();
    assert_eq!(running.join(), Ok(7));
    let late = Task::with(1, |n: u64| n).context(&context).go_on(&runtime);
    assert_eq!(late.join(), Err(TaskError::Cancelled));
}

#[test]
fn a_dropped_handle_and_a_dropped_context_change_nothing_of_that() {
    let _watchdog = Watchdog::start("a_dropped_handle_and_a_dropped_context_change_nothing_of_that");
    let runtime = runtime(1);
    let (context, canceller) = cancellable(&runtime);
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let (sender, receiver) = Channel::bounded(1).open_on(&runtime).unwrap();
    drop(Task::with(sender, |sender: Sender<u8>| sender.send(1).is_ok()).context(&context).go_on(&runtime));
    drop(context);
    canceller.cancel();
    // Its input goes with it.
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    drop(standing);
    assert_eq!(busy.join(), Ok(()));
}

#[test]
fn its_deadline_is_one_of_the_task() {
    let _watchdog = Watchdog::start("its_deadline_is_one_of_the_task");
    let runtime = runtime(1);
    let endless = |_: u8| -> u8 {
        loop {
            std::hint::spin_loop();
        }
    };
    let context = Context::background().with_timeout(SHORT);
    let killed = Task::with(0, endless).deadline(LONG).context(&context).go_on(&runtime);
    assert!(matches!(killed.join(), Err(TaskError::TimedOut { after }) if after <= SHORT));
    let late = Task::with(0, endless).context(&context).go_on(&runtime);
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    // Inside of a task nobody could kill it: it is asked.
    let nested = runtime.go(|| {
        let context = Context::background().with_timeout(SHORT);
        let until_asked = || (0_u64..).take_while(|_| !is_cancelled()).last().is_some();
        Task::new(until_asked).context(&context).go().join()
    });
    let nested = nested.join().unwrap();
    assert!(matches!(nested, Ok(true) | Err(TaskError::TimedOut { .. })), "{nested:?}");
}

#[test]
fn there_is_no_further_attempt_when_it_is_over() {
    let _watchdog = Watchdog::start("there_is_no_further_attempt_when_it_is_over");
    let runtime = runtime(1);
    let (context, canceller) = cancellable(&runtime);
    let (sender, attempts) = Channel::bounded(100).open_on(&runtime).unwrap();
    let fails = |attempt: Sender<()>| -> u8 {
        attempt.send(()).unwrap();
        panic!("each time")
    };
    let retry = Retry::attempts(100).backoff(gorun_runtime::Backoff::fixed(LONG));
    let task = Task::with(sender, fails).retry(retry).context(&context).go_on(&runtime);
    let waits = std::thread::spawn(move || task.join());
    attempts.recv().unwrap();
    canceller.cancel();
    let outcome = waits.join().unwrap();
    let is_over = matches!(outcome, Err(TaskError::Cancelled | TaskError::Panicked { .. }));
    assert!(is_over, "{outcome:?}");
    assert!(attempts.try_recv().is_err());
}

#[test]
fn what_a_bulkhead_holds_back_ends_too() {
    let _watchdog = Watchdog::start("what_a_bulkhead_holds_back_ends_too");
    let runtime = runtime(2);
    runtime.bulkhead("one", BulkheadSettings::concurrency(1).queue(10));
    let gate = Gate::new();
    let held = Task::with(gate.name(), gate::wait).bulkhead("one").go_on(&runtime);
    let standing = gate.await_task();
    let (context, canceller) = cancellable(&runtime);
    let waits: Vec<_> =
        (0..5).map(|n| Task::with(n, |n: u64| n).bulkhead("one").context(&context).go_on(&runtime)).collect();
    canceller.cancel();
    waits.into_iter().for_each(|wait| assert_eq!(wait.join(), Err(TaskError::Cancelled)));
    drop(standing);
    assert_eq!(held.join(), Ok(()));
}

#[test]
fn many_tasks_of_one_context_leave_nothing_behind() {
    let _watchdog = Watchdog::start("many_tasks_of_one_context_leave_nothing_behind");
    let runtime = runtime(2);
    let (context, canceller) = cancellable(&runtime);
    for _ in 0..20 {
        let tasks: Vec<_> =
            (0..200).map(|n| Task::with(n, |n: u64| n).context(&context).go_on(&runtime)).collect();
        let sum: u64 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 199 * 100);
    }
    canceller.cancel();
}

#[test]
fn a_tree_has_a_depth() {
    let _watchdog = Watchdog::start("a_tree_has_a_depth");
    let runtime = runtime(1);
    let mut cancellers = Vec::new();
    let mut context = Context::background();
    for _ in 0..CANCELLERS_MAX {
        let (inner, canceller) = context.with_cancel_on(&runtime).unwrap();
        cancellers.push(canceller);
        context = inner;
    }
    assert!(matches!(context.with_cancel_on(&runtime), Err(ChannelError::NoMemory { .. })));
    let waits = runtime.task(context.clone(), |context: Context| context.done().to_string());
    cancellers[0].cancel_because("far above");
    assert_eq!(waits.join(), Ok(because("far above").to_string()));
    assert_eq!(block_on(context.done_async()), because("far above"));
}

#[test]
fn where_tasks_run_on_threads_it_is_the_same() {
    let _watchdog = Watchdog::start("where_tasks_run_on_threads_it_is_the_same");
    let runtime = Runtime::builder().workers(2).processes(false).build().unwrap();
    let (context, canceller) = cancellable(&runtime);
    let (here, arrived) = Channel::bounded(1).open_on(&runtime).unwrap();
    let waits = runtime.task((context.clone(), here), await_end);
    arrived.recv().unwrap();
    let cancels = runtime.task(canceller, |canceller: Canceller| canceller.cancel_because("a thread"));
    assert_eq!((waits.join(), cancels.join()), (Ok(because("a thread")), Ok(true)));
    // Nobody could kill it there: it is asked.
    let until_asked = || (0_u64..).take_while(|_| !is_cancelled()).last().is_some();
    let asked = Task::new(until_asked).context(&Context::background().with_timeout(SHORT)).go_on(&runtime);
    let outcome = asked.join();
    assert!(matches!(outcome, Ok(true) | Err(TaskError::TimedOut { .. })), "{outcome:?}");
}

#[test]
fn killed_cancellers_leave_nobody_waiting() {
    let _watchdog = Watchdog::start("killed_cancellers_leave_nobody_waiting");
    let runtime = runtime(2);
    let rounds = if std::env::var_os("GORUN_QUICK").is_some() { 20 } else { 100 };
    for round in 0..rounds {
        let (context, canceller) = cancellable(&runtime);
        let spin = round * 37 % 400;
        // Killed from outside at some point of making, sending, cancelling or dropping.
        let victim = runtime.task((canceller, context.clone(), spin), |(canceller, context, spin)| {
            let (canceller, context): (Canceller, Context) = (canceller, context);
            (0..spin).for_each(|_| std::hint::spin_loop());
            let (child, below) = context.with_cancel();
            canceller.cancel_because(&"long ".repeat(40));
            drop(below);
            child.is_done()
        });
        (0..spin * 100).for_each(|_| std::hint::spin_loop());
        victim.kill();
        let reason = context.done();
        let expected =
            [because(&"long ".repeat(40)), Done::Cancelled { cause: None }, Done::OwnerDied, Done::Abandoned];
        assert!(expected.contains(&reason), "{reason:?}");
        drop(victim.join());
    }
}
