//! Budget: how many blocks each class may have so that a pool stays within a number of bytes. Pure.

use super::class::Class;

/// Blocks from this size on are counted one by one against a pool's limit; smaller ones by how many there can be.
pub(super) const COUNTED_BYTES_MIN: u64 = 64 << 10;
/// The share of a limit that all smaller blocks together may take: one part in so many.
const SMALL_SHARE: u64 = 4;

/// Bytes that a pool may have; 0 for what its limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Bytes in use at once. No block is larger.
    pub pool_bytes: u64,
    /// Bytes of all blocks together, used or not.
    pub reserve_bytes: u64,
}

impl Budget {
    /// The counts cut down to the budget.
    pub(super) fn cut(&self, mut counts: [u32; Class::COUNT]) -> [u32; Class::COUNT] {
        if self.pool_bytes > 0 {
            for (class, count) in Class::all().zip(&mut counts) {
                *count = (*count).min(self.most(class));
            }
        }
        if self.reserve_bytes > 0 {
            while let Some(widest) = self.widest_over(&counts) {
                counts[widest] /= 2;
            }
        }
        counts
    }

    fn most(&self, class: Class) -> u32 {
        let smaller = Class::all().filter(|class| class.bytes() < COUNTED_BYTES_MIN).count() as u64;
        let share = match class.bytes() {
            bytes if bytes < COUNTED_BYTES_MIN => self.pool_bytes / SMALL_SHARE / smaller,
            _ => self.pool_bytes,
        };
        u32::try_from(share / class.bytes()).unwrap_or(u32::MAX)
    }

    /// The class that takes most, while all together take too much.
    fn widest_over(&self, counts: &[u32; Class::COUNT]) -> Option<usize> {
        let bytes = || Class::all().zip(counts).map(|(class, count)| class.bytes() * u64::from(*count));
        if bytes().sum::<u64>() <= self.reserve_bytes {
            return None;
        }
        bytes().enumerate().max_by_key(|(_, bytes)| *bytes).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(counts: &[u32; Class::COUNT]) -> u64 {
        Class::all().zip(counts).map(|(class, count)| class.bytes() * u64::from(*count)).sum()
    }

    #[test]
    fn no_budget_cuts_nothing() {
        assert_eq!(Budget::default().cut([7; Class::COUNT]), [7; Class::COUNT]);
    }

    #[test]
    fn a_reserve_is_never_exceeded() {
        for reserve_bytes in [1 << 20, (1 << 20) + 1, 100 << 20, 1 << 34, u64::MAX] {
            let counts = Budget { reserve_bytes, ..Budget::default() }.cut([64; Class::COUNT]);
            assert!(bytes_of(&counts) <= reserve_bytes, "{reserve_bytes}: {counts:?}");
            assert!(counts[0] > 0, "{reserve_bytes} bytes leave some small blocks");
        }
    }

    #[test]
    fn a_pool_has_no_block_above_its_bytes_and_few_small_ones() {
        let counts = Budget { pool_bytes: 5 << 20, ..Budget::default() }.cut([1 << 16; Class::COUNT]);
        let largest =
            Class::all().zip(&counts).filter(|(_, count)| **count > 0).map(|(class, _)| class.bytes());
        assert_eq!(largest.max(), Some(4 << 20));
        let small: u64 = Class::all()
            .zip(&counts)
            .filter(|(class, _)| class.bytes() < COUNTED_BYTES_MIN)
            .map(|(class, count)| class.bytes() * u64::from(*count))
            .sum();
        assert!(small <= (5 << 20) / SMALL_SHARE, "{small} bytes of small blocks");
    }
}
