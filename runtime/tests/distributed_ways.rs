//! Distributed channels by futures, and between threads instead of processes.

use gorun_runtime::channel::RecvError;
use gorun_runtime::{Channel, Distributed, DistributedReceiver, DistributedSender, Key, Runtime};
use gorun_test_programs::Watchdog;
use gorun_worker::codec::Portable;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Whose, which number of its owner.
type Numbered = (u64, u64);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn numbers(capacity: usize) -> Distributed<u64> {
    Channel::bounded(capacity).distributed(Key::of)
}

fn open<T: Portable>(
    runtime: &Runtime,
    channel: Distributed<T>,
) -> (DistributedSender<T>, DistributedReceiver<T>) {
    channel.open_on(runtime).expect("open a distributed channel")
}

#[test]
fn sending_and_receiving_are_futures() {
    let _watchdog = Watchdog::start("sending_and_receiving_are_futures");
    let runtime = runtime(1);
    for strict in [false, true] {
        let channel = numbers(2).partitions(4).members(4);
        let channel = if strict { channel.strict() } else { channel };
        let (sender, receiver) = open(&runtime, channel);
        let task = runtime.task(receiver.clone(), |mut receiver: DistributedReceiver<u64>| {
            let mut sum = 0;
            while let Ok(number) = block_on(receiver.recv_async()) {
                sum += number;
            }
            sum
        });
        let sent = std::thread::scope(|scope| {
            let here = scope.spawn(|| {
                let mut receiver = receiver.clone();
                std::iter::from_fn(|| block_on(receiver.recv_async()).ok()).sum::<u64>()
            });
            for number in 0..500 {
                block_on(sender.send_async(number)).unwrap();
            }
            drop(sender);
            here.join().unwrap()
        });
        assert_eq!(sent + task.join().unwrap(), 499 * 500 / 2);
    }
    let (sender, mut receiver) = open(&runtime, numbers(1).partitions(1));
    // A future that is dropped leaves nothing behind.
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(receiver.recv_async()).poll(&mut context).is_pending());
    sender.send(7).unwrap();
    assert!(pin!(sender.send_async(8)).poll(&mut context).is_pending());
    assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(7), Err(RecvError::Empty)));
}

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn threads_are_members_where_there_are_no_processes() {
    let _watchdog = Watchdog::start("threads_are_members_where_there_are_no_processes");
    let runtime = Runtime::builder().workers(2).processes(false).build().unwrap();
    let (sender, receiver) =
        open(&runtime, Channel::<Numbered>::bounded(64).distributed(|(owner, _)| Key::of(owner)).strict());
    let counts: Vec<_> = (0..2)
        .map(|_| {
            runtime
                .task(receiver.clone(), |mut receiver: DistributedReceiver<Numbered>| receiver.iter().count())
        })
        .collect();
    sender.send_batch((0..500).map(|n| (n % 50, n))).unwrap();
    drop(sender);
    assert_eq!(counts.into_iter().map(|count| count.join().unwrap()).sum::<usize>(), 500);
}
