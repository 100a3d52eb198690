//! Cases by hand; random bytes are in `oracle`.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::codestats::language::LanguageIndex;

fn language(file: &str) -> &'static Language {
    LanguageIndex::of(Path::new(file)).unwrap().language()
}

/// Lines, code, comment, blank.
fn lines(file: &str, source: impl AsRef<[u8]>) -> [u64; 4] {
    let counts = lex(source.as_ref(), language(file), &mut NameCounter::default());
    assert_eq!(counts.bytes, source.as_ref().len() as u64);
    [counts.lines, counts.code, counts.comment, counts.blank]
}

/// The identifiers, sorted, each as often as it occurs.
fn names(file: &str, source: impl AsRef<[u8]>) -> String {
    let mut counter = NameCounter::default();
    lex(source.as_ref(), language(file), &mut counter);
    let names = counter.into_names(language(file));
    let counts: BTreeMap<_, _> = names.iter().collect();
    let repeated: Vec<_> = counts.iter().flat_map(|(name, count)| vec![*name; *count as usize]).collect();
    repeated.join(" ")
}

#[test]
fn an_empty_file_has_no_lines() {
    assert_eq!(lines("a.rs", ""), [0, 0, 0, 0]);
}

#[test]
fn the_last_line_counts_with_and_without_its_line_end() {
    assert_eq!(lines("a.rs", "let a;\n"), [1, 1, 0, 0]);
    assert_eq!(lines("a.rs", "let a;\nlet b;"), [2, 2, 0, 0]);
    assert_eq!(lines("a.rs", "let a;\n  "), [2, 1, 0, 1]);
    assert_eq!(lines("a.rs", "// end"), [1, 0, 1, 0]);
    assert_eq!(lines("a.rs", "\n"), [1, 0, 0, 1]);
}

#[test]
fn a_line_with_code_and_comment_is_code() {
    assert_eq!(lines("a.rs", "let a; // why\n/* b */ let b;\n/* c\n*/ let c;\n"), [4, 3, 1, 0]);
}

#[test]
fn blank_lines_inside_comments_and_strings_are_blank() {
    assert_eq!(lines("a.rs", "/* a\n\n \t\nb */\n"), [4, 0, 2, 2]);
    assert_eq!(lines("a.rs", "let a = \"x\n\ny\";\n"), [3, 2, 0, 1]);
}

#[test]
fn windows_line_ends_count_like_others() {
    assert_eq!(lines("a.rs", "let a;\r\n\r\n// b\r\n"), [3, 1, 1, 1]);
    assert_eq!(lines("a.c", "char *a = \"x\\\r\ny\";\r\nint b; /* \r\n */\r\n"), [4, 3, 1, 0]);
}

#[test]
fn the_byte_order_mark_is_no_code() {
    assert_eq!(lines("a.rs", "\u{FEFF}// a\n"), [1, 0, 1, 0]);
    assert_eq!(lines("a.rs", "\u{FEFF}\n"), [1, 0, 0, 1]);
}

#[test]
fn text_that_is_not_utf_8_is_counted() {
    assert_eq!(lines("a.c", b"/* caf\xE9 */\nint caf\xE9;\nchar c = '\xFF';\n"), [3, 2, 1, 0]);
    assert_eq!(names("a.c", b"/* \xE9 */ head = '\xFF'; tail = \"\xC3\";"), "head tail");
}

#[test]
fn comment_marks_inside_strings_are_text() {
    assert_eq!(lines("a.rs", "let a = \"// no\";\nlet b = \"/* no\";\nlet c;\n"), [3, 3, 0, 0]);
    assert_eq!(lines("a.py", "a = '# no'\n"), [1, 1, 0, 0]);
}

