//! JavaScript and TypeScript: templates with code inside, and regular expressions.

use super::{Lexer, is_letter, is_space};

/// How far back the token before a `/` is looked for; a longer gap is taken for the beginning of an expression.
const LOOK_BACK_BYTES_MAX: usize = 256;

/// Words after which an expression begins, so that a `/` is not a division.
const BEFORE_EXPRESSION: [&[u8]; 12] = [
    b"return", b"typeof", b"case", b"in", b"of", b"do", b"else", b"void", b"delete", b"throw", b"await",
    b"yield",
];

impl Lexer<'_, '_> {
    /// At a backtick or a brace: enters a template, leaves it for code and comes back.
    pub(super) fn template_mark(&mut self, at: usize) -> usize {
        match (self.source[at], self.templates.last_mut()) {
            (b'`', _) => self.template(at + 1),
            (b'{', Some(depth)) => {
                *depth += 1;
                at + 1
            }
            (b'}', Some(0)) => {
                self.templates.pop();
                self.template(at + 1)
            }
            (b'}', Some(depth)) => {
                *depth -= 1;
                at + 1
            }
            _ => at + 1,
        }
    }

    /// Passes over template text up to its closing backtick or to the code in it.
    fn template(&mut self, at: usize) -> usize {
        let mut at = at;
        while let Some(&byte) = self.source.get(at) {
            self.code |= !is_space(byte);
            match byte {
                b'`' => return at + 1,
                b'\\' => at = self.escaped(at),
                b'$' if self.source.get(at + 1) == Some(&b'{') => {
                    self.templates.push(0);
                    return at + 2;
                }
                b'\n' => {
                    self.end_line();
                    at += 1;
                }
                _ => at += 1,
            }
        }
        at
    }

    /// At a `/` that begins no comment: a regular expression or a division.
    pub(super) fn slash(&mut self, at: usize) -> usize {
        if self.expression_begins(at) { self.regex_end(at).unwrap_or(at + 1) } else { at + 1 }
    }

    /// Whether an expression can begin at `at`, judged by the token before it.
    fn expression_begins(&self, at: usize) -> bool {
        let before = &self.source[at.saturating_sub(LOOK_BACK_BYTES_MAX)..at];
        let Some(last) = before.iter().rposition(|&byte| !is_space(byte)) else { return true };
        let in_word = |byte: u8| self.word_parts[usize::from(byte)];
        if !in_word(before[last]) {
            return !b")]}\"'`.<".contains(&before[last]);
        }
        let first = before[..last].iter().rposition(|&byte| !in_word(byte)).map_or(0, |gap| gap + 1);
        let word = &before[first..=last];
        is_letter(word[0]) && BEFORE_EXPRESSION.contains(&word)
    }

    /// Behind the closing `/` and the flags of a regular expression; `None` if this line has no closing `/`.
    fn regex_end(&self, at: usize) -> Option<usize> {
        let mut in_class = false;
        let mut at = at + 1;
        loop {
            match self.source.get(at)? {
                b'\n' => return None,
                b'\\' if self.source.get(at + 1) != Some(&b'\n') => at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => return Some(self.word_end(at + 1)),
                _ => {}
            }
            at += 1;
        }
    }
}
