//! Where the files are: this machine, or a tree captured from another one.
//!
//! Nothing below `/sys` and `/proc` is trusted. A file is opened without waiting, must turn out to be a
//! regular file, and is read up to a bound; so a pipe, a device or an endless file costs one system call and
//! becomes a [`Reason`]. Under a tree, paths and links are resolved by the kernel inside that tree.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{self, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use slmscope_profiles::channel::{Reason, ReasonCode};

use crate::machine::deadline;

pub(crate) mod failures;
mod handle;
mod reasons;
mod textlink;

use failures::{Failure, Failures, Stage};
pub use handle::Handle;
use reasons::{Message, describe, reason};
pub(crate) use reasons::{code, plain_reason};

/// The limit on entries of one directory; no directory that a probe reads has more.
const MAX_ENTRIES: usize = 8192;

/// Longest text that [`Root::text`] reads, bytes.
const TEXT_CAP: usize = 4096;

/// The tree that the probes read. Clones share one open directory.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Arc<OwnedFd>,
    path: PathBuf,
    live: bool,
    /// Files that exist and cannot be read.
    failures: Arc<Failures>,
    /// Paths that were opened, where they are recorded.
    noted: Option<Arc<Mutex<BTreeSet<String>>>>,
    /// Files whose reads do not return while a test holds the lock.
    #[cfg(test)]
    pub(crate) stuck: (Vec<&'static str>, Arc<Mutex<()>>),
}

