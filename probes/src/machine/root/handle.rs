//! An open file of the kernel, read repeatedly without allocating.

#[cfg(test)]
use std::sync::{Arc, Mutex};

use rustix::fd::OwnedFd;
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::DecInt;
use slmscope_profiles::channel::ReasonCode;

use super::code;

/// An open regular file that is read repeatedly from its start.
#[derive(Debug)]
pub struct Handle {
    pub(super) fd: OwnedFd,
    pub(super) path: String,
    /// The error of every read, in a captured tree whose machine could not read the file.
    pub(super) fails: Option<Errno>,
    /// Reads do not return while this is locked.
    #[cfg(test)]
    pub(super) stuck: Option<Arc<Mutex<()>>>,
}

impl Handle {
    /// Opens a file that is called by its number in an open folder. Does not allocate, so it knows no path.
    pub(crate) fn below(folder: &OwnedFd, number: u32) -> Result<Self, ReasonCode> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(folder, DecInt::new(number), flags, Mode::empty()).map_err(code)?;
        let stat = fs::fstat(&fd).map_err(code)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ReasonCode::NotAFile);
        }
        Ok(Self {
            fd,
            path: String::new(),
            fails: None,
            #[cfg(test)]
            stuck: None,
        })
    }

    /// Reads from the start into `buffer`. Does not allocate.
    ///
    /// # Errors
    /// What the error number means; an empty file counts as asleep.
    pub fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], ReasonCode> {
        self.fails().map_err(code)?;
        loop {
            match rustix::io::pread(&self.fd, &mut *buffer, 0) {
                Ok(0) => return Err(ReasonCode::GatedOrAsleep),
                Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(code(errno)),
            }
        }
    }

    /// Like [`read`](Self::read) for files longer than what the kernel returns at once (about a page).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_all<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], ReasonCode> {
        match self.fill(buffer) {
            Ok(0) => Err(ReasonCode::GatedOrAsleep),
            Ok(length) => Ok(buffer.get(..length).unwrap_or_default()),
            Err(errno) => Err(code(errno)),
        }
    }

    /// How every read fails, where it does.
    fn fails(&self) -> Result<(), Errno> {
        #[cfg(test)]
        drop(self.stuck.as_ref().map(|stuck| stuck.lock()));
        self.fails.map_or(Ok(()), Err)
    }

    /// Reads until the buffer is full or the file ends.
    pub(super) fn fill(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.fails()?;
        let mut length = 0;
        while length < buffer.len() {
            let free = buffer.get_mut(length..).unwrap_or_default();
            match rustix::io::pread(&self.fd, free, length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(length)
    }

    /// The path below the root, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }
}
