//! Channels between programs that are started separately: here the test itself, and copies of it in other roles.

#![expect(clippy::unwrap_used, reason = "a test that cannot do its work fails")]

use gorun_runtime::channel::{Connect, bound_names};
use gorun_runtime::{
    Channel, NamedError, Receiver, RecvError, Runtime, SendError, Sender, TaskError, select,
};
use gorun_test_programs::{Death, Watchdog, descriptors, eventually, program};
use serde::{Deserialize, Serialize};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longer than a loaded machine takes for anything; the watchdog is shorter.
const LONG: Duration = Duration::from_secs(600);
const NAME: &str = "GORUN_TEST_NAME";

/// A name that no other test uses.
fn name(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// This test in another role, as a program of its own.
fn other(test: &str, role: &str, name: &str) -> Child {
    let mut command = program::again(test, role);
    command.env(NAME, name).stdout(Stdio::null()).spawn().expect("start the test again")
}

fn given_name() -> String {
    std::env::var(NAME).expect("the name comes from the test that started this one")
}

/// Ends when the test that started this program does, or at its signal.
fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

fn kill(mut child: Child) {
    child.kill().expect("kill the other program");
    child.wait().expect("wait for the other program");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Report {
    id: u64,
    text: String,
}

#[test]
fn programs_without_a_runtime_talk_by_name() {
    const TEST: &str = "programs_without_a_runtime_talk_by_name";
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_some() {
        let (requests, replies) = (given_name(), format!("{}-replies", given_name()));
        let requests = Connect::<u64>::to(&requests).within(LONG).receiver().unwrap();
        let replies = Connect::<Report>::to(&replies).within(LONG).sender().unwrap();
        for id in &requests {
            // Every tenth does not fit a slot.
            let text = "x".repeat(if id.is_multiple_of(10) { 100_000 } else { 5 });
            replies.send(Report { id, text }).unwrap();
        }
        return;
    }
    let name = name(TEST);
    let requests = Channel::<u64>::bounded(8).bind(&name).unwrap();
    let replies = Channel::<Report>::bounded(4).bind(&format!("{name}-replies")).unwrap();
    let mut child = other(TEST, "answers", &name);
    assert!(requests.wait_for_peers(1, LONG) && replies.wait_for_peers(1, LONG));
    let peer = replies.peers()[0];
    assert_eq!((peer.pid, peer.sends, peer.receives), (child.id(), true, false));
    let sender = requests.sender();
    let sending = std::thread::spawn(move || sender.send_batch(0..100));
    for id in 0..100_u64 {
        let report = replies.receiver().recv().unwrap();
        assert_eq!((report.id, report.text.len()), (id, if id.is_multiple_of(10) { 100_000 } else { 5 }));
    }
    assert_eq!(sending.join().unwrap(), Ok(100));
    // Without a name and a sender here, the other program's loop ends.
    drop(requests);
    assert!(child.wait().unwrap().success());
    assert!(replies.wait_for_departure(LONG));
}

#[test]
fn both_ends_may_be_in_one_process() {
    let _watchdog = Watchdog::start("both_ends_may_be_in_one_process");
    let name = name("both_ends_may_be_in_one_process");
    let bound = Channel::<String>::bounded(2).bind(&name).unwrap();
    let (sender, receiver) = Channel::<String>::connect(&name).unwrap();
    bound.sender().send("from the binder".into()).unwrap();
    sender.send("from the other".into()).unwrap();
    assert!(matches!(sender.try_send("too much".into()), Err(SendError::Full(_))));
    assert_eq!(receiver.recv().unwrap(), "from the binder");
    assert_eq!(bound.receiver().recv().unwrap(), "from the other");
    // All that channels can do, these can.
    let seen = select! {
        recv(receiver) -> text => text.is_ok(),
        timeout(Duration::from_millis(1)) => false,
    };
    assert!(!seen);
    let delivery = {
        sender.send("kept".into()).unwrap();
        receiver.take().unwrap()
    };
    drop(delivery);
    assert_eq!(bound.receiver().take().unwrap().deliveries(), 2);
}

#[test]
fn a_name_is_bound_once_and_free_again_at_once() {
    let _watchdog = Watchdog::start("a_name_is_bound_once_and_free_again_at_once");
    let name = name("a_name_is_bound_once");
    for _ in 0..20 {
        let bound = Channel::<u8>::bounded(1).bind(&name).unwrap();
        let again = Channel::<u8>::bounded(1).bind(&name);
        assert!(matches!(again, Err(NamedError::InUse { .. })), "{again:?}");
        assert!(bound_names().unwrap().iter().any(|found| found.name == name));
        drop(bound);
        assert!(!bound_names().unwrap().iter().any(|found| found.name == name));
        let none = Channel::<u8>::connect(&name);
        assert!(matches!(none, Err(NamedError::NotFound { .. })), "{none:?}");
    }
    let bad = Channel::<u8>::bounded(1).bind("no name");
    assert!(matches!(bad, Err(NamedError::BadName { .. })), "{bad:?}");
    let empty = Channel::<u8>::bounded(0).bind(&name);
    assert!(matches!(empty, Err(NamedError::Channel(_))), "{empty:?}");
}

#[test]
fn who_connects_may_wait_for_the_name() {
    let _watchdog = Watchdog::start("who_connects_may_wait_for_the_name");
    let name = name("who_connects_may_wait");
    let late = Channel::<u64>::connect_within(&name, Duration::from_millis(20));
    assert!(matches!(late, Err(NamedError::NotFound { .. })), "{late:?}");
    let waiting = {
        let name = name.clone();
        std::thread::spawn(move || Channel::<u64>::connect_within(&name, LONG))
    };
    let bound = Channel::<u64>::bounded(1).bind(&name).unwrap();
    let (sender, _receiver) = waiting.join().unwrap().unwrap();
    sender.send(7).unwrap();
    assert_eq!(bound.receiver().recv(), Ok(7));
}

#[test]
fn another_type_or_version_is_refused() {
    let _watchdog = Watchdog::start("another_type_or_version_is_refused");
    let name = name("another_type_or_version");
    let _bound = Channel::<Report>::bounded(1).named(&name).version("2").bind().unwrap();
    let refusals = [
        Connect::<(u64, String)>::to(&name).version("2").sender().err(),
        Connect::<u64>::to(&name).version("2").sender().err(),
        Connect::<Report>::to(&name).version("1").sender().err(),
        Connect::<Report>::to(&name).receiver().err(),
        Connect::<Option<Report>>::to(&name).version("2").observer().err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(NamedError::Schema { .. })), "{refusal:?}");
    }
    assert!(Connect::<Report>::to(&name).version("2").sender().is_ok());
}