impl Root {
    /// This machine.
    ///
    /// # Errors
    /// If `/` cannot be opened.
    pub fn live() -> io::Result<Self> {
        let dir = fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            dir: Arc::new(dir),
            path: PathBuf::from("/"),
            live: true,
            failures: Arc::default(),
            noted: None,
            #[cfg(test)]
            stuck: Default::default(),
        })
    }

    /// A captured tree with `sys` and `proc` in it.
    ///
    /// # Errors
    /// If `path` is not a directory, or the kernel is older than 5.6 and cannot confine paths to it.
    pub fn tree(path: &Path) -> io::Result<Self> {
        let dir = fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut root = Self {
            dir: Arc::new(dir),
            path: path.to_owned(),
            live: false,
            failures: Arc::default(),
            noted: None,
            #[cfg(test)]
            stuck: Default::default(),
        };
        match root.open_flags(".", OFlags::PATH | OFlags::DIRECTORY) {
            Ok(_) => {
                root.failures = Arc::new(Failures::of(&root));
                Ok(root)
            }
            Err(Errno::NOSYS) => Err(io::Error::other("reading a tree needs openat2 (Linux 5.6 or later)")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same root, which records the paths that are opened from now on.
    pub(crate) fn noting(&self) -> Self {
        Self { noted: Some(Arc::default()), ..self.clone() }
    }

    /// Paths that were opened since [`noting`](Self::noting), found or not.
    pub(crate) fn noted(&self) -> BTreeSet<String> {
        let noted = self.noted.as_ref().map(|noted| noted.lock().unwrap_or_else(PoisonError::into_inner));
        noted.map(|noted| noted.clone()).unwrap_or_default()
    }

    /// Whether this is the machine we run on.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The root as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for repeated reading. `path` is relative to the root: `sys/class/…`.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn open(&self, path: &str) -> Result<Handle, Reason> {
        let absent = |errno| reason(path, errno);
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map_err(absent)?;
        let stat = fs::fstat(&fd).map_err(absent)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(self.handle(fd, path)),
            kind => Err(Reason::new(ReasonCode::NotAFile, format!("/{path} is {}", describe(kind)))),
        }
    }

    fn handle(&self, fd: OwnedFd, path: &str) -> Handle {
        Handle {
            fails: self.failures.check(&fd, Stage::Read).err(),
            fd,
            path: path.to_owned(),
            #[cfg(test)]
            stuck: self.stuck.0.contains(&path).then(|| self.stuck.1.clone()),
        }
    }

    /// The result of `read` for a path whose driver may hang. Discovery waits for it no longer than
    /// [`deadline::SENSOR`].
    ///
    /// # Errors
    /// Those of `read`, and a reason for a read that did not return.
    pub(crate) fn in_time<T: Send + 'static>(
        &self,
        path: &str,
        read: fn(&Self, &str) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        let (root, asked) = (self.clone(), path.to_owned());
        deadline::within(deadline::SENSOR, move || read(&root, &asked))
            .unwrap_or_else(|code| Err(plain_reason(code, &format!("/{path}"))))
    }

    /// Opens a folder whose entries are listed again and again.
    pub(crate) fn folder(&self, path: &str) -> Result<OwnedFd, Reason> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|errno| reason(path, errno))
    }

    /// How reading what is at a path fails. `None` if it does not, or nothing is there.
    pub(crate) fn failure(&self, path: &str) -> Option<Failure> {
        failures::find(self, path)
    }

    /// The system's words for how reading what is at a path fails. `None` if it does not, or nothing is there.
    pub(crate) fn why_unread(&self, path: &str) -> Option<String> {
        let failure = self.in_time(path, |root, path| Ok(root.failure(path))).ok()??;
        Some(Message(failure.errno).to_string())
    }

    /// Reads the beginning of a regular file, at most `cap` bytes.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn read(&self, path: &str, cap: usize) -> Result<Vec<u8>, Reason> {
        let handle = self.open(path)?;
        let mut bytes = vec![0; cap];
        let length = handle.fill(&mut bytes).map_err(|errno| reason(path, errno))?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// A short text file, trimmed; bytes that are not UTF-8 are replaced, and so are control characters but for
    /// the ends of lines and strings: the text is shown on terminals.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn text(&self, path: &str) -> Result<String, Reason> {
        self.long_text(path, TEXT_CAP)
    }

    /// Like [`text`](Self::text), of at most `cap` bytes.
    pub(crate) fn long_text(&self, path: &str, cap: usize) -> Result<String, Reason> {
        let bytes = self.read(path, cap)?;
        let text = String::from_utf8_lossy(&bytes);
        let commands = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\0');
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        Ok(text.replace(commands, "\u{fffd}"))
    }

    /// A file that holds one integer.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn integer(&self, path: &str) -> Result<i64, Reason> {
        let text = self.text(path)?;
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            Reason::new(ReasonCode::Implausible, format!("/{path} holds `{shown}`, not a number"))
        })
    }

    /// Names in a directory, numbers in them in numeric order. No kernel gives names with control characters, so
    /// those are left out.
    ///
    /// # Errors
    /// The reason why there is no such directory.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Reason> {
        let absent = |errno| reason(path, errno);
        let fd = self.folder(path)?;
        let mut names = Vec::new();
        for entry in fs::Dir::new(fd).map_err(absent)?.take(MAX_ENTRIES) {
            let entry = entry.map_err(absent)?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) if name.contains(char::is_control) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort_by(|a, b| natural(a).cmp(&natural(b)).then_with(|| a.cmp(b)));
        Ok(names)
    }

    /// Entries of a class below `/sys/class`, in the order of the devices behind them: numbers of entries change
    /// from boot to boot, places on a bus do not. Entries that are no links come first, in numeric order.
    ///
    /// # Errors
    /// The reason why there is no such class.
    pub(crate) fn list_class(&self, class: &str) -> Result<Vec<String>, Reason> {
        let folder = format!("sys/class/{class}");
        let device = |entry: &String| {
            let target = self.link(&format!("{folder}/{entry}")).unwrap_or_default();
            target.rsplit_once('/').map(|(device, _)| device.to_owned()).unwrap_or_default()
        };
        let mut entries: Vec<_> =
            self.list(&folder)?.into_iter().map(|entry| (device(&entry), entry)).collect();
        entries.sort_by(|(a, _), (b, _)| natural(a).cmp(&natural(b)));
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Whether a file of this name exists, of any kind. `false` also below a folder that this user may not enter.
    pub fn exists(&self, path: &str) -> bool {
        self.reach(path).is_ok()
    }

    /// Whether something of this name exists, or why that is not known.
    ///
    /// # Errors
    /// If there is nothing, or a folder on the way may not be entered.
    pub(crate) fn reach(&self, path: &str) -> Result<(), Reason> {
        self.resolve(path, OFlags::PATH).map(drop).map_err(|errno| reason(path, errno))
    }

    /// The identity of a file or folder, the same for all paths that lead to it. `None` if there is none.
    pub(crate) fn identity(&self, path: &str) -> Option<(u64, u64)> {
        let stat = fs::fstat(self.resolve(path, OFlags::PATH).ok()?).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    /// Where a link points, as it is written. `None` if it is no link.
    pub fn link(&self, path: &str) -> Option<String> {
        match self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => match fs::readlinkat(&fd, "", Vec::new()) {
                Ok(target) => target.into_string().ok(),
                Err(_) => textlink::target(self, path),
            },
            Err(_) => None,
        }
    }

    fn resolve(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if let Some(noted) = &self.noted {
            noted.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
        match self.open_flags(path, flags) {
            Err(Errno::NOTDIR) if !self.live => textlink::open(self, path, flags),
            other => other,
        }
    }

    fn open_flags(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if self.live {
            // `path` is relative, so this is below `/`; kernels before 5.6 have no openat2.
            fs::openat(&*self.dir, path, flags, Mode::empty())
        } else {
            let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let found = fs::openat2(&*self.dir, path, flags, Mode::empty(), inside)?;
            self.failures.check(&found, Stage::Reach)?;
            if !flags.contains(OFlags::PATH) {
                self.failures.check(&found, Stage::Open)?;
            }
            Ok(found)
        }
    }
}

/// Splits a name into text and numbers, so that `zone10` comes after `zone9`.
fn natural(name: &str) -> Vec<(&str, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(end);
        parts.push((text, number.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::tree(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_pipe_a_directory_and_a_missing_file_are_reasons() {
        let (dir, root) = tree();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        assert_eq!(root.text("fifo").unwrap_err().code, ReasonCode::NotAFile);
        assert_eq!(root.text("folder").unwrap_err().code, ReasonCode::NotAFile);
        assert_eq!(root.text("nothing").unwrap_err().code, ReasonCode::NoSuchInterface);
    }

    #[test]
    fn links_stay_inside_the_tree() {
        let (dir, root) = tree();
        symlink("/etc/passwd", dir.path().join("absolute")).unwrap();
        symlink("../../../../../etc/passwd", dir.path().join("relative")).unwrap();
        assert_eq!(root.text("absolute").unwrap_err().code, ReasonCode::NoSuchInterface);
        assert_eq!(root.text("relative").unwrap_err().code, ReasonCode::NoSuchInterface);
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "inside\n").unwrap();
        assert_eq!(root.text("absolute").unwrap(), "inside");
    }

    #[test]
    fn reads_are_bounded_and_bad_numbers_shown() {
        let (dir, root) = tree();
        std::fs::write(dir.path().join("long"), vec![b'7'; 100_000]).unwrap();
        assert_eq!(root.read("long", 10).unwrap().len(), 10);
        assert_eq!(root.text("long").unwrap().len(), TEXT_CAP);
        let reason = root.integer("long").unwrap_err();
        assert_eq!(reason.code, ReasonCode::Implausible);
        assert!(reason.detail.len() < 120, "{reason}");
    }

    #[test]
    fn names_come_in_numeric_order() {
        let (dir, root) = tree();
        for name in ["zone10", "zone9", "zone1", "other"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(root.list(".").unwrap(), ["other", "zone1", "zone9", "zone10"]);
    }
}
