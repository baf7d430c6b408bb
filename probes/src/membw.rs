//! Memory traffic: what this machine has to count it with, and why it is not read.
//!
//! No file gives it portably. Memory controllers have performance counters that only a privileged process may
//! open, and they count every process and device; so here is one row that names what was found.

use slmscope_profiles::channel::{Quantity, Reason, ReasonCode, Scope, Unit};

use crate::catalogue::{Catalogue, missing};
use crate::root::Root;

const PMUS: &str = "sys/bus/event_source/devices";

/// Beginnings of the names of the PMUs that count DRAM traffic.
const DRAM_PMUS: [&str; 9] = [
    "uncore_imc",
    "amd_umc",
    "amd_df",
    "nvidia_scf_pmu",
    "nvidia_ucf_pmu",
    "arm_dmc620",
    "hisi_sccl",
    "imx8_ddr",
    "rockchip_ddr",
];

/// Enters `membw.dram`.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) {
    let pmu = root
        .list(PMUS)
        .unwrap_or_default()
        .into_iter()
        .find(|name| DRAM_PMUS.iter().any(|prefix| name.starts_with(prefix)));
    let mounted = "sys/fs/resctrl/mon_data";
    let (source, reason) = if let Some(pmu) = pmu {
        let detail =
            format!("the counters of {pmu} need system-wide perf events, which slmscope does not open");
        (format!("/{PMUS}/{pmu}"), Reason::new(ReasonCode::NotSupported, detail))
    } else if root.exists(mounted) {
        let detail = "resctrl is mounted; slmscope does not read its monitoring groups";
        (format!("/{mounted}"), Reason::new(ReasonCode::NotSupported, detail))
    } else {
        (format!("/{PMUS}"), missing("no memory-controller counters: no DRAM PMU and no resctrl"))
    };
    let channel = ("membw.dram", Quantity::MemoryBandwidth, Unit::BytesPerSecond, Scope::Dram);
    catalogue.absent(channel, &source, reason, None);
}
