//! `gorun channels`, as a user runs it while a program, this one, has bound names.

use gorun::Channel;
use serde_json::Value;
use std::process::Command;

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gorun")).arg("channels").args(arguments).output();
    let output = output.expect("run the launcher");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("names are text")
}

#[test]
fn bound_names_are_listed_while_they_are_bound() {
    let name = format!("listed-{}", std::process::id());
    let is_listed = || {
        let in_lines = printed(&[]).lines().any(|line| line.split('\t').nth(1) == Some(name.as_str()));
        let document: Value = serde_json::from_str(&printed(&["--json"])).expect("a JSON document");
        let channels = document["channels"].as_array().expect("a list of channels");
        let in_document =
            channels.iter().any(|channel| channel["name"] == name.as_str() && channel["user"].is_u64());
        assert_eq!(in_lines, in_document);
        in_lines
    };
    assert!(!is_listed());
    let bound = Channel::<u64>::bounded(1).bind(&name).expect("bind a name");
    assert!(is_listed());
    drop(bound);
    assert!(!is_listed());
}
