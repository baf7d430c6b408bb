//! Where clients come from: a socket of our own, one that systemd passed, or one client alone.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::net::AddressFamily;

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
    /// Passed TCP sockets on which metrics are served.
    pub(crate) metrics: Vec<TcpListener>,
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
    #[error("a passed descriptor is no local or TCP socket")]
    PassedIsNoSocket,
    /// The kernel does not say where the socket is.
    #[error("the socket has no address")]
    Address(#[source] io::Error),
    /// The socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Opens what the daemon serves: standard input if it is `private`, else what systemd passed, else the socket at
/// `path`, else the user's own. Of passed sockets, the local one is for clients and those of TCP for metrics alone.
pub(crate) fn open(private: bool, path: Option<PathBuf>) -> Result<Opened, EndpointError> {
    if private {
        let endpoint = Endpoint::Private(UnixStream::from(standard_input()?));
        return Ok(Opened { endpoint, metrics: Vec::new(), socket: None, bound_here: false });
    }
    let (mut local, mut metrics) = (None, Vec::new());
    for descriptor in sd_notify::listen_fds().into_iter().flatten() {
        match passed(descriptor)? {
            Passed::Local(listener) => local = local.or(Some(listener)),
            Passed::Tcp(listener) => metrics.push(listener),
        }
    }
    let bound_here = local.is_none();
    let listener = match local {
        Some(listener) => listener,
        None => listener::bind(&path.unwrap_or_else(listener::user_socket))?,
    };
    let address = listener.local_addr().map_err(EndpointError::Address)?;
    let socket = address.as_pathname().map(|path| path.display().to_string());
    Ok(Opened { endpoint: Endpoint::Listener(listener), metrics, socket, bound_here })
}

/// A copy of standard input, which is a socket.
pub(crate) fn standard_input() -> Result<OwnedFd, EndpointError> {
    let copy = io::stdin().as_fd().try_clone_to_owned().map_err(EndpointError::NoInput)?;
    let is_socket = rustix::net::sockopt::socket_domain(&copy).is_ok();
    is_socket.then_some(copy).ok_or(EndpointError::InputIsNoSocket)
}

/// A socket that the service manager passed.
enum Passed {
    Local(UnixListener),
    Tcp(TcpListener),
}

#[expect(unsafe_code, reason = "descriptors of the service manager come as numbers")]
fn passed(descriptor: RawFd) -> Result<Passed, EndpointError> {
    // SAFETY: the service manager opened this descriptor for us, and nothing else in this process uses it.
    let listener = unsafe { OwnedFd::from_raw_fd(descriptor) };
    match rustix::net::sockopt::socket_domain(&listener) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => Ok(Passed::Tcp(listener.into())),
        Ok(AddressFamily::UNIX) => Ok(Passed::Local(listener.into())),
        Ok(_) | Err(_) => Err(EndpointError::PassedIsNoSocket),
    }
}
