//! The control groups of this process, and those above them. A limit binds everything below it.
//!
//! In version 2 one hierarchy has all controllers. In version 1 each controller has its own, and both are mounted side
//! by side on JetPack 4 and 5, Ubuntu 20.04 and many clusters. A controller is in one of them: `/proc/self/cgroup`
//! names it in a line of version 1 if it is there.

use slmscope_profiles::channel::Reason;

use crate::catalogue::missing;
use crate::machine::root::Root;

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];

/// Groups between ours and the root.
const MAX_DEPTH: usize = 64;

/// Longest `/proc/self/mountinfo`, bytes: a machine with many containers has some thousand mounts.
const MOUNTINFO_CAP: usize = 1 << 18;

/// What a group may account for and limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    /// CPU time that may be used.
    Cpu,
    /// CPU time that was used.
    CpuAccount,
    /// Memory.
    Memory,
}

impl Controller {
    /// Its name in version 1.
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAccount => "cpuacct",
            Self::Memory => "memory",
        }
    }
}

/// Which files a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// A group, as a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlGroup {
    pub(crate) version: Version,
    mount: String,
    /// Below the mount; empty for the group at the root of this process's namespace.
    path: String,
}

impl ControlGroup {
    /// The group of this process that a controller looks at.
    ///
    /// # Errors
    /// If it is in none, or that is not mounted.
    pub(crate) fn of_this_process(root: &Root, controller: Controller) -> Result<Self, Reason> {
        let text = root.text("proc/self/cgroup")?;
        if let Some((controllers, path)) = line_of_version_1(&text, controller) {
            return Self::of_version_1(root, controller, controllers, path);
        }
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).and_then(inside);
        let path = path.ok_or_else(|| missing("this process is in no control group"))?;
        let mount = MOUNTS
            .into_iter()
            .find(|mount| root.exists(&format!("{mount}/cgroup.controllers")))
            .ok_or_else(|| missing("control groups of version 2 are not mounted"))?;
        Ok(Self { version: Version::Two, mount: mount.to_owned(), path: path.to_owned() })
    }

    fn of_version_1(
        root: &Root,
        controller: Controller,
        controllers: &str,
        path: &str,
    ) -> Result<Self, Reason> {
        let mounts = root.long_text("proc/self/mountinfo", MOUNTINFO_CAP).unwrap_or_default();
        let found = mounts.lines().find_map(|line| mount_of(line, controller));
        let (mount, path) = if let Some((mount, top)) = found {
            // In a container the mount shows the container's group and what is below it.
            (mount.to_owned(), below(path, top))
        } else {
            let places = [controllers, controller.name()].map(|name| format!("sys/fs/cgroup/{name}"));
            let mount = places.into_iter().find(|mount| root.exists(mount));
            let none = || missing(format!("the control groups of `{}` are not mounted", controller.name()));
            (mount.ok_or_else(none)?, path)
        };
        let path = inside(path.trim_start_matches('/'));
        let path = path.ok_or_else(|| missing("this process's control group is outside of its namespace"))?;
        Ok(Self { version: Version::One, mount, path: path.to_owned() })
    }

    #[cfg(test)]
    pub(crate) fn at(path: &str) -> Self {
        Self { version: Version::Two, mount: MOUNTS[0].to_owned(), path: path.to_owned() }
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
            Some(Self { path: parent.to_owned(), ..group.clone() })
        })
    }

    /// This group and those above it whose memory limits bind it: in version 1 only those that count what is below
    /// them.
    pub(crate) fn memory_limits(&self, root: &Root) -> Vec<Self> {
        let binds = |group: &Self| {
            group == self
                || group.version == Version::Two
                || root.integer(&group.file("memory.use_hierarchy")).unwrap_or(1) != 0
        };
        self.upward().filter(binds).collect()
    }
}

/// Controllers and path of the line `4:cpu,cpuacct:/path` that has this controller.
fn line_of_version_1(text: &str, controller: Controller) -> Option<(&str, &str)> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller.name()).then_some((controllers, path))
    })
}