#[test]
fn roles_that_the_binder_keeps_are_refused() {
    let _watchdog = Watchdog::start("roles_that_the_binder_keeps_are_refused");
    let name = name("roles_that_the_binder_keeps");
    let bound = Channel::<u64>::bounded(1).named(&name).others_send().bind().unwrap();
    for refusal in [Connect::<u64>::to(&name).receiver().err(), Connect::<u64>::to(&name).both().err()] {
        assert!(matches!(refusal, Some(NamedError::RoleRefused { .. })), "{refusal:?}");
    }
    Connect::<u64>::to(&name).sender().unwrap().send(1).unwrap();
    assert_eq!(bound.receiver().recv(), Ok(1));
}

#[test]
fn another_user_is_refused_unless_the_binder_allows_it() {
    const TEST: &str = "another_user_is_refused_unless_the_binder_allows_it";
    const NOBODY: u32 = 65534;
    let _watchdog = Watchdog::start(TEST);
    if let Some(role) = program::role() {
        let connect = Connect::<u64>::to(&given_name()).of_user(0).sender();
        match role.as_str() {
            "stranger" => assert!(matches!(connect, Err(NamedError::NotAllowed { user: NOBODY, .. }))),
            _ => connect.unwrap().send(5).unwrap(),
        }
        return;
    }
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        println!("skipped: only root can start a program as another user");
        return;
    }
    let as_nobody = |role: &str, name: &str| {
        let mut command = program::again(TEST, role);
        command.env(NAME, name).env("TMPDIR", "/tmp").current_dir("/").uid(NOBODY).gid(NOBODY).output()
    };
    let name = name("another_user");
    let bound = Channel::<u64>::bounded(1).bind(&name).unwrap();
    match as_nobody("stranger", &name) {
        Err(error) => return println!("skipped: another user cannot run this test: {error}"),
        Ok(output) => assert!(output.status.success(), "{:?}", program::Said::of(&output)),
    }
    assert_eq!(bound.peers(), []);
    drop(bound);
    let bindings: [fn(_) -> _; 2] = [
        |binding| gorun_runtime::channel::Binding::allow_user(binding, NOBODY),
        |binding| gorun_runtime::channel::Binding::allow_group(binding, NOBODY),
    ];
    for allow in bindings {
        let bound = allow(Channel::<u64>::bounded(1).named(&name)).bind().unwrap();
        let output = as_nobody("guest", &name).unwrap();
        assert!(output.status.success(), "{:?}", program::Said::of(&output));
        assert_eq!(bound.receiver().recv(), Ok(5));
    }
}

