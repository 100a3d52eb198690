//! What a task needs, it names: `go!(|n, text| …)` takes the variables `n` and `text` along as the task's input. A
//! closure that used them without naming them would not compile, since nothing of this process is visible in another.

use gorun::prelude::*;

fn main() -> Result<(), TaskError> {
    let n: usize = 3;
    let text = "to be or not to be".to_owned();
    let words = go!(|n, text| commonest_words(n, &text)).join()?;
    println!("{}", words.join(" "));
    Ok(())
}

/// The `n` words that occur most often, equally common ones in the order of the alphabet.
fn commonest_words(n: usize, text: &str) -> Vec<String> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    let mut groups: Vec<&[&str]> = words.chunk_by(|a, b| a == b).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups.iter().take(n).map(|group| group[0].to_owned()).collect()
}
