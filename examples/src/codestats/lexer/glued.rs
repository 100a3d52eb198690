//! Words glued to a quote or a `#`: string prefixes and raw strings.

use super::Lexer;
use crate::codestats::syntax::{Escape, Quirk, Span};

/// A closing quote and more `#` than rustc allows.
const RUST_CLOSE: [u8; 256] = {
    let mut close = [b'#'; 256];
    close[0] = b'"';
    close
};

/// Most bytes between `R"` and `(`, by the C++ standard.
const CPP_MARK_BYTES_MAX: usize = 16;

impl Lexer<'_, '_> {
    /// Where to go on behind the word `at..end` if it is not an identifier but the beginning of a string.
    #[cold]
    pub(super) fn glued(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.source[at..end];
        if matches!(word, b"r" | b"br" | b"cr") && self.syntax.has(Quirk::RustRaw) {
            return self.rust_raw(at, end);
        }
        if matches!(word, b"R" | b"LR" | b"UR" | b"uR" | b"u8R") && self.syntax.has(Quirk::CppRaw) {
            return self.cpp_raw(end);
        }
        let is_prefix = self.syntax.prefixes.iter().any(|prefix| prefix.as_bytes() == word);
        (is_prefix && self.source[end] != b'#').then_some(end)
    }

    fn rust_raw(&mut self, at: usize, end: usize) -> Option<usize> {
        let hashes = self.source[end..].iter().take_while(|&&byte| byte == b'#').count();
        let open = end + hashes;
        if self.source.get(open) == Some(&b'"') && hashes < RUST_CLOSE.len() {
            return Some(self.quoted(open + 1, &RUST_CLOSE[..=hashes], Escape::None, Span::ManyLines));
        }
        let is_raw_identifier =
            hashes == 1 && end == at + 1 && self.source.get(open).is_some_and(|&byte| super::is_letter(byte));
        is_raw_identifier.then(|| {
            let behind = self.word_end(open);
            self.name(at, behind);
            behind
        })
    }

    fn cpp_raw(&mut self, end: usize) -> Option<usize> {
        let rest = self.source.get(end..)?.strip_prefix(b"\"")?;
        let length = rest.iter().take(CPP_MARK_BYTES_MAX + 1).position(|&byte| byte == b'(')?;
        let mark = &rest[..length];
        if mark.iter().any(|&byte| super::is_space(byte) || byte == b'"') {
            return None;
        }
        let mut close = [b'"'; CPP_MARK_BYTES_MAX + 2];
        close[0] = b')';
        close[1..=length].copy_from_slice(mark);
        Some(self.quoted(end + length + 2, &close[..length + 2], Escape::None, Span::ManyLines))
    }
}
