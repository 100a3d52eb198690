//! Fingerprint: a function and its encoded input in one word.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Names a function together with one input of it: the same for every task that calls the one with the other, in this
/// build of the program. A block in the input counts by its handle, not by what lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of the function with this code id, and the bytes of its encoded input.
    #[inline]
    pub(crate) fn of(function: u64, input: &[u8]) -> Self {
        Self(xxh3_64_with_seed(input, function))
    }

    /// As it stands in shared memory.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_and_every_byte_of_the_input_count() {
        let one = Fingerprint::of(7, b"input");
        assert_eq!(one, Fingerprint::of(7, b"input"));
        for other in [Fingerprint::of(8, b"input"), Fingerprint::of(7, b"inpus"), Fingerprint::of(7, b"inpu")]
        {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn it_survives_being_written_down() {
        let one = Fingerprint::of(7, b"");
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(one.to_string().len(), 16);
    }
}
