//! Caches of data, as the kernel lists them under each CPU.

use std::collections::{BTreeMap, BTreeSet};

use slmscope_profiles::host::Cache;

use crate::machine::root::Root;
use crate::machine::topology;

/// Caches of a CPU that are looked at; the kernel lists two of the first level and one of each further one.
const MAX_INDEX: u32 = 8;

/// The caches of each level, nearest to the cores first; empty where the kernel does not list them.
pub(crate) fn read(root: &Root) -> Vec<Cache> {
    let mut cpus = topology::first_threads(root);
    if cpus.is_empty() {
        cpus = topology::present(root);
    }
    // Caches that several CPUs share are listed under each of them.
    let mut levels: BTreeMap<u32, (u64, BTreeSet<String>)> = BTreeMap::new();
    for cpu in cpus {
        for index in 0..MAX_INDEX {
            let of = |file| root.text(&format!("sys/devices/system/cpu/cpu{cpu}/cache/index{index}/{file}"));
            let Ok(kind) = of("type") else { break };
            let level = of("level").ok().and_then(|level| level.parse().ok());
            let bytes = of("size").ok().and_then(|size| parse_size(&size));
            let (Some(level), Some(bytes)) = (level, bytes) else { continue };
            if kind == "Instruction" {
                continue;
            }
            let (largest, places) = levels.entry(level).or_default();
            *largest = bytes.max(*largest);
            places.insert(of("shared_cpu_list").unwrap_or_else(|_| cpu.to_string()));
        }
    }
    let cache = |(level, (bytes, places)): (u32, (u64, BTreeSet<String>))| Cache {
        level,
        bytes,
        instances: places.len() as u32,
    };
    levels.into_iter().map(cache).collect()
}

/// Parses `32K` or `8M`.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_caches_are_counted_once_and_caches_of_instructions_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: String, text: &str| {
            let path = folder.path().join("sys/devices/system/cpu").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("present".to_owned(), "0-1\n");
        for cpu in 0..2 {
            let own = cpu.to_string();
            let rows = [("1", "Data", "32K", own.as_str()), ("1", "Instruction", "64K", &own)];
            let shared = [("2", "Unified", "512K", own.as_str()), ("3", "Unified", "8M", "0-1")];
            for (index, (level, kind, size, cpus)) in rows.into_iter().chain(shared).enumerate() {
                let values = [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", cpus)];
                for (file, text) in values {
                    write(format!("cpu{cpu}/cache/index{index}/{file}"), &format!("{text}\n"));
                }
            }
        }
        let found = read(&Root::tree(folder.path()).unwrap());
        let cache = |level, bytes, instances| Cache { level, bytes, instances };
        assert_eq!(found, [cache(1, 32 << 10, 2), cache(2, 512 << 10, 2), cache(3, 8 << 20, 1)]);
    }

    #[test]
    fn what_is_no_size_is_left_out() {
        assert_eq!(["0K", "K", "12", "18446744073709551615M", "-1K"].map(parse_size), [None; 5]);
    }
}
