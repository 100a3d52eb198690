//! Distributed channels: keys go the same way in order, whoever comes, goes or is killed, and little moves.
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_runtime::channel::distributed::{MemberId, MemberStats};
use gorun_runtime::channel::{ChannelError, RecvError, SendError};
use gorun_runtime::{
    Channel, Distributed, DistributedReceiver, DistributedSender, GatherError, Key, Receiver, RouteError,
    Runtime, Sender, TaskError, TaskHandle,
};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use gorun_worker::codec::Portable;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Whose, which number of its owner.
type Numbered = (u64, u64);
type Ends<T> = (DistributedSender<T>, DistributedReceiver<T>);

const LONG: Duration = Duration::from_secs(100);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn numbered(capacity: usize) -> Distributed<Numbered> {
    Channel::bounded(capacity).distributed(|(owner, _)| Key::of(owner))
}

fn numbers(capacity: usize) -> Distributed<u64> {
    Channel::bounded(capacity).distributed(Key::of)
}

fn open<T: Portable>(runtime: &Runtime, channel: Distributed<T>) -> Ends<T> {
    channel.open_on(runtime).expect("open a distributed channel")
}

/// So many receivers of this process, which are members and have what is theirs.
fn members(receiver: &DistributedReceiver<u64>, count: usize) -> Vec<DistributedReceiver<u64>> {
    let mut members: Vec<_> = (0..count).map(|_| receiver.clone()).collect();
    assert!(members.iter_mut().all(|member| member.join().is_ok()));
    settle(&mut members);
    members
}

/// Each looks, gives up and claims, until nothing changes.
fn settle(members: &mut [DistributedReceiver<u64>]) {
    for _ in 0..2 {
        members.iter_mut().for_each(|member| assert_eq!(member.try_recv(), Err(RecvError::Empty)));
    }
}

fn owners(sender: &DistributedSender<u64>) -> Vec<Option<MemberId>> {
    (0..sender.partitions()).map(|partition| sender.owner_of(partition)).collect()
}

#[test]
fn a_value_goes_to_the_partition_of_its_key_and_comes_out_once() {
    let _watchdog = Watchdog::start("a_value_goes_to_the_partition_of_its_key_and_comes_out_once");
    let runtime = runtime(1);
    let (sender, mut receiver) = open(&runtime, numbers(8).partitions(16));
    assert_eq!(sender.send_batch(0..50).unwrap(), 50);
    sender.send_to_key("a name", 1000).unwrap();
    let stats = sender.stats();
    for (partition, stats) in stats.partitions.iter().enumerate() {
        let expected = (0..50).filter(|n| sender.partition_of(Key::of(n)) == partition).count();
        let expected = expected + usize::from(sender.partition_of(Key::of("a name")) == partition);
        assert_eq!((stats.waiting, stats.sent), (expected, expected as u64));
    }
    let mut all: Vec<u64> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..50).chain([1000])));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(2)), Err(RecvError::TimedOut));
    drop(sender);
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn what_does_not_fit_is_given_back() {
    let _watchdog = Watchdog::start("what_does_not_fit_is_given_back");
    let runtime = runtime(1);
    let (sender, mut receiver) = open(&runtime, numbers(2).partitions(4));
    let same = || sender.send_to_key("same", 1);
    assert_eq!((same(), same()), (Ok(()), Ok(())));
    let key =
        (0..).find(|n| sender.partition_of(Key::of(n)) == sender.partition_of(Key::of("same"))).unwrap();
    assert_eq!(sender.try_send(key), Err(SendError::Full(key)));
    assert_eq!(sender.send_timeout(key, Duration::from_millis(2)), Err(SendError::TimedOut(key)));
    sender
        .try_send(
            (0..).find(|n| sender.partition_of(Key::of(n)) != sender.partition_of(Key::of(&key))).unwrap(),
        )
        .unwrap();
    assert!(receiver.recv().is_ok());
    sender.close();
    assert_eq!(sender.send(key), Err(SendError::Closed(key)));
    assert_eq!(receiver.iter().count(), 2);
    drop(receiver);
}

