//! Confluent's wire format: a zero, the schema's id as a big-endian `i32`, the Avro datum.

use std::io::{self, Read};

use crate::wire::codec::Error;

pub(super) const MAGIC: u8 = 0;

/// The schema's id, and the datum behind it.
pub(super) fn split(bytes: &[u8]) -> Result<(i32, Datum<'_>), Error> {
    match bytes {
        [MAGIC, a, b, c, d, datum @ ..] => Ok((i32::from_be_bytes([*a, *b, *c, *d]), Datum(datum))),
        _ => Err(Error::NotFramed { len: bytes.len() }),
    }
}

/// A datum being read, from which nothing can be read beyond its end.
///
/// apache-avro's `Value` decoder takes the end of its input (`UnexpectedEof`) inside strings, booleans and unions for
/// null: a value cut short before an optional last field would decode, with the field missing. So the end is reported
/// as another kind of error, which it passes on.
#[derive(Clone, Copy)]
pub(super) struct Datum<'a>(&'a [u8]);

impl Datum<'_> {
    /// Bytes not read yet.
    #[cfg(feature = "avro")]
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }
}

impl Read for Datum<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    #[inline]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        match self.0.split_at_checked(buf.len()) {
            // Variable-length integers are read byte by byte; see `Frame`.
            Some(([byte], rest)) => {
                buf[0] = *byte;
                self.0 = rest;
                Ok(())
            }
            Some((taken, rest)) => {
                buf.copy_from_slice(taken);
                self.0 = rest;
                Ok(())
            }
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the value is truncated")),
        }
    }
}
