//! Reader: the bytes of a message while it is decoded, and how deep that may go.
//!
//! The bytes come from another process. A length in them is checked against the bytes that are there before
//! anything is allocated, and a value nested so deep that decoding it would run out of stack is refused: each
//! level of a value that can be nested at will reads at least a byte, and each read looks how far the stack has
//! grown since decoding began.

use bincode::ErrorKind;
use serde::de::Visitor;
use std::io::{self, Read};

/// Stack that decoding one value may take, a quarter of what the standard library gives a thread.
const STACK_BYTES_MAX: usize = 512 * 1024;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the stack was when decoding began.
    stack: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, stack: stack_now() }
    }

    /// What was not read.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    fn next_bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        if self.stack.abs_diff(stack_now()) > STACK_BYTES_MAX {
            return Err(io::Error::other("the value is nested too deep"));
        }
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        self.bytes = rest;
        Ok(taken)
    }
}

/// About where the stack ends now.
#[inline]
fn stack_now() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

impl Read for Reader<'_> {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        let count = place.len().min(self.bytes.len());
        place[..count].copy_from_slice(self.next_bytes(count)?);
        Ok(count)
    }

    #[inline]
    fn read_exact(&mut self, place: &mut [u8]) -> io::Result<()> {
        place.copy_from_slice(self.next_bytes(place.len())?);
        Ok(())
    }
}

impl<'a> bincode::BincodeRead<'a> for &mut Reader<'a> {
    fn forward_read_str<V: Visitor<'a>>(&mut self, length: usize, visitor: V) -> bincode::Result<V::Value> {
        match std::str::from_utf8(self.next_bytes(length)?) {
            Ok(text) => visitor.visit_borrowed_str(text),
            Err(cause) => Err(ErrorKind::InvalidUtf8Encoding(cause).into()),
        }
    }

    fn get_byte_buffer(&mut self, length: usize) -> bincode::Result<Vec<u8>> {
        Ok(self.next_bytes(length)?.to_vec())
    }

    fn forward_read_bytes<V: Visitor<'a>>(&mut self, length: usize, visitor: V) -> bincode::Result<V::Value> {
        visitor.visit_borrowed_bytes(self.next_bytes(length)?)
    }
}
