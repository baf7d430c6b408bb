//! Which logical CPUs there are and which share a core.

use std::collections::BTreeSet;

use crate::machine::root::Root;

/// CPU numbers above this are ignored; the kernel's own limit is 8192.
const MAX_CPU: u32 = 8191;

const FOLDER: &str = "sys/devices/system/cpu";

/// CPUs that are plugged in, online or not. Firmware may claim many more as `possible`. Where the kernel gives
/// no list, the CPUs that have a folder.
pub(crate) fn present(root: &Root) -> BTreeSet<u32> {
    if let Ok(text) = root.text(&format!("{FOLDER}/present")) {
        return parse_list(&text);
    }
    let names = root.list(FOLDER).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| name.strip_prefix("cpu")?.parse().ok().filter(|&cpu| cpu <= MAX_CPU))
        .collect()
}

/// One number per core that has a CPU with a `topology` folder: the first of its threads.
pub(crate) fn first_threads(root: &Root) -> BTreeSet<u32> {
    present(root)
        .into_iter()
        .filter_map(|cpu| {
            let path = format!("{FOLDER}/cpu{cpu}/topology/thread_siblings_list");
            parse_list(&root.text(&path).ok()?).first().copied()
        })
        .collect()
}

/// Number of the package that holds a CPU. `None` where the kernel does not report it, as on many Arm machines.
pub(crate) fn package(root: &Root, cpu: u32) -> Option<i64> {
    root.integer(&format!("{FOLDER}/cpu{cpu}/topology/physical_package_id")).ok().filter(|&id| id >= 0)
}

/// Parses a list such as `0-3,8,10-11` (commas or blanks). What is malformed is left out.
pub(crate) fn parse_list(text: &str) -> BTreeSet<u32> {
    let mut cpus = BTreeSet::new();
    for part in text.split([',', ' ', '\n']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>())
            && last <= MAX_CPU
        {
            cpus.extend(first..=last);
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded() {
        assert_eq!(parse_list("0-2,5 7").into_iter().collect::<Vec<_>>(), [0, 1, 2, 5, 7]);
        assert!(parse_list("0-4294967295").is_empty());
        assert!(parse_list("5-2,x,").is_empty());
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"0-3,8,10-11", |text| {
            let cpus = parse_list(&String::from_utf8_lossy(text));
            assert!(cpus.iter().all(|&cpu| cpu <= MAX_CPU));
        });
    }
}
