use gorun::prelude::*;

fn main() {
    let _ = stream::<String>(16);
}
