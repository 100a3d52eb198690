//! Another process writes nonsense over the table of a live channel: the host answers, and does not panic.

use super::{DistributedReceiver, DistributedSender, Key};
use crate::channel::Channel;
use crate::runtime::Runtime;
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use proptest::prelude::*;
use std::sync::LazyLock;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::builder().workers(1).processes(false).build().expect("threads"));

type Ends = (DistributedSender<u64>, DistributedReceiver<u64>);

fn open(is_strict: bool) -> Ends {
    let channel = Channel::bounded(4).distributed(Key::of).partitions(5).members(3);
    let channel = if is_strict { channel.strict() } else { channel };
    channel.open_on(&RUNTIME).expect("there is memory")
}

fn use_it((sender, receiver): &mut Ends) {
    for value in 0..10 {
        let _ = (sender.try_send(value), receiver.try_recv());
    }
    let _ = receiver.try_take().map(|delivery| delivery.ack());
    let _ = (receiver.join(), sender.members(), sender.stats(), sender.balance());
    let _ = (0..7).map(|partition| sender.owner_of(partition)).collect::<Vec<_>>();
    let _ = sender.gather::<u64>(std::time::Duration::ZERO);
    while receiver.try_recv().is_ok() {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_scribbled_table_is_survived(
        is_strict in any::<bool>(),
        scribbles in prop::collection::vec((0..96_usize, prop_oneof![any::<u64>(), 0..16_u64, 0..4_u64]), 1..40),
    ) {
        let _watchdog = Watchdog::start("a_scribbled_table_is_survived");
        let mut ends = open(is_strict);
        use_it(&mut ends);
        let block = ends.0.block();
        let words = block.view_slice::<AtomicU64>(0, block.handle().bytes() as usize / 8).unwrap();
        for (index, value) in scribbles {
            if let Some(word) = words.get(index) {
                word.store(value, Ordering::Relaxed); // Relaxed: one thread.
            }
            use_it(&mut ends);
        }
        super::recover(&RUNTIME.dispatcher().commons, gorun_shm::OwnerId::HOST);
        super::shut_all(&RUNTIME.dispatcher().commons);
        use_it(&mut ends);
    }
}
