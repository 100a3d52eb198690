use gorun::prelude::*;

fn main() {
    let k = 7;
    let _ = go_parallel(|| 6 * k).join();
}
