//! Another process writes nonsense over the table of a distributed channel: answers, never a panic, never an access outside,
//! never an operation that does not end.
#![cfg(not(loom))]

use gorun_shm::blocks::Holder;
use gorun_shm::partitions::{LaneWords, MemberLine, Shape, Standard, Table, TableHeader};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use gorun_shm::{OwnerId, Segment};
use proptest::prelude::*;

/// Words that look like something more often than uniformly chosen ones do.
fn nonsense() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        2 => 0..16_u64,
        4 => (0..4_u64, any::<u8>(), 0..8_u64)
            .prop_map(|(generation, middle, low)| generation << 32 | u64::from(middle) << 8 | low),
    ]
}

proptest! {
    #[test]
    fn a_scribbled_table_answers(
        batches in prop::collection::vec(prop::collection::vec((0..128_usize, nonsense()), 0..16), 1..8)
    ) {
        let _watchdog = Watchdog::start("a_scribbled_table_answers");
        let segment = Segment::private(8192).unwrap();
        let shape = Shape::new(5, 3).unwrap();
        let words = segment.view_slice::<AtomicU64>(0, shape.bytes() / 8).unwrap();
        let header = segment.view::<TableHeader>(0).unwrap();
        let members = segment.view_slice::<MemberLine>(Shape::HEADER_BYTES as u64, shape.places()).unwrap();
        let lanes = segment.view_slice::<LaneWords>(shape.lanes_at() as u64, shape.lanes()).unwrap();
        let table = Table::new(&header, &members, &lanes);
        let me = OwnerId::worker(0).and_then(Holder::of).unwrap();
        for batch in &batches {
            for (index, value) in batch {
                if let Some(word) = words.get(*index) {
                    word.store(*value, Ordering::Relaxed); // Relaxed: one thread.
                }
            }
            let member = table.join(me);
            for lane in 0..table.lane_count() + 2 {
                if let Some(member) = member {
                    let _ = (table.claim(lane, member), table.give_up(lane, member));
                    table.pin_to(lane, member);
                }
                let _ = (table.owner(lane), table.pin(lane), table.claims(lane));
            }
            for lane in 0..table.lane_count() {
                table.announce(lane, true);
                table.look_again(lane);
                table.end_lane(lane);
            }
            for member in table.live().collect::<Vec<_>>() {
                prop_assert!(member.slot() < shape.places());
                drop(table.about_to_sleep(member));
            }
            table.pass_on(&table.ready(), usize::MAX);
            table.proclaim();
            let _ = (table.is_over(), table.is_closed(), table.close(), table.epoch());
            if let Some(member) = member {
                let _ = (table.is_live(member), table.has_died(member));
                table.leave(member);
            }
            table.recover(me);
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused(words in prop::collection::vec(nonsense(), 8), bytes in 0..8192_usize) {
        let segment = Segment::private(8192).unwrap();
        let header = segment.view::<TableHeader>(0).unwrap();
        header.format(Shape::new(1, 1).unwrap(), Standard::default());
        let raw = segment.view_slice::<AtomicU64>(0, 8).unwrap();
        for (place, word) in raw.iter().zip(words).skip(1) {
            place.store(word, Ordering::Relaxed); // Relaxed: one thread.
        }
        if let Ok((shape, _)) = header.read(bytes) {
            prop_assert!(shape.bytes() <= bytes);
        }
    }
}
