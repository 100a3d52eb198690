//! Names of channels: whose they are, and how they look to the kernel.

use super::NamedError;

/// Longest name in bytes: an abstract socket's has 107, and ours stand behind a prefix.
const NAME_BYTES_MAX: usize = 64;
const PREFIX: &str = "gorun";

/// A name that is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) user: u32,
}

impl Name {
    pub(super) fn new(text: &str, user: u32) -> Result<Self, NamedError> {
        let is_sound = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name_byte);
        if !is_sound {
            return Err(NamedError::BadName { name: text.to_owned() });
        }
        Ok(Self { text: text.to_owned(), user })
    }

    /// The abstract socket's name. The user's id stands in it, so that users do not take each other's names by accident.
    pub(super) fn address(&self) -> String {
        format!("{PREFIX}/{}/{}", self.user, self.text)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':')
}

/// A name that some program has bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct BoundName {
    /// The user it belongs to, by its id in the name.
    pub user: u32,
    /// The name.
    pub name: String,
}

/// The names of channels that programs have bound, of all users, sorted: what the kernel lists in `/proc/net/unix`.
///
/// Names are seen only within one network namespace, as they are reachable only there.
///
/// # Errors
/// What the kernel said of that file.
pub fn bound_names() -> std::io::Result<Vec<BoundName>> {
    let list = std::fs::read_to_string("/proc/net/unix")?;
    let mut names: Vec<BoundName> = list.lines().filter_map(bound_name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// A line of the list: address, references, protocol, flags, type, state, inode, path. Those who listen have a flag.
fn bound_name(line: &str) -> Option<BoundName> {
    const ACCEPTS_CONNECTIONS: u32 = 1 << 16;
    let mut fields = line.split_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let path = fields.nth(3)?.strip_prefix('@')?;
    let (user, name) = path.strip_prefix(PREFIX)?.strip_prefix('/')?.split_once('/')?;
    let user = user.parse().ok()?;
    let is_ours = flags & ACCEPTS_CONNECTIONS != 0 && Name::new(name, user).is_ok();
    is_ours.then(|| BoundName { user, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_refused() {
        for bad in ["", "a b", "a/b", "a\0b", "ä", &"x".repeat(65)] {
            assert!(matches!(Name::new(bad, 0), Err(NamedError::BadName { .. })), "{bad:?}");
        }
        assert_eq!(Name::new("prices.eu-1:a_b", 7).unwrap().address(), "gorun/7/prices.eu-1:a_b");
    }

    #[test]
    fn listeners_of_ours_are_found_in_the_kernels_list() {
        let line = |flags: &str, path: &str| format!("0000: 00000002 00000000 {flags} 0005 01 9841 {path}");
        assert_eq!(
            bound_name(&line("00010000", "@gorun/10/prices")),
            Some(BoundName { user: 10, name: "prices".into() })
        );
        for other in [
            line("00000000", "@gorun/10/prices"),
            line("00010000", "@gorun/x/prices"),
            line("00010000", "/run/gorun/10/prices"),
            line("00010000", ""),
            "Num RefCount Protocol Flags Type St Inode Path".to_owned(),
        ] {
            assert_eq!(bound_name(&other), None, "{other}");
        }
    }
}