#[test]
fn bad_shapes_and_a_full_table_are_errors() {
    let _watchdog = Watchdog::start("bad_shapes_and_a_full_table_are_errors");
    let runtime = runtime(1);
    let shape = |partitions, members| {
        numbers(1).partitions(partitions).members(members).open_on(&runtime).err().unwrap()
    };
    for (partitions, members) in [(0, 1), (1, 0), (257, 1), (1, 129)] {
        assert_eq!(shape(partitions, members), ChannelError::BadShape { partitions, members });
    }
    let no_room = Channel::<u64>::rendezvous().distributed(Key::of).open_on(&runtime).err();
    assert!(matches!(no_room, Some(ChannelError::BadCapacity { asked: 0, .. })), "{no_room:?}");
    let (_sender, mut receiver) = open(&runtime, numbers(1).partitions(2).members(1));
    let mut other = receiver.clone();
    let first = receiver.join().unwrap();
    assert_eq!(receiver.join(), Ok(first));
    assert_eq!(other.join(), Err(ChannelError::TooManyMembers { most: 1 }));
    assert_eq!(other.recv(), Err(RecvError::NoChannel(ChannelError::TooManyMembers { most: 1 })));
    receiver.leave();
    assert_ne!(other.join(), Ok(first), "another life is another member");
}

#[test]
fn a_member_that_comes_or_goes_moves_its_share_and_nothing_among_others() {
    let _watchdog = Watchdog::start("a_member_that_comes_or_goes_moves_its_share_and_nothing_among_others");
    let runtime = runtime(1);
    let partitions = 256_usize;
    let (sender, receiver) = open(&runtime, numbers(1).partitions(partitions).members(16));
    for strict in [false, true] {
        let (sender, receiver) = if strict {
            open(&runtime, numbers(1).partitions(partitions).members(16).strict())
        } else {
            (sender.clone(), receiver.clone())
        };
        let mut all = members(&receiver, 1);
        for count in 2..=12_usize {
            let before = owners(&sender);
            all.extend(members(&receiver, 1));
            settle(&mut all);
            let (after, joined) = (owners(&sender), all.last().and_then(DistributedReceiver::member));
            let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
            assert!(moved.iter().all(|(_, after)| **after == joined), "partitions moved between old members");
            assert_share(moved.len(), partitions, count);
        }
        for count in (2..=12_usize).rev() {
            let before = owners(&sender);
            let left = all.swap_remove(count / 2).member();
            settle(&mut all);
            let after = owners(&sender);
            let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
            assert!(moved.iter().all(|(before, _)| **before == left), "a survivor lost a partition");
            assert!(after.iter().all(|owner| owner.is_some() && *owner != left));
            assert_share(moved.len(), partitions, count);
        }
    }
}

/// One in `members`, as far as chance goes: five standard deviations.
fn assert_share(moved: usize, partitions: usize, members: usize) {
    let chance = 1.0 / members as f64;
    let expected = partitions as f64 * chance;
    let window = 5.0 * (expected * (1.0 - chance)).sqrt();
    assert!(
        (moved as f64 - expected).abs() <= window,
        "{moved} of {partitions} moved, with {members} members"
    );
}

#[test]
fn a_member_takes_its_own_first_and_helps_others_then() {
    let _watchdog = Watchdog::start("a_member_takes_its_own_first_and_helps_others_then");
    let runtime = runtime(1);
    let (sender, receiver) = open(&runtime, numbers(64).partitions(16));
    let mut both = members(&receiver, 2);
    sender.send_batch(0..100).unwrap();
    let own = |member: &DistributedReceiver<u64>, n: u64| {
        sender.owner_of(sender.partition_of(Key::of(&n))) == member.member()
    };
    let count = (0..100).filter(|n| own(&both[0], *n)).count();
    let first: Vec<u64> = (0..count).map(|_| both[0].recv().unwrap()).collect();
    let helped = first.iter().filter(|n| !own(&both[0], **n)).count();
    assert_eq!(helped, count / 16, "one in sixteen looks at others first, so that they do not starve");
    let rest: BTreeSet<u64> = std::iter::from_fn(|| both[0].try_recv().ok()).collect();
    assert_eq!(rest.len(), 100 - count, "the other does nothing");
    assert_eq!(both[1].try_recv(), Err(RecvError::Empty));
    let helped: u64 = sender.stats().members.iter().map(|member: &MemberStats| member.helped).sum();
    assert_eq!(helped, 100 - count as u64);
}

