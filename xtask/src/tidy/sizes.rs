//! How long a file and a function may be before they fall apart into two.

use super::{Finding, Source};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.code.len();
    if lines > FILE_LINES_MAX {
        let problem = format!("the file has {lines} lines, more than {FILE_LINES_MAX}");
        findings.push(Finding::new(source.path, FILE_LINES_MAX, problem, "split it: one noun per file"));
    }
    for (start, line) in source.code.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let Some(end) = source.block_end(start) else { continue };
        let length = end - start + 1;
        if length > FUNCTION_LINES_MAX {
            let problem = format!("fn {name} has {length} lines, more than {FUNCTION_LINES_MAX}");
            findings.push(Finding::new(source.path, start, problem, "give its steps names of their own"));
        }
    }
    findings
}

/// The name of the function that a line of formatted code declares.
fn function_name(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let place = if rest.starts_with("fn ") { 0 } else { rest.find(" fn ")? + 1 };
    let name = rest[place + 3..].split(|symbol: char| !symbol.is_alphanumeric() && symbol != '_').next()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let text = "//! A file.\n".repeat(601);
        assert_eq!(check(&Source::new("a.rs", &text)).len(), 1);
        assert_eq!(check(&Source::new("a.rs", &"//! A file.\n".repeat(600))), []);
    }

    #[test]
    fn a_long_function_is_found() {
        let long = format!("pub fn long(\n    x: [u8; 2],\n) {{\n{}}}\n", "    step();\n".repeat(67));
        assert_eq!(check(&Source::new("a.rs", &long)).len(), 1);
        let fits = format!("pub fn fits() {{\n{}}}\n", "    step();\n".repeat(68));
        assert_eq!(check(&Source::new("a.rs", &fits)), []);
    }

    #[test]
    fn names_are_taken_from_declarations_only() {
        assert_eq!(function_name("    pub(crate) const fn len(&self) -> usize {"), Some("len"));
        assert_eq!(function_name("type Shim = unsafe fn(*const u8);"), None);
        assert_eq!(function_name("let define = 3;"), None);
    }
}
