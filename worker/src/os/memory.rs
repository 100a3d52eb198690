//! Resident memory of processes.

use std::fs;

/// Bytes that this process has resident; 0 if the kernel does not say.
#[must_use]
pub fn resident() -> u64 {
    parse(fs::read_to_string("/proc/self/statm").ok())
}

/// Bytes that another process has resident; 0 if it is gone, or the kernel does not say.
#[must_use]
pub fn resident_of(pid: i32) -> u64 {
    parse(fs::read_to_string(format!("/proc/{pid}/statm")).ok())
}

/// Pages in all, then resident ones, and so on: see proc(5).
fn parse(statm: Option<String>) -> u64 {
    let pages = statm.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_more_than_a_page() {
        assert!(resident() > 4096);
        assert!(resident_of(super::super::identity::pid()) > 4096);
        assert_eq!(resident_of(i32::MAX), 0);
    }
}
