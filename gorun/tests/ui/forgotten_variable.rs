use gorun::prelude::*;

fn main() {
    let (n, text) = (3, String::from("ab"));
    let _ = go!(|n| text.repeat(n)).join();
}
