//! The list in a capture of files that could not be read where it was made.
//!
//! [`FILE`], at the top of a captured tree, has a line for each: the stage that failed, the error number, the
//! path. An empty file or folder takes its place in the tree, so that it is listed as it was there.
//!
//! ```text
//! open 13 sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj
//! read 11 sys/devices/virtual/thermal/thermal_zone5/temp
//! ```

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use rustix::fd::OwnedFd;
use rustix::fs::{self, FileType, OFlags};
use rustix::io::Errno;

use super::Root;

/// Name of the list.
pub(crate) const FILE: &str = "slmscope-failures";

/// Longest list that is read, bytes.
const CAP: usize = 1 << 20;

/// Largest error number of Linux.
const MAX_ERRNO: i32 = 4095;

/// The step of reading a file that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A folder on the way may not be entered.
    Reach,
    /// It may not be opened.
    Open,
    /// It was opened, and the read failed.
    Read,
}

/// A stage and the error number that the kernel returned there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) errno: Errno,
    pub(crate) is_folder: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Reach => "reach",
            Stage::Open => "open",
            Stage::Read => "read",
        };
        write!(f, "{stage} {}", self.errno.raw_os_error())
    }
}

impl FromStr for Stage {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "reach" => Ok(Self::Reach),
            "open" => Ok(Self::Open),
            "read" => Ok(Self::Read),
            _ => Err(()),
        }
    }
}

/// Failures by device and inode, so that they also apply to paths through links.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<(u64, u64), (Stage, Errno)>);

impl Failures {
    /// Reads the list of a tree; most trees have none.
    pub(super) fn of(root: &Root) -> Self {
        let text = root.read(FILE, CAP).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        Self(text.lines().filter_map(|line| entry(root, line)).collect())
    }

    /// How going as far as `stage` fails with what was found at a path.
    pub(super) fn check(&self, found: &OwnedFd, stage: Stage) -> Result<(), Errno> {
        if self.0.is_empty() {
            return Ok(());
        }
        let stat = fs::fstat(found)?;
        match self.0.get(&(stat.st_dev, stat.st_ino)) {
            Some(&(failed, errno)) if failed == stage => Err(errno),
            _ => Ok(()),
        }
    }
}

fn entry(root: &Root, line: &str) -> Option<((u64, u64), (Stage, Errno))> {
    let mut words = line.splitn(3, ' ');
    let (stage, errno, path) = (words.next()?, words.next()?, words.next()?);
    let errno: i32 = errno.parse().ok().filter(|errno| (1..=MAX_ERRNO).contains(errno))?;
    let stat = fs::fstat(root.resolve(path, OFlags::PATH).ok()?).ok()?;
    Some(((stat.st_dev, stat.st_ino), (stage.parse().ok()?, Errno::from_raw_os_error(errno))))
}

/// How reading what is at a path fails. `None` if it does not, or nothing is there.
pub(super) fn find(root: &Root, path: &str) -> Option<Failure> {
    let failed = |stage, is_folder| {
        move |errno| match errno {
            Errno::NOENT | Errno::NOTDIR => None,
            errno => Some(Failure { stage, errno, is_folder }),
        }
    };
    let found = match root.resolve(path, OFlags::PATH) {
        Ok(found) => found,
        Err(errno) => return failed(Stage::Reach, false)(errno),
    };
    match FileType::from_raw_mode(fs::fstat(&found).ok()?.st_mode) {
        FileType::Directory => {
            root.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY).err().and_then(failed(Stage::Open, true))
        }
        FileType::RegularFile => match root.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => root.handle(file, path).fill(&mut [0]).err().and_then(failed(Stage::Read, false)),
            Err(errno) => failed(Stage::Open, false)(errno),
        },
        _ => None,
    }
}
