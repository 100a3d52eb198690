//! The languages that codestats knows. Adding one is adding a row to `LANGUAGES` (and its keywords).
//! A file name is matched before an extension; extensions are compared in lower case.

use super::keywords as words;
use super::language::Language;
use super::syntax::{BlockComment, Escape, LineComment, Quirk, Quote, Syntax};

const SLASHES: &[LineComment] = &[LineComment::new("//")];
const HASH: &[LineComment] = &[LineComment::new("#")];
const HASH_WORD: &[LineComment] = &[LineComment::at_word("#")];
const DASHES: &[LineComment] = &[LineComment::new("--")];
const STARS: &[BlockComment] = &[BlockComment::flat("/*", "*/")];
const STARS_NESTED: &[BlockComment] = &[BlockComment::nested("/*", "*/")];
const MARKUP: &[BlockComment] = &[BlockComment::flat("<!--", "-->")];
const BOTH_LINE: &[Quote] = &[Quote::line("\""), Quote::line("'")];
const TEXT_BLOCKS: &[Quote] = &[Quote::lines("\"\"\""), Quote::line("\""), Quote::line("'")];
const RAW_BLOCKS: &[Quote] = &[Quote::raw("\"\"\"", "\"\"\""), Quote::line("\""), Quote::line("'")];

const C_FAMILY: Syntax = Syntax {
    line_comments: SLASHES,
    block_comments: STARS,
    quotes: BOTH_LINE,
    quirks: &[Quirk::LineSplice, Quirk::DigitQuotes],
    prefixes: &["L", "U", "u", "u8"],
    ..Syntax::PLAIN
};
const CPP: Syntax = Syntax { quirks: &[Quirk::LineSplice, Quirk::DigitQuotes, Quirk::CppRaw], ..C_FAMILY };
const CURLY: Syntax =
    Syntax { line_comments: SLASHES, block_comments: STARS, quotes: BOTH_LINE, ..Syntax::PLAIN };
const RUST: Syntax = Syntax {
    block_comments: STARS_NESTED,
    quotes: &[Quote::lines("\"")],
    prefixes: &["b", "c"],
    quirks: &[Quirk::Lifetimes, Quirk::RustRaw],
    ..CURLY
};
const SCRIPT: Syntax = Syntax { word_bytes: b"$", quirks: &[Quirk::Templates, Quirk::Regex], ..CURLY };
const PYTHON: Syntax = Syntax {
    line_comments: HASH,
    quotes: &[Quote::lines("\"\"\""), Quote::lines("'''"), Quote::line("\""), Quote::line("'")],
    prefixes: &[
        "r", "R", "b", "B", "u", "U", "f", "F", "br", "rb", "bR", "Rb", "Br", "rB", "BR", "RB", "fr", "rf",
        "fR", "Rf", "Fr", "rF", "FR", "RF",
    ],
    ..Syntax::PLAIN
};
const SHELL: Syntax = Syntax {
    line_comments: HASH_WORD,
    quotes: &[
        Quote { open: b"$'", close: b"'", ..Quote::lines("'") },
        Quote::lines("\""),
        Quote::raw("'", "'"),
    ],
    quirks: &[Quirk::Heredoc, Quirk::BareEscapes],
    ..Syntax::PLAIN
};
const HASH_SCRIPT: Syntax = Syntax { line_comments: HASH_WORD, quotes: BOTH_LINE, ..Syntax::PLAIN };
const RUBY: Syntax = Syntax { block_comments: &[BlockComment::at_line("=begin", "\n=end")], ..HASH_SCRIPT };
const PERL: Syntax = Syntax {
    block_comments: &[
        BlockComment::at_line("=pod", "\n=cut"),
        BlockComment::at_line("=head", "\n=cut"),
        BlockComment::at_line("=over", "\n=cut"),
    ],
    ..HASH_SCRIPT
};
const PHP: Syntax = Syntax { line_comments: &[LineComment::new("//"), LineComment::at_word("#")], ..CURLY };
const LUA: Syntax = Syntax {
    line_comments: DASHES,
    block_comments: &[BlockComment::flat("--[[", "]]")],
    quotes: &[Quote::raw("[[", "]]"), Quote::line("\""), Quote::line("'")],
    ..Syntax::PLAIN
};
const HASKELL: Syntax = Syntax {
    line_comments: DASHES,
    block_comments: &[BlockComment::nested("{-", "-}")],
    quotes: &[Quote::line("\"")],
    word_inner_bytes: b"'",
    quirks: &[Quirk::Lifetimes],
    ..Syntax::PLAIN
};
const CSHARP: Syntax = Syntax {
    quotes: &[
        Quote::doubled("@$\"", "\""),
        Quote::doubled("@\"", "\""),
        Quote::raw("\"\"\"", "\"\"\""),
        Quote::line("\""),
        Quote::line("'"),
    ],
    ..CURLY
};
const SQL: Syntax = Syntax {
    line_comments: DASHES,
    block_comments: STARS,
    quotes: &[Quote::doubled("'", "'"), Quote::doubled("\"", "\"")],
    quirks: &[Quirk::CaselessKeywords],
    ..Syntax::PLAIN
};
const GNU_ASSEMBLY: Syntax = Syntax {
    line_comments: &[LineComment::new("//"), LineComment::at_word("# "), LineComment::at_word("@ ")],
    word_bytes: b"$",
    ..C_FAMILY
};
const INTEL_ASSEMBLY: Syntax = Syntax {
    line_comments: &[LineComment::new(";")],
    quotes: &[
        Quote { escape: Escape::None, ..Quote::line("\"") },
        Quote { escape: Escape::None, ..Quote::line("'") },
    ],
    ..Syntax::PLAIN
};
const CMAKE: Syntax = Syntax {
    line_comments: HASH,
    block_comments: &[BlockComment::flat("#[[", "]]")],
    quotes: &[Quote::lines("\"")],
    quirks: &[Quirk::CaselessKeywords],
    ..Syntax::PLAIN
};
const PROSE: Syntax = Syntax { block_comments: MARKUP, quirks: &[Quirk::NoIdentifiers], ..Syntax::PLAIN };
const TOML: Syntax = Syntax {
    line_comments: HASH,
    quotes: &[
        Quote::lines("\"\"\""),
        Quote::raw("'''", "'''"),
        Quote::line("\""),
        Quote { escape: Escape::None, ..Quote::line("'") },
    ],
    quirks: &[Quirk::NoIdentifiers],
    ..Syntax::PLAIN
};
const YAML: Syntax = Syntax {
    line_comments: HASH_WORD,
    quotes: &[Quote::line("\"").at_word(), Quote { escape: Escape::Doubled, ..Quote::line("'") }.at_word()],
    quirks: &[Quirk::NoIdentifiers],
    ..Syntax::PLAIN
};
const JSON: Syntax = Syntax {
    line_comments: SLASHES,
    block_comments: STARS,
    quotes: &[Quote::line("\"")],
    quirks: &[Quirk::NoIdentifiers],
    ..Syntax::PLAIN
};
const CSS: Syntax = Syntax { line_comments: &[], word_inner_bytes: b"-", ..CURLY };
const SCSS: Syntax = Syntax { word_inner_bytes: b"-", ..CURLY };
const GO: Syntax = Syntax { quotes: &[Quote::raw("`", "`"), Quote::line("\""), Quote::line("'")], ..CURLY };
const JAVA: Syntax = Syntax { quotes: TEXT_BLOCKS, word_bytes: b"$", ..CURLY };
const KOTLIN: Syntax = Syntax { block_comments: STARS_NESTED, quotes: RAW_BLOCKS, ..CURLY };
const SWIFT: Syntax =
    Syntax { block_comments: STARS_NESTED, quotes: &[Quote::lines("\"\"\""), Quote::line("\"")], ..CURLY };
