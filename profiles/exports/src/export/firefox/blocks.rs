//! Bytes that are kept compressed until they are written.

use std::io;

/// Bytes that are compressed at a time.
const BLOCK: usize = 1 << 16;

/// What was added, in pieces that are never divided.
#[derive(Default)]
pub(super) struct Blocks {
    /// The last pieces.
    tail: Vec<u8>,
    /// Those before them, each with its length.
    full: Vec<(Vec<u8>, usize)>,
}

impl Blocks {
    /// Adds a piece, which `write` appends.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        write(&mut self.tail)?;
        if self.tail.len() >= BLOCK {
            self.full.push((zstd::bulk::compress(&self.tail, 1)?, self.tail.len()));
            self.tail.clear();
        }
        Ok(())
    }

    /// Gives all pieces to `take`, many at a time, in their order.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        for (block, length) in &self.full {
            take(&zstd::bulk::decompress(block, *length)?)?;
        }
        take(&self.tail)
    }
}
