//! Where the daemon's socket is, for daemon and client alike. Nothing is opened here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Name of the socket in a folder of the user's.
const FILE: &str = "slmscope.sock";

/// The system's socket.
pub const SYSTEM: &str = "/run/slmscope.sock";

/// Begin of the folder of a user's own under `/tmp`, which ends with the user's number.
const OWN_FOLDER: &str = "/tmp/slmscope-";

/// The folder of user `uid` under `/tmp`, for sessions without a runtime folder. It must be private: see
/// [`FolderState::problem`].
pub fn own_folder(uid: u32) -> PathBuf {
    PathBuf::from(format!("{OWN_FOLDER}{uid}"))
}

/// Whether a folder is one of those under `/tmp`, of whichever user.
pub fn is_own_folder(folder: &Path) -> bool {
    let name = folder.to_str().and_then(|folder| folder.strip_prefix(OWN_FOLDER));
    name.is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The socket in the session's runtime folder, which is the value of `XDG_RUNTIME_DIR`; `None` if that is not set.
pub fn in_runtime_folder(runtime_dir: Option<&OsStr>) -> Option<PathBuf> {
    runtime_dir.filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(FILE))
}

/// The socket in the folder of user `uid` under `/tmp`.
pub fn in_own_folder(uid: u32) -> PathBuf {
    own_folder(uid).join(FILE)
}

/// Where the daemon of user `uid` listens unless it is told otherwise.
pub fn user_socket(runtime_dir: Option<&OsStr>, uid: u32) -> PathBuf {
    in_runtime_folder(runtime_dir).unwrap_or_else(|| in_own_folder(uid))
}

/// What the file system says of a folder, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderState {
    /// It is a folder.
    pub is_folder: bool,
    /// Its owner.
    pub uid: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// Why a folder is not private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FolderProblem {
    /// A file, or a link.
    #[error("is no folder")]
    NoFolder,
    /// It is another user's.
    #[error("belongs to user {0}")]
    OtherOwner(u32),
    /// Others may enter, read or change it.
    #[error("can be entered by others (mode {0:03o})")]
    OpenToOthers(u32),
}

impl FolderState {
    /// Why user `uid` cannot trust what lies in the folder; `None` if nobody else can have put it there. Anybody may
    /// create folders in `/tmp`.
    pub fn problem(self, uid: u32) -> Option<FolderProblem> {
        if !self.is_folder {
            Some(FolderProblem::NoFolder)
        } else if self.uid != uid {
            Some(FolderProblem::OtherOwner(self.uid))
        } else if self.mode & 0o077 != 0 {
            Some(FolderProblem::OpenToOthers(self.mode & 0o777))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_folder_comes_before_the_one_under_tmp() {
        let set = OsStr::new("/run/user/7");
        assert_eq!(user_socket(Some(set), 7), Path::new("/run/user/7/slmscope.sock"));
        for unset in [None, Some(OsStr::new(""))] {
            assert_eq!(user_socket(unset, 7), Path::new("/tmp/slmscope-7/slmscope.sock"));
        }
    }

    #[test]
    fn folders_under_tmp_are_those_that_end_with_a_number() {
        for (folder, is_own) in [
            ("/tmp/slmscope-7", true),
            ("/tmp/slmscope-", false),
            ("/tmp/slmscope-7/deeper", false),
            ("/tmp/slmscope-backup", false),
            ("/run/slmscope-7", false),
        ] {
            assert_eq!(is_own_folder(Path::new(folder)), is_own, "{folder}");
        }
        assert!(is_own_folder(in_own_folder(0).parent().unwrap()));
    }

    #[test]
    fn a_folder_is_private_if_only_its_owner_may_enter() {
        let state = |is_folder, uid, mode| FolderState { is_folder, uid, mode };
        assert_eq!(state(true, 7, 0o40_700).problem(7), None);
        assert_eq!(state(true, 7, 0o40_755).problem(7), Some(FolderProblem::OpenToOthers(0o755)));
        assert_eq!(state(true, 8, 0o40_700).problem(7), Some(FolderProblem::OtherOwner(8)));
        assert_eq!(state(false, 7, 0o100_600).problem(7), Some(FolderProblem::NoFolder));
    }
}
