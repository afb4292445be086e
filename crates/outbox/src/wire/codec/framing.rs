//! A value in Confluent's wire format, as it is written.

use std::io::{self, Write};

use crate::wire::codec::frame::MAGIC;

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
