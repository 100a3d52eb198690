//! Line counts, of one file or of many.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of bytes and lines. `code + comment + blank == lines`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineCounts {
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// Line ends, and one more if the last line lacks its own.
    pub(crate) lines: u64,
    /// Lines with something outside comments.
    pub(crate) code: u64,
    /// Lines with nothing but comments.
    pub(crate) comment: u64,
    /// Lines of white space only.
    pub(crate) blank: u64,
}

impl AddAssign for LineCounts {
    fn add_assign(&mut self, other: LineCounts) {
        self.bytes += other.bytes;
        self.lines += other.lines;
        self.code += other.code;
        self.comment += other.comment;
        self.blank += other.blank;
    }
}
