//! Where the daemon's socket is, and how it is bound without taking it from a daemon that runs.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use slmscope_profiles::socket::{self, FolderProblem, FolderState};

/// Longest path of a socket, bytes: `sun_path` holds 108 with its terminating zero.
const MAX_PATH: usize = 107;

/// Why a socket is not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel cannot hold the path.
    #[error(
        "the socket path {} has {} bytes; the kernel takes {MAX_PATH}: choose a shorter one",
        .0.display(),
        .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// The folder under `/tmp` is not there and cannot be made.
    #[error("cannot create {}", .0.display())]
    CreateFolder(PathBuf, #[source] io::Error),
    /// The kernel does not say whose the folder is.
    #[error("cannot look at {}", .0.display())]
    InspectFolder(PathBuf, #[source] io::Error),
    /// Others could put a socket into the folder.
    #[error("{} {}: remove it, or choose another place with --socket", .0.display(), .1)]
    Folder(PathBuf, FolderProblem),
    /// The folder is ours, and cannot be closed to others.
    #[error("{} can be entered by others, and its mode cannot be set to 0700", .0.display())]
    CloseFolder(PathBuf, #[source] io::Error),
    /// Another kind of file is there.
    #[error("{} exists and is no socket: remove it, or choose another with --socket", .0.display())]
    NoSocket(PathBuf),
    /// A daemon answers there.
    #[error("a daemon already listens on {}: stop it, or choose another with --socket", .0.display())]
    InUse(PathBuf),
    /// The file of a daemon that ended stays.
    #[error("cannot remove the socket {} that a dead daemon left", .0.display())]
    RemoveStale(PathBuf, #[source] io::Error),
    /// Something is there that neither answers nor refuses.
    #[error("cannot tell whether a daemon listens on {}", .0.display())]
    Unclear(PathBuf, #[source] io::Error),
    /// The kernel refuses.
    #[error("cannot bind the socket {}: {}", .0.display(), remedy(.1))]
    Bind(PathBuf, #[source] io::Error),
    /// Its mode cannot be set.
    #[error("cannot set the mode of {}", .0.display())]
    Mode(PathBuf, #[source] io::Error),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "not permitted: choose a folder of yours with --socket",
        io::ErrorKind::NotFound => "its folder does not exist: create it, or choose another with --socket",
        io::ErrorKind::AddrInUse => "something else was bound there just now: try again",
        _ => "choose another with --socket",
    }
}

/// The user's own socket: in the session's runtime folder, else in a folder of the user's under `/tmp`.
pub fn user_socket() -> PathBuf {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
    socket::user_socket(runtime_dir.as_deref(), rustix::process::geteuid().as_raw())
}

/// Binds the socket at `path`. A file that a dead daemon left is removed, after trying to connect to it.
///
/// # Errors
/// If another daemon answers there, or if the path is too long, not permitted or not a socket.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(BindError::TooLong(path.to_owned()));
    }
    if let Some(folder) = path.parent().filter(|folder| socket::is_own_folder(folder)) {
        make_private(folder)?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(|error| BindError::Bind(path.to_owned(), error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .map_err(|error| BindError::Mode(path.to_owned(), error))?;
    Ok(listener)
}

/// Makes a folder that nobody else can enter, or checks that one which exists is ours alone. In `/tmp` anybody may have
/// made it before. One of ours that others may enter is closed to them: clients would not look for a socket there.
fn make_private(folder: &Path) -> Result<(), BindError> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(BindError::CreateFolder(folder.to_owned(), error)),
    }
    let found = std::fs::symlink_metadata(folder)
        .map_err(|error| BindError::InspectFolder(folder.to_owned(), error))?;
    let state = FolderState { is_folder: found.is_dir(), uid: found.uid(), mode: found.mode() };
    match state.problem(rustix::process::geteuid().as_raw()) {
        None => Ok(()),
        Some(problem @ FolderProblem::OpenToOthers(_)) => {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
                .map_err(|error| BindError::CloseFolder(folder.to_owned(), error))?;
            tracing::warn!(folder = %folder.display(), "The folder {problem}; its mode is 0700 now.");
            Ok(())
        }
        Some(problem) => Err(BindError::Folder(folder.to_owned(), problem)),
    }
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(BindError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| BindError::RemoveStale(path.to_owned(), error))
        }
        Err(error) => Err(BindError::Unclear(path.to_owned(), error)),
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
        assert!(bind(&missing).unwrap_err().to_string().contains("does not exist"));
    }

    #[test]
    fn a_folder_of_ours_that_others_may_enter_is_closed_to_them() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("slmscope-7");
        let mode = |folder: &Path| std::fs::metadata(folder).unwrap().permissions().mode() & 0o777;
        make_private(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700, "made so");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        make_private(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700, "made so again");
        let link = parent.path().join("slmscope-8");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(make_private(&link).unwrap_err().to_string().contains("is no folder: remove it"));
    }
}
