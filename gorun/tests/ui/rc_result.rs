use gorun::prelude::*;
use std::rc::Rc;

fn main() {
    let _ = go_parallel(|| Rc::new(5)).join();
}