#[test]
fn escapes_do_not_end_a_string() {
    assert_eq!(names("a.rs", r#"aa("\" bb \\"); cc("\\\" dd");"#), "aa cc");
    assert_eq!(names("a.c", r#"aa = '\''; bb = '\\'; cc = "\\"; dd"#), "aa bb cc dd");
}

#[test]
fn a_stray_quote_spoils_one_line_only() {
    assert_eq!(names("a.c", "#error don't do\nint head;\n"), "don head");
    assert_eq!(names("a.c", "a = \"open \\\n still; \nint tail;\n"), "tail");
}

#[test]
fn raw_strings_end_at_their_own_mark() {
    assert_eq!(names("a.rs", r####"aa(r"\"); bb(r#"x "y" z"#, r##"a "# b"##, br#"k"#, cr"l")"####), "aa bb");
    assert_eq!(lines("a.rs", "let a = r#\"\n// text\n\"#;\n// comment\n"), [4, 3, 1, 0]);
}

#[test]
fn a_raw_identifier_keeps_its_mark() {
    assert_eq!(names("a.rs", "r#type = br + r#in; r # x"), "br r#in r#type");
}

#[test]
fn prefixes_of_strings_are_no_identifiers() {
    assert_eq!(names("a.py", "aa = rb'x' + Rb\"\"\"y\"\"\" + rb + f'{zz}'"), "aa rb");
    assert_eq!(names("a.c", "u8\"x\" u8 L'y'"), "u8");
}

#[test]
fn comments_nest_in_rust_and_not_in_c() {
    assert_eq!(names("a.rs", "/* a /* b */ cc */ dd"), "dd");
    assert_eq!(names("a.c", "/* a /* b */ cc */ dd"), "cc dd");
    assert_eq!(names("a.rs", "/*/ aa */ bb /**/ cc /***/ dd"), "bb cc dd");
}

#[test]
fn an_open_comment_reaches_to_the_end_of_the_file() {
    assert_eq!(lines("a.rs", "/* /* */\nfn a() {}\n"), [2, 0, 2, 0]);
}

#[test]
fn documentation_is_comment() {
    assert_eq!(lines("a.rs", "//! File\n/// Item\n/** Block */\nfn a() {}\n"), [4, 1, 3, 0]);
}

#[test]
fn characters_and_lifetimes_are_told_apart() {
    assert_eq!(
        names("a.rs", "fn ff<'aa>(xx: &'aa str) { '\"'; '/'; '\\''; 'é'; '\\u{1F600}'; yy }"),
        "ff str xx yy"
    );
    assert_eq!(names("a.rs", "'outer: loop { b'x'; b'\\\\'; break 'outer; } // 'c"), "");
    assert_eq!(names("a.rs", "impl<'a> Head<'a> { tail('a', '\u{1F600}') }"), "Head tail");
}

#[test]
fn numbers_are_no_identifiers() {
    assert_eq!(names("a.rs", "0xff_u8 + 1_000usize + 1.5e10f64 + 0b11 + xx.0"), "xx");
    assert_eq!(names("a.cpp", "1'000'000 + 0xFF'FFull + 'a' + xx"), "xx");
}

#[test]
fn keywords_and_single_letters_are_left_out() {
    assert_eq!(names("a.rs", "fn f(self) -> Option<u8> { match x { y_1 => _z } }"), "Option _z u8 y_1");
}

#[test]
fn a_backslash_continues_a_comment_in_c_only() {
    assert_eq!(lines("a.c", "// a \\\n b\nint c;\n"), [3, 1, 2, 0]);
    assert_eq!(lines("a.rs", "// a \\\nlet b;\n"), [2, 1, 1, 0]);
}

#[test]
fn raw_strings_of_cpp_end_at_their_mark() {
    assert_eq!(names("a.cpp", "aa = R\"x(\" )\" // )x\"; bb = u8R\"(cc)\"; dd"), "aa bb dd");
}

#[test]
fn documentation_strings_of_python_are_code() {
    assert_eq!(
        lines("a.py", "def f():\n    \"\"\"Text\n\n    # text\n    \"\"\"\n    # why\n"),
        [6, 4, 1, 1]
    );
    assert_eq!(names("a.py", "'''it's \"so\"''' + aa"), "aa");
}

#[test]
fn templates_hold_code() {
    assert_eq!(
        names("a.js", "aa = `text ${bb + `in ${cc({dd: 1})} ner`} // text` + ee // ff"),
        "aa bb cc dd ee"
    );
    assert_eq!(lines("a.ts", "a = `\n// text\n\n${b}`\n// comment\n"), [5, 3, 1, 1]);
    assert_eq!(names("a.js", r"aa = `\` ${'}'} \${no}` + bb"), "aa bb");
}

#[test]
fn a_regular_expression_is_told_from_a_division() {
    assert_eq!(
        names("a.js", "aa = /['\"`]/g; bb = cc / dd / ee; return /[/*]/.test(ff)"),
        "aa bb cc dd ee ff test"
    );
    assert_eq!(lines("a.js", "a = b.replace(/\\/*/, 1);\nc;\n"), [2, 2, 0, 0]);
}

#[test]
fn a_hash_inside_a_shell_word_is_no_comment() {
    assert_eq!(names("a.sh", "aa=$# bb=${cc#dd} # ee"), "aa bb cc dd");
    assert_eq!(names("a.sh", "echo don\\'t aa 'no\nno' $'it\\'s' bb"), "aa bb don echo");
}

#[test]
fn here_documents_are_code_and_hold_no_identifiers() {
    let source = "cat <<'EOF' > \"$out\"\nit's # text\n\nEOF\n# comment\ncat <<-end\n\tdon't\n\tend\nll=1\n";
    assert_eq!(lines("a.sh", source), [9, 7, 1, 1]);
    assert_eq!(names("a.sh", source), "cat cat ll");
}

#[test]
fn a_shift_and_a_here_string_are_no_here_documents() {
    assert_eq!(names("a.sh", "a=$((1 << nn))\ncat <<<word\nll"), "cat ll nn word");
    assert_eq!(lines("a.sh", "a=$((1<<nn))\n# no\nb=$((1<<nn))\n# it's\nc=1\n"), [5, 3, 2, 0]);
}

#[test]
fn comments_that_begin_in_the_first_column() {
    assert_eq!(lines("a.rb", "=begin\ntext\n=end\na = 1\nb =begin\n"), [5, 2, 3, 0]);
    assert_eq!(lines("a.pl", "=head1 NAME\n\ntext\n\n=cut\n\nmy $x;\n"), [7, 1, 3, 3]);
}

#[test]
fn quotes_inside_words_of_yaml_are_text() {
    assert_eq!(lines("a.yml", "a: don't # why\n# b: 'c\nd: 'e # f'\ng: h#i\n"), [4, 3, 1, 0]);
}

#[test]
fn text_and_data_have_no_identifiers() {
    assert_eq!(names("a.md", "Some words `code` here\n"), "");
    assert_eq!(lines("a.md", "# Heading\n\n<!-- note -->\nIt's text\n"), [4, 2, 1, 1]);
    assert_eq!(lines("a.toml", "# a\nb = \"# c\"\nd = 'e\\'\n"), [3, 2, 1, 0]);
}

#[test]
fn each_language_knows_its_comments() {
    let cases = [
        ("a.sql", "SELECT 'it''s -- no' -- why\n-- b\n/* c */\n", [3, 1, 2, 0]),
        ("a.lua", "a = [[ -- no\n]] -- b\n--[[ c\nd ]]\n", [4, 2, 2, 0]),
        ("a.hs", "{- a {- b -} c -}\nd' = 'x' -- e\n-- f\n", [3, 1, 2, 0]),
        ("a.html", "<p>it's</p>\n<!-- a\nb -->\n", [3, 1, 2, 0]),
        ("a.css", "a { b: \"/*\" }\n/* c\n*/\n", [3, 1, 2, 0]),
        ("a.s", "# a\n mov $1, %eax # b\n// c\n add r0, #4\n", [4, 2, 2, 0]),
        ("a.asm", "; a\n mov eax, 1 ; b\n", [2, 1, 1, 0]),
        ("a.cs", "a = @\"\\\"; // b\n// c\n", [2, 1, 1, 0]),
        ("a.go", "a := `\\` // b\n// c\n", [2, 1, 1, 0]),
        ("CMakeLists.txt", "#[[ a\nb ]]\nset(c) # d\n", [3, 1, 2, 0]),
    ];
    for (file, source, expected) in cases {
        assert_eq!(lines(file, source), expected, "{file}");
    }
}
