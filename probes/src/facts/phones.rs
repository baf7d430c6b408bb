//! Where phones and tablets show how busy their graphics processor is. Root and the user of `adb shell` may read most of
//! these; an app may not.

use crate::sources::files::percent;

/// A file with the load.
pub(crate) struct Load {
    pub(crate) path: &'static str,
    /// The share in it, 0 to 1.
    pub(crate) share: fn(&[u8]) -> Option<f64>,
}

/// The first that exists counts.
pub(crate) const LOADS: &[Load] = &[
    // MediaTek's GED, drivers/misc/mediatek/gpu/ged: busy, blocked and idle, percent; they add up to 100.
    Load { path: "sys/kernel/ged/hal/gpu_utilization", share: ged },
    Load { path: "sys/kernel/debug/ged/hal/gpu_utilization", share: ged },
    // Samsung's kernels, drivers/gpu/arm/…/platform/exynos/gpu_custom_interface.c: `12%`.
    Load { path: "sys/kernel/gpu/gpu_busy", share: percent },
    // Tensor's and Exynos' kbase, platform/pixel/pixel_gpu_sysfs.c: percent.
    Load { path: "sys/class/misc/mali0/device/utilization", share: percent },
    Load { path: "sys/class/misc/mali0/device/utilisation", share: percent },
];

/// `82 0 18`.
fn ged(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let parts: Option<Vec<u32>> = text.split_ascii_whitespace().map(|part| part.parse().ok()).collect();
    let &[busy, blocked, idle] = parts.as_deref()? else { return None };
    // Each of the three is rounded.
    let sum = busy.checked_add(blocked)?.checked_add(idle)?;
    (98..=102).contains(&sum).then(|| f64::from(busy) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::ged;

    #[test]
    fn the_three_shares_of_mediatek_add_up() {
        assert_eq!(ged(b"82 0 18\n"), Some(0.82));
        assert_eq!(ged(b"0 0 100"), Some(0.0));
        for wrong in [&b"82 0"[..], b"82", b"82 40 18", b"x 0 0", b"4294967295 4294967295 1", b""] {
            assert_eq!(ged(wrong), None);
        }
    }
}
