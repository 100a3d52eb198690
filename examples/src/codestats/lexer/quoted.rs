//! Text between quotes, and characters that look like the beginning of it.

use super::{Lexer, is_space};
use crate::codestats::syntax::{Escape, Span};

impl Lexer<'_, '_> {
    /// Passes over text up to and including `close`; its lines are code.
    pub(super) fn quoted(&mut self, at: usize, close: &[u8], escape: Escape, span: Span) -> usize {
        self.code = true;
        let mut at = at;
        while let Some(&byte) = self.source.get(at) {
            if byte == close[0] && self.has_at(at, close) {
                self.code = true;
                at += close.len();
                if !(escape == Escape::Doubled && self.has_at(at, close)) {
                    return at;
                }
                at += close.len();
            } else if byte == b'\\' && escape == Escape::Backslash {
                at = self.escaped(at);
            } else if byte == b'\n' {
                if span == Span::OneLine {
                    return at;
                }
                self.end_line();
                at += 1;
            } else {
                self.code |= !is_space(byte);
                at += 1;
            }
        }
        at
    }

    /// Passes over a backslash and the byte behind it; an escaped line end continues even a string of one line.
    pub(super) fn escaped(&mut self, at: usize) -> usize {
        self.code = true;
        let behind = if self.has_at(at + 1, b"\r\n") { at + 2 } else { at + 1 };
        match self.source.get(behind) {
            Some(b'\n') => {
                self.end_line();
                behind + 1
            }
            Some(_) => behind + 1,
            None => behind,
        }
    }

    /// `'x'` and `'\n'` are characters; anything else is a quote with a word behind it that is no identifier.
    pub(super) fn character_or_lifetime(&mut self, at: usize) -> usize {
        if self.source.get(at + 1) == Some(&b'\\') {
            return self.escaped_character(at);
        }
        let length = self.source.get(at + 1).map_or(1, |&first| character_length(first));
        let close = at + 1 + length;
        let inside = self.source.get(at + 1..close).unwrap_or_default();
        if self.source.get(close) == Some(&b'\'') && !inside.contains(&b'\n') && inside != b"'" {
            return close + 1;
        }
        match self.source.get(at + 1) {
            Some(&byte) if super::is_letter(byte) => self.word_end(at + 1),
            _ => at + 1,
        }
    }

    /// The escape itself (`\'`, `\\`, `\u{1F600}`) and everything up to the closing quote on this line.
    fn escaped_character(&self, at: usize) -> usize {
        let from = (at + 3).min(self.source.len());
        if self.source.get(at + 2) == Some(&b'\n') {
            return at + 2;
        }
        let rest = &self.source[from..];
        match rest.iter().position(|&byte| byte == b'\'' || byte == b'\n') {
            Some(length) if rest[length] == b'\'' => from + length + 1,
            _ => from,
        }
    }
}

/// Bytes of the UTF-8 character that begins with `first`; 1 for a byte that begins none.
fn character_length(first: u8) -> usize {
    match first {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    }
}
