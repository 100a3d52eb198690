//! Who holds something in shared memory: the host, or one life of one worker.

use std::fmt;

/// Names the process life that runs a slot or holds a block, in 16 bits.
///
/// Workers are numbered by their record in the segment, 0.. below [`OwnerId::WORKERS_MAX`]. A record is
/// given to a new worker only after the old one's death was confirmed and everything it held recovered, so
/// an owner never names two lives at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(u16);

impl OwnerId {
    /// Most worker records a segment may have; also the size of a holder set in bits, less the host's.
    pub const WORKERS_MAX: u16 = 255;
    /// The host process.
    pub const HOST: Self = Self(0xFFFE);
    /// Nobody.
    pub const NONE: Self = Self(0xFFFF);

    /// The worker that lives in record `index`, 0..[`OwnerId::WORKERS_MAX`].
    #[must_use]
    #[inline]
    pub fn worker(index: u16) -> Option<Self> {
        (index < Self::WORKERS_MAX).then_some(Self(index))
    }

    /// The record index, if this is a worker.
    #[must_use]
    #[inline]
    pub fn worker_index(self) -> Option<u16> {
        (self.0 < Self::WORKERS_MAX).then_some(self.0)
    }

    /// The 16 bits as they stand in shared words.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Any 16 bits are an owner; those that name neither a worker nor the host count as nobody.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for OwnerId {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HOST => f.write_str("host"),
            Self(index) if index < Self::WORKERS_MAX => write!(f, "worker {index}"),
            Self(_) => f.write_str("nobody"),
        }
    }
}
