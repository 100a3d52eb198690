//! Timers and tickers: never early, never adrift, and changed while somebody waits.

use futures_util::StreamExt;
use gorun_runtime::channel::Channel;
use gorun_runtime::{Receiver, Runtime, Select, Ticker, Timer, select};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::Watchdog;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(600);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_timer_fires_once_and_not_early() {
    let _watchdog = Watchdog::start("a_timer_fires_once_and_not_early");
    let since_ns = system_ns();
    let timer = Timer::after(SHORT);
    let tick = timer.wait().unwrap();
    assert!(system_ns() - since_ns >= 5_000_000);
    assert_eq!(tick.missed, 0);
    assert_eq!((timer.wait(), timer.try_wait(), timer.due()), (None, None, None));
    let since_ns = system_ns();
    let tick = block_on(Timer::after(SHORT)).unwrap();
    assert!(system_ns() - since_ns >= 5_000_000);
    assert_eq!(block_on(Timer::at(tick.due)).map(|tick| tick.missed), Some(0), "a moment that has passed");
    assert_eq!(Timer::after(LONG).wait_timeout(SHORT), None);
}

#[test]
fn a_timer_is_stopped_and_set_anew_while_somebody_waits() {
    let _watchdog = Watchdog::start("a_timer_is_stopped_and_set_anew_while_somebody_waits");
    let timer = Timer::after(LONG);
    thread::scope(|scope| {
        let waits = scope.spawn(|| timer.wait());
        assert!(timer.reset(SHORT));
        assert!(waits.join().unwrap().is_some());
        assert!(!timer.reset(LONG), "it had fired");
        let waits = scope.spawn(|| timer.wait());
        assert!(timer.stop());
        assert_eq!(waits.join().unwrap(), None);
        assert!(!timer.stop());
    });
    let mut timer = Timer::after(LONG);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(std::pin::Pin::new(&mut timer).poll(&mut context), Poll::Pending);
    timer.reset(SHORT);
    assert!(block_on(&mut timer).is_some());
    assert_eq!(block_on(&mut timer), None);
}

#[test]
fn a_future_hears_that_its_timer_was_stopped() {
    let _watchdog = Watchdog::start("a_future_hears_that_its_timer_was_stopped");
    struct Count(std::sync::Mutex<u32>);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let count = Arc::new(Count(std::sync::Mutex::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut ticker = Ticker::every(LONG);
    assert_eq!(ticker.poll_next_unpin(&mut Context::from_waker(&waker)), Poll::Pending);
    ticker.stop();
    assert_eq!(*count.0.lock().unwrap(), 1);
    assert_eq!(ticker.poll_next_unpin(&mut Context::from_waker(&waker)), Poll::Ready(None));
    ticker.reset(SHORT);
    assert!(block_on(ticker.next()).is_some());
}

#[test]
fn a_ticker_keeps_its_step_and_counts_what_it_skips() {
    let _watchdog = Watchdog::start("a_ticker_keeps_its_step_and_counts_what_it_skips");
    let ticker = Ticker::every(SHORT);
    let first = ticker.wait().unwrap();
    let mut ticks = u64::from(first.missed != 0) * first.missed;
    let mut last = first;
    for tick in ticker.iter().take(10) {
        ticks += tick.missed + 1;
        assert_eq!((tick.due - first.due).as_nanos() % SHORT.as_nanos(), 0, "due times are in step");
        assert!(tick.due >= last.due + SHORT * u32::try_from(tick.missed + 1).unwrap());
        last = tick;
    }
    assert!(ticks >= 10);
    // Late for a few: one tick tells of all.
    assert_eq!(Timer::after(SHORT * 4).wait().map(|tick| tick.missed), Some(0));
    let late = ticker.wait().unwrap();
    assert!(late.missed >= 2, "{late:?}");
    assert!(ticker.stop());
    assert_eq!(ticker.iter().next(), None);
    assert_eq!(ticker.period(), SHORT);
}

#[test]
fn each_tick_goes_to_one_of_several_threads() {
    let _watchdog = Watchdog::start("each_tick_goes_to_one_of_several_threads");
    let ticker = Ticker::every(Duration::from_micros(200));
    let mut dues: Vec<_> = thread::scope(|scope| {
        let waits: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| ticker.iter().take(25).map(|tick| tick.due).collect::<Vec<_>>()))
            .collect();
        waits.into_iter().flat_map(|wait| wait.join().unwrap()).collect()
    });
    let taken = dues.len();
    dues.sort_unstable();
    let gaps = dues.windows(2).filter(|pair| pair[1] - pair[0] >= Duration::from_micros(100)).count();
    assert_eq!((taken, gaps), (100, 99));
}

#[test]
fn timers_travel_as_moments() {
    let _watchdog = Watchdog::start("timers_travel_as_moments");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let since_ns = system_ns();
    let (timer, ticker) = (Timer::after(SHORT), Ticker::every(SHORT));
    let fired = runtime.task((timer, ticker), |(timer, ticker): (Timer, Ticker)| {
        let fired = (timer.wait().is_some(), timer.wait().is_some());
        (fired, ticker.iter().take(3).count(), system_ns())
    });
    let (fired, ticks, ended_ns) = fired.join().unwrap();
    assert_eq!((fired, ticks), ((true, false), 3));
    assert!(ended_ns - since_ns >= 15_000_000);
}

#[test]
fn they_are_arms_of_a_select() {
    let _watchdog = Watchdog::start("they_are_arms_of_a_select");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (_sender, receiver): (_, Receiver<u8>) = Channel::bounded(1).open_on(&runtime).unwrap();
    let (ticker, timer) = (Ticker::every(SHORT), Timer::after(SHORT * 5));
    let mut ticks = 0;
    loop {
        select! {
            recv(receiver) -> _ => unreachable!("nobody sends"),
            tick(ticker) -> tick => ticks += tick.missed + 1,
            tick(timer) -> _ => break,
        }
    }
    // Both may have been due, and the select took the timer.
    ticks += ticker.try_wait().map_or(0, |tick| tick.missed + 1);
    assert!(ticks >= 4, "{ticks}");
    assert!(ticker.stop());
    let stopped = select! { tick(ticker) -> _ => true, timeout(SHORT) => false };
    assert!(!stopped);
    let timers: Vec<_> = (0..200).map(|n| Timer::after(if n == 150 { SHORT } else { LONG })).collect();
    let mut select = Select::new();
    for timer in timers.iter() {
        select.tick(timer);
    }
    assert_eq!(select.ready(), 150);
    assert!(timers[150].try_wait().is_some());
    thread::scope(|scope| {
        // One for which the kernel had no word left is told too.
        let waits = scope.spawn(|| select.ready());
        timers[199].reset(SHORT);
        assert_eq!(waits.join().unwrap(), 199);
    });
}

#[test]
fn thousands_wait_at_once_without_a_thread_each() {
    let _watchdog = Watchdog::start("thousands_wait_at_once_without_a_thread_each");
    let threads = || std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(0);
    let before = threads();
    let mut timers: Vec<_> = (0..5000).map(|n| Timer::after(SHORT + Duration::from_micros(n))).collect();
    let all = futures_util::future::join_all(timers.iter_mut());
    let fired = block_on(all);
    assert!(fired.iter().all(Option::is_some));
    assert!(threads() <= before + 1, "{} threads", threads());
}