#[test]
fn the_death_of_the_binder_ends_the_channel_for_the_others() {
    const TEST: &str = "the_death_of_the_binder_ends_the_channel_for_the_others";
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_some() {
        let name = given_name();
        let bound = Channel::<String>::bounded(100).bind(&name).unwrap();
        let ready = Channel::<()>::bounded(1).bind(&format!("{name}-ready")).unwrap();
        for number in 0..10 {
            // Half of them lie in blocks.
            bound.sender().send(format!("{number}").repeat(1 + number % 2 * 1000)).unwrap();
        }
        ready.sender().send(()).unwrap();
        stay();
    }
    for round in 0..10 {
        let name = format!("{}-{round}", name("the_death_of_the_binder"));
        let child = other(TEST, "binds", &name);
        let (sender, receiver) = Channel::<String>::connect_within(&name, LONG).unwrap();
        let (_, ready) = Channel::<()>::connect_within(&format!("{name}-ready"), LONG).unwrap();
        ready.recv().unwrap();
        let sleeper = std::thread::spawn(move || ready.recv());
        let blocked = (sender.clone(), receiver.clone());
        if round % 2 == 0 {
            while blocked.0.try_send("mine".into()).is_ok() {}
        }
        let filling = std::thread::spawn(move || {
            std::iter::repeat_with(|| blocked.0.send("more".into())).find_map(Result::err)
        });
        kill(child);
        assert_eq!(sleeper.join().unwrap(), Err(RecvError::Disconnected));
        let refused = filling.join().unwrap().unwrap();
        assert!(matches!(refused, SendError::Closed(_)), "{refused:?}");
        let received: Vec<String> = receiver.iter().collect();
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        let expected: Vec<String> =
            (0..10).map(|number| format!("{number}").repeat(1 + number % 2 * 1000)).collect();
        assert_eq!(received[..10], expected);
        let gone = Channel::<String>::connect(&name);
        assert!(matches!(gone, Err(NamedError::NotFound { .. })), "{gone:?}");
    }
}

#[test]
fn a_binder_killed_with_a_message_in_hand_leaves_it_to_the_others() {
    const TEST: &str = "a_binder_killed_with_a_message_in_hand_leaves_it_to_the_others";
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_some() {
        let bound = Channel::<Vec<u8>>::bounded(8).bind(&given_name()).unwrap();
        let taken = bound.receiver().take().unwrap();
        let claimed = bound.sender();
        // Killed between its claim and its message, while it has another in hand.
        gorun_shm::crash::arm("mpmc.claim.claimed", 1);
        claimed.send(vec![9]).unwrap();
        drop(taken);
        return;
    }
    for round in 0..5_u8 {
        let name = format!("{}-{round}", name("a_binder_killed"));
        let mut child = other(TEST, "binds", &name);
        let (sender, receiver) = Channel::<Vec<u8>>::connect_within(&name, LONG).unwrap();
        // The binder takes this one; in every other round it lies in a block.
        let first = vec![1; if round % 2 == 0 { 3 } else { 3000 }];
        sender.send(first.clone()).unwrap();
        child.wait().unwrap();
        let mut received: Vec<Vec<u8>> = receiver.iter().collect();
        assert_eq!(received.pop(), Some(first));
        assert_eq!(received.len(), 0);
    }
}