#[test]
fn in_a_strict_channel_only_the_owner_receives() {
    let _watchdog = Watchdog::start("in_a_strict_channel_only_the_owner_receives");
    let runtime = runtime(1);
    let (sender, receiver) = open(&runtime, numbers(64).partitions(16).strict());
    let mut both = members(&receiver, 2);
    sender.send_batch(0..100).unwrap();
    for member in &mut both {
        let id = member.member();
        let own: Vec<u64> = std::iter::from_fn(|| member.try_recv().ok()).collect();
        assert!(own.iter().all(|n| sender.owner_of(sender.partition_of(Key::of(n))) == id));
        assert!(!own.is_empty());
    }
    assert!(sender.stats().members.iter().all(|member| member.helped == 0));
}

#[test]
fn a_strict_partition_changes_hands_only_when_nothing_of_it_is_in_hand() {
    let _watchdog = Watchdog::start("a_strict_partition_changes_hands_only_when_nothing_of_it_is_in_hand");
    let runtime = runtime(1);
    let (sender, receiver) = open(&runtime, numbers(8).partitions(1).strict());
    let mut old = members(&receiver, 1).remove(0);
    // Members that the partition is to go to.
    let mut new = loop {
        let mut other = receiver.clone();
        other.join().unwrap();
        let moved = sender.balance();
        assert!(moved.is_empty(), "one partition is balanced already");
        settle(std::slice::from_mut(&mut other));
        let is_heir = {
            // The old owner has not asked since, so it has the partition still.
            assert_eq!(sender.owner_of(0), old.member());
            old.try_recv() == Err(RecvError::Empty) && sender.owner_of(0).is_none()
        };
        if is_heir {
            break other;
        }
        std::mem::forget(other);
    };
    settle(std::slice::from_mut(&mut new));
    assert_eq!(sender.owner_of(0), new.member());
    sender.send_batch([1, 2, 3]).unwrap();
    let one = new.take().unwrap();
    assert_eq!(*one, 1);
    assert!(matches!(new.try_take(), Err(RecvError::Empty)), "the next one only when the first is settled");
    drop(one);
    let one = new.take().unwrap();
    assert_eq!((*one, one.deliveries()), (1, 2));
    new.leave();
    assert!(matches!(old.try_recv(), Err(RecvError::Empty)), "it is in hand still");
    assert_eq!(one.ack(), Ok(1));
    assert_eq!((old.recv(), old.recv()), (Ok(2), Ok(3)));
}

#[test]
fn balance_evens_out_moves_few_and_loses_nothing() {
    let _watchdog = Watchdog::start("balance_evens_out_moves_few_and_loses_nothing");
    let runtime = runtime(1);
    let (sender, receiver) = open(&runtime, numbers(100).partitions(32).strict());
    let mut all = members(&receiver, 4);
    let shares = |sender: &DistributedSender<u64>| -> Vec<usize> {
        sender.stats().members.iter().map(|member| member.partitions).collect()
    };
    let before = shares(&sender);
    assert!(before.iter().any(|share| *share != 8), "the hash alone is not even: {before:?}");
    let owned = owners(&sender);
    let moved = receiver.balance();
    let surplus: usize = before.iter().map(|share| share.saturating_sub(8)).sum();
    assert_eq!(moved.len(), surplus, "as few as can be");
    sender.send_batch(0..1000).unwrap();
    settle_and_count(&mut all, 1000);
    assert_eq!(shares(&sender), [8, 8, 8, 8]);
    let now = owners(&sender);
    for partition in 0..32 {
        match moved.iter().find(|moved| moved.partition == partition) {
            Some(moved) => assert_eq!((owned[partition], now[partition]), (Some(moved.from), Some(moved.to))),
            None => assert_eq!(owned[partition], now[partition], "only what was moved moves"),
        }
    }
    assert!(sender.balance().len() < 32);
    // A hot partition is alone with its member, as far as there are others for the rest.
    let hot = sender.partition_of(Key::of("hot"));
    for round in 0..9 {
        (0..100).for_each(|n| sender.send_to_key("hot", n).unwrap());
        settle_and_count(&mut all, 100);
        if round == 0 {
            sender.balance();
        }
    }
    sender.balance();
    all.iter_mut().for_each(|member| assert_eq!(member.try_recv(), Err(RecvError::Empty)));
    settle(&mut all);
    let owner = sender.owner_of(hot);
    assert_eq!(owners(&sender).iter().filter(|other| **other == owner).count(), 1);
}

