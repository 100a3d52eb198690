use gorun::prelude::*;

fn main() {
    let _ = SharedSlice::<String>::loan(3);
}
