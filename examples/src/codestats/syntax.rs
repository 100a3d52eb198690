//! What the lexer has to know of a language: where comments and strings begin and end, and its quirks.
//! Pure data; `catalogue` fills it in, `lexer` reads it.

/// The lexical rules of one language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    /// Comments that end with the line.
    pub(crate) line_comments: &'static [LineComment],
    /// Comments with an end of their own. Tried before the line comments, in this order.
    pub(crate) block_comments: &'static [BlockComment],
    /// String and character literals, in the order in which they are tried (longest opening first).
    pub(crate) quotes: &'static [Quote],
    /// Words that belong to the string behind them (`b"…"`, `u8"…"`) and are no identifiers.
    pub(crate) prefixes: &'static [&'static str],
    /// Bytes besides letters, digits, `_` and non-ASCII that a word may hold anywhere.
    pub(crate) word_bytes: &'static [u8],
    /// Bytes that a word may hold, but not begin with (`-` in CSS).
    pub(crate) word_inner_bytes: &'static [u8],
    /// What fits none of the above.
    pub(crate) quirks: &'static [Quirk],
}

/// A comment from `marker` to the end of the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineComment {
    /// The bytes that begin it.
    pub(crate) marker: &'static [u8],
    /// Where the marker counts.
    pub(crate) place: Place,
}

/// A comment from `open` to `close`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockComment {
    /// The bytes that begin it.
    pub(crate) open: &'static [u8],
    /// The bytes that end it.
    pub(crate) close: &'static [u8],
    /// Whether an `open` inside needs a `close` of its own.
    pub(crate) nested: bool,
    /// Where `open` counts.
    pub(crate) place: Place,
}

/// A string or character literal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quote {
    /// The bytes that begin it.
    pub(crate) open: &'static [u8],
    /// The bytes that end it.
    pub(crate) close: &'static [u8],
    /// How `close` is written inside.
    pub(crate) escape: Escape,
    /// Where it ends if `close` is missing.
    pub(crate) span: Span,
    /// Where `open` counts.
    pub(crate) place: Place,
}

/// How the closing bytes of a string are written inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// They cannot be.
    None,
    /// A backslash takes the meaning from the byte behind it.
    Backslash,
    /// Written twice they stand for themselves.
    Doubled,
}

/// How far a string reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// To the end of the line at most, so that one stray quote spoils one line only.
    OneLine,
    /// Over line ends, to its closing bytes or the end of the file.
    ManyLines,
}

/// Where an opening counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Everywhere.
    Anywhere,
    /// Where a word could begin: behind white space, an operator of the shell or an opening bracket.
    WordStart,
    /// In the first column.
    LineStart,
}

/// A rule that only few languages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// `'x'` is a character, `'x` without the second quote is not (lifetimes, labels, primes).
    Lifetimes,
    /// `r#"…"#` with any number of `#`, and `r#word` as an identifier.
    RustRaw,
    /// `R"mark(…)mark"`.
    CppRaw,
    /// `` `…${code}…` ``.
    Templates,
    /// `/…/` where no division can stand.
    Regex,
    /// `<<WORD` up to the line that is `WORD`.
    Heredoc,
    /// A backslash in front of the line end continues a line comment.
    LineSplice,
    /// `'` between digits (`1'000'000`).
    DigitQuotes,
    /// Outside strings a backslash takes the meaning from the byte behind it.
    BareEscapes,
    /// Keywords in any case.
    CaselessKeywords,
    /// Text or data: its words are not identifiers.
    NoIdentifiers,
}

impl Syntax {
    /// No comments, no strings: the start for all others.
    pub(crate) const PLAIN: Syntax = Syntax {
        line_comments: &[],
        block_comments: &[],
        quotes: &[],
        prefixes: &[],
        word_bytes: &[],
        word_inner_bytes: &[],
        quirks: &[],
    };

    /// Whether the language has this quirk.
    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

impl LineComment {
    /// A marker that counts everywhere.
    pub(crate) const fn new(marker: &'static str) -> Self {
        LineComment { marker: marker.as_bytes(), place: Place::Anywhere }
    }

    /// A marker that counts where a word could begin.
    pub(crate) const fn at_word(marker: &'static str) -> Self {
        LineComment { marker: marker.as_bytes(), place: Place::WordStart }
    }
}

impl BlockComment {
    /// A comment that ends at the first `close`.
    pub(crate) const fn flat(open: &'static str, close: &'static str) -> Self {
        let (open, close) = (open.as_bytes(), close.as_bytes());
        BlockComment { open, close, nested: false, place: Place::Anywhere }
    }

    /// A comment that may hold others of its kind.
    pub(crate) const fn nested(open: &'static str, close: &'static str) -> Self {
        let (open, close) = (open.as_bytes(), close.as_bytes());
        BlockComment { open, close, nested: true, place: Place::Anywhere }
    }

    /// A comment whose `open` counts in the first column.
    pub(crate) const fn at_line(open: &'static str, close: &'static str) -> Self {
        let (open, close) = (open.as_bytes(), close.as_bytes());
        BlockComment { open, close, nested: false, place: Place::LineStart }
    }
}

impl Quote {
    /// A literal of one line with backslash escapes, the same bytes at both ends.
    pub(crate) const fn line(mark: &'static str) -> Self {
        let (open, close) = (mark.as_bytes(), mark.as_bytes());
        Quote { open, close, escape: Escape::Backslash, span: Span::OneLine, place: Place::Anywhere }
    }

    /// A literal that may run over line ends, with backslash escapes.
    pub(crate) const fn lines(mark: &'static str) -> Self {
        Quote { span: Span::ManyLines, ..Quote::line(mark) }
    }

    /// A literal that may run over line ends and knows no escape.
    pub(crate) const fn raw(open: &'static str, close: &'static str) -> Self {
        let (open, close) = (open.as_bytes(), close.as_bytes());
        Quote { open, close, escape: Escape::None, span: Span::ManyLines, place: Place::Anywhere }
    }

    /// A literal that may run over line ends and holds its closing bytes doubled.
    pub(crate) const fn doubled(open: &'static str, close: &'static str) -> Self {
        Quote { escape: Escape::Doubled, ..Quote::raw(open, close) }
    }

    /// The same literal, but only where a word could begin.
    pub(crate) const fn at_word(self) -> Self {
        Quote { place: Place::WordStart, ..self }
    }
}
