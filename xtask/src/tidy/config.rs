//! A configuration field that nobody reads is a promise that nobody keeps.

use super::{Finding, Source, has_word};

/// Every public field of `Config` that no other live file reads.
pub(crate) fn check(config: &Source, sources: &[Source]) -> Vec<Finding> {
    let fields = fields(config);
    let unread =
        fields.into_iter().filter(|(_, field)| !sources.iter().any(|source| reads(source, config, field)));
    let fix = "let one room read it as `.field`, or delete the field";
    unread
        .map(|(index, field)| Finding::new(config.path, index, format!("nobody reads Config::{field}"), fix))
        .collect()
}

/// The public fields of the struct named `Config`, with their lines.
fn fields(config: &Source) -> Vec<(usize, String)> {
    let start = config.code.iter().position(|line| has_word(line, "struct Config"));
    let Some((start, end)) = start.and_then(|start| Some((start, config.block_end(start)?))) else {
        return Vec::new();
    };
    let lines = config.code[start + 1..end].iter().enumerate();
    lines.filter_map(|(index, line)| Some((start + 1 + index, public_field(line)?))).collect()
}

fn public_field(line: &str) -> Option<String> {
    let line = line.trim_start();
    let rest = line
        .strip_prefix("pub ")
        .or_else(|| line.strip_prefix("pub(")?.split_once(") ").map(|(_, rest)| rest));
    let (name, _) = rest?.split_once(':')?;
    name.chars().all(|symbol| symbol.is_alphanumeric() || symbol == '_').then(|| name.to_owned())
}

/// Tests do not count as readers: they cannot make a field change what the program does.
fn reads(source: &Source, config: &Source, field: &str) -> bool {
    source.path != config.path && !source.is_trial() && source.live().any(|(_, line)| reads_line(line, field))
}

/// A field is read as `.field`; with a bracket behind it, it would be a method of that name.
fn reads_line(line: &str, field: &str) -> bool {
    line.match_indices(&format!(".{field}")).any(|(place, found)| {
        let after = line[place + found.len()..].chars().next();
        !after.is_some_and(|symbol| symbol.is_alphanumeric() || matches!(symbol, '_' | '('))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "pub struct Config {\n    /// How many.\n    pub workers: u32,\n    pub(crate) pin: bool,\n    own: u8,\n}\n";

    #[test]
    fn a_field_without_a_reader_is_found() {
        let sources = [
            Source::new("runtime/src/config.rs", CONFIG),
            Source::new("runtime/src/pool.rs", "start(config.workers);\nbuilder.pin(true);\n"),
            Source::new("runtime/tests/pool.rs", "assert!(config.pin);\n"),
        ];
        let fix = "let one room read it as `.field`, or delete the field";
        let expected = Finding::new("runtime/src/config.rs", 3, "nobody reads Config::pin", fix);
        assert_eq!(check(&sources[0], &sources), [expected]);
    }

    #[test]
    fn a_longer_name_is_not_a_reader() {
        assert!(!reads_line("config.workers_max", "workers"));
        assert!(reads_line("config.workers)", "workers"));
    }
}
