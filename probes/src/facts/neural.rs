//! Neural accelerators, by the kernel driver that serves them: what it reports of the whole device, and what it does not.
//!
//! A driver may show any of busy time, clock, memory and power. Where it shows nothing, the row has the reason.

use slmscope_profiles::channel::Unit;

/// A file of the device, and what it holds.
pub(crate) struct File {
    /// Below the device's folder.
    pub(crate) name: &'static str,
    /// The end of the channel's id.
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    /// The channel's unit in one of the file's.
    pub(crate) factor: f64,
}

/// What a driver shows.
pub(crate) struct Driver {
    /// Its name, to which `device/driver` points.
    pub(crate) name: &'static str,
    /// The counter of busy time.
    pub(crate) busy: Option<File>,
    pub(crate) files: &'static [File],
    /// Why there is no share of busy time, where there is none.
    pub(crate) why_no_busy: &'static str,
}

pub(crate) const DRIVERS: &[Driver] = &[
    // drivers/accel/ivpu/ivpu_sysfs.c.
    Driver {
        name: "intel_vpu",
        busy: Some(File { name: "npu_busy_time_us", what: "busy.time", unit: Unit::Seconds, factor: 1e-6 }),
        files: &[
            File { name: "npu_memory_utilization", what: "memory_used", unit: Unit::Bytes, factor: 1.0 },
            File { name: "npu_current_frequency_mhz", what: "clock", unit: Unit::Hertz, factor: 1e6 },
        ],
        why_no_busy: "the driver has no npu_busy_time_us: Linux before 6.11",
    },
    // drivers/accel/amdxdna/aie2_pci.c: clocks and power come through DRM_IOCTL_AMDXDNA_GET_INFO, busy time not at all.
    Driver {
        name: "amdxdna",
        busy: None,
        files: &[],
        why_no_busy: "the driver amdxdna counts no busy time of the whole device",
    },
    // drivers/accel/rocket: Rockchip's cores under the mainline driver.
    Driver {
        name: "rocket",
        busy: None,
        files: &[],
        why_no_busy: "the driver rocket counts no busy time of the whole device",
    },
    // drivers/accel/ethosu.
    Driver {
        name: "ethosu",
        busy: None,
        files: &[],
        why_no_busy: "the driver ethosu counts no busy time of the whole device",
    },
    // drivers/accel/qaic.
    Driver {
        name: "qaic",
        busy: None,
        files: &[],
        why_no_busy: "the driver qaic counts no busy time of the whole device",
    },
    // drivers/accel/habanalabs/common/sysfs.c: clocks in MHz; busy time comes through an ioctl.
    Driver {
        name: "habanalabs",
        busy: None,
        files: &[
            File { name: "clk_cur_freq_mhz", what: "clock", unit: Unit::Hertz, factor: 1e6 },
            File { name: "pm_mng_profile_clk", what: "clock", unit: Unit::Hertz, factor: 1e6 },
        ],
        why_no_busy: "the driver habanalabs tells its utilisation through an ioctl only",
    },
];

/// Accelerators that have no class of their own: the folder by which each is found, how its entries begin, and why
/// nothing is known of its load.
pub(crate) const SILENT: &[(&str, &str, &str)] = &[
    // hailort-drivers, linux/pcie: the driver only moves buffers; the load is HailoRT's.
    ("sys/class/hailo_chardev", "hailo", "Hailo's driver shows no load: it is known to HailoRT alone"),
    // drivers/misc/fastrpc.c: a device of the compute DSP, whose firmware does not report its load.
    ("sys/class/misc", "fastrpc-cdsp", "Qualcomm's compute DSP tells no load through FastRPC"),
    ("sys/class/misc", "cdsp", "Qualcomm's compute DSP tells no load through FastRPC"),
    // Amlogic's and NXP's galcore of VeriSilicon.
    (
        "sys/class/graphics_class",
        "galcore",
        "VeriSilicon's driver galcore shows a load in debugfs only if built so",
    ),
];
