//! Marker for values that may lie in shared memory as they are: no pointers, no padding, any bytes valid.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A value whose bytes mean the same in every process and for which every bit pattern is a value.
///
/// Implemented for everything that zerocopy's derives accept as `FromBytes + IntoBytes + Immutable + KnownLayout`:
/// numbers, arrays of them, and `#[repr(C)]` structs without padding that derive the four.
///
/// ```
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Pixel { r: u8, g: u8, b: u8, a: u8 }
///
/// fn travels<T: gorun_shm::Plain>() {}
/// travels::<Pixel>();
/// travels::<[f64; 16]>();
/// ```
///
/// A type with a pointer in it is refused by the compiler:
///
/// ```compile_fail
/// fn travels<T: gorun_shm::Plain>() {}
/// travels::<String>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in shared memory as it is",
    label = "holds a pointer, padding, or bits that are not always valid",
    note = "derive zerocopy's `FromBytes`, `IntoBytes`, `Immutable` and `KnownLayout` on a `#[repr(C)]` struct of plain numbers, or send the value through serde as a task input instead"
)]
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + Sync + 'static> Plain for T {}
