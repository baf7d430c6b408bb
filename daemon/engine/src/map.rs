//! Model files mapped into memory.
//!
//! A [`MappedFile`] takes an open file, because descriptors travel between processes: the client opens the file, the
//! worker maps it. It remembers the identity of the file, so that a run can check at its end whether the file has
//! changed.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};
use thiserror::Error;

/// Why a file cannot be mapped, or can no longer be trusted. Every message names the file and what helps.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MapError {
    /// The file could not be opened.
    #[error("{file}: cannot be opened: {cause}; check the path and the read permission")]
    Open {
        /// Name of the file as the user knows it.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The descriptor is open, but its status could not be read.
    #[error("{file}: its size cannot be read: {cause}; open the file again")]
    Status {
        /// Name of the file as the user knows it.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Only regular files hold weights that stay the same while they are read.
    #[error("{file}: is {found}, not a regular file; name the model file itself")]
    NotRegular {
        /// Name of the file as the user knows it.
        file: String,
        /// What the path leads to, with its article: "a directory".
        found: &'static str,
    },
    /// The file has no bytes.
    #[error("{file}: is empty; download or copy it again")]
    Empty {
        /// Name of the file as the user knows it.
        file: String,
    },
    /// The file is larger than this process can address.
    #[error("{file}: {bytes} bytes do not fit this machine's address space; use a 64-bit build")]
    TooLarge {
        /// Name of the file as the user knows it.
        file: String,
        /// Size of the file.
        bytes: u64,
    },
    /// The system refused the map.
    #[error("{file}: cannot be mapped: {cause}; check the address space limit (ulimit -v)")]
    Map {
        /// Name of the file as the user knows it.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The file was written, replaced or truncated since it was mapped.
    #[error("{file}: changed while it was in use ({before} before, {after} now); measure again")]
    Changed {
        /// Name of the file as the user knows it.
        file: String,
        /// Identity when it was mapped.
        before: FileIdentity,
        /// Identity now.
        after: FileIdentity,
    },
}

/// Identifies the state of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Size in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the Unix epoch (wall clock; negative before 1970).
    pub modified_ns: i128,
    /// Inode number.
    pub inode: u64,
    /// Device number of the file system.
    pub device: u64,
}

impl FileIdentity {
    fn of(status: &Metadata) -> Self {
        Self {
            size: status.len(),
            modified_ns: i128::from(status.mtime()) * 1_000_000_000 + i128::from(status.mtime_nsec()),
            inode: status.ino(),
            device: status.dev(),
        }
    }
}

impl std::fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} bytes, modified at {} ns, inode {}:{}",
            self.size, self.modified_ns, self.device, self.inode
        )
    }
}

/// A regular file, mapped read-only and shared with the page cache.
///
/// Another process may still write to the file, and truncating it turns an access into SIGBUS: that is why
/// models are only mapped in a worker process, and why readers of a map check every length again.
#[derive(Debug)]
pub struct MappedFile {
    name: String,
    file: File,
    identity: FileIdentity,
    map: Mmap,
}

impl MappedFile {
    /// Opens and maps `path`, which is also the name in error messages.
    ///
    /// # Errors
    /// See [`MappedFile::new`]; and [`MapError::Open`] if there is no such file or no permission.
    pub fn open(path: &Path) -> Result<Self, MapError> {
        let name = path.display().to_string();
        // Without O_NONBLOCK opening a FIFO would wait for a writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        match opened {
            Ok(file) => Self::new(file, name),
            Err(cause) => Err(MapError::Open { file: name, cause }),
        }
    }

    /// Maps an open file. `name` is what messages call it: the path that the user gave.
    ///
    /// # Errors
    /// [`MapError::NotRegular`] and [`MapError::Empty`] for what cannot hold weights; the others when the
    /// system refuses.
    pub fn new(file: File, name: impl Into<String>) -> Result<Self, MapError> {
        let name = name.into();
        let status = match file.metadata() {
            Ok(status) => status,
            Err(cause) => return Err(MapError::Status { file: name, cause }),
        };
        if !status.is_file() {
            return Err(MapError::NotRegular { file: name, found: describe(status.file_type()) });
        }
        let identity = FileIdentity::of(&status);
        if identity.size == 0 {
            return Err(MapError::Empty { file: name });
        }
        if usize::try_from(identity.size).is_err() {
            return Err(MapError::TooLarge { file: name, bytes: identity.size });
        }
        match map_shared(&file) {
            Ok(map) => Ok(Self { name, file, identity, map }),
            Err(cause) => Err(MapError::Map { file: name, cause }),
        }
    }

    /// What messages call this file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole file. Starts on a page border, so offsets aligned in the file are aligned in memory.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Releases the memory of the pages that `range` touches, for bytes that were read for the last time. A later read
    /// of them, or of their neighbours on the same page, fetches them from the file again.
    #[expect(unsafe_code, reason = "this advice loses what was written to private pages")]
    pub fn release(&self, range: Range<usize>) {
        let end = range.end.min(self.map.len());
        if let Some(length) = end.checked_sub(range.start) {
            // SAFETY: the map is shared and nobody writes to it, so a page holds the file's bytes before and after.
            // Of a large page that is given back in part, the kernel takes all.
            let _ =
                unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, length) };
        }
    }

    /// Which file this was when it was mapped.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Checks that the file is still the one that was mapped.
    ///
    /// # Errors
    /// [`MapError::Changed`] if it was written or truncated since.
    pub fn unchanged(&self) -> Result<(), MapError> {
        match self.file.metadata().map(|status| FileIdentity::of(&status)) {
            Ok(after) if after == self.identity => Ok(()),
            Ok(after) => Err(MapError::Changed { file: self.name.clone(), before: self.identity, after }),
            Err(cause) => Err(MapError::Status { file: self.name.clone(), cause }),
        }
    }
}

#[expect(unsafe_code, reason = "a file map is unsafe by nature: others may write to the file")]
fn map_shared(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is only read, and every reader treats its content as arbitrary bytes whose lengths are
    // checked at each use, so bytes changed by another process give wrong values at worst. A truncated file
    // raises SIGBUS, which ends the worker process and not the daemon.
    unsafe { Mmap::map(file) }
}

fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "a special file"
    }
}
