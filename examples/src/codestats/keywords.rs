//! Words that belong to the languages themselves and are left out of the identifiers.
//! Sorted by byte value (a test of `language` checks it), so that a word is found by binary search.

/// For languages whose words are all names.
pub(crate) const NONE: &[&str] = &[];

pub(crate) const RUST: &[&str] = &[
    "Self", "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern",
    "false", "fn", "for", "if", "impl", "in", "let", "loop", "macro_rules", "match", "mod", "move", "mut",
    "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "type", "union", "unsafe",
    "use", "where", "while",
];

pub(crate) const C: &[&str] = &[
    "_Alignas", "_Alignof", "_Atomic", "_Bool", "_Complex", "_Generic", "_Noreturn", "_Static_assert",
    "_Thread_local", "auto", "break", "case", "char", "const", "continue", "default", "define", "defined",
    "do", "double", "elif", "else", "endif", "enum", "error", "extern", "float", "for", "goto", "if", "ifdef",
    "ifndef", "include", "inline", "int", "line", "long", "pragma", "register", "restrict", "return", "short",
    "signed", "sizeof", "static", "struct", "switch", "typedef", "undef", "union", "unsigned", "void",
    "volatile", "while",
];

pub(crate) const CPP: &[&str] = &[
    "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch",
    "char", "char16_t", "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield", "compl",
    "concept", "const", "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype",
    "default", "define", "defined", "delete", "do", "double", "dynamic_cast", "elif", "else", "endif", "enum",
    "error", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "ifdef",
    "ifndef", "include", "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq",
    "nullptr", "operator", "or", "or_eq", "pragma", "private", "protected", "public", "register",
    "reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof", "static",
    "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw", "true",
    "try", "typedef", "typeid", "typename", "undef", "union", "unsigned", "using", "virtual", "void",
    "volatile", "wchar_t", "while", "xor", "xor_eq",
];

pub(crate) const PYTHON: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

pub(crate) const SCRIPT: &[&str] = &[
    "abstract", "any", "as", "async", "await", "boolean", "break", "case", "catch", "class", "const",
    "continue", "debugger", "declare", "default", "delete", "do", "else", "enum", "export", "extends",
    "false", "finally", "for", "from", "function", "get", "if", "implements", "import", "in", "infer",
    "instanceof", "interface", "is", "keyof", "let", "namespace", "never", "new", "null", "number", "of",
    "private", "protected", "public", "readonly", "return", "set", "static", "string", "super", "switch",
    "symbol", "this", "throw", "true", "try", "type", "typeof", "undefined", "unknown", "var", "void",
    "while", "with", "yield",
];

pub(crate) const GO: &[&str] = &[
    "break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "false", "for",
    "func", "go", "goto", "if", "import", "interface", "map", "nil", "package", "range", "return", "select",
    "struct", "switch", "true", "type", "var",
];

pub(crate) const JAVA: &[&str] = &[
    "abstract", "assert", "boolean", "break", "byte", "case", "catch", "char", "class", "const", "continue",
    "default", "do", "double", "else", "enum", "extends", "false", "final", "finally", "float", "for", "goto",
    "if", "implements", "import", "instanceof", "int", "interface", "long", "native", "new", "null",
    "package", "private", "protected", "public", "record", "return", "sealed", "short", "static", "strictfp",
    "super", "switch", "synchronized", "this", "throw", "throws", "transient", "true", "try", "var", "void",
    "volatile", "while", "yield",
];

pub(crate) const KOTLIN: &[&str] = &[
    "abstract", "as", "break", "by", "class", "companion", "const", "constructor", "continue", "data", "do",
    "else", "enum", "false", "final", "for", "fun", "if", "import", "in", "init", "inline", "interface",
    "internal", "is", "lateinit", "null", "object", "open", "operator", "out", "override", "package",
    "private", "protected", "public", "return", "sealed", "super", "suspend", "this", "throw", "true", "try",
    "typealias", "val", "var", "vararg", "when", "where", "while",
];

pub(crate) const SCALA: &[&str] = &[
    "abstract", "case", "catch", "class", "def", "do", "else", "enum", "extends", "false", "final", "finally",
    "for", "given", "if", "implicit", "import", "lazy", "match", "new", "null", "object", "override",
    "package", "private", "protected", "return", "sealed", "super", "then", "this", "throw", "trait", "true",
    "try", "type", "using", "val", "var", "while", "with", "yield",
];

pub(crate) const SWIFT: &[&str] = &[
    "Any", "Self", "actor", "as", "associatedtype", "async", "await", "break", "case", "catch", "class",
    "continue", "default", "defer", "deinit", "do", "else", "enum", "extension", "fallthrough", "false",
    "fileprivate", "for", "func", "guard", "if", "import", "in", "init", "inout", "internal", "is", "let",
    "nil", "open", "operator", "private", "protocol", "public", "repeat", "rethrows", "return", "self",
    "static", "struct", "subscript", "super", "switch", "throw", "throws", "true", "try", "typealias", "var",
    "where", "while",
];

