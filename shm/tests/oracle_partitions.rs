//! The table of a distributed channel against plain maps, as two processes see it, with members that come, go and die.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::partitions::{LaneWords, Lanes, MemberId, MemberLine, Shape, Table, TableHeader};
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const PROCESSES: u16 = 3;
const PARTITIONS: usize = 4;
const PLACES: usize = 3;
const LANES: usize = PARTITIONS + PLACES;

#[derive(Debug, Clone)]
enum Op {
    Join(u16),
    /// The member of that number ever made, modulo how many there were: also one that is gone.
    Leave(prop::sample::Index),
    Claim(usize, prop::sample::Index),
    GiveUp(usize, prop::sample::Index),
    Pin(usize, prop::sample::Index),
    Announce(usize),
    Empty(usize),
    Die(u16),
}

fn op() -> impl Strategy<Value = Op> {
    let (who, lane) = (0..PROCESSES, 0..LANES);
    let member = any::<prop::sample::Index>;
    prop_oneof![
        4 => who.clone().prop_map(Op::Join),
        2 => member().prop_map(Op::Leave),
        6 => (lane.clone(), member()).prop_map(|(lane, member)| Op::Claim(lane, member)),
        3 => (lane.clone(), member()).prop_map(|(lane, member)| Op::GiveUp(lane, member)),
        2 => (lane.clone(), member()).prop_map(|(lane, member)| Op::Pin(lane, member)),
        2 => lane.clone().prop_map(Op::Announce),
        2 => lane.prop_map(Op::Empty),
        1 => who.prop_map(Op::Die),
    ]
}

struct Memory {
    header: View<TableHeader>,
    members: ViewSlice<MemberLine>,
    lanes: ViewSlice<LaneWords>,
}

impl Memory {
    fn of(segment: &Arc<Segment>) -> Self {
        let shape = Shape::new(PARTITIONS, PLACES).unwrap();
        Self {
            header: segment.view(0).unwrap(),
            members: segment.view_slice(Shape::HEADER_BYTES as u64, PLACES).unwrap(),
            lanes: segment.view_slice(shape.lanes_at() as u64, LANES).unwrap(),
        }
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.header, &self.members, &self.lanes)
    }
}

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

#[derive(Default)]
struct Model {
    /// Every member there ever was, and whose process's it is.
    all: Vec<(MemberId, u16)>,
    live: BTreeMap<usize, MemberId>,
    owners: [Option<MemberId>; LANES],
    pins: [Option<MemberId>; LANES],
    died: Vec<MemberId>,
    ready: Lanes,
}

impl Model {
    fn member(&self, index: prop::sample::Index) -> Option<MemberId> {
        (!self.all.is_empty()).then(|| index.get(&self.all).0)
    }

    fn is_live(&self, member: MemberId) -> bool {
        self.live.get(&member.slot()) == Some(&member)
    }

    fn end(&mut self, member: MemberId) {
        self.live.remove(&member.slot());
        self.owners.iter_mut().filter(|owner| **owner == Some(member)).for_each(|owner| *owner = None);
    }

    fn bury(&mut self, table: Table<'_>, who: u16) -> Result<(), TestCaseError> {
        let is_dead = |(member, of): &&(MemberId, u16)| *of == who && self.is_live(*member);
        let dead: Vec<MemberId> = self.all.iter().filter(is_dead).map(|(member, _)| *member).collect();
        let owned = self.owners.iter().flatten().filter(|owner| dead.contains(owner)).count();
        let recovered = table.recover(worker(who));
        prop_assert_eq!((recovered.members as usize, recovered.lanes as usize), (dead.len(), owned));
        dead.iter().for_each(|member| self.end(*member));
        self.died.extend(dead);
        self.ready = Lanes::below(LANES);
        Ok(())
    }

    fn apply(&mut self, table: Table<'_>, op: &Op) -> Result<(), TestCaseError> {
        let before = table.epoch();
        let mut is_change = false;
        match *op {
            Op::Join(who) => {
                let joined = table.join(worker(who));
                prop_assert_eq!(joined.is_some(), self.live.len() < PLACES);
                if let Some(member) = joined {
                    prop_assert!(self.all.iter().all(|(other, _)| *other != member), "a life of its own");
                    prop_assert!(self.live.insert(member.slot(), member).is_none());
                    self.all.push((member, who));
                    is_change = true;
                }
            }
            Op::Leave(index) => {
                if let Some(member) = self.member(index) {
                    is_change = self.is_live(member);
                    table.leave(member);
                    if is_change {
                        self.end(member);
                    }
                }
            }
            Op::Claim(lane, index) => {
                // Only those that live do.
                if let Some(member) = self.member(index).filter(|member| self.is_live(*member)) {
                    prop_assert_eq!(table.claim(lane, member), self.owners[lane].is_none());
                    self.owners[lane].get_or_insert(member);
                }
            }
            Op::GiveUp(lane, index) => {
                if let Some(member) = self.member(index) {
                    let is_own = self.owners[lane] == Some(member);
                    prop_assert_eq!(table.give_up(lane, member), is_own);
                    if is_own {
                        self.owners[lane] = None;
                    }
                }
            }
            Op::Pin(lane, index) => {
                if let Some(member) = self.member(index) {
                    table.pin_to(lane, member);
                    self.pins[lane] = Some(member);
                }
            }
            Op::Announce(lane) => {
                table.announce(lane, true);
                self.ready.insert(lane);
            }
            Op::Empty(lane) => {
                table.look_again(lane);
                self.ready.remove(lane);
            }
            Op::Die(who) => {
                self.bury(table, who)?;
                is_change = true;
            }
        }
        prop_assert_eq!(table.epoch() != before, is_change, "each change is counted, and nothing else");
        Ok(())
    }

    /// What the other process sees.
    fn check(&self, table: Table<'_>) -> Result<(), TestCaseError> {
        prop_assert!(table.live().eq(self.live.values().copied()));
        for lane in 0..LANES {
            prop_assert_eq!(table.owner(lane), self.owners[lane]);
            prop_assert_eq!(table.pin(lane), self.pins[lane].filter(|member| self.is_live(*member)));
        }
        prop_assert_eq!(table.ready(), self.ready);
        // Of the last life in each place it is known whether it died.
        for slot in 0..PLACES {
            if let Some((last, _)) = self.all.iter().rfind(|(member, _)| member.slot() == slot) {
                prop_assert_eq!(table.has_died(*last), self.died.contains(last));
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_table_is_what_its_words_say(ops in prop::collection::vec(op(), 1..120)) {
        let bytes = 8192;
        let near = Segment::create("gorun-oracle", bytes).unwrap();
        let file = near.file().unwrap().try_clone_to_owned().unwrap();
        let far = Segment::attach(file, bytes).unwrap();
        let (near, far) = (Memory::of(&near), Memory::of(&far));
        let mut model = Model::default();
        for (number, op) in ops.iter().enumerate() {
            // The steps alternate between both processes.
            let (here, there) = if number % 2 == 0 { (&near, &far) } else { (&far, &near) };
            model.apply(here.table(), op)?;
            model.check(there.table())?;
        }
    }
}
