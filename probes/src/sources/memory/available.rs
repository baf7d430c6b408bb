//! Memory that a program may still take: by the kernel's estimate for the machine, and by the limits of this
//! process's control group and of those above it.
//!
//! A group's own use counts against its limit, but not the pages of files in it: the kernel drops them when memory is
//! short, as it does in its estimate for the machine. Without that, the weights that a worker has mapped before
//! would count as taken after it has ended. Swap is left out: a model in swap cannot be measured. So is
//! `memory.high`, above which the kernel slows a group down but takes nothing away.

use super::meminfo;
use crate::machine::control_group::{ControlGroup, Controller, Version, field, limit_of_version_1};
use crate::machine::root::Root;

/// Longest `/proc/meminfo` and `memory.stat`, bytes; both have some sixty lines.
const CAP: usize = 8192;

/// Memory that is available, bytes. `None` if the kernel does not report it, as those before 3.14 do not.
pub fn available_memory(root: &Root) -> Option<u64> {
    let machine = meminfo::parse(&root.read("proc/meminfo", CAP).ok()?).available?;
    let Ok(group) = ControlGroup::of_this_process(root, Controller::Memory) else { return Some(machine) };
    let limits = group.memory_limits(root);
    Some(limits.iter().filter_map(|group| below_limit(root, group)).fold(machine, u64::min))
}

/// What a group may still take; `None` where it has no limit of its own.
fn below_limit(root: &Root, group: &ControlGroup) -> Option<u64> {
    let read = |file: &str, name: &str| field(&root.read(&group.file(file), CAP).ok()?, name);
    let (limit, used, of_files) = match group.version {
        Version::Two => {
            (read("memory.max", "")?, read("memory.current", "")?, ["active_file", "inactive_file"])
        }
        Version::One => (
            read("memory.limit_in_bytes", "").and_then(limit_of_version_1)?,
            read("memory.usage_in_bytes", "")?,
            ["total_active_file", "total_inactive_file"],
        ),
    };
    let of_files = of_files.map(|name| read("memory.stat", name).unwrap_or(0));
    let kept = used.saturating_sub(of_files[0].saturating_add(of_files[1]));
    Some(limit.saturating_sub(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with 8,000 KiB, on which this process is in a group below a service's.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            machine.write("proc/meminfo", "MemTotal: 16000 kB\nMemAvailable:    8000 kB\n");
            machine.write("proc/self/cgroup", "0::/system.slice/slmscoped.service/jobs\n");
            machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
            machine
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// A group's limit and use, bytes.
        fn limit(&self, group: &str, limit: &str, used: u64) {
            self.write(&format!("sys/fs/cgroup/{group}/memory.max"), limit);
            self.write(&format!("sys/fs/cgroup/{group}/memory.current"), &used.to_string());
        }

        fn available(&self) -> Option<u64> {
            available_memory(&Root::tree(self.0.path()).unwrap())
        }
    }

    const SERVICE: &str = "system.slice/slmscoped.service";

    #[test]
    fn the_limit_of_a_unit_is_seen_from_the_groups_in_it() {
        let machine = Machine::new();
        assert_eq!(machine.available(), Some(8000 << 10));
        machine.limit(&format!("{SERVICE}/jobs"), "max\n", 5_000);
        machine.limit(SERVICE, "1000000\n", 300_000);
        machine.limit("system.slice", "2000000\n", 400_000);
        assert_eq!(machine.available(), Some(700_000));
        machine.limit("system.slice", "2000000\n", 1_900_000);
        assert_eq!(machine.available(), Some(100_000), "the tightest binds");
        machine.limit("system.slice", "2000000\n", 2_100_000);
        assert_eq!(machine.available(), Some(0));
    }

    #[test]
    fn a_limit_of_version_1_is_seen_beside_version_2() {
        let machine = Machine::new();
        machine.write("proc/self/cgroup", "5:memory:/jobs/a\n0::/user.slice\n");
        let group = |path: &str, limit: &str, used: u64| {
            let folder = format!("sys/fs/cgroup/memory/{path}");
            machine.write(&format!("{folder}memory.limit_in_bytes"), limit);
            machine.write(&format!("{folder}memory.usage_in_bytes"), &used.to_string());
            machine.write(&format!("{folder}memory.stat"), "cache 9\ntotal_inactive_file 1000\n");
        };
        group("jobs/a/", "9223372036854771712", 5_000);
        assert_eq!(machine.available(), Some(8000 << 10), "no limit");
        group("jobs/a/", "3000000", 201_000);
        assert_eq!(machine.available(), Some(2_800_000));
        group("jobs/", "1000000", 301_000);
        assert_eq!(machine.available(), Some(700_000), "the tightest binds");
        machine.write("sys/fs/cgroup/memory/jobs/memory.use_hierarchy", "0");
        assert_eq!(machine.available(), Some(2_800_000), "it does not count what is below it");
    }

    #[test]
    fn pages_of_files_can_be_had_and_a_limit_above_the_machine_is_none() {
        let machine = Machine::new();
        machine.limit(SERVICE, "1000000\n", 900_000);
        machine.write(
            &format!("sys/fs/cgroup/{SERVICE}/memory.stat"),
            "anon 200000\nfile 700000\ninactive_file 500000\nactive_file 150000\n",
        );
        assert_eq!(machine.available(), Some(750_000));
        machine.limit(SERVICE, "99000000000\n", 900_000);
        assert_eq!(machine.available(), Some(8000 << 10));
    }

    #[test]
    fn a_kernel_that_does_not_say_and_broken_files_leave_nothing_made_up() {
        let machine = Machine::new();
        machine.limit(SERVICE, "many\n", 0);
        assert_eq!(machine.available(), Some(8000 << 10));
        machine.write("proc/self/cgroup", "0::/../outside\n");
        assert_eq!(machine.available(), Some(8000 << 10));
        machine.write("proc/meminfo", "MemTotal: 16000 kB\n");
        assert_eq!(machine.available(), None);
    }
}
