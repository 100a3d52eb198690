//! A Rust file seen as lines of code and lines of comment, so that a rule never trips over a string or a
//! sentence that merely mentions what it looks for.

use std::iter;

/// One file. `code` and `comments` have the lines of the file; what belongs to the other is blanked, and so
/// are the contents of strings and character literals.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) code: Vec<String>,
    pub(crate) comments: Vec<String>,
    /// For each line whether it lies in a `#[cfg(test)]` module.
    pub(crate) in_test: Vec<bool>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &'a str, text: &str) -> Self {
        let (code, comments) = Splitter::split(text);
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (code, comments) = (lines(code), lines(comments));
        let in_test = test_lines(&code);
        Self { path, code, comments, in_test }
    }

    /// Whether the file is a test, an example or a benchmark as a whole.
    pub(crate) fn is_trial(&self) -> bool {
        let trial = |folder: &str| matches!(folder, "tests" | "examples" | "benches");
        let mut parts: Vec<&str> = self.path.split('/').collect();
        parts.pop();
        parts.into_iter().any(trial)
    }

    /// The lines of code outside of test modules, with their indices.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().map(String::as_str).enumerate();
        lines.filter(|(index, _)| !self.in_test[*index])
    }

    /// The index of the line that closes the block opened at or after `start`; none when a `;` comes first.
    pub(crate) fn block_end(&self, start: usize) -> Option<usize> {
        block_end(&self.code, start)
    }
}

/// Whether `line` contains `word` and not merely as a part of a longer name or path.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |symbol: char| symbol.is_alphanumeric() || symbol == '_';
    line.match_indices(word).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        let after = line[place + word.len()..].chars().next();
        let longer = word.ends_with(part) && after.is_some_and(part);
        !longer && !before.is_some_and(part)
    })
}

fn block_end(code: &[String], start: usize) -> Option<usize> {
    // Round and square brackets matter only before the block: `fn f(x: [u8; 2]) {` has no body end at its `;`.
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (index, line) in code.iter().enumerate().skip(start) {
        for symbol in line.chars() {
            match symbol {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return None,
                '{' => braces += 1,
                '}' if braces <= 1 => return Some(index),
                '}' => braces -= 1,
                _ => {}
            }
        }
    }
    None
}

fn test_lines(code: &[String]) -> Vec<bool> {
    let mut in_test = vec![false; code.len()];
    for (start, line) in code.iter().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") || line.trim_start().starts_with("#[cfg(all(test") {
            // The attribute line itself closes its bracket, so the search begins behind it.
            let end = block_end(code, start + 1).unwrap_or(start + 1).min(code.len() - 1);
            in_test[start..=end].fill(true);
        }
    }
    in_test
}

/// Copies each character to one of two texts and a blank to the other.
struct Splitter {
    symbols: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

impl Splitter {
    fn split(text: &str) -> (String, String) {
        let symbols = text.chars().collect();
        let mut splitter = Self { symbols, at: 0, code: String::new(), comments: String::new() };
        while let Some(symbol) = splitter.peek(0) {
            splitter.step(symbol);
        }
        (splitter.code, splitter.comments)
    }

    fn step(&mut self, symbol: char) {
        match (symbol, self.peek(1)) {
            ('/', Some('/')) => self.line_comment(),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            ('r', _) => match self.raw_hashes() {
                Some(hashes) => self.raw_string(hashes),
                None => self.code_symbol(),
            },
            _ => self.code_symbol(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.symbols.get(self.at + ahead).copied()
    }

    fn push(&mut self, to_code: bool, to_comments: bool) {
        let Some(symbol) = self.peek(0) else { return };
        let pick = |wanted: bool| if wanted || symbol == '\n' { symbol } else { ' ' };
        self.code.push(pick(to_code));
        self.comments.push(pick(to_comments));
        self.at += 1;
    }

    fn code_symbol(&mut self) {
        self.push(true, false);
    }

    fn blank(&mut self, count: usize) {
        for _ in 0..count {
            self.push(false, false);
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|symbol| symbol != '\n') {
            self.push(false, true);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.push(false, true);
                    continue;
                }
            }
            self.push(false, true);
            self.push(false, true);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.code_symbol();
        while let Some(symbol) = self.peek(0) {
            match symbol {
                '\\' => self.blank(2),
                '"' => return self.code_symbol(),
                _ => self.blank(1),
            }
        }
    }

    /// A character literal, or the tick of a lifetime, which is code like any other.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.blank(3);
            while self.peek(0).is_some_and(|symbol| symbol != '\'') {
                self.blank(1);
            }
            self.blank(1);
        } else if self.peek(2) == Some('\'') {
            self.blank(3);
        } else {
            self.code_symbol();
        }
    }

    /// The number of `#` of a raw string that starts here.
    fn raw_hashes(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).and_then(|place| self.symbols.get(place));
        if before.is_some_and(|symbol| {
            (symbol.is_alphanumeric() && !matches!(symbol, 'b' | 'c')) || *symbol == '_'
        }) {
            return None;
        }
        let hashes = self.symbols[self.at + 1..].iter().take_while(|symbol| **symbol == '#').count();
        (self.peek(1 + hashes) == Some('"')).then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        let end: Vec<char> = iter::once('"').chain(iter::repeat_n('#', hashes)).collect();
        self.blank(2 + hashes);
        while self.peek(0).is_some() && !self.symbols[self.at..].starts_with(&end) {
            self.blank(1);
        }
        self.blank(end.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_not_code() {
        let text =
            "let a = \"x // y\"; // unsafe {\nlet b = r#\"unsafe \" {\"#; /* a /* b */ c */ let c = '\"';\n";
        let source = Source::new("a.rs", text);
        assert_eq!(source.code[0].trim_end(), "let a = \"      \";");
        assert_eq!(source.comments[0].trim(), "// unsafe {");
        assert!(!source.code[1].contains("unsafe"));
        assert_eq!(source.comments[1].trim(), "/* a /* b */ c */");
        assert!(source.code[1].contains("let c ="));
    }

    #[test]
    fn lifetimes_do_not_open_a_literal() {
        let source = Source::new("a.rs", "fn f<'a>(x: &'a str) -> char { '\\'' }\nunsafe {}\n");
        assert!(source.code[0].contains("fn f<'a>(x: &'a str) -> char {"));
        assert_eq!(source.code[1], "unsafe {}");
    }

    #[test]
    fn test_modules_are_marked() {
        let source =
            Source::new("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        assert_eq!(source.in_test, [false, true, true, true, true, false]);
        assert_eq!(source.live().count(), 2);
    }

    #[test]
    fn a_block_ends_at_its_brace() {
        let source = Source::new("a.rs", "fn a(x: [u8; 2]) {\n    if x {\n    }\n}\nfn b();\n");
        assert_eq!(source.block_end(0), Some(3));
        assert_eq!(source.block_end(4), None);
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
        assert!(!has_word("std::os::unix::fs", "nix::"));
        assert!(has_word("use nix::sys", "nix::"));
    }
}
