//! Directories of `/proc` whose entries are named by numbers: the threads and the descriptors of a process. They
//! are listed repeatedly without allocating.

use std::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{RawDir, SeekFrom, seek};
use slmscope_profiles::channel::{Reason, ReasonCode};

use crate::machine::root::{Handle, Root, code};

/// Entries that the kernel hands out at once fit in here: 24 bytes each.
const BUFFER: usize = 4096;

/// An open directory.
#[derive(Debug)]
pub(crate) struct ProcDir {
    folder: OwnedFd,
    most: usize,
}

impl ProcDir {
    /// Opens the directory at `path`; [`list`](Self::list) returns at most `most` numbers.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) fn open(root: &Root, path: &str, most: usize) -> Result<Self, Reason> {
        Ok(Self { folder: root.folder(path)?, most })
    }

    /// Replaces the contents of `found` by the numbers that are in it now, ascending.
    ///
    /// # Errors
    /// What the error number means; the folder of a process that ended has vanished.
    pub(crate) fn list(&self, found: &mut Vec<u32>) -> Result<(), ReasonCode> {
        found.clear();
        seek(&self.folder, SeekFrom::Start(0)).map_err(code)?;
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(&self.folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| match code(errno) {
                ReasonCode::NoSuchInterface => ReasonCode::Vanished,
                other => other,
            })?;
            let number: Option<u32> = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            found.extend(number.filter(|_| found.len() < self.most));
        }
        found.sort_unstable();
        Ok(())
    }

    /// Opens the regular file of that number.
    ///
    /// # Errors
    /// What the error number means.
    pub(crate) fn entry(&self, number: u32) -> Result<Handle, ReasonCode> {
        Handle::below(&self.folder, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_and_go_and_names_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::create_dir_all(dir.path().join("task").join(name)).unwrap();
        ["9", "10", "self", "-1"].into_iter().for_each(make);
        let root = Root::tree(dir.path()).unwrap();
        let folder = ProcDir::open(&root, "task", 300).unwrap();
        let mut found = vec![7];
        folder.list(&mut found).unwrap();
        assert_eq!(found, [9, 10]);
        assert_eq!(folder.entry(9).unwrap_err(), ReasonCode::NotAFile);
        assert_eq!(folder.entry(11).unwrap_err(), ReasonCode::NoSuchInterface);
        std::fs::remove_dir(dir.path().join("task/9")).unwrap();
        (100..500).for_each(|number: u32| make(&number.to_string()));
        folder.list(&mut found).unwrap();
        assert_eq!(found.len(), 300, "no more than wanted");
        assert!(!found.contains(&9) && found.is_sorted());
        assert_eq!(ProcDir::open(&root, "nothing", 3).unwrap_err().code, ReasonCode::NoSuchInterface);
    }
}
