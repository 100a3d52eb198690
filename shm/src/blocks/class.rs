//! Size classes: powers of two from 64 bytes to 2 GiB.

/// Number of classes.
const CLASSES: u8 = 26;

/// A size class: blocks of `64 << index` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    /// Number of classes.
    pub const COUNT: usize = CLASSES as usize;
    /// Bytes of the smallest class: one cache line, so that neighbours never share one.
    pub const SMALLEST_BYTES: u64 = 64;
    /// Bytes of the largest class.
    pub const LARGEST_BYTES: u64 = 1 << 31;

    /// The class with this index, 0..[`Class::COUNT`].
    #[must_use]
    pub fn new(index: u8) -> Option<Self> {
        (index < CLASSES).then_some(Self(index))
    }

    /// The smallest class whose blocks hold `bytes`; none above [`Class::LARGEST_BYTES`].
    #[must_use]
    #[inline]
    pub fn holding(bytes: u64) -> Option<Self> {
        if bytes > Self::LARGEST_BYTES {
            return None;
        }
        let rounded = bytes.max(Self::SMALLEST_BYTES).next_power_of_two();
        u8::try_from(rounded.trailing_zeros() - Self::SMALLEST_BYTES.trailing_zeros()).ok().map(Self)
    }

    /// All classes, smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..CLASSES).map(Self)
    }

    /// The index, 0..[`Class::COUNT`].
    #[must_use]
    #[inline]
    pub fn index(self) -> u8 {
        self.0
    }

    /// Bytes of one block.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> u64 {
        Self::SMALLEST_BYTES << self.0
    }

    /// The next larger class.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

const _: () = assert!(Class::SMALLEST_BYTES << (Class::COUNT - 1) == Class::LARGEST_BYTES);
