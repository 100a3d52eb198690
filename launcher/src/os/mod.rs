//! The only files of the launcher that speak with the kernel.

pub(crate) mod child;
pub(crate) mod poll;
pub(crate) mod signals;