/// All that is there is received by its owners, and each has what is its own.
fn settle_and_count(members: &mut [DistributedReceiver<u64>], expected: usize) {
    let mut count = 0;
    for _ in 0..3 {
        for member in members.iter_mut() {
            count += std::iter::from_fn(|| member.try_recv().ok()).count();
        }
    }
    assert_eq!(count, expected);
}

#[test]
fn messages_for_one_member_and_for_all_reach_these() {
    let _watchdog = Watchdog::start("messages_for_one_member_and_for_all_reach_these");
    let runtime = runtime(1);
    let (sender, receiver) = open(&runtime, numbers(64));
    assert_eq!(sender.broadcast(&1), Ok(0), "there is nobody");
    let mut all = members(&receiver, 3);
    let ids: Vec<MemberId> = all.iter().filter_map(DistributedReceiver::member).collect();
    assert_eq!(sender.members(), ids);
    for (number, id) in (0..).zip(&ids) {
        sender.route(*id, number).unwrap();
    }
    assert_eq!(sender.broadcast(&100), Ok(3));
    for (number, member) in (0..).zip(&mut all) {
        assert_eq!((member.recv(), member.recv()), (Ok(number), Ok(100)));
    }
    settle(&mut all);
    // Whoever gets what was for one that has gone; nobody what was for all.
    sender.route(ids[2], 7).unwrap();
    assert_eq!(sender.broadcast(&200), Ok(3));
    drop(all.remove(2));
    let rest: Vec<Vec<u64>> = all
        .iter_mut()
        .map(|member| std::iter::from_fn(|| member.recv_timeout(Duration::from_millis(20)).ok()).collect())
        .collect();
    assert_eq!(rest.concat().iter().filter(|n| **n == 7).count(), 1);
    assert_eq!(rest.concat().iter().filter(|n| **n == 200).count(), 2, "{rest:?}");
    assert_eq!(sender.route(ids[2], 8), Err(RouteError::Gone(8)));
}

#[test]
fn scattered_items_are_shared_out_evenly_and_in_order() {
    let _watchdog = Watchdog::start("scattered_items_are_shared_out_evenly_and_in_order");
    let runtime = runtime(1);
    let (sender, receiver) = open(&runtime, numbers(64).partitions(8));
    assert_eq!(sender.scatter(0..10), Ok(10), "they wait for whoever joins");
    let mut all = members_with(&receiver, 3, 10);
    assert_eq!(sender.scatter(0..30), Ok(30));
    for (number, member) in (0..).zip(&mut all) {
        let items: Vec<u64> = std::iter::from_fn(|| member.try_recv().ok()).collect();
        assert!(items.into_iter().eq((0..10).map(|n| n * 3 + number)));
    }
}

fn members_with(
    receiver: &DistributedReceiver<u64>,
    count: usize,
    waiting: usize,
) -> Vec<DistributedReceiver<u64>> {
    let mut members: Vec<_> = (0..count).map(|_| receiver.clone()).collect();
    assert!(members.iter_mut().all(|member| member.join().is_ok()));
    settle_and_count(&mut members, waiting);
    members
}

