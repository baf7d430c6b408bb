//! Links that became files: a checkout made without symbolic links (git's `core.symlinks=false`) holds
//! a plain file with the target's path where sysfs has a link. Captured trees are often such checkouts, so
//! under a tree such a file is followed where a directory was expected. The kernel still confines the
//! resulting path to the tree.

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Root;

/// Links followed in one path; the kernel's own limit is 40.
const MAX_HOPS: usize = 16;

/// Opens `path` after replacing link texts on the way.
pub(super) fn open(root: &Root, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut path = path.to_owned();
    for _ in 0..MAX_HOPS {
        match root.open_flags(&path, flags) {
            Err(Errno::NOTDIR) => path = step(root, &path).ok_or(Errno::NOTDIR)?,
            other => return other,
        }
    }
    Err(Errno::LOOP)
}

/// The target written in `path`, if that is a file which looks like a link's text.
pub(super) fn target(root: &Root, path: &str) -> Option<String> {
    if root.is_live() {
        return None;
    }
    let bytes = root.read(path, 1024).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let is_path = (text.starts_with("../") || text.starts_with("./") || text.starts_with('/'))
        && !text.contains(|c: char| c.is_control());
    is_path.then_some(text)
}

/// Replaces the first component that is a link's text by the target in it.
fn step(root: &Root, path: &str) -> Option<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let (prefix, rest) = path.split_at(end);
        if matches!(root.open_flags(prefix, OFlags::PATH | OFlags::DIRECTORY), Err(Errno::NOTDIR)) {
            let target = target(root, prefix)?;
            let base =
                if target.starts_with('/') { "" } else { prefix.rsplit_once('/').map_or("", |(dir, _)| dir) };
            return Some(normal(&format!("{base}/{target}{rest}")));
        }
    }
    None
}

/// Removes `.` and `..`; what would climb out of the root stays at the root.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_text_is_followed_like_the_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("devices/a/b")).unwrap();
        std::fs::create_dir(dir.path().join("class")).unwrap();
        std::fs::write(dir.path().join("devices/a/b/value"), "5").unwrap();
        std::fs::write(dir.path().join("class/item"), "../devices/a/b").unwrap();
        std::fs::write(dir.path().join("class/loop"), "../class/loop").unwrap();
        std::fs::write(dir.path().join("class/outside"), "../../../../etc").unwrap();
        let root = Root::tree(dir.path()).unwrap();
        assert_eq!(root.text("class/item/value").unwrap(), "5");
        assert_eq!(root.list("class/item").unwrap(), ["value"]);
        assert_eq!(root.link("class/item").unwrap(), "../devices/a/b");
        assert!(root.text("class/loop/value").is_err());
        assert!(root.text("class/outside/passwd").is_err());
    }
}
