//! rtrb, an spsc ring between two threads of one process: no process is crossed.

use crate::floor::{RING_SLOTS, checksum, digest, message};
use crate::measure::time_ns;
use crate::pair::Cores;
use crate::segment::Message;

/// Messages per second, one push and one pop each.
///
/// # Panics
/// When a message got lost.
#[must_use]
pub fn rate(cores: Cores, messages: u64) -> f64 {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Message>::new(RING_SLOTS);
    let consume = move || {
        core_affinity::set_for_current(cores.peer);
        let mut pop = || {
            loop {
                match consumer.pop() {
                    Ok(message) => return digest(message),
                    Err(_) => std::hint::spin_loop(),
                }
            }
        };
        (0..messages).fold(0_u64, |sum, _| sum.wrapping_add(pop()))
    };
    let mut sum = 0;
    let ns = time_ns(|| {
        let consumer = std::thread::spawn(consume);
        for position in 0..messages {
            while producer.push(message(position)).is_err() {
                std::hint::spin_loop();
            }
        }
        sum = consumer.join().expect("the consumer ends");
    });
    assert_eq!(sum, checksum(messages), "every message arrives once");
    messages as f64 / ns * 1e9
}
