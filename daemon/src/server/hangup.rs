//! Noticing that the other end of a socket is closed altogether.

use std::io;
use std::os::fd::AsFd;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the other end of `socket` is closed altogether, not only its writing half.
///
/// The runtime reports both as "readable", and for ever. So the socket is watched by an epoll instance of its own for
/// nothing but a hang-up, which the kernel always reports, and the runtime watches that instance: no wake-up until
/// then.
///
/// # Errors
/// If the kernel gives no descriptor.
pub(super) async fn hung_up(socket: impl AsFd) -> io::Result<()> {
    let watch = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&watch, socket, EventData::new_u64(0), EventFlags::empty())?;
    #[expect(unsafe_code, reason = "the runtime trusts descriptors that it is given")]
    // SAFETY: the instance is owned by what is registered, and closed with it, not before.
    let watch = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE)? };
    watch.readable().await?.retain_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_closed_writing_half_is_no_hang_up_and_a_closed_socket_is() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut hang_up = std::pin::pin!(hung_up(&ours));
            theirs.shutdown(Shutdown::Write).unwrap();
            let (half, other) = UnixStream::pair().unwrap();
            drop(other);
            // The second pair hung up after the first was half closed, and is reported alone.
            tokio::select! {
                biased;
                _ = &mut hang_up => panic!("half of it is open"),
                result = hung_up(&half) => result.unwrap(),
            }
            drop(theirs);
            hang_up.await.unwrap();
        });
    }
}
