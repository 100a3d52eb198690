//! Random lives of blocks against a map that says who must have what.
#![cfg(not(loom))]

use gorun_shm::blocks::{AllocateError, BlockHandle, Blocks, Class, Limits, OwnedBlock, Shape, SharedBlock};
use gorun_shm::{OwnerId, Segment};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const LIMITS: Limits = Limits { small: 3, medium: 2, large: 0, huge: 0, largest_bytes: 64 << 10 };
const OWNERS: usize = 4;

/// What a process may do next. `pick` chooses among the blocks there are, modulo their number.
#[derive(Debug, Clone)]
enum Op {
    Allocate { bytes: usize, owner: usize },
    Free { pick: usize },
    Adopt { pick: usize, to: usize },
    Write { pick: usize },
    Share { pick: usize },
    Hold { pick: usize, owner: usize },
    LetGo { pick: usize, owner: usize },
    Die { owner: usize },
    GiveBack { owner: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (pick, owner) = (0..1000usize, 0..OWNERS);
    let op = prop_oneof![
        6 => (0..70_000usize, owner.clone()).prop_map(|(bytes, owner)| Op::Allocate { bytes, owner }),
        2 => pick.clone().prop_map(|pick| Op::Free { pick }),
        2 => (pick.clone(), owner.clone()).prop_map(|(pick, to)| Op::Adopt { pick, to }),
        2 => pick.clone().prop_map(|pick| Op::Write { pick }),
        3 => pick.clone().prop_map(|pick| Op::Share { pick }),
        4 => (pick.clone(), owner.clone()).prop_map(|(pick, owner)| Op::Hold { pick, owner }),
        4 => (pick, owner.clone()).prop_map(|(pick, owner)| Op::LetGo { pick, owner }),
        1 => owner.clone().prop_map(|owner| Op::Die { owner }),
        1 => owner.prop_map(|owner| Op::GiveBack { owner }),
    ];
    proptest::collection::vec(op, 1..120)
}

/// Who has a block, and what must stand in it.
#[derive(Debug)]
enum Has {
    Detached(usize),
    Shared(BTreeMap<usize, Vec<SharedBlock>>),
}

#[derive(Debug)]
struct Known {
    handle: BlockHandle,
    has: Has,
    mark: Option<u8>,
}

type Map = Box<dyn Fn() -> Arc<Blocks>>;

/// The processes, each with a `Blocks` of its own, and what the oracle knows.
struct World {
    map: Map,
    processes: Vec<Arc<Blocks>>,
    known: Vec<Known>,
    marks: u8,
}

fn owner_id(owner: usize) -> OwnerId {
    match owner {
        0 => OwnerId::HOST,
        // Far apart, so that their bits lie in different words of the holder set.
        _ => OwnerId::worker(u16::try_from(owner * 70).expect("small")).expect("a worker"),
    }
}

impl World {
    fn new(map: Map) -> Self {
        let processes = (0..OWNERS).map(|_| map()).collect();
        Self { map, processes, known: Vec::new(), marks: 0 }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Allocate { bytes, owner } => self.allocate(bytes, owner),
            Op::Die { owner } => self.die(owner),
            Op::GiveBack { owner } => {
                self.processes[owner].give_back(owner_id(owner)).expect("punched");
            }
            _ if self.known.is_empty() => {}
            Op::Free { pick } => self.free(pick % self.known.len()),
            Op::Adopt { pick, to } => self.adopt(pick % self.known.len(), to),
            Op::Write { pick } => self.write(pick % self.known.len()),
            Op::Share { pick } => self.share(pick % self.known.len()),
            Op::Hold { pick, owner } => self.hold(pick % self.known.len(), owner),
            Op::LetGo { pick, owner } => self.let_go(pick % self.known.len(), owner),
        }
    }

    fn used(&self, class: Class) -> usize {
        self.known.iter().filter(|known| known.handle.class() == Some(class)).count()
    }

    fn allocate(&mut self, bytes: usize, owner: usize) {
        let blocks = &self.processes[owner];
        let tried = std::iter::successors(Class::holding(bytes as u64), |class| class.next()).take(3);
        let expected =
            tried.into_iter().find(|class| self.used(*class) < blocks.shape().count(*class) as usize);
        match blocks.allocate(bytes, owner_id(owner)) {
            Ok(handle) => {
                assert_eq!(handle.class(), expected);
                let fresh = self.known.iter().all(|known| known.handle.offset() != handle.offset());
                assert!(fresh, "{handle:?} was in use");
                self.known.push(Known { handle, has: Has::Detached(owner), mark: None });
            }
            Err(AllocateError::TooLarge { .. }) => assert!(bytes > 64 << 10),
            Err(error) => assert_eq!(expected, None, "{error}"),
        }
    }

