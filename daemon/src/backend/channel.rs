//! Messages over the socket pair of daemon and worker: MessagePack behind a little-endian `u32` length, with
//! descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::descriptors;

/// Longest message, bytes: a prompt of the longest context fits many times over.
const MAX_MESSAGE: usize = 64 << 20;

/// One end of the pair, for reading.
pub struct Receiver {
    socket: UnixStream,
    buffer: Vec<u8>,
    /// Descriptors that came with the messages so far; the reader takes them.
    pub descriptors: Vec<OwnedFd>,
}

impl Receiver {
    /// Reads from `socket`, which blocks.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, buffer: Vec::new(), descriptors: Vec::new() }
    }

    /// The next message that has arrived, without waiting; `None` if none is complete.
    ///
    /// # Errors
    /// A message that cannot be read.
    pub fn pending<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((length, _)) = self.buffer.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        let Some(body) = self.buffer.get(4..4 + length) else { return Ok(None) };
        let message = rmp_serde::from_slice(body).map_err(io::Error::other);
        self.buffer.drain(..4 + length);
        message.map(Some)
    }

    /// Waits for bytes and reads them; `false` at end of file.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn fill(&mut self) -> io::Result<bool> {
        Ok(descriptors::receive(&self.socket, &mut self.buffer, &mut self.descriptors)? > 0)
    }

    /// Waits for the next message; `None` at end of file.
    ///
    /// # Errors
    /// Those of the socket, or a message that cannot be read.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.pending()? {
                return Ok(Some(message));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends a message with descriptors.
///
/// # Errors
/// Those of the socket: `BrokenPipe` when the other process is gone.
pub fn send<T: Serialize>(
    socket: &UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    rmp_serde::encode::write_named(&mut bytes, message).map_err(io::Error::other)?;
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    descriptors::send(socket, &bytes, descriptors)
}
