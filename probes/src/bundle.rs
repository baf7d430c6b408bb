//! A capture of a machine: a tar archive of the files that the probes read there, to be examined elsewhere.
//!
//! The archive keeps the shape of the tree, links included, so that it can be read in place of the machine.
//! What identifies the machine or its users is replaced (`redact`). It holds no files of single processes.
//! Files that could not be read are empty in it; a list at its top states how each failed, and they fail the
//! same way where the capture is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::io::Errno;
use tar::{Archive, Builder, EntryType, Header};

use crate::doctor::doctor;
use crate::machine::host;
use crate::machine::root::Root;
use crate::machine::root::failures::{self as failed, Failure, Stage};
use redact::Redactor;

mod redact;

/// Longest file that is captured, bytes; probes read no more of any file.
const FILE_CAP: usize = 1 << 20;

/// Limits of a capture that is read, so that a wrong file fills no disk.
const MAX_BYTES: u64 = 64 << 20;
const MAX_ENTRIES: usize = 1 << 16;

/// Links followed in one path; the kernel's own limit.
const MAX_HOPS: usize = 40;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// Files.
    pub files: usize,
    /// Of these, files that could not be read.
    pub failed: usize,
    /// Values that were replaced.
    pub redacted: usize,
}

/// Captures what the probes read under `root`.
///
/// # Errors
/// If `out` cannot be written.
pub fn capture(root: &Root, out: impl Write) -> io::Result<Captured> {
    let noting = root.noting();
    // A report of the capture needs the files that a report reads here.
    doctor(&noting, None);
    host::describe(&noting);
    let mut redactor = Redactor::of(root);
    let (mut links, mut folders, mut files) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut failures = BTreeMap::new();
    for path in noting.noted() {
        let Some(real) = resolve(root, &path, &mut links).filter(|real| is_wanted(real)) else { continue };
        if let Some(failure) = failure(root, &real) {
            failures.insert(real, failure);
        } else if root.open(&real).is_ok() {
            files.insert(real);
        } else if root.list(&real).is_ok() {
            folders.insert(real);
        }
    }
    let holds_others = |path: &String| {
        let below = format!("{path}/");
        failures.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
    };
    let of_folders = |(path, failure): &(&String, &Failure)| failure.is_folder || holds_others(path);
    let (closed, unread): (Vec<_>, Vec<_>) = failures.iter().partition(of_folders);
    folders.extend(closed.into_iter().map(|(path, _)| path.clone()));
    let mut archive = Builder::new(out);
    for folder in folders.iter().filter(|folder| !folder.is_empty()) {
        let mut header = header(EntryType::Directory, 0o755);
        archive.append_data(&mut header, redactor.path(folder), io::empty())?;
    }
    for (link, target) in links.iter().filter(|(link, _)| is_wanted(link)) {
        let mut header = header(EntryType::Symlink, 0o777);
        archive.append_link(&mut header, redactor.path(link), redactor.path(target))?;
    }
    for (path, _) in &unread {
        archive.append_data(&mut header(EntryType::Regular, 0o644), redactor.path(path), io::empty())?;
    }
    let mut list = String::new();
    for (path, failure) in &failures {
        list.push_str(&format!("{failure} {}\n", redactor.path(path)));
    }
    if !list.is_empty() {
        let mut header = header(EntryType::Regular, 0o644);
        header.set_size(list.len() as u64);
        archive.append_data(&mut header, failed::FILE, list.as_bytes())?;
    }
    let mut taken = unread.len();
    for file in &files {
        let Ok(bytes) = root.in_time(file, |root, file| root.read(file, FILE_CAP)) else { continue };
        let bytes = redactor.contents(file, &bytes);
        let mut header = header(EntryType::Regular, 0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, redactor.path(file), bytes.as_slice())?;
        taken += 1;
    }
    archive.into_inner()?.flush()?;
    Ok(Captured { files: taken, failed: failures.len(), redacted: redactor.replaced() })
}

/// Unpacks a capture into a folder of its own, which is removed when the returned value is dropped.
///
/// # Errors
/// If it is no capture, too large, or cannot be written.
pub fn unpack(file: &Path) -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let wrong = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut archive = Archive::new(File::open(file)?.take(MAX_BYTES));
    archive.set_preserve_permissions(false);
    archive.set_preserve_mtime(false);
    let mut count = 0;
    for entry in archive.entries()? {
        // What the archive's reader says of another file holds a piece of it.
        let is_of_system = |error: &io::Error| error.raw_os_error().is_some();
        let mut entry = entry.map_err(|error| match error {
            error if is_of_system(&error) => error,
            _ => wrong("not a tar archive of a capture".to_owned()),
        })?;
        let kind = entry.header().entry_type();
        if !matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Symlink) {
            return Err(wrong(format!("{} is neither file, folder nor link", entry.path()?.display())));
        }
        if !entry.unpack_in(folder.path())? {
            return Err(wrong(format!("{} leaves the tree", entry.path()?.display())));
        }
        count += 1;
        if count > MAX_ENTRIES {
            return Err(wrong(format!("more than {MAX_ENTRIES} entries")));
        }
    }
    if count == 0 {
        return Err(wrong("not a tar archive of a capture: it is empty".to_owned()));
    }
    Ok(folder)
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_mtime(0);
    header
}

/// How reading what is at a path fails. A read that does not return has timed out.
fn failure(root: &Root, path: &str) -> Option<Failure> {
    let late = Failure { stage: Stage::Read, errno: Errno::TIMEDOUT, is_folder: false };
    root.in_time(path, |root, path| Ok(root.failure(path))).unwrap_or(Some(late))
}

/// Processes and devices are left out: they are private.
fn is_wanted(path: &str) -> bool {
    let of_process = path.strip_prefix("proc/").is_some_and(|rest| {
        rest.starts_with("self")
            || rest.starts_with("thread-self")
            || rest.starts_with(|c: char| c.is_ascii_digit())
    });
    !of_process && ["proc", "sys", "etc", "usr", "boot", "run"].iter().any(|top| is_below(path, top))
}

fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

/// The path without any links in it. Links on the way are entered with their targets.
fn resolve(root: &Root, path: &str, links: &mut BTreeMap<String, String>) -> Option<String> {
    let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut hops = 0;
    while let Some(part) = rest.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => done.push(part),
        }
        let here = done.join("/");
        if let Some(target) = root.link(&here) {
            hops += 1;
            if hops > MAX_HOPS {
                return None;
            }
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            rest.extend(target.split('/').rev().map(str::to_owned));
            links.insert(here, target);
        }
    }
    Some(done.join("/"))
}

#[cfg(test)]
mod tests;