    fn free(&mut self, at: usize) {
        let Known { handle, has: Has::Detached(owner), .. } = self.known[at] else {
            assert!(self.processes[0].free(self.known[at].handle, OwnerId::HOST).is_err());
            return;
        };
        let other = (owner + 1) % OWNERS;
        assert!(self.processes[other].free(handle, owner_id(other)).is_err());
        self.processes[owner].free(handle, owner_id(owner)).expect("owned");
        assert!(self.processes[owner].free(handle, owner_id(owner)).is_err());
        self.known.swap_remove(at);
    }

    fn adopt(&mut self, at: usize, to: usize) {
        let known = &mut self.known[at];
        let Has::Detached(from) = known.has else { return };
        self.processes[to].adopt(known.handle, owner_id(from), owner_id(to)).expect("owned");
        known.has = Has::Detached(to);
    }

    fn write(&mut self, at: usize) {
        let known = &mut self.known[at];
        let Has::Detached(owner) = known.has else { return };
        self.marks = self.marks.wrapping_add(1);
        let taken = OwnedBlock::from_handle(&self.processes[owner], known.handle, owner_id(owner));
        let mut block = taken.expect("owned");
        block.as_mut_slice().fill(self.marks);
        assert_eq!(block.into_handle(), known.handle);
        known.mark = Some(self.marks);
    }

    fn share(&mut self, at: usize) {
        let known = &mut self.known[at];
        let Has::Detached(owner) = known.has else { return };
        let taken = OwnedBlock::from_handle(&self.processes[owner], known.handle, owner_id(owner));
        let shared = taken.expect("owned").share().expect("claimed");
        known.has = Has::Shared(BTreeMap::from([(owner, vec![shared])]));
    }

    fn hold(&mut self, at: usize, owner: usize) {
        let known = &mut self.known[at];
        let held = SharedBlock::hold(&self.processes[owner], known.handle, owner_id(owner));
        match &mut known.has {
            Has::Shared(holders) => holders.entry(owner).or_default().push(held.expect("shared")),
            Has::Detached(_) => drop(held.expect_err("not shared")),
        }
    }

    fn let_go(&mut self, at: usize, owner: usize) {
        let Has::Shared(holders) = &mut self.known[at].has else { return };
        let Some(held) = holders.get_mut(&owner) else { return };
        drop(held.pop());
        if held.is_empty() {
            holders.remove(&owner);
        }
        if holders.is_empty() {
            self.known.swap_remove(at);
        }
    }

    /// The process forgets everything, is recovered by the next one, and a new one takes its number.
    fn die(&mut self, owner: usize) {
        let mut expected = 0;
        let before = std::mem::take(&mut self.known);
        for mut known in before {
            if let Has::Shared(holders) = &mut known.has {
                std::mem::forget(holders.remove(&owner));
            }
            let gone = match &known.has {
                Has::Detached(of) => *of == owner,
                Has::Shared(holders) => holders.is_empty(),
            };
            expected += u32::from(gone);
            if !gone {
                self.known.push(known);
            }
        }
        let recovered = self.processes[(owner + 1) % OWNERS].recover(owner_id(owner));
        assert_eq!(recovered.blocks, expected);
        self.processes[owner] = (self.map)();
    }

    fn check(&self) {
        for process in &self.processes {
            for usage in process.usage() {
                let class = Class::holding(usage.bytes).expect("a class");
                assert_eq!(
                    (usage.total - usage.free) as usize,
                    self.used(class),
                    "blocks of {}",
                    usage.bytes
                );
            }
        }
        for known in &self.known {
            let Has::Shared(holders) = &known.has else { continue };
            let Some(mark) = known.mark else { continue };
            let slices = holders.values().flatten().map(SharedBlock::as_slice);
            assert!(slices.flatten().all(|byte| *byte == mark), "{known:?}");
        }
    }

    fn run(mut self, ops: &[Op]) {
        self.check();
        for op in ops {
            self.apply(op);
            self.check();
        }
        for owner in 0..OWNERS {
            self.die(owner);
        }
        self.check();
        assert!(self.known.is_empty());
    }
}

proptest! {
    #[test]
    fn blocks_of_a_private_segment_match_the_oracle(ops in ops()) {
        let (shape, end) = Shape::plan(0, &LIMITS);
        let segment = Segment::private(usize::try_from(end).unwrap()).unwrap();
        World::new(Box::new(move || Blocks::new(Arc::clone(&segment), shape).expect("fits"))).run(&ops);
    }

    #[test]
    fn blocks_of_a_segment_mapped_by_each_match_the_oracle(ops in ops()) {
        let (shape, end) = Shape::plan(128, &LIMITS);
        let bytes = usize::try_from(end).unwrap();
        let segment = Segment::create("oracle-blocks", bytes).unwrap();
        let map = move || {
            let file = segment.file().expect("a memfd").try_clone_to_owned().expect("a descriptor");
            Blocks::new(Segment::attach(file, bytes).expect("a mapping"), shape).expect("fits")
        };
        World::new(Box::new(map)).run(&ops);
    }
}