#[test]
fn gathering_tells_of_each_member_what_it_gave_or_why_not() {
    let _watchdog = Watchdog::start("gathering_tells_of_each_member_what_it_gave_or_why_not");
    let runtime = runtime(4);
    let (sender, receiver) = open(&runtime, numbers(64));
    assert!(sender.gather::<u64>(LONG).is_empty(), "there is nobody");
    let gate = Gate::new();
    type Input = (DistributedReceiver<u64>, u64, String);
    let role = |(mut receiver, role, name): Input| -> u64 {
        receiver.join().unwrap();
        gate::pass(&name);
        match receiver.recv().unwrap() {
            _ if role == 0 => receiver.contribute(String::from("zero")).unwrap(),
            _ if role == 1 => Death::Kill.die(),
            _ if role == 2 => return 2,
            _ => receiver.contribute(3_u64).unwrap(),
        }
        // Stays a member until the channel ends.
        receiver.iter().count() as u64
    };
    let tasks: Vec<TaskHandle<u64>> = (0..4)
        .map(|number| {
            let task = runtime.task((receiver.clone(), number, gate.name()), role);
            // One after the other, so that places are known.
            drop(gate.await_task());
            task
        })
        .collect();
    let ids = sender.members();
    assert_eq!(sender.broadcast(&1), Ok(4));
    let gathered = sender.gather::<String>(LONG);
    let expected = [
        Ok(String::from("zero")),
        Err(GatherError::Died),
        Err(GatherError::Left),
        Err(GatherError::Unreadable),
    ];
    let expected: Vec<_> = ids.iter().copied().zip(expected).collect();
    assert!(gathered.iter().all(|one| expected.contains(one)), "{gathered:?}");
    // The two that went may have been gone before.
    let stayed: Vec<_> =
        gathered.iter().map(|(id, _)| *id).filter(|id| *id != ids[1] && *id != ids[2]).collect();
    assert_eq!(stayed, [ids[0], ids[3]]);
    let late = sender.gather::<String>(Duration::from_millis(5));
    assert_eq!(late, [(ids[0], Err(GatherError::TimedOut)), (ids[3], Err(GatherError::TimedOut))]);
    drop((sender, receiver));
    let ends: Vec<_> = tasks.into_iter().map(TaskHandle::join).collect();
    assert!(matches!(ends[..], [Ok(0), Err(TaskError::WorkerLost { .. }), Ok(2), Ok(0)]), "{ends:?}");
}

#[test]
fn the_end_is_seen_wherever_the_last_sender_goes() {
    let _watchdog = Watchdog::start("the_end_is_seen_wherever_the_last_sender_goes");
    let runtime = runtime(3);
    for round in 0..10_u64 {
        let (sender, receiver) = open(&runtime, numbered(64).partitions(8).members(4));
        let sends = |(sender, round): (DistributedSender<Numbered>, u64)| {
            sender.send_batch((0..20).map(|n| (n, n))).unwrap();
            if round % 2 == 0 { Death::Kill.die() } else { 0_u64 }
        };
        let counts: Vec<_> = (0..2)
            .map(|_| {
                runtime.task(receiver.clone(), |mut receiver: DistributedReceiver<Numbered>| {
                    receiver.iter().count()
                })
            })
            .collect();
        let sends = runtime.task((sender, round), sends);
        let received: Vec<_> = counts.into_iter().map(TaskHandle::join).collect();
        let sent = sends.join();
        let total: usize = received.iter().flatten().sum();
        assert_eq!(total, 20, "round {round}: {received:?}, {sent:?}");
        assert_eq!(sent.is_ok(), round % 2 != 0);
    }
}

#[test]
fn the_end_of_the_runtime_ends_the_wait() {
    let _watchdog = Watchdog::start("the_end_of_the_runtime_ends_the_wait");
    let runtime = runtime(1);
    let (sender, mut receiver) = open(&runtime, numbers(4));
    std::thread::scope(|scope| {
        let waits = scope.spawn(move || receiver.recv());
        eventually(|| !sender.members().is_empty());
        drop(runtime);
        assert_eq!(waits.join().unwrap(), Err(RecvError::Closed));
    });
    assert_eq!(sender.send(1), Err(SendError::Closed(1)));
}

#[test]
fn a_task_opens_a_channel_that_others_use() {
    let _watchdog = Watchdog::start("a_task_opens_a_channel_that_others_use");
    let runtime = runtime(2);
    let opened = runtime.go(|| numbered(16).partitions(4).open().expect("open it here"));
    let (sender, mut receiver): Ends<Numbered> = opened.join().unwrap();
    // The host does not call what it has only read in shared memory.
    assert!(matches!(sender.send((1, 1)), Err(SendError::Unsendable { .. })));
    sender.send_to_key(&1_u64, (1, 2)).unwrap();
    let task =
        runtime.task(sender.clone(), |sender: DistributedSender<Numbered>| sender.send((1, 3)).is_ok());
    assert_eq!(task.join(), Ok(true));
    assert_eq!((receiver.recv(), receiver.recv()), (Ok((1, 2)), Ok((1, 3))));
}

