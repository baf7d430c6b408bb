//! Connecting to the running daemon, here or on another machine, or starting a private one.

pub mod remote;

use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Once;

use anyhow::Context;
use clap::Args;
use slmscope_profiles::display::printable;
use slmscope_profiles::socket::{self, FolderProblem, FolderState};

use self::remote::{Host, Place, Remote};
use crate::client::{Connection, OtherProtocol};
use crate::embedded;
use crate::failure::Failure;

/// Which daemon to talk to.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    /// Socket of the daemon to attach to; `none` ignores running daemons [default: $SLMSCOPE_SOCKET, then
    /// $XDG_RUNTIME_DIR/slmscope.sock, /tmp/slmscope-UID/slmscope.sock, /run/slmscope.sock]
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// Machine whose daemon is asked, as ssh names it: `ssh HOST slmscope proxy` carries the connection. The dashboard
    /// takes several and shows a line for each
    #[arg(long, value_name = "HOST", global = true)]
    pub host: Vec<Host>,
}

impl Target {
    /// The flag that names a daemon on the command line, if one does.
    pub fn names_a_daemon(&self) -> Option<&'static str> {
        if self.is_remote() {
            return Some("--host");
        }
        (self.socket.is_some() && !self.is_none()).then_some("--socket")
    }

    /// Whether the daemon is on another machine.
    pub fn is_remote(&self) -> bool {
        !self.host.is_empty()
    }

    /// The target on one of its hosts.
    pub fn of_host(&self, host: &Host) -> Self {
        Self { host: vec![host.clone()], ..self.clone() }
    }

    /// Whether the command line says to ignore running daemons.
    pub fn is_none(&self) -> bool {
        self.socket.as_ref().is_some_and(|path| path.as_os_str() == "none")
    }
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

/// Attaches to the running daemon. If there is none of this version and protocol, starts a private one that logs to
/// `log`.
///
/// # Errors
/// If the named socket does not answer, or a private daemon cannot be started.
pub fn attach(
    target: &Target,
    always_private: bool,
    log: impl FnOnce() -> Stdio,
) -> Result<Attached, Failure> {
    if target.is_remote() {
        let connection = on_host(target)?;
        let theirs = &connection.hello.version;
        if theirs != env!("CARGO_PKG_VERSION") {
            note_line!(
                "slmscope: the daemon on {} is version {}, this is {}: what only one of them knows is left out",
                target.host[0],
                printable(theirs),
                env!("CARGO_PKG_VERSION")
            );
        }
        return Ok(Attached { connection, private: None });
    }
    if !always_private && let Some(connection) = usable(find(target))? {
        return Ok(Attached { connection, private: None });
    }
    start_private(log())
}

/// The connection if the daemon is of this version and protocol. Says on standard error why it is not used if not.
fn usable(found: anyhow::Result<Option<Connection>>) -> Result<Option<Connection>, Failure> {
    let problem = match found {
        Ok(Some(connection)) if connection.hello.version != env!("CARGO_PKG_VERSION") => {
            format!(
                "the running daemon is version {}, this is {}",
                connection.hello.version,
                env!("CARGO_PKG_VERSION")
            )
        }
        Ok(found) => return Ok(found),
        Err(error) if error.is::<OtherProtocol>() => format!("{error:#}"),
        Err(error) => return Err(error.into()),
    };
    note_line!("slmscope: {}: using a private one", printable(&problem));
    Ok(None)
}

/// A connection to the running daemon; `None` if none is running on this machine.
///
/// # Errors
/// If a socket or a host was named and no daemon answers there, or what answers is no daemon of this protocol.
pub fn running(target: &Target) -> Result<Option<Connection>, Failure> {
    Ok(find(target)?)
}

fn find(target: &Target) -> anyhow::Result<Option<Connection>> {
    if target.is_remote() {
        return on_host(target).map(Some);
    }
    let Some((stream, place)) = open(target)? else { return Ok(None) };
    Ok(Some(Connection::greet(stream).with_context(|| format!("at {}", place.display()))?))
}

