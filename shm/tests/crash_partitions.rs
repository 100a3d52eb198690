//! A process is killed at each step of a member's life; afterwards its lanes are the others', and nobody sleeps on.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::partitions::{LaneWords, MemberLine, TableHeader};
use gorun_shm::partitions::{Lanes, MemberId, Recovered, Shape, Standard, Table};
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use std::sync::Arc;

const BYTES: usize = 8192;

struct Memory {
    header: View<TableHeader>,
    members: ViewSlice<MemberLine>,
    lanes: ViewSlice<LaneWords>,
}

fn shape() -> Shape {
    Shape::new(4, 3).unwrap()
}

impl Memory {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            header: segment.view(0).unwrap(),
            members: segment.view_slice(Shape::HEADER_BYTES as u64, shape().places()).unwrap(),
            lanes: segment.view_slice(shape().lanes_at() as u64, shape().lanes()).unwrap(),
        }
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.header, &self.members, &self.lanes)
    }
}

fn victim() -> Holder {
    OwnerId::worker(0).and_then(Holder::of).unwrap()
}

fn survivor() -> Holder {
    OwnerId::worker(1).and_then(Holder::of).unwrap()
}

/// The survivor is a member, owns lane 0, and says that it sleeps.
fn a_sleeping_member(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    memory.header.format(shape(), Standard::default());
    let member = memory.table().join(survivor()).unwrap();
    assert!(memory.table().claim(0, member));
    std::mem::forget(memory.table().about_to_sleep(member));
}

/// A member's life, with a message for the survivor.
fn live(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let table = memory.table();
    let member = table.join(victim()).unwrap();
    for lane in [1, 2] {
        assert!(table.claim(lane, member));
    }
    table.announce(0, false);
    assert!(table.give_up(2, member));
    table.wake_sleepers();
    table.leave(member);
}

fn first_member(table: Table<'_>) -> MemberId {
    table.live_at(0).unwrap()
}

fn run(test: &'static str, point: &'static str, left: Recovered) {
    let crash = CrashTest { test, point, nth: 1, bytes: BYTES };
    crash.run(a_sleeping_member, live, |segment| {
        let memory = Memory::new(segment);
        let table = memory.table();
        let member = first_member(table);
        let asleep = table.about_to_sleep(member);
        let (gate, armed) = asleep.gate().unwrap();
        let before = table.epoch();
        assert_eq!(table.recover(victim()), left);
        assert_ne!(table.epoch(), before, "members look again");
        // Ends at once: the gate was rung behind the arming.
        gate.wait(armed, None);
        drop(asleep);
        assert_eq!(table.recover(victim()), Recovered::default(), "recovering once more finds nothing");
        assert!(table.live().eq([member]));
        assert_eq!(table.owner(0), Some(member), "the survivor keeps what it has");
        assert!((1..table.lane_count()).all(|lane| table.claim(lane, member)), "and can have the rest");
        assert_eq!(table.ready(), Lanes::below(table.lane_count()));
        // Both other places can be had.
        let others: Vec<_> = std::iter::from_fn(|| table.join(survivor())).collect();
        assert_eq!(others.len(), 2);
    });
}

const fn left(members: u32, lanes: u32) -> Recovered {
    Recovered { members, lanes }
}

#[test]
fn killed_with_a_place_that_nobody_has_counted() {
    run("killed_with_a_place_that_nobody_has_counted", "partitions.join.placed", left(1, 0));
}

#[test]
fn killed_before_others_heard_of_it() {
    run("killed_before_others_heard_of_it", "partitions.join.counted", left(1, 0));
}

#[test]
fn killed_with_a_fresh_claim() {
    run("killed_with_a_fresh_claim", "partitions.claim.claimed", left(1, 1));
}

#[test]
fn killed_with_a_message_announced_to_nobody() {
    run("killed_with_a_message_announced_to_nobody", "partitions.announce.marked", left(1, 2));
}

#[test]
fn killed_about_to_wake_another() {
    // Its own place in the table was told by `join`, which woke the survivor too.
    let test = "killed_about_to_wake_another";
    run(test, "partitions.wake.chosen", left(1, 0));
}

#[test]
fn killed_with_a_lane_given_up_and_nobody_told() {
    run("killed_with_a_lane_given_up_and_nobody_told", "partitions.give_up.free", left(1, 1));
}

#[test]
fn killed_on_its_way_out() {
    run("killed_on_its_way_out", "partitions.leave.marked", left(1, 1));
}

#[test]
fn killed_with_its_lanes_freed() {
    run("killed_with_its_lanes_freed", "partitions.leave.freed", left(1, 0));
}

#[test]
fn killed_before_its_place_is_free() {
    run("killed_before_its_place_is_free", "partitions.leave.counted", left(1, 0));
}
