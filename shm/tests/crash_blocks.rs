//! A process is killed at every step of a block's life, and afterwards it is as if it had never lived.
#![cfg(all(feature = "crash-points", not(loom)))]

use gorun_shm::blocks::{BlockHandle, Blocks, ClassUsage, Limits, OwnedBlock, Shape, SharedBlock};
use gorun_shm::{OwnerId, Segment};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const LIMITS: Limits = Limits { small: 8, medium: 4, large: 0, huge: 0, largest_bytes: 128 << 10 };
const HOST: OwnerId = OwnerId::HOST;
const ROLE: &str = "GORUN_TEST_BLOCKS_ROLE";
const HELD: &str = "GORUN_TEST_BLOCKS_HELD";
const SIGKILL: i32 = 9;

/// Every place in a block's life to die at, with the passage of it to die in.
const POINTS: [&str; 16] = [
    "blocks.allocate.claimed:1",
    "blocks.allocate.claimed:2",
    "blocks.adopt.done:1",
    "blocks.adopt.done:2",
    "blocks.share.bit_set:1",
    "blocks.share.shared:1",
    "blocks.hold.bit_set:1",
    "blocks.hold.counted:1",
    "blocks.let_go.cleared:1",
    "blocks.let_go.cleared:2",
    "blocks.let_go.freed:1",
    "blocks.free.done:1",
    "blocks.give_back.claimed:1",
    "blocks.free.done:2",
    "blocks.allocate.claimed:3",
    "blocks.allocate.claimed:4",
];

fn dead() -> OwnerId {
    OwnerId::worker(130).expect("a worker's index")
}

fn shape() -> (Shape, usize) {
    let (shape, end) = Shape::plan(0, &LIMITS);
    (shape, usize::try_from(end).expect("fits"))
}

fn child_on(segment: impl AsFd, role: &str, held: BlockHandle) -> Command {
    let file = segment.as_fd().try_clone_to_owned().expect("a descriptor");
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    let [first, second] = held.words();
    command.args(["--exact", "the_process_that_dies", "--nocapture"]);
    command.env(ROLE, role).env(HELD, format!("{first} {second}")).stdin(file);
    command
}

/// Not a test of its own: what the child runs.
#[test]
fn the_process_that_dies() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (shape, bytes) = shape();
    let file = std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
    let segment = Segment::attach(file, bytes).expect("the parent's segment");
    let blocks = Blocks::new(segment, shape).expect("fits");
    let words: Vec<u64> = std::env::var(HELD)
        .expect("the parent's handle")
        .split(' ')
        .map(|word| word.parse().expect("a number"))
        .collect();
    let held = BlockHandle::from_words([words[0], words[1]]);
    match role.as_str() {
        "once" => live(&blocks, held),
        _ => live_for_ever(&blocks, held),
    }
}

/// A whole life: claims, passes on, shares, holds, lets go, frees, gives back, and leaves some behind.
fn live(blocks: &Arc<Blocks>, held: BlockHandle) {
    let handle = blocks.allocate(100, dead()).expect("a block");
    let _kept = OwnedBlock::allocate(blocks, 5000, dead()).expect("a block");
    let mut owned = OwnedBlock::from_handle(blocks, handle, dead()).expect("owned");
    owned.as_mut_slice().fill(0xAB);
    let shared = owned.share().expect("claimed");
    drop(SharedBlock::hold(blocks, held, dead()).expect("held by the host"));
    drop(shared);
    drop(OwnedBlock::allocate(blocks, 128 << 10, dead()).expect("a block"));
    blocks.give_back(dead()).expect("punched");
    let _ = blocks.allocate(64, dead()).expect("a block");
}

fn live_for_ever(blocks: &Arc<Blocks>, held: BlockHandle) {
    let mut out = std::io::stdout();
    loop {
        for _ in 0..200 {
            live(blocks, held);
            // What `live` leaves behind would fill the classes.
            blocks.recover(dead());
        }
        writeln!(out, "alive").expect("the parent reads");
        out.flush().expect("the parent reads");
    }
}

struct Parent {
    segment: Arc<Segment>,
    blocks: Arc<Blocks>,
    held: SharedBlock,
    before: Vec<ClassUsage>,
}

impl Parent {
    fn new() -> Self {
        let (shape, bytes) = shape();
        let segment = Segment::create("crash-blocks", bytes).expect("a memfd");
        let blocks = Blocks::new(Arc::clone(&segment), shape).expect("fits");
        let mut block = OwnedBlock::allocate(&blocks, 300, HOST).expect("a block");
        block.as_mut_slice().fill(0xCD);
        let held = block.share().expect("claimed");
        let before = blocks.usage();
        Self { segment, blocks, held, before }
    }

    fn command(&self, role: &str) -> Command {
        child_on(self.segment.file().expect("a memfd"), role, self.held.handle())
    }

    fn assert_recovers(self, case: &str) {
        self.blocks.recover(dead());
        assert_eq!(self.blocks.usage(), self.before, "usage after a death at {case}");
        assert!(self.held.as_slice().iter().all(|byte| *byte == 0xCD), "bytes after a death at {case}");
        drop(self.held);
        assert!(self.blocks.usage().iter().all(|class| class.free == class.total), "{case}");
        assert_no_holder_is_left(&self.blocks, case);
    }
}

/// A bit that was left in a holder set would keep a block that is shared and let go of.
fn assert_no_holder_is_left(blocks: &Arc<Blocks>, case: &str) {
    for class in blocks.usage() {
        let bytes = usize::try_from(class.bytes).expect("fits");
        let all: Vec<SharedBlock> = (0..class.total)
            .map(|_| OwnedBlock::allocate(blocks, bytes, HOST).expect("free").share().expect("claimed"))
            .collect();
        drop(all);
    }
    assert!(blocks.usage().iter().all(|class| class.free == class.total), "a holder was left at {case}");
}

fn killed(mut child: Child) -> bool {
    child.wait().expect("the child").signal() == Some(SIGKILL)
}

#[test]
fn a_death_at_any_step_leaves_nothing() {
    for point in POINTS {
        let parent = Parent::new();
        let mut command = parent.command("once");
        command.env(gorun_shm::crash::VARIABLE, point).stdout(Stdio::null());
        assert!(killed(command.spawn().expect("a child")), "{point} was not reached");
        parent.assert_recovers(point);
    }
}

#[test]
fn a_death_at_no_particular_step_leaves_nothing() {
    for round in 1..=12 {
        let parent = Parent::new();
        let mut child = parent.command("for ever").stdout(Stdio::piped()).spawn().expect("a child");
        let said = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let alive = said.map_while(Result::ok).filter(|line| line.ends_with("alive")).take(round).count();
        child.kill().expect("the child");
        assert!(killed(child) && alive == round);
        parent.assert_recovers("no particular step");
    }
}
