//! What the larger examples are made of; the small ones under `examples/` stand alone.

pub mod codestats;
