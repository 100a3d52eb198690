//! Random bytes in every language, against an oracle that knows no language.

use super::*;
use crate::codestats::catalogue::LANGUAGES;

/// White-space lines are blank, all others are not; that much needs no lexer.
fn oracle(source: &[u8]) -> [u64; 2] {
    let body = source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source);
    let is_blank = |line: &&[u8]| line.iter().all(|&byte| is_space(byte));
    let lines: Vec<&[u8]> = body.split_inclusive(|&byte| byte == b'\n').collect();
    let only_mark = u64::from(body.is_empty() && !source.is_empty());
    [lines.len() as u64 + only_mark, lines.iter().filter(|line| is_blank(line)).count() as u64 + only_mark]
}

/// Bytes that are likely to meet a rule of some language, from a seed.
fn noise(seed: u64) -> Vec<u8> {
    const PIECES: &[&str] = &[
        "\n",
        "\n",
        "\n",
        " ",
        "\t",
        "\r\n",
        "\\",
        "'",
        "\"",
        "`",
        "/",
        "*",
        "/*",
        "*/",
        "//",
        "#",
        "#[[",
        "]]",
        "r#\"",
        "\"#",
        "R\"x(",
        ")x\"",
        "--",
        "--[[",
        "{-",
        "-}",
        "<!--",
        "-->",
        "<<A",
        "A",
        "\nA\n",
        "${",
        "{",
        "}",
        "=begin",
        "\n=end",
        "\"\"\"",
        "'''",
        "@\"",
        "$'",
        "é",
        "\u{1F600}",
        "\u{FEFF}",
        "x",
        "br",
        "1'0",
        "7",
        ";",
        "(",
        "<",
        "b'",
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % bound
    };
    let mut bytes = Vec::new();
    for _ in 0..next(60) {
        match next(20) {
            0 => bytes.push(u8::try_from(next(256)).unwrap()),
            _ => bytes.extend(PIECES[next(PIECES.len())].as_bytes()),
        }
    }
    bytes
}

#[test]
fn lines_of_random_bytes_are_those_of_the_oracle_in_every_language() {
    for seed in 0..4000 {
        let source = noise(seed);
        for language in LANGUAGES {
            let counts = lex(&source, language, &mut NameCounter::default());
            let told = format!("seed {seed}, {}, {:?}", language.name, source.escape_ascii().to_string());
            assert_eq!([counts.lines, counts.blank], oracle(&source), "{told}");
            assert_eq!(counts.code + counts.comment + counts.blank, counts.lines, "{told}");
        }
    }
}