/// Every second one lies in a block.
fn value(number: u64) -> Vec<u64> {
    vec![number; if number.is_multiple_of(2) { 1 } else { 500 }]
}

/// A program that dies at a crash point: what the binder and the others find.
fn killed_at(test: &'static str, point: &str, role: &str, is_sender: bool) {
    for nth in [1, 2, 5, 9, 14] {
        let name = format!("{}-{nth}", name(test));
        let bound = Channel::<Vec<u64>>::bounded(16).bind(&name).unwrap();
        let (third, _) = Channel::<Vec<u64>>::connect(&name).unwrap();
        if !is_sender {
            (0..16).for_each(|number| third.send(value(number)).unwrap());
        }
        let mut command = program::again(test, role);
        command
            .env(NAME, &name)
            .env(gorun_shm::crash::VARIABLE, format!("{point}:{nth}"))
            .stdout(Stdio::null());
        let status = command.status().unwrap();
        use std::os::unix::process::ExitStatusExt;
        // Some points are passed less often than that: then the program has ended by itself.
        let was_killed = status.signal() == Some(9);
        assert!(was_killed || status.success(), "{status}");
        eventually(|| bound.peers().len() == 1);
        let received: Vec<u64> = bound.receiver().drain().map(|values| values[0]).collect();
        let expected = if is_sender { 0..received.len() as u64 } else { 16 - received.len() as u64..16 };
        assert!(received.iter().copied().eq(expected), "{point}:{nth} {received:?}");
        // One lap and a half, by the others.
        for number in 0..24 {
            third.send(value(number)).unwrap();
            assert_eq!(bound.receiver().recv(), Ok(value(number)), "{point}:{nth}");
        }
        assert!(bound.receiver().is_empty(), "{point}:{nth} {:?}", bound.stats());
    }
}

fn sends_until_killed() {
    let sender = Connect::<Vec<u64>>::to(&given_name()).sender().unwrap();
    for number in 0..12 {
        sender.send(value(number)).unwrap();
    }
}

fn receives_until_killed() {
    let receiver = Connect::<Vec<u64>>::to(&given_name()).receiver().unwrap();
    for number in 0..12 {
        assert_eq!(receiver.recv().unwrap()[0], number);
    }
}

macro_rules! killed {
    ($($test:ident $point:literal $is_sender:literal;)*) => {
        $(#[test]
        fn $test() {
            let _watchdog = Watchdog::start(stringify!($test));
            match program::role() {
                Some(_) if $is_sender => sends_until_killed(),
                Some(_) => receives_until_killed(),
                None => killed_at(stringify!($test), $point, "dies", $is_sender),
            }
        })*
    };
}

killed! {
    a_sender_killed_with_a_claim_holds_up_nobody "mpmc.claim.claimed" true;
    a_sender_killed_before_publication_has_sent_nothing "mpmc.publish.written" true;
    a_sender_killed_after_publication_has_sent "mpmc.publish.full" true;
    a_sender_killed_while_it_joins_is_no_member "mpmc.join.bit_set" true;
    a_sender_killed_while_it_leaves_has_left "mpmc.leave.cleared" true;
    a_receiver_killed_with_a_message_leaves_it_to_others "mpmc.take.taken" false;
    a_receiver_killed_after_release_had_the_message "mpmc.release.empty" false;
    a_receiver_killed_while_it_joins_is_no_member "mpmc.join.bit_set" false;
    a_receiver_killed_while_it_leaves_has_left "mpmc.leave.cleared" false;
}

#[test]
fn programs_killed_at_any_moment_wedge_nobody() {
    const TEST: &str = "programs_killed_at_any_moment_wedge_nobody";
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_some() {
        let (sender, receiver) = Channel::<Vec<u64>>::connect(&given_name()).unwrap();
        let echo = std::thread::spawn(move || receiver.iter().count());
        for number in 0.. {
            if sender.send(value(number)).is_err() {
                break;
            }
        }
        echo.join().unwrap();
        return;
    }
    let name = name("programs_killed_at_any_moment");
    let bound = Channel::<Vec<u64>>::bounded(8).bind(&name).unwrap();
    for round in 0..25 {
        let victims = [other(TEST, "busy", &name), other(TEST, "busy", &name)];
        assert!(bound.wait_for_peers(2, LONG));
        // So many messages later.
        for _ in 0..round * 7 {
            bound.receiver().recv().unwrap();
        }
        victims.into_iter().for_each(kill);
        assert!(bound.wait_for_departure(LONG));
        bound.receiver().drain().for_each(drop);
        for number in 0..24 {
            bound.sender().send(vec![number; 300]).unwrap();
            assert_eq!(bound.receiver().recv(), Ok(vec![number; 300]), "round {round}: {:?}", bound.stats());
        }
    }
}