const ZIG: Syntax = Syntax { block_comments: &[], ..CURLY };

const fn row(
    name: &'static str,
    extensions: &'static [&'static str],
    keywords: &'static [&'static str],
    syntax: Syntax,
) -> Language {
    Language { name, extensions, file_names: &[], keywords, syntax }
}

/// Every language, in the order in which ties of the report are broken.
pub(crate) static LANGUAGES: &[Language] = &[
    row("Rust", &["rs"], words::RUST, RUST),
    row("C", &["c"], words::C, C_FAMILY),
    row("C header", &["h"], words::CPP, CPP),
    row("C++", &["cc", "cpp", "cxx", "c++", "ino", "cu"], words::CPP, CPP),
    row("C++ header", &["hh", "hpp", "hxx", "h++", "inl", "ipp"], words::CPP, CPP),
    row("Python", &["py", "pyi", "pyw"], words::PYTHON, PYTHON),
    row("JavaScript", &["js", "mjs", "cjs", "jsx"], words::SCRIPT, SCRIPT),
    row("TypeScript", &["ts", "mts", "cts", "tsx"], words::SCRIPT, SCRIPT),
    row("Go", &["go"], words::GO, GO),
    row("Java", &["java"], words::JAVA, JAVA),
    row("Kotlin", &["kt", "kts"], words::KOTLIN, KOTLIN),
    row("Scala", &["scala", "sc"], words::SCALA, KOTLIN),
    row("Swift", &["swift"], words::SWIFT, SWIFT),
    row("C#", &["cs"], words::CSHARP, CSHARP),
    row("Ruby", &["rb", "rake"], words::RUBY, RUBY),
    row("PHP", &["php"], words::PHP, PHP),
    row("Perl", &["pl", "pm"], words::PERL, PERL),
    row("Lua", &["lua"], words::LUA, LUA),
    row("Haskell", &["hs"], words::HASKELL, HASKELL),
    row("Zig", &["zig"], words::ZIG, ZIG),
    row("SQL", &["sql"], words::SQL, SQL),
    row("Shell", &["sh", "bash", "zsh", "ksh"], words::SHELL, SHELL),
    row("Assembly (GNU)", &["s"], words::NONE, GNU_ASSEMBLY),
    row("Assembly (Intel)", &["asm", "nasm"], words::NONE, INTEL_ASSEMBLY),
    Language {
        file_names: &["Makefile", "GNUmakefile", "makefile"],
        ..row("Make", &["mk", "mak"], words::MAKE, Syntax { line_comments: HASH, ..HASH_SCRIPT })
    },
    Language { file_names: &["CMakeLists.txt"], ..row("CMake", &["cmake"], words::CMAKE, CMAKE) },
    row("Protocol Buffers", &["proto"], words::PROTO, CURLY),
    row("HTML", &["html", "htm"], words::NONE, PROSE),
    row("XML", &["xml", "xsd", "xsl"], words::NONE, PROSE),
    row("CSS", &["css"], words::NONE, CSS),
    row("SCSS and Less", &["scss", "less"], words::NONE, SCSS),
    row("JSON", &["json"], words::NONE, JSON),
    row("TOML", &["toml"], words::NONE, TOML),
    row("YAML", &["yml", "yaml"], words::NONE, YAML),
    row("Markdown", &["md", "markdown"], words::NONE, PROSE),
];
