//! Where clients come from: a socket of our own, one that systemd passed, or one client alone.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::listener::{self, BindError};

/// Where clients come from.
pub enum Endpoint {
    /// Anybody who may connect.
    Listener(UnixListener),
    /// One client alone, over a socket without a name; the daemon ends with it.
    Private(UnixStream),
}

/// An endpoint that is ready for clients.
pub(crate) struct Opened {
    pub(crate) endpoint: Endpoint,
    /// Path of the socket; `None` if it has no name.
    pub(crate) socket: Option<String>,
    /// This process made the file, and removes it.
    pub(crate) bound_here: bool,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Standard input cannot be copied.
    #[error("there is no standard input")]
    NoInput(#[source] io::Error),
    /// Standard input is something else.
    #[error("standard input is no socket: this command is started by slmscope itself")]
    InputIsNoSocket,
    /// systemd passed something else.
    #[error("the passed descriptor is no socket")]
    PassedIsNoSocket,
    /// The kernel does not say where the socket is.
    #[error("the socket has no address")]
    Address(#[source] io::Error),
    /// The socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Opens what the daemon serves: standard input if it is `private`, else what systemd passed, else the socket at
/// `path`, else the user's own.
pub(crate) fn open(private: bool, path: Option<PathBuf>) -> Result<Opened, EndpointError> {
    if private {
        let endpoint = Endpoint::Private(UnixStream::from(standard_input()?));
        return Ok(Opened { endpoint, socket: None, bound_here: false });
    }
    let passed = sd_notify::listen_fds().ok().and_then(|mut passed| passed.next());
    let listener = match passed {
        Some(descriptor) => passed_listener(descriptor)?,
        None => listener::bind(&path.unwrap_or_else(listener::user_socket))?,
    };
    let address = listener.local_addr().map_err(EndpointError::Address)?;
    let socket = address.as_pathname().map(|path| path.display().to_string());
    Ok(Opened { endpoint: Endpoint::Listener(listener), socket, bound_here: passed.is_none() })
}

/// A copy of standard input, which is a socket.
pub(crate) fn standard_input() -> Result<OwnedFd, EndpointError> {
    let copy = io::stdin().as_fd().try_clone_to_owned().map_err(EndpointError::NoInput)?;
    let is_socket = rustix::net::sockopt::socket_domain(&copy).is_ok();
    is_socket.then_some(copy).ok_or(EndpointError::InputIsNoSocket)
}

#[expect(unsafe_code, reason = "descriptors of the service manager come as numbers")]
fn passed_listener(descriptor: RawFd) -> Result<UnixListener, EndpointError> {
    // SAFETY: the service manager opened this descriptor for us, and nothing else in this process uses it.
    let listener = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let is_socket = rustix::net::sockopt::socket_domain(&listener).is_ok();
    is_socket.then(|| listener.into()).ok_or(EndpointError::PassedIsNoSocket)
}