#[test]
fn connections_leave_no_descriptors_and_no_named_memory() {
    const TEST: &str = "connections_leave_no_descriptors_and_no_named_memory";
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_none() {
        // Alone in a process: other tests have descriptors of their own.
        program::succeed(&mut program::again(TEST, "alone"));
        return;
    }
    let name = name("connections_leave_no_descriptors");
    // The thread and its descriptor stay.
    drop(Channel::<u64>::bounded(4).bind(&name).unwrap());
    let (before, files) = (descriptors::open(), descriptors::names_in("/dev/shm"));
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    let with_name = descriptors::open().len();
    for _ in 0..100 {
        let (sender, receiver) = Channel::<u64>::connect(&name).unwrap();
        let observer = Connect::<u64>::to(&name).observer().unwrap();
        sender.send(1).unwrap();
        assert_eq!(observer.peek(), Some(Ok(1)));
        assert_eq!(receiver.recv(), Ok(1));
    }
    assert!(bound.wait_for_departure(LONG));
    eventually(|| descriptors::open().len() == with_name);
    drop(bound);
    eventually(|| descriptors::open() == before);
    assert_eq!(descriptors::names_in("/dev/shm"), files);
}

#[test]
fn more_programs_than_there_can_be_are_refused() {
    let _watchdog = Watchdog::start("more_programs_than_there_can_be_are_refused");
    let name = name("more_programs_than_there_can_be");
    let bound = Channel::<u64>::bounded(4).named(&name).value_bytes_max(4096).bind().unwrap();
    let all: Vec<Sender<u64>> = (0..255).map(|_| Connect::to(&name).sender().unwrap()).collect();
    let refusal = Connect::<u64>::to(&name).sender();
    assert!(matches!(refusal, Err(NamedError::Crowded { most: 255, .. })), "{refusal:?}");
    assert!(Connect::<u64>::to(&name).observer().is_ok());
    all[254].send(3).unwrap();
    assert_eq!(bound.receiver().recv(), Ok(3));
    drop(all);
    assert!(bound.wait_for_departure(LONG));
    assert!(Connect::<u64>::to(&name).sender().is_ok());
}

#[test]
fn a_name_given_up_leaves_the_channel_to_those_who_have_it() {
    let _watchdog = Watchdog::start("a_name_given_up_leaves_the_channel_to_those_who_have_it");
    let name = name("a_name_given_up");
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    let one = Connect::<u64>::to(&name).sender().unwrap();
    let two = Connect::<u64>::to(&name).receiver().unwrap();
    let (sender, receiver) = bound.into_ends();
    assert!(matches!(Channel::<u64>::connect(&name), Err(NamedError::NotFound { .. })));
    one.send(1).unwrap();
    assert_eq!(two.recv(), Ok(1));
    drop((sender, receiver));
    one.send(2).unwrap();
    drop(one);
    assert_eq!((two.recv(), two.recv()), (Ok(2), Err(RecvError::Disconnected)));
}

#[test]
fn ends_and_blocks_do_not_travel_between_programs() {
    let _watchdog = Watchdog::start("ends_and_blocks_do_not_travel_between_programs");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (ordinary, _keep) = Channel::<u64>::bounded(1).open_on(&runtime).unwrap();
    let name = name("ends_and_blocks");
    let named = Channel::<Option<Sender<u64>>>::bounded(1).bind(&name).unwrap();
    let refused = named.sender().send(Some(ordinary)).unwrap_err();
    assert!(refused.to_string().contains("do not travel between programs"), "{refused}");
    named.sender().send(None).unwrap();
    let numbers = Channel::<u64>::bounded(1).bind(&format!("{name}-numbers")).unwrap();
    let refused = named.sender().send_timeout(Some(numbers.sender()), LONG).unwrap_err();
    assert!(refused.to_string().contains("do not travel between programs"), "{refused}");
    let task = runtime.task(numbers.sender(), |sender: Sender<u64>| sender.send(1).is_ok()).join();
    assert!(task.is_err(), "{task:?}");
    assert!(numbers.receiver().is_empty());
}

