//! The control group (version 2) of this process, and the groups above it. A limit binds everything below it.

use slmscope_profiles::channel::Reason;

use crate::catalogue::missing;
use crate::machine::root::Root;

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];

/// Groups between ours and the root.
const MAX_DEPTH: usize = 64;

/// A group, as a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlGroup {
    mount: &'static str,
    /// Below the mount; empty for the group at the root of this process's namespace.
    path: String,
}

impl ControlGroup {
    /// The group of this process.
    ///
    /// # Errors
    /// If it is in none of version 2, or that is not mounted.
    pub(crate) fn of_this_process(root: &Root) -> Result<Self, Reason> {
        let text = root.text("proc/self/cgroup")?;
        let path = own_path(&text).ok_or_else(|| missing("this process is in no group of version 2"))?;
        let mount = MOUNTS
            .into_iter()
            .find(|mount| root.exists(&format!("{mount}/cgroup.controllers")))
            .ok_or_else(|| missing("control groups of version 2 are not mounted"))?;
        Ok(Self { mount, path })
    }

    #[cfg(test)]
    pub(crate) fn at(path: &str) -> Self {
        Self { mount: MOUNTS[0], path: path.to_owned() }
    }

    /// The path of one of its files, relative to the root.
    pub(crate) fn file(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => format!("{}/{name}", self.mount),
            path => format!("{}/{path}/{name}", self.mount),
        }
    }

    /// This group and all above it, up to the one at the mount.
    pub(crate) fn upward(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), |group| {
            if group.path.is_empty() {
                return None;
            }
            let parent = group.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            Some(Self { mount: group.mount, path: parent.to_owned() })
        })
    }
}

/// The path in the line `0::/path`. One that leaves the mount belongs to another namespace.
fn own_path(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let inside = path.split('/').all(|part| part != ".." && part != ".");
    (inside && path.split('/').count() <= MAX_DEPTH).then(|| path.to_owned())
}

/// The number after a name at the start of a line; without a name, the number that is the whole file. `None` for
/// `max`, which is no limit.
pub(crate) fn field(text: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if name.is_empty() {
        return text.trim().parse().ok();
    }
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_another_namespace_or_version_are_none() {
        assert_eq!(own_path("9:cpu:/x\n0::/user.slice/a\n").as_deref(), Some("user.slice/a"));
        assert_eq!(own_path("0::/\n").as_deref(), Some(""));
        assert_eq!(own_path("0::/../outside\n"), None);
        assert_eq!(own_path("9:cpu:/x\n"), None);
    }

    #[test]
    fn the_groups_above_end_at_the_mount() {
        let files: Vec<String> =
            ControlGroup::at("a/b").upward().map(|group| group.file("cpu.max")).collect();
        assert_eq!(files, ["sys/fs/cgroup/a/b/cpu.max", "sys/fs/cgroup/a/cpu.max", "sys/fs/cgroup/cpu.max"]);
        assert_eq!(ControlGroup::at("").upward().count(), 1);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"0::/user.slice/a\nusage_usec 2500000\n", |text| {
            let words = String::from_utf8_lossy(text);
            assert!(own_path(&words).is_none_or(|path| !path.split('/').any(|part| part == "..")));
            let _ = (field(text, "usage_usec"), field(text, ""));
        });
    }
}
