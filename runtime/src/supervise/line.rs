//! Line: who may go on and who waits, with a limit to each. Pure: what stands in it is the caller's.
//!
//! Invariant: while nobody is calling, either as many run as may, or nobody waits.

use std::collections::BTreeMap;

/// See the module's head. Things wait in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Line<T> {
    running_max: usize,
    waiting_max: usize,
    running: usize,
    waiting: BTreeMap<u64, T>,
    /// Somebody is calling `next` until nobody is left.
    is_moving: bool,
}

/// Where somebody who came stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered<T> {
    /// It may go on, and must `leave`.
    Now(T),
    Waiting,
    Full(T),
}

impl<T> Line<T> {
    pub(crate) fn new(running_max: usize, waiting_max: usize) -> Self {
        Self { running_max, waiting_max, running: 0, waiting: BTreeMap::new(), is_moving: false }
    }

    /// Other limits from now on. Whoever runs or waits beyond them stays.
    pub(crate) fn limit(&mut self, running_max: usize, waiting_max: usize) {
        (self.running_max, self.waiting_max) = (running_max, waiting_max);
    }

    pub(crate) fn enter(&mut self, number: u64, one: T) -> Entered<T> {
        if self.running < self.running_max && self.waiting.is_empty() {
            self.running += 1;
            return Entered::Now(one);
        }
        if self.waiting.len() >= self.waiting_max {
            return Entered::Full(one);
        }
        self.waiting.insert(number, one);
        Entered::Waiting
    }

    /// One that was let go on has ended. Whoever calls this then calls `next` until it gives none.
    pub(crate) fn leave(&mut self) {
        assert!(self.running > 0, "whoever leaves has entered");
        self.running -= 1;
    }

    /// Who may go on now. None too while somebody else is asking: he will be told.
    pub(crate) fn begin_move(&mut self) -> Option<T> {
        if std::mem::replace(&mut self.is_moving, true) {
            return None;
        }
        self.next()
    }

    /// The next who may go on, for whoever got one of `begin_move`.
    pub(crate) fn next(&mut self) -> Option<T> {
        let next = self.admit();
        self.is_moving = next.is_some();
        next
    }

    /// One has ended, and does itself what is to be done for the next.
    pub(crate) fn succeed(&mut self) -> Option<T> {
        self.leave();
        self.admit()
    }

    fn admit(&mut self) -> Option<T> {
        let next = if self.running < self.running_max { self.waiting.pop_first() } else { None };
        self.running += usize::from(next.is_some());
        next.map(|(_, one)| one)
    }

    /// Takes it out of those that wait; none if it does not.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        self.waiting.remove(&number)
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::Rng;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    #[test]
    fn so_many_run_so_many_wait_and_the_next_is_full() {
        let mut line = Line::new(2, 1);
        assert_eq!((line.enter(1, 'a'), line.enter(2, 'b')), (Entered::Now('a'), Entered::Now('b')));
        assert_eq!((line.enter(3, 'c'), line.enter(4, 'd')), (Entered::Waiting, Entered::Full('d')));
        line.leave();
        assert_eq!((line.begin_move(), line.next()), (Some('c'), None));
        assert_eq!((line.running(), line.waiting()), (2, 0));
    }

    #[test]
    fn while_somebody_moves_the_line_another_who_leaves_is_told_nothing() {
        let mut line = Line::new(1, 9);
        assert_eq!(line.enter(1, 'a'), Entered::Now('a'));
        assert_eq!((line.enter(2, 'b'), line.enter(3, 'c')), (Entered::Waiting, Entered::Waiting));
        line.leave();
        assert_eq!(line.begin_move(), Some('b'));
        // 'b' ends at once, inside of the first one's move.
        line.leave();
        assert_eq!(line.begin_move(), None);
        assert_eq!((line.next(), line.next()), (Some('c'), None));
    }

    /// Keeps everybody in plain lists.
    #[derive(Default)]
    struct Oracle {
        limits: (usize, usize),
        running: usize,
        waiting: Vec<u64>,
    }

    impl Oracle {
        /// Numbers that go on now.
        fn settle(&mut self) -> Vec<u64> {
            let room = self.limits.0.saturating_sub(self.running).min(self.waiting.len());
            self.running += room;
            self.waiting.drain(..room).collect()
        }
    }

    #[test]
    fn a_long_life_agrees_with_the_oracle() {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
        println!("SEED={seed}");
        let mut bytes = [0_u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut draw = |below: u64| rng.next_u64() % below;
        let mut line = Line::new(2, 3);
        let mut oracle = Oracle { limits: (2, 3), ..Oracle::default() };
        for number in 0..100_000_u64 {
            let mut moved = Vec::new();
            match draw(10) {
                0..=4 => {
                    let expected = if oracle.running < oracle.limits.0 && oracle.waiting.is_empty() {
                        oracle.running += 1;
                        Entered::Now(number)
                    } else if oracle.waiting.len() >= oracle.limits.1 {
                        Entered::Full(number)
                    } else {
                        oracle.waiting.push(number);
                        Entered::Waiting
                    };
                    assert_eq!(line.enter(number, number), expected, "step {number}");
                }
                5..=7 if oracle.running > 0 => {
                    oracle.running -= 1;
                    line.leave();
                }
                8 => {
                    let place = draw(4);
                    let gone = oracle.waiting.get(usize::try_from(place).unwrap()).copied().unwrap_or(number);
                    oracle.waiting.retain(|waiting| *waiting != gone);
                    assert_eq!(line.remove(gone).is_some(), gone != number, "step {number}");
                }
                _ => {
                    oracle.limits = (usize::try_from(draw(5)).unwrap(), usize::try_from(draw(5)).unwrap());
                    line.limit(oracle.limits.0, oracle.limits.1);
                }
            }
            let mut next = line.begin_move();
            while let Some(one) = next {
                moved.push(one);
                next = line.next();
            }
            assert_eq!(moved, oracle.settle(), "step {number}");
            assert_eq!((line.running(), line.waiting()), (oracle.running, oracle.waiting.len()));
        }
    }
}
