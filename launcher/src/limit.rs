//! A limit: which numbers a flag takes. A number outside is an error that says what is allowed.

use std::fmt;
use std::ops::RangeInclusive;

/// The numbers a flag takes.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    /// Least and largest.
    pub(crate) range: RangeInclusive<u64>,
    /// Whether only powers of two are allowed.
    pub(crate) powers_of_two: bool,
}

/// A number was not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAllowed {
    allowed: String,
}

impl Limit {
    /// All whole numbers from `least` to `most`.
    pub(crate) const fn whole(least: u64, most: u64) -> Self {
        Self { range: least..=most, powers_of_two: false }
    }

    /// The powers of two from `least` to `most`.
    pub(crate) const fn powers_of_two(least: u64, most: u64) -> Self {
        Self { range: least..=most, powers_of_two: true }
    }

    /// Reads a number.
    pub(crate) fn parse(&self, text: &str) -> Result<u64, NotAllowed> {
        self.check(text.parse().ok(), "")
    }

    /// Reads a number of bytes, which may end in K, M or G for 2^10, 2^20 and 2^30.
    pub(crate) fn parse_bytes(&self, text: &str) -> Result<u64, NotAllowed> {
        self.check(bytes(text), "; K, M and G may follow")
    }

    fn check(&self, number: Option<u64>, more: &str) -> Result<u64, NotAllowed> {
        let allowed =
            |number: &u64| self.range.contains(number) && (!self.powers_of_two || number.is_power_of_two());
        number.filter(allowed).ok_or_else(|| NotAllowed { allowed: format!("{self}{more}") })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.powers_of_two { "powers of two, " } else { "" };
        write!(f, "{prefix}{}..={}", self.range.start(), self.range.end())
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed: {}", self.allowed)
    }
}

impl std::error::Error for NotAllowed {}

fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_a_suffix_of_either_case() {
        for (text, expected) in
            [("4096", 4096), ("4K", 4096), ("64k", 65_536), ("3M", 3 << 20), ("1g", 1 << 30), ("0", 0)]
        {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_of_bytes_is_refused() {
        for text in ["", "K", "KK", "4KB", "-1", "1.5M", "4 K", "é", "99999999999G", "18446744073709551616"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_outside_is_answered_with_what_is_allowed() {
        let limit = Limit::whole(1, 120);
        assert_eq!(limit.parse("120"), Ok(120));
        for text in ["0", "121", "many", ""] {
            assert_eq!(limit.parse(text).unwrap_err().to_string(), "allowed: 1..=120", "{text}");
        }
    }

    #[test]
    fn only_powers_of_two_pass_where_only_they_are_allowed() {
        let limit = Limit::powers_of_two(4096, 1 << 30);
        assert_eq!(limit.parse_bytes("8K"), Ok(8192));
        let refusal = limit.parse_bytes("5000").unwrap_err().to_string();
        assert_eq!(refusal, "allowed: powers of two, 4096..=1073741824; K, M and G may follow");
    }
}
