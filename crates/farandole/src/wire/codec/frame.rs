//! Confluent's wire format: a zero, the schema's id as a big-endian `i32`, the Avro datum.

use std::io::{self, Read, Write};

use crate::wire::codec::Error;

const MAGIC: u8 = 0;

/// Room for an encoded value to begin with; the shop's events take 60 to 400 bytes.
const ROOM: usize = 256;

/// A value being written, with its header in front.
pub(super) struct Frame(Vec<u8>);

impl Frame {
    pub(super) fn new(id: i32) -> Self {
        let mut bytes = Vec::with_capacity(ROOM);
        bytes.push(MAGIC);
        bytes.extend_from_slice(&id.to_be_bytes());
        Self(bytes)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Write for Frame {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_all(buf).map(|()| buf.len())
    }

    #[inline]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        match buf {
            // Most variable-length integers; a copy of unknown length costs a call each.
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(buf),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the value ends early")),
        }
    }
}
