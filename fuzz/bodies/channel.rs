//! A channel's ring while somebody else writes over it.

use crate::input::Input;
use gorun_shm::blocks::Holder;
use gorun_shm::ring::mpmc::{Fate, Geometry, Header, Message, Ring, Role};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{OwnerId, Segment};

const CAPACITY: u32 = 3;
const SLOT_WORDS: usize = 4 * 3;
const HEADER_WORDS: usize = Geometry::HEADER_BYTES / 8;
const BYTES: usize = 4096;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let segment = Segment::private(BYTES).expect("a page");
    let words = segment.view_slice::<AtomicU64>(0, HEADER_WORDS + SLOT_WORDS).expect("they fit");
    let header = segment.view::<Header>(0).expect("it fits");
    let geometry = Geometry::new(CAPACITY, 2).expect("a small one");
    header.format(geometry, Default::default());
    let ring = Ring::new(&header, &words[HEADER_WORDS..], geometry);
    let me = OwnerId::worker(0).and_then(Holder::of).expect("a worker");
    let message = Message { length: 8, marks: 3 };
    while !input.is_empty() {
        match input.byte() % 8 {
            0..3 => words[input.below(words.len())].store(input.word(), Ordering::Relaxed), // Relaxed: one thread.
            3 => {
                if let Ok(claim) = ring.claim(me) {
                    let position = ring.publish(claim, me, message, &[1, 2, 3]);
                    ring.notify_message();
                    let _ = (ring.was_taken(position), ring.withdraw(position, me, message));
                }
            }
            4 => {
                if let Ok(taken) = ring.take(me) {
                    let mut payload = [0; 4];
                    let _ = (ring.read(&taken, &mut payload), taken.word().length());
                    ring.release(taken, me);
                    ring.notify_room();
                }
            }
            5 => {
                let _ = (ring.len(), ring.has_message(), ring.has_room(), ring.join(Role::Sender, me));
            }
            6 => {
                ring.recover(me, Holder::HOST, |stuck| _ = stuck.payload(usize::MAX), |_| Fate::Return);
                ring.bury(me);
            }
            _ => {
                if let Ok((geometry, _)) = header.read(BYTES) {
                    assert!(geometry.bytes() <= BYTES);
                }
            }
        }
    }
}
