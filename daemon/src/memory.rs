//! Memory that can still be used.

/// Memory that can still be had, bytes: by the kernel's estimate and this control group's limit. `None` if
/// neither says.
pub(crate) fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10;
    let group = |file: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limit = group("memory.max").zip(group("memory.current")).map(|(max, now)| max.saturating_sub(now));
    Some(limit.map_or(free, |limit| limit.min(free)))
}