pub(crate) const CSHARP: &[&str] = &[
    "abstract", "as", "async", "await", "base", "bool", "break", "byte", "case", "catch", "char", "checked",
    "class", "const", "continue", "decimal", "default", "delegate", "do", "double", "else", "enum", "event",
    "explicit", "extern", "false", "finally", "fixed", "float", "for", "foreach", "get", "goto", "if",
    "implicit", "in", "int", "interface", "internal", "is", "lock", "long", "namespace", "new", "null",
    "object", "operator", "out", "override", "params", "private", "protected", "public", "readonly", "record",
    "ref", "return", "sbyte", "sealed", "set", "short", "sizeof", "stackalloc", "static", "string", "struct",
    "switch", "this", "throw", "true", "try", "typeof", "uint", "ulong", "unchecked", "unsafe", "ushort",
    "using", "var", "virtual", "void", "volatile", "where", "while", "yield",
];

pub(crate) const RUBY: &[&str] = &[
    "BEGIN", "END", "alias", "and", "begin", "break", "case", "class", "def", "defined", "do", "else",
    "elsif", "end", "ensure", "false", "for", "if", "in", "module", "next", "nil", "not", "or", "redo",
    "rescue", "retry", "return", "self", "super", "then", "true", "undef", "unless", "until", "when", "while",
    "yield",
];

pub(crate) const PHP: &[&str] = &[
    "abstract", "and", "array", "as", "break", "callable", "case", "catch", "class", "clone", "const",
    "continue", "declare", "default", "do", "echo", "else", "elseif", "empty", "enddeclare", "endfor",
    "endforeach", "endif", "endswitch", "endwhile", "enum", "extends", "false", "final", "finally", "fn",
    "for", "foreach", "function", "global", "goto", "if", "implements", "include", "include_once",
    "instanceof", "insteadof", "interface", "isset", "list", "match", "namespace", "new", "null", "or", "php",
    "print", "private", "protected", "public", "readonly", "require", "require_once", "return", "static",
    "switch", "this", "throw", "trait", "true", "try", "unset", "use", "var", "while", "xor", "yield",
];

pub(crate) const PERL: &[&str] = &[
    "and", "cmp", "continue", "do", "else", "elsif", "eq", "for", "foreach", "ge", "given", "gt", "if",
    "last", "le", "lt", "my", "ne", "next", "no", "not", "or", "our", "package", "redo", "require", "return",
    "sub", "unless", "until", "use", "when", "while", "xor",
];

pub(crate) const LUA: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

pub(crate) const HASKELL: &[&str] = &[
    "as", "case", "class", "data", "default", "deriving", "do", "else", "family", "forall", "foreign",
    "hiding", "if", "import", "in", "infix", "infixl", "infixr", "instance", "let", "mdo", "module",
    "newtype", "of", "proc", "qualified", "rec", "then", "type", "where",
];

pub(crate) const ZIG: &[&str] = &[
    "addrspace", "align", "allowzero", "and", "anyframe", "anytype", "asm", "async", "await", "break",
    "callconv", "catch", "comptime", "const", "continue", "defer", "else", "enum", "errdefer", "error",
    "export", "extern", "false", "fn", "for", "if", "inline", "linksection", "noalias", "noinline",
    "nosuspend", "null", "opaque", "or", "orelse", "packed", "pub", "resume", "return", "struct", "suspend",
    "switch", "test", "threadlocal", "true", "try", "undefined", "union", "unreachable", "usingnamespace",
    "var", "volatile", "while",
];

pub(crate) const SQL: &[&str] = &[
    "add", "all", "alter", "and", "any", "as", "asc", "autoincrement", "begin", "between", "bigint", "blob",
    "boolean", "by", "case", "cast", "char", "check", "column", "commit", "constraint", "create", "cross",
    "database", "date", "default", "delete", "desc", "distinct", "drop", "else", "end", "except", "exists",
    "explain", "false", "foreign", "from", "full", "function", "group", "having", "if", "in", "index",
    "inner", "insert", "int", "integer", "intersect", "into", "is", "join", "key", "left", "like", "limit",
    "not", "null", "offset", "on", "or", "order", "outer", "primary", "procedure", "real", "references",
    "replace", "returning", "right", "rollback", "row", "select", "set", "table", "text", "then", "timestamp",
    "to", "transaction", "trigger", "true", "union", "unique", "update", "using", "values", "varchar", "view",
    "when", "where", "with",
];

pub(crate) const SHELL: &[&str] = &[
    "case", "do", "done", "elif", "else", "esac", "exit", "export", "fi", "for", "function", "if", "in",
    "local", "readonly", "return", "select", "set", "shift", "then", "time", "unset", "until", "while",
];

pub(crate) const MAKE: &[&str] = &[
    "define", "else", "endef", "endif", "export", "ifdef", "ifeq", "ifndef", "ifneq", "include", "override",
    "unexport",
];

pub(crate) const CMAKE: &[&str] = &[
    "break", "continue", "else", "elseif", "endforeach", "endfunction", "endif", "endmacro", "endwhile",
    "foreach", "function", "if", "include", "macro", "option", "project", "return", "set", "unset", "while",
];

pub(crate) const PROTO: &[&str] = &[
    "bool", "bytes", "double", "enum", "extend", "extensions", "false", "fixed32", "fixed64", "float",
    "import", "int32", "int64", "map", "message", "oneof", "option", "optional", "package", "public",
    "repeated", "required", "reserved", "returns", "rpc", "service", "sfixed32", "sfixed64", "sint32",
    "sint64", "stream", "string", "syntax", "to", "true", "uint32", "uint64",
];