#[test]
fn a_task_connects_from_its_worker_and_may_be_killed_there() {
    let _watchdog = Watchdog::start("a_task_connects_from_its_worker_and_may_be_killed_there");
    let name = name("a_task_connects");
    let bound = Channel::<Vec<u64>>::bounded(4).bind(&name).unwrap();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    for round in 0..5 {
        let task = runtime.task((name.clone(), round), |(name, round): (String, u64)| -> bool {
            let (sender, receiver) = Channel::<Vec<u64>>::connect(&name).unwrap();
            sender.send(value(round)).unwrap();
            let _kept = receiver.take().unwrap();
            Death::Kill.die()
        });
        assert!(matches!(task.join(), Err(TaskError::WorkerLost { .. })));
        assert!(bound.wait_for_departure(LONG));
        assert_eq!(bound.receiver().recv(), Ok(value(round)));
        let alive = runtime.task(name.clone(), |name: String| {
            Connect::<Vec<u64>>::to(&name).sender().unwrap().send(vec![7]).is_ok()
        });
        assert_eq!((alive.join(), bound.receiver().recv()), (Ok(true), Ok(vec![7])));
    }
}

#[test]
fn an_observer_sees_everything_and_takes_nothing() {
    let _watchdog = Watchdog::start("an_observer_sees_everything_and_takes_nothing");
    let name = name("an_observer_sees_everything");
    let bound = Channel::<Report>::bounded(4).bind(&name).unwrap();
    let observer = Connect::<Report>::to(&name).observer().unwrap();
    assert_eq!((observer.peek(), observer.len(), observer.capacity()), (None, 0, 4));
    assert!(bound.peers()[0].observes);
    // The later ones lie in blocks.
    let report = |id: u16| Report { id: id.into(), text: "text ".repeat(usize::from(id) * 100) };
    for lap in 0..3 {
        (lap..lap + 3).for_each(|id| bound.sender().send(report(id)).unwrap());
        assert_eq!(observer.peek(), Some(Ok(report(lap))));
        let all: Vec<Report> = observer.iter().map(Result::unwrap).collect();
        assert_eq!(all, [report(lap), report(lap + 1), report(lap + 2)]);
        let kept = bound.receiver().take().unwrap();
        assert_eq!(observer.peek(), Some(Ok(report(lap + 1))), "what somebody has taken is passed over");
        drop(kept);
        assert_eq!(bound.receiver().drain().count(), 3);
        assert_eq!(observer.iter().count(), 0);
    }
    assert_eq!(observer.stats().sent, 9);
    drop(bound);
    eventually(|| observer.is_closed());
}

#[test]
fn what_an_observer_sees_is_whole_while_others_send_and_receive() {
    const TEST: &str = "what_an_observer_sees_is_whole_while_others_send_and_receive";
    let _watchdog = Watchdog::start(TEST);
    let name = name("what_an_observer_sees_is_whole");
    let bound = Channel::<[u64; 6]>::bounded(4).bind(&name).unwrap();
    let observer = Connect::<[u64; 6]>::to(&name).observer().unwrap();
    let (sender, receiver): (Sender<[u64; 6]>, Receiver<[u64; 6]>) = (bound.sender(), bound.receiver());
    let sending = std::thread::spawn(move || (0..200_000).try_for_each(|n| sender.send([n; 6])).is_ok());
    let receiving = std::thread::spawn(move || receiver.iter().take(200_000).count());
    let mut last = 0;
    while !receiving.is_finished() {
        if let Some(seen) = observer.peek() {
            let seen = seen.unwrap();
            assert!(seen.iter().all(|part| *part == seen[0]) && seen[0] >= last, "{seen:?} after {last}");
            last = seen[0];
        }
    }
    assert!(sending.join().unwrap());
    assert_eq!(receiving.join().unwrap(), 200_000);
}