/// Mount point, relative to the root, and the group that it shows, of the line of a controller of version 1:
/// `35 28 0:30 /group /sys/fs/cgroup/memory rw … - cgroup cgroup rw,memory`.
fn mount_of(line: &str, controller: Controller) -> Option<(&str, &str)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut kind = kind.split_ascii_whitespace();
    let is_version_1 = kind.next() == Some("cgroup");
    let options = kind.last()?;
    let mut fields = mount.split_ascii_whitespace().skip(3);
    let (top, point) = (fields.next()?, fields.next()?);
    (is_version_1 && options.split(',').any(|option| option == controller.name()))
        .then(|| (point.trim_start_matches('/'), top))
}

/// The part of a path below the group that a mount shows; the group itself where the path is of another namespace.
fn below<'p>(path: &'p str, top: &str) -> &'p str {
    let top = top.trim_end_matches('/');
    match path.strip_prefix(top) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => "",
    }
}

/// A path that stays below the mount. One that leaves it belongs to another namespace.
fn inside(path: &str) -> Option<&str> {
    let inside = path.split('/').all(|part| part != ".." && part != ".");
    (inside && path.split('/').count() <= MAX_DEPTH).then_some(path)
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

/// Bytes of a memory limit of version 1. Without a limit the kernel shows its largest number of whole pages, which is
/// more than any machine has.
pub(crate) fn limit_of_version_1(bytes: u64) -> Option<u64> {
    (bytes < 1 << 62).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::tree(dir.path()).unwrap();
        (dir, root)
    }

    fn file(root: &Root, controller: Controller) -> Option<String> {
        ControlGroup::of_this_process(root, controller).ok().map(|group| group.file("x"))
    }

    #[test]
    fn groups_of_another_namespace_are_none() {
        for (text, expected) in [
            ("9:name=systemd:/x\n0::/user.slice/a\n", Some("sys/fs/cgroup/user.slice/a/x")),
            ("0::/\n", Some("sys/fs/cgroup/x")),
            ("0::/../outside\n", None),
            ("9:pids:/x\n", None),
        ] {
            let (_dir, root) = tree(&[("proc/self/cgroup", text), ("sys/fs/cgroup/cgroup.controllers", "")]);
            assert_eq!(file(&root, Controller::Memory).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_controller_of_version_1_is_read_in_its_own_hierarchy() {
        let lines = "4:cpu,cpuacct:/hunt\n3:memory:/other\n0::/user.slice\n";
        let (_dir, root) = tree(&[
            ("proc/self/cgroup", lines),
            ("sys/fs/cgroup/unified/cgroup.controllers", ""),
            ("sys/fs/cgroup/cpu,cpuacct/hunt/cpu.shares", "1024"),
            ("sys/fs/cgroup/memory/other/memory.stat", ""),
        ]);
        assert_eq!(file(&root, Controller::Cpu).as_deref(), Some("sys/fs/cgroup/cpu,cpuacct/hunt/x"));
        assert_eq!(file(&root, Controller::CpuAccount).as_deref(), Some("sys/fs/cgroup/cpu,cpuacct/hunt/x"));
        assert_eq!(file(&root, Controller::Memory).as_deref(), Some("sys/fs/cgroup/memory/other/x"));
    }

    #[test]
    fn in_a_container_the_mount_shows_the_container_s_own_group() {
        let mount = "35 28 0:30 /docker/7 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n";
        let group = |path: &str| {
            let (_dir, root) = tree(&[
                ("proc/self/cgroup", &format!("3:memory:{path}\n")),
                ("proc/self/mountinfo", mount),
                ("sys/fs/cgroup/memory/memory.stat", ""),
            ]);
            file(&root, Controller::Memory).unwrap()
        };
        assert_eq!(group("/docker/7"), "sys/fs/cgroup/memory/x");
        assert_eq!(group("/docker/7/jobs"), "sys/fs/cgroup/memory/jobs/x");
        assert_eq!(group("/docker/77"), "sys/fs/cgroup/memory/x");
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
        let line = b"4:cpu,memory:/a/b\n35 28 0:30 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\nusage_usec 25\n";
        crate::tests::noise::against(line, |text| {
            let words = String::from_utf8_lossy(text);
            let _ = line_of_version_1(&words, Controller::Memory);
            for line in words.lines() {
                let _ = mount_of(line, Controller::Memory);
                assert!(inside(line).is_none_or(|path| !path.split('/').any(|part| part == "..")));
            }
            let _ = (field(text, "usage_usec"), field(text, ""));
        });
    }
}
