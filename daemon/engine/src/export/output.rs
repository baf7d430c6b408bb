//! A file that is created completely or not at all.
//!
//! It is written under a temporary name in the same directory. All of its space is reserved first, so that a full disk
//! is found before the work and not after it. At the end it is synced and renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, RenameFlags};
use rustix::io::Errno;

/// Why a file cannot be written. Every message names the file and what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// There is a file of this name.
    #[error("{file}: exists; choose another name, or --force to replace it")]
    Exists {
        /// The file.
        file: String,
    },
    /// There is something of this name that is no file, or the name is none.
    #[error("{file}: is {found}; name a file that is to be written")]
    NoFile {
        /// The path.
        file: String,
        /// What is there, with its article.
        found: &'static str,
    },
    /// The disk is full, or the user's share of it.
    #[error("{file}: {bytes} bytes do not fit the disk, which has {free} left; free some or write elsewhere")]
    NoRoom {
        /// The file.
        file: String,
        /// Bytes that it needs.
        bytes: u64,
        /// Bytes that are free there for this user.
        free: u64,
    },
    /// The system refused.
    #[error("{file}: cannot be written: {cause}; check the folder and its permissions")]
    Refused {
        /// The file.
        file: String,
        /// What it said.
        cause: io::Error,
    },
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    bytes: u64,
    replace: bool,
}

impl Output {
    /// Opens a file that is to have `bytes` bytes and the name `target`.
    pub(super) fn create(target: &Path, bytes: u64, replace: bool) -> Result<Self, OutputError> {
        let shown = || target.display().to_string();
        // A link is followed: what it names is replaced, not the link.
        let place = target.canonicalize().unwrap_or_else(|_| target.to_owned());
        match fs::metadata(&place) {
            Ok(status) if !status.is_file() => {
                let found = if status.is_dir() { "a directory" } else { "a device or pipe" };
                return Err(OutputError::NoFile { file: shown(), found });
            }
            Ok(_) if !replace => return Err(OutputError::Exists { file: shown() }),
            _ => {}
        }
        let Some(name) = place.file_name() else {
            return Err(OutputError::NoFile { file: shown(), found: "no name of a file" });
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let temporary = place.with_file_name(hidden);
        let opened = OpenOptions::new().write(true).read(true).create_new(true).open(&temporary);
        let file = opened.map_err(|cause| OutputError::Refused { file: shown(), cause })?;
        let output = Self { file, temporary, target: place, bytes, replace };
        match rustix::fs::fallocate(&output.file, FallocateFlags::empty(), 0, bytes) {
            // File systems that cannot reserve say so when they are full.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(output),
            Err(error) => Err(output.refused(error.into())),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where the file is until it is published.
    pub(super) fn path(&self) -> &Path {
        &self.temporary
    }

    /// What an error of the system means for this file.
    pub(super) fn refused(&self, cause: io::Error) -> OutputError {
        let file = self.target.display().to_string();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                let free = rustix::fs::fstatvfs(&self.file).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
                OutputError::NoRoom { file, bytes: self.bytes, free }
            }
            _ => OutputError::Refused { file, cause },
        }
    }

    /// Waits until the bytes are on the disk.
    pub(super) fn sync(&self) -> Result<(), OutputError> {
        self.file.sync_all().map_err(|error| self.refused(error))
    }

    /// Gives the file its name.
    pub(super) fn publish(self) -> Result<(), OutputError> {
        let flags = if self.replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(CWD, &self.temporary, CWD, &self.target, flags) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(OutputError::Exists { file: self.target.display().to_string() }),
            // File systems that cannot promise not to replace.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::rename(&self.temporary, &self.target).map_err(|error| self.refused(error))?;
            }
            Err(error) => return Err(self.refused(error.into())),
        }
        // Its name has to reach the disk as well; where a folder cannot be synced, it does so in time.
        if let Some(Ok(folder)) = self
            .target
            .parent()
            .map(|folder| File::open(if folder == Path::new("") { Path::new(".") } else { folder }))
        {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Gone already if it was published.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("m.gguf");
        let output = Output::create(&target, 4, false).unwrap();
        output.file().write_all(b"half").unwrap();
        assert!(!target.exists() && output.path().exists());
        drop(output);
        assert!(names(folder.path()).is_empty());

        let output = Output::create(&target, 4, false).unwrap();
        output.file().write_all(b"done").unwrap();
        output.sync().unwrap();
        output.publish().unwrap();
        assert_eq!(
            (names(folder.path()), fs::read(&target).unwrap()),
            (vec!["m.gguf".into()], b"done".into())
        );
    }

    #[test]
    fn what_is_there_stays_unless_it_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("m.gguf");
        fs::write(&target, "old").unwrap();
        assert!(matches!(Output::create(&target, 1, false), Err(OutputError::Exists { .. })));
        let late = folder.path().join("late.gguf");
        let output = Output::create(&late, 1, false).unwrap();
        fs::write(&late, "first").unwrap();
        assert!(matches!(output.publish(), Err(OutputError::Exists { .. })));
        assert_eq!(fs::read(&late).unwrap(), b"first");

        let link = folder.path().join("link.gguf");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let output = Output::create(&link, 3, true).unwrap();
        output.file().write_all(b"new").unwrap();
        output.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_cannot_be_written_is_told_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path, bytes| Output::create(path, bytes, true).unwrap_err();
        assert!(matches!(refused(folder.path(), 1), OutputError::NoFile { found: "a directory", .. }));
        assert!(matches!(refused(Path::new("/dev/null"), 1), OutputError::NoFile { .. }));
        assert!(matches!(refused(&folder.path().join("no/m.gguf"), 1), OutputError::Refused { .. }));
        let huge = refused(&folder.path().join("m.gguf"), 1 << 60);
        assert!(matches!(huge, OutputError::NoRoom { .. }), "{huge}");
        assert!(huge.to_string().contains("1152921504606846976 bytes do not fit the disk"), "{huge}");
        assert!(names(folder.path()).is_empty());
    }
}
