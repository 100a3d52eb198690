//! What a mark begins: a comment, a string, or one of the quirks.

use super::{Lexer, is_space};
use crate::codestats::syntax::{BlockComment, LineComment, Place, Quirk, Syntax};

/// The bytes that can begin a comment, a string or a quirk.
pub(super) fn first_bytes(syntax: &Syntax) -> impl Iterator<Item = u8> {
    let lines = syntax.line_comments.iter().map(|comment| comment.marker[0]);
    let blocks = syntax.block_comments.iter().map(|comment| comment.open[0]);
    let quotes = syntax.quotes.iter().map(|quote| quote.open[0]);
    let quirks = syntax.quirks.iter().flat_map(|quirk| quirk_bytes(*quirk)).copied();
    lines.chain(blocks).chain(quotes).chain(quirks)
}

fn quirk_bytes(quirk: Quirk) -> &'static [u8] {
    match quirk {
        Quirk::Lifetimes => b"'",
        Quirk::Templates => b"`{}",
        Quirk::Regex => b"/",
        Quirk::Heredoc => b"<",
        Quirk::BareEscapes => b"\\",
        _ => b"",
    }
}

impl Lexer<'_, '_> {
    pub(super) fn mark(&mut self, at: usize) -> usize {
        let syntax = self.syntax;
        if let Some(block) = syntax.block_comments.iter().find(|b| self.begins(at, b.open, b.place)) {
            return self.block_comment(at, block);
        }
        if let Some(line) = syntax.line_comments.iter().find(|l| self.begins(at, l.marker, l.place)) {
            return self.line_comment(at, line);
        }
        if let Some(quote) = syntax.quotes.iter().find(|q| self.begins(at, q.open, q.place)) {
            return self.quoted(at + quote.open.len(), quote.close, quote.escape, quote.span);
        }
        self.quirk(at)
    }

    fn begins(&self, at: usize, bytes: &[u8], place: Place) -> bool {
        self.has_at(at, bytes) && self.fits(at, place)
    }

    fn fits(&self, at: usize, place: Place) -> bool {
        let Some(before) = at.checked_sub(1).map(|before| self.source[before]) else { return true };
        match place {
            Place::Anywhere => true,
            Place::WordStart => is_space(before) || b";&|()[]{},".contains(&before),
            Place::LineStart => before == b'\n',
        }
    }

    fn line_comment(&mut self, at: usize, comment: &LineComment) -> usize {
        self.comment = true;
        let mut end = self.newline_from(at + comment.marker.len());
        while self.syntax.has(Quirk::LineSplice) && self.is_spliced(end) {
            self.end_line();
            let next = self.newline_from(end + 1);
            self.comment = self.source[end + 1..next].iter().any(|&byte| !is_space(byte));
            end = next;
        }
        end
    }

    /// Whether the line that ends at `end` goes on in the next one.
    fn is_spliced(&self, end: usize) -> bool {
        let line = &self.source[..end];
        end < self.source.len() && line.strip_suffix(b"\r").unwrap_or(line).ends_with(b"\\")
    }

    fn block_comment(&mut self, at: usize, block: &BlockComment) -> usize {
        self.comment = true;
        let mut depth = 1_u32;
        let mut at = at + block.open.len();
        while let Some(&byte) = self.source.get(at) {
            if byte == b'\n' {
                self.end_line();
            }
            if byte == block.close[0] && self.has_at(at, block.close) {
                self.comment = true;
                at += block.close.len();
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            } else if block.nested && byte == block.open[0] && self.has_at(at, block.open) {
                self.comment = true;
                depth += 1;
                at += block.open.len();
            } else {
                self.comment |= !is_space(byte);
                at += 1;
            }
        }
        at
    }

    fn quirk(&mut self, at: usize) -> usize {
        self.code = true;
        let has = |quirk| self.syntax.has(quirk);
        match self.source[at] {
            b'\'' if has(Quirk::Lifetimes) => self.character_or_lifetime(at),
            b'/' if has(Quirk::Regex) => self.slash(at),
            b'`' | b'{' | b'}' if has(Quirk::Templates) => self.template_mark(at),
            b'<' if has(Quirk::Heredoc) => self.heredoc_mark(at),
            b'\\' if has(Quirk::BareEscapes) => self.bare_escape(at),
            _ => at + 1,
        }
    }

    /// Leaves a `\n` behind the backslash to the main loop.
    fn bare_escape(&self, at: usize) -> usize {
        match self.source.get(at + 1) {
            Some(b'\n' | b'\r') | None => at + 1,
            Some(_) => at + 2,
        }
    }
}
