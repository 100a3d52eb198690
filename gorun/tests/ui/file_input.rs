use gorun::prelude::*;
use std::fs::File;

fn main() {
    let file = File::open("numbers").unwrap();
    let _ = go!(|file| file.metadata().is_ok()).join();
}