/// Tells every message to the host, and waits for it to have come through before it asks for the next.
fn relay((mut receiver, out): (DistributedReceiver<Numbered>, Sender<Numbered>)) -> bool {
    while let Ok(delivery) = receiver.take() {
        if out.send(*delivery).is_err() {
            return false;
        }
        delivery.ack().expect("nobody has taken it away");
    }
    true
}

const OWNERS: u64 = 40;
const EACH: u64 = 100;

fn send_all(sender: DistributedSender<Numbered>) -> bool {
    (0..EACH).all(|n| (0..OWNERS).all(|owner| sender.send((owner, n)).is_ok()))
}

fn kill_members_under_load(strict: bool, check: impl Fn(&[Numbered])) {
    let runtime = runtime(4);
    let channel = numbered(16).partitions(16).members(8);
    let channel = if strict { channel.strict() } else { channel };
    let (sender, receiver) = open(&runtime, channel);
    let (out, relayed): (Sender<Numbered>, Receiver<Numbered>) =
        Channel::bounded(4).open_on(&runtime).unwrap();
    let start = || runtime.task((receiver.clone(), out.clone()), relay);
    let mut relays: Vec<TaskHandle<bool>> = (0..3).map(|_| start()).collect();
    let sends = runtime.task(sender, send_all);
    let mut seen: Vec<Numbered> = Vec::new();
    for round in 0..12_usize {
        // A part comes through, a different one each round, before one is killed and another begins.
        seen.extend((0..100 + round * 13).map(|_| relayed.recv().unwrap()));
        let victim = relays.swap_remove(round % 3);
        assert!(victim.kill());
        assert_eq!(victim.join(), Err(TaskError::Cancelled));
        relays.push(start());
    }
    let total = |seen: &[Numbered]| seen.iter().collect::<BTreeSet<_>>().len() as u64;
    while total(&seen) < OWNERS * EACH {
        seen.push(relayed.recv().unwrap());
    }
    assert_eq!(sends.join(), Ok(true));
    assert!(relays.into_iter().all(|relay| relay.join() == Ok(true)));
    drop((out, receiver));
    seen.extend(&relayed);
    check(&seen);
}

#[test]
fn killed_members_lose_nothing() {
    let _watchdog = Watchdog::start("killed_members_lose_nothing");
    kill_members_under_load(false, |seen| {
        // Taken and told but not acknowledged when it was killed: at most one message of each that was.
        let twice = seen.len() as u64 - OWNERS * EACH;
        assert!(twice <= 12, "{twice} came twice");
    });
}

#[test]
fn killed_members_lose_nothing_and_keep_the_order_of_each_key() {
    let _watchdog = Watchdog::start("killed_members_lose_nothing_and_keep_the_order_of_each_key");
    kill_members_under_load(true, |seen| {
        let twice = seen.len() as u64 - OWNERS * EACH;
        assert!(twice <= 12, "{twice} came twice");
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (owner, n) in seen {
            // The next one, or the last once more.
            let next = last.get(owner).map_or(0, |last| last + 1);
            assert!(*n == next || *n + 1 == next, "{owner}: {n} came when {next} was next");
            last.insert(*owner, *n);
        }
    });
}

#[test]
fn who_sleeps_is_woken_when_the_member_woken_instead_dies() {
    let _watchdog = Watchdog::start("who_sleeps_is_woken_when_the_member_woken_instead_dies");
    let runtime = runtime(3);
    for round in 0..10_u64 {
        let (sender, receiver) = open(&runtime, numbers(8).partitions(4).members(4));
        let gate = Gate::new();
        let input = (receiver.clone(), gate.name());
        let wait = |(mut receiver, name): (DistributedReceiver<u64>, String)| {
            gate::pass(&name);
            receiver.recv().ok()
        };
        let waiting: Vec<_> = (0..3).map(|_| runtime.task(input.clone(), wait)).collect();
        (0..3).for_each(|_| drop(gate.await_task()));
        sender.send(round).unwrap();
        let killed = waiting[0].kill();
        sender.send(round + 100).unwrap();
        sender.send(round + 200).unwrap();
        let got: Vec<_> = waiting.into_iter().map(TaskHandle::join).collect();
        let values = got.iter().filter(|one| matches!(one, Ok(Some(_)))).count();
        assert!(values == 3 || killed && values == 2, "{got:?}");
    }
}
