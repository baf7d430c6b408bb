//! Connecting to the running daemon, or starting a private one.

use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::Context;
use clap::Args;

use crate::client::Connection;
use crate::embedded;
use crate::failure::Failure;

/// Which daemon to talk to.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    /// Socket of the daemon to attach to; `none` ignores running daemons [default: $SLMSCOPE_SOCKET, then
    /// $XDG_RUNTIME_DIR/slmscope.sock, /tmp/slmscope-UID/slmscope.sock, /run/slmscope.sock]
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
}

/// A daemon that serves this process alone and ends with it.
pub struct Private {
    child: Child,
    stream: UnixStream,
}

impl Drop for Private {
    /// Closes the connection, which makes the daemon end its worker and itself, and waits for its end.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// A connection to a daemon.
pub struct Attached {
    /// The connection.
    pub connection: Connection,
    /// The private daemon at its other end; `None` if the daemon was already running.
    pub private: Option<Private>,
}

/// Attaches to the running daemon. If there is none of this version, starts a private one that logs to `log`.
///
/// # Errors
/// If the named socket does not answer, or a private daemon cannot be started.
pub fn attach(
    target: &Target,
    always_private: bool,
    log: impl FnOnce() -> Stdio,
) -> Result<Attached, Failure> {
    if !always_private && let Some(connection) = running(target)? {
        if connection.hello.version == env!("CARGO_PKG_VERSION") {
            return Ok(Attached { connection, private: None });
        }
        eprintln!(
            "slmscope: the running daemon is version {}, this is {}: using a private one",
            connection.hello.version,
            env!("CARGO_PKG_VERSION")
        );
    }
    start_private(log())
}

/// A connection to the running daemon; `None` if none is running.
///
/// # Errors
/// If a socket was named and no daemon answers there, or what answers is no daemon of this protocol.
pub fn running(target: &Target) -> Result<Option<Connection>, Failure> {
    if let Some(path) = named(target) {
        if path.as_os_str() == "none" {
            return Ok(None);
        }
        let stream = UnixStream::connect(&path).with_context(|| {
            format!("no daemon answers at {}; start one with `slmscoped --socket PATH`", path.display())
        })?;
        return Ok(Some(Connection::greet(stream)?));
    }
    for path in usual_places() {
        if let Ok(stream) = UnixStream::connect(&path) {
            return Ok(Some(Connection::greet(stream).with_context(|| format!("at {}", path.display()))?));
        }
    }
    Ok(None)
}

/// Starts a private daemon.
///
/// # Errors
/// If this build contains no daemon, or it cannot be started.
pub fn start_private(log: Stdio) -> Result<Attached, Failure> {
    let (ours, theirs) = UnixStream::pair().context("cannot make a socket")?;
    let child = embedded::spawn_private(theirs, log)?;
    let private = Private { child, stream: ours.try_clone().context("cannot copy a socket")? };
    let connection = Connection::greet(ours).context("the private daemon did not start")?;
    Ok(Attached { connection, private: Some(private) })
}

/// The socket that the user named with the flag or the environment.
fn named(target: &Target) -> Option<PathBuf> {
    let from_environment = || std::env::var_os("SLMSCOPE_SOCKET").filter(|path| !path.is_empty());
    target.socket.clone().or_else(|| from_environment().map(PathBuf::from))
}

/// Where daemons listen: the user's own, then the system's.
fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        places.push(PathBuf::from(folder).join("slmscope.sock"));
    }
    let uid = rustix::process::geteuid().as_raw();
    let folder = PathBuf::from(format!("/tmp/slmscope-{uid}"));
    if is_private(&folder, uid) {
        places.push(folder.join("slmscope.sock"));
    }
    places.push(PathBuf::from("/run/slmscope.sock"));
    places
}

/// Whether no other user can have put a socket there: every user may create folders in `/tmp`.
fn is_private(folder: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & 0o077 == 0)
}
