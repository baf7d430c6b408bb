//! Bytes and file descriptors over a Unix socket (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Most descriptors in one message: a sharded model's files and more. The kernel's own limit is 253.
pub const MAX_DESCRIPTORS: usize = 64;

/// Sends all of `bytes`; `descriptors` travel with the first of them. For a blocking socket.
///
/// # Errors
/// Those of `sendmsg`.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += send_part(&socket, &bytes[sent..], if sent == 0 { descriptors } else { &[] })?;
    }
    Ok(())
}

/// Sends as many of `bytes` as the socket takes at once, with `descriptors`; how many. Without a byte no descriptor goes.
///
/// # Errors
/// Those of `sendmsg`; `WouldBlock` on a socket that does not block.
pub fn send_part(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    loop {
        match sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(count) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives up to 16 KiB, appending to `bytes` and `descriptors`; 0 at end of file. Descriptors that do not
/// fit one message's limit are closed by the kernel.
///
/// # Errors
/// Those of `recvmsg`; `WouldBlock` on a socket that does not block.
pub fn receive(socket: impl AsFd, bytes: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut part = [0; 16 << 10];
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut part)];
        match recvmsg(socket.as_fd(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    bytes.extend_from_slice(&part[..received]);
    Ok(received)
}
