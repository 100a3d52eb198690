//! A picture in shared memory, worked on tile by tile in other processes. A tile is a part of the picture's own memory, and
//! what comes back lies where its worker wrote it: no byte of any pixel is copied on the way.
//!
//! `tiles --pgm FILE` also writes the result, which is the first time that its pixels stand one behind the other.

use gorun::prelude::*;
use std::error::Error;
use std::io::{BufWriter, Write};

/// Pixels along an edge of a tile, and tiles along an edge of the picture.
const TILE: usize = 128;
const ACROSS: usize = 8;
const PIXELS: usize = TILE * TILE;

fn main() -> Result<(), Box<dyn Error>> {
    let picture = draw()?;
    let tiles = (0..ACROSS * ACROSS).map(|tile| picture.slice(tile * PIXELS..(tile + 1) * PIXELS));
    let work = tiles.map(|tile| Task::with(tile, outline));
    let outlined: Vec<SharedSlice<u8>> = go_all(work).into_iter().collect::<Result<_, _>>()?;

    let edges: usize = outlined.iter().map(|tile| tile.iter().filter(|pixel| **pixel > 32).count()).sum();
    let copied = Runtime::current()?.stats().memory.bytes_copied;
    println!("{} tiles of {TILE} x {TILE} pixels, {edges} pixels on an edge", outlined.len());
    println!("{} bytes of pixels travelled, {copied} were copied", 2 * picture.len());
    let mut arguments = std::env::args().skip(1);
    if let (Some("--pgm"), Some(path)) = (arguments.next().as_deref(), arguments.next()) {
        write(&path, &outlined)?;
    }
    Ok(())
}

/// Rings around the middle, tile behind tile, written where they will be read.
fn draw() -> Result<SharedSlice<u8>, Box<dyn Error>> {
    let mut loan = SharedSlice::loan(ACROSS * ACROSS * PIXELS)?;
    let middle = ACROSS * TILE / 2;
    for (tile, pixels) in loan.chunks_exact_mut(PIXELS).enumerate() {
        for (place, pixel) in pixels.iter_mut().enumerate() {
            let x = (tile % ACROSS * TILE + place % TILE).abs_diff(middle);
            let y = (tile / ACROSS * TILE + place / TILE).abs_diff(middle);
            let ring = (x * x + y * y).isqrt() / 40;
            *pixel = u8::try_from(ring * 12)?;
        }
    }
    Ok(loan.publish()?)
}

/// How much each pixel differs from those to its right and below it.
fn outline(tile: SharedSlice<u8>) -> SharedSlice<u8> {
    let mut loan = SharedSlice::loan(PIXELS).expect("there is memory for a tile");
    for (place, pixel) in loan.iter_mut().enumerate() {
        let at = |x: usize, y: usize| tile[y.min(TILE - 1) * TILE + x.min(TILE - 1)];
        let (x, y) = (place % TILE, place / TILE);
        *pixel = at(x, y).abs_diff(at(x + 1, y)).max(at(x, y).abs_diff(at(x, y + 1)));
        *pixel = pixel.saturating_mul(4);
    }
    loan.publish().expect("nobody writes over our memory")
}

fn write(path: &str, tiles: &[SharedSlice<u8>]) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "P5 {0} {0} 255", ACROSS * TILE)?;
    for line in 0..ACROSS * TILE {
        let row = line % TILE * TILE;
        for tile in &tiles[line / TILE * ACROSS..][..ACROSS] {
            file.write_all(&tile[row..row + TILE])?;
        }
    }
    file.flush()
}
