//! Where the socket is, and how it is bound without taking it from a living daemon.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Folder of a user's own, with the user's number at its end.
const OWN_FOLDER: &str = "/tmp/slmscope-";

/// The user's own socket: in the session's runtime folder, else in a folder of the user's under `/tmp`.
pub fn user_socket() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("slmscope.sock"),
        _ => PathBuf::from(format!("{OWN_FOLDER}{}/slmscope.sock", rustix::process::geteuid().as_raw())),
    }
}

/// Binds the socket at `path`. A file that a dead daemon left is removed, after trying to connect to it.
///
/// # Errors
/// If another daemon answers there, or if the path is too long, not permitted or not a socket.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    // sun_path holds 108 bytes with its terminating zero.
    let length = path.as_os_str().len();
    if length > 107 {
        bail!(
            "the socket path {} has {length} bytes; the kernel takes 107: choose a shorter one",
            path.display()
        );
    }
    if let Some(folder) = path.parent().filter(|folder| folder.to_string_lossy().starts_with(OWN_FOLDER)) {
        make_private(folder)?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(|error| explain(path, error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    Ok(listener)
}

fn explain(path: &Path, error: io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "not permitted: choose a folder of yours with --socket",
        io::ErrorKind::NotFound => "its folder does not exist: create it, or choose another with --socket",
        io::ErrorKind::AddrInUse => "something else was bound there just now: try again",
        _ => "choose another with --socket",
    };
    anyhow::Error::new(error).context(format!("cannot bind the socket {}: {remedy}", path.display()))
}

/// Makes a folder that nobody else can enter, or checks that one which exists is ours alone. In `/tmp`
/// anybody may have made it before.
fn make_private(folder: &Path) -> anyhow::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot create {}", folder.display())),
    }
    let found =
        std::fs::symlink_metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !ours {
        bail!(
            "{} belongs to somebody else: remove it, or choose another place with --socket",
            folder.display()
        );
    }
    Ok(())
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        bail!("{} exists and is no socket: remove it, or choose another with --socket", path.display());
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            bail!("a daemon already listens on {}: stop it, or choose another with --socket", path.display())
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the socket {} that a dead daemon left", path.display())),
        Err(error) => {
            Err(error).with_context(|| format!("cannot tell whether a daemon listens on {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists(), "a dead daemon leaves its file");
        let living = bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("already listens"), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop(living);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn paths_that_cannot_be_are_explained() {
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        assert!(bind(&long).unwrap_err().to_string().contains("107"));
        let missing = tempfile::tempdir().unwrap().path().join("gone/s.sock");
        assert!(format!("{:#}", bind(&missing).unwrap_err()).contains("does not exist"));
    }
}
