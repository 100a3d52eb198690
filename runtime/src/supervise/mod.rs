//! Supervise: what is done about tasks that fail. Policies are pure where they can be: time and randomness come in.

mod backoff;

pub use backoff::Backoff;