/// A connection to the daemon on the first host.
fn on_host(target: &Target) -> anyhow::Result<Connection> {
    let host = target.host.first().context("no host is named")?.clone();
    let place = Place { host, socket: target.socket.clone() };
    let (stream, remote) = Remote::open(&place)?;
    Connection::greet_through(stream, Some(remote))
}

/// A connection on which nothing was said yet, to the daemon of this machine; `None` if none is running.
///
/// # Errors
/// If a socket was named and nobody listens there.
pub fn local_stream(target: &Target) -> anyhow::Result<Option<UnixStream>> {
    Ok(open(target)?.map(|(stream, _)| stream))
}

/// The same, and the path of its socket.
fn open(target: &Target) -> anyhow::Result<Option<(UnixStream, PathBuf)>> {
    if let Some(path) = named(target) {
        if path.as_os_str() == "none" {
            return Ok(None);
        }
        let stream = UnixStream::connect(&path).with_context(|| {
            format!("no daemon answers at {}; start one with `slmscoped --socket PATH`", path.display())
        })?;
        return Ok(Some((stream, path)));
    }
    let connect = |path: PathBuf| UnixStream::connect(&path).ok().map(|stream| (stream, path));
    Ok(usual_sockets().into_iter().find_map(connect))
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

/// Where daemons listen: the user's own, then the system's. The folder under `/tmp` is left out, with the reason on
/// standard error, if somebody else may have put a socket there.
fn usual_sockets() -> Vec<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
    let mut sockets: Vec<PathBuf> = socket::in_runtime_folder(runtime_dir.as_deref()).into_iter().collect();
    let uid = rustix::process::geteuid().as_raw();
    let folder = socket::own_folder(uid);
    let problem = problem(&folder, uid);
    if problem.is_none() {
        sockets.push(socket::in_own_folder(uid));
    }
    // Said once, before the dashboard covers the terminal: it looks for a daemon again and again.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        if let Some(problem) = problem {
            let folder = folder.display();
            note_line!("slmscope: {folder} {problem}: not looking for a daemon there; restart slmscoped, or remove it");
        }
    });
    sockets.push(PathBuf::from(socket::SYSTEM));
    sockets
}

/// Why user `uid` cannot trust a folder that exists.
fn problem(folder: &Path, uid: u32) -> Option<FolderProblem> {
    let found = std::fs::symlink_metadata(folder).ok()?;
    FolderState { is_folder: found.is_dir(), uid: found.uid(), mode: found.mode() }.problem(uid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_enter_is_not_trusted_and_one_that_is_missing_is_no_problem() {
        let folder = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let set =
            |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o700);
        assert_eq!(problem(folder.path(), uid), None);
        set(0o750);
        assert_eq!(problem(folder.path(), uid), Some(FolderProblem::OpenToOthers(0o750)));
        assert_eq!(problem(&folder.path().join("missing"), uid), None);
    }

    #[test]
    fn a_daemon_of_another_protocol_gives_way_to_a_private_one() {
        // A daemon of protocol 1 hangs up on first bytes that it does not know.
        let (client, daemon) = UnixStream::pair().unwrap();
        daemon.shutdown(Shutdown::Write).unwrap();
        let hung_up = Connection::greet(client).map(Some).context("at /run/slmscope.sock");
        assert!(usable(hung_up).is_ok_and(|found| found.is_none()));
        let known = OtherProtocol::Known { low: 1, high: 1 };
        assert!(usable(Err(known.into())).is_ok_and(|found| found.is_none()));
        for text in [OtherProtocol::Unknown.to_string(), known.to_string()] {
            assert!(text.contains("update") && text.contains("restart it"), "{text}");
        }
        assert!(usable(Err(anyhow::anyhow!("no daemon answers"))).is_err(), "a named socket has to answer");
    }
}
