//! Counts the lines of one file and gathers its identifiers, in one pass over the bytes.
//!
//! The rules: a line ends with `\n`, and what follows the last `\n` is a line too unless it is empty. A line of
//! white space only is blank, wherever it stands. Of the others a line is code if any byte of it lies outside
//! comments (strings are code), else comment. The text need not be UTF-8, and nothing is allocated per line.
//!
//! Invariant: every `\n` is passed to `end_line` exactly once, and every other byte that is not white space marks its
//! line as code or comment. `oracle` checks both on random bytes in every language.

mod glued;
mod heredoc;
mod marks;
#[cfg(test)]
mod oracle;
mod quoted;
mod script;
#[cfg(test)]
mod tests;

use super::language::Language;
use super::lines::LineCounts;
use super::names::NameCounter;
use super::syntax::{Quirk, Syntax};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Counts the lines of `source` and adds its identifiers to `names`.
pub(crate) fn lex<'s>(
    source: &'s [u8],
    language: &'static Language,
    names: &mut NameCounter<'s>,
) -> LineCounts {
    let mut lexer = Lexer::new(source, &language.syntax, names);
    lexer.run();
    lexer.counts
}

/// What a byte can be the beginning of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Newline,
    Word,
    Digit,
    /// A comment, a string or a quirk begins here, perhaps.
    Mark,
    Other,
}

struct Lexer<'s, 'n> {
    source: &'s [u8],
    syntax: &'static Syntax,
    names: &'n mut NameCounter<'s>,
    counts: LineCounts,
    classes: [Class; 256],
    word_parts: [bool; 256],
    keeps_names: bool,
    /// Whether the current line holds code.
    code: bool,
    /// Whether the current line holds a comment.
    comment: bool,
    /// Open braces inside each `${` that is open, innermost last.
    templates: Vec<u32>,
    /// The line that ends the here-document which begins with the next line.
    heredoc: Option<&'s [u8]>,
    /// Set when a here-document had no end, so that a file full of `<<x` is not searched again and again.
    heredocs_given_up: bool,
}

impl<'s, 'n> Lexer<'s, 'n> {
    fn new(source: &'s [u8], syntax: &'static Syntax, names: &'n mut NameCounter<'s>) -> Self {
        Lexer {
            source,
            syntax,
            names,
            counts: LineCounts { bytes: source.len() as u64, ..LineCounts::default() },
            classes: classes(syntax),
            word_parts: word_parts(syntax),
            keeps_names: !syntax.has(Quirk::NoIdentifiers),
            code: false,
            comment: false,
            templates: Vec::new(),
            heredoc: None,
            heredocs_given_up: false,
        }
    }

    fn run(&mut self) {
        let mut at = if self.source.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        while let Some(&byte) = self.source.get(at) {
            at = match self.classes[usize::from(byte)] {
                Class::Space => at + 1,
                Class::Newline => self.newline(at),
                Class::Word => self.word(at),
                Class::Digit => self.number(at),
                Class::Mark => self.mark(at),
                Class::Other => self.code_to(at + 1),
            };
        }
        if self.source.last().is_some_and(|&byte| byte != b'\n') {
            self.end_line();
        }
    }

    fn newline(&mut self, at: usize) -> usize {
        self.end_line();
        match self.heredoc.take() {
            Some(end) => self.heredoc_body(at + 1, end),
            None => at + 1,
        }
    }

    /// Closes the current line.
    fn end_line(&mut self) {
        self.counts.lines += 1;
        if self.code {
            self.counts.code += 1;
        } else if self.comment {
            self.counts.comment += 1;
        } else {
            self.counts.blank += 1;
        }
        (self.code, self.comment) = (false, false);
    }

    /// Marks the line as code; gives back `to` for the caller to go on with.
    fn code_to(&mut self, to: usize) -> usize {
        self.code = true;
        to
    }

    fn word(&mut self, at: usize) -> usize {
        self.code = true;
        let end = self.word_end(at + 1);
        if let Some(b'"' | b'\'' | b'#') = self.source.get(end)
            && let Some(behind) = self.glued(at, end)
        {
            return behind;
        }
        self.name(at, end);
        end
    }

    fn name(&mut self, at: usize, end: usize) {
        if self.keeps_names && end - at >= 2 {
            self.names.add(&self.source[at..end]);
        }
    }

    /// Passes over a number and the letters that belong to it (`0xff`, `1u8`), which are no identifier.
    fn number(&mut self, at: usize) -> usize {
        self.code = true;
        let mut end = self.word_end(at + 1);
        while self.source.get(end) == Some(&b'\'')
            && self.source.get(end + 1).is_some_and(u8::is_ascii_hexdigit)
            && self.syntax.has(Quirk::DigitQuotes)
        {
            end = self.word_end(end + 1);
        }
        end
    }

    /// First place from `at` on that is not part of a word.
    fn word_end(&self, at: usize) -> usize {
        let rest = self.source.get(at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| !self.word_parts[usize::from(byte)]);
        at + length.unwrap_or(rest.len())
    }

    fn newline_from(&self, at: usize) -> usize {
        let rest = &self.source[at..];
        at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
    }

    fn has_at(&self, at: usize, bytes: &[u8]) -> bool {
        self.source.get(at..).is_some_and(|rest| rest.starts_with(bytes))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0B | 0x0C)
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn word_parts(syntax: &Syntax) -> [bool; 256] {
    let in_word = |byte: u8| {
        is_letter(byte)
            || byte.is_ascii_digit()
            || syntax.word_bytes.contains(&byte)
            || syntax.word_inner_bytes.contains(&byte)
    };
    std::array::from_fn(|index| u8::try_from(index).is_ok_and(in_word))
}

fn classes(syntax: &Syntax) -> [Class; 256] {
    let mut classes = [Class::Other; 256];
    for byte in 0..=u8::MAX {
        classes[usize::from(byte)] = match byte {
            b'\n' => Class::Newline,
            b'0'..=b'9' => Class::Digit,
            _ if is_space(byte) => Class::Space,
            _ if is_letter(byte) || syntax.word_bytes.contains(&byte) => Class::Word,
            _ => Class::Other,
        };
    }
    for byte in marks::first_bytes(syntax) {
        classes[usize::from(byte)] = Class::Mark;
    }
    classes
}
