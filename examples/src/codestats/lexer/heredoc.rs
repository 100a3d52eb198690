//! Here-documents of the shell: `<<WORD`, `<<-WORD`, `<<'WORD'` and the lines up to `WORD`.
//!
//! `1 << n` is an arithmetic shift, so behind white space only a quoted or upper-case word counts. One
//! here-document per line is known, and one without an end is not one.

use super::{Lexer, is_letter, is_space};

impl<'s> Lexer<'s, '_> {
    /// At `<`: remembers the end of a here-document if one begins here.
    pub(super) fn heredoc_mark(&mut self, at: usize) -> usize {
        if self.has_at(at, b"<<<") {
            return at + 3;
        }
        if !self.has_at(at, b"<<") || self.heredocs_given_up {
            return at + 1;
        }
        let Some((word, behind)) = self.heredoc_word(at + 2) else { return at + 2 };
        self.heredoc.get_or_insert(word);
        behind
    }

    /// The word that ends the here-document and where it ends in turn.
    fn heredoc_word(&self, at: usize) -> Option<(&'s [u8], usize)> {
        let source = self.source;
        let after_dash = if source.get(at) == Some(&b'-') { at + 1 } else { at };
        let spaces = source.get(after_dash..)?.iter().take_while(|&&byte| byte == b' ').count();
        let first = after_dash + spaces;
        let quote = source.get(first).copied().filter(|byte| b"'\"\\".contains(byte));
        let begin = first + usize::from(quote.is_some());
        let letter = source.get(begin).copied().filter(|&byte| is_letter(byte))?;
        if spaces > 0 && quote.is_none() && !letter.is_ascii_uppercase() {
            return None;
        }
        let end = self.word_end(begin);
        let closed = quote.is_some_and(|quote| source.get(end) == Some(&quote));
        Some((&source[begin..end], end + usize::from(closed)))
    }

    /// Passes over the lines from `at` up to and including the one that is `word`.
    pub(super) fn heredoc_body(&mut self, at: usize, word: &[u8]) -> usize {
        let Some(end) = self.heredoc_end(at, word) else {
            self.heredocs_given_up = true;
            return at;
        };
        for &byte in &self.source[at..end] {
            if byte == b'\n' {
                self.end_line();
            } else {
                self.code |= !is_space(byte);
            }
        }
        end
    }

    /// Where the line that is `word` ends, its line end not included.
    fn heredoc_end(&self, at: usize, word: &[u8]) -> Option<usize> {
        let mut at = at;
        while at < self.source.len() {
            let end = self.newline_from(at);
            if self.source[at..end].trim_ascii() == word {
                return Some(end);
            }
            at = end + 1;
        }
        None
    }
}
