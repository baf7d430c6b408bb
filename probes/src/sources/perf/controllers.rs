//! Memory controllers whose traffic can be counted, by the names of their PMUs.

/// How one kind of controller is counted.
pub(super) struct Controller {
    /// Beginning of its PMUs' names.
    pub(super) prefix: &'static str,
    /// PMUs with this beginning are of another kind.
    pub(super) not: Option<&'static str>,
    /// Names of its events, or their terms where the kernel names none; all that exist of the first set that
    /// exists are summed.
    pub(super) read: &'static [&'static [&'static str]],
    pub(super) write: &'static [&'static [&'static str]],
    /// Both directions in one.
    pub(super) total: &'static [&'static [&'static str]],
    /// B per count where sysfs does not state it.
    pub(super) bytes: Option<f64>,
    /// Generations of AMD's Zen for which the terms hold; empty for names.
    pub(super) zens: &'static [Zen],
    /// The `identifier` of the PMU for which the scale holds; letter case is ignored.
    pub(super) model: Option<&'static str>,
}

/// Generations of AMD's Zen, as far as the numbers of their counters differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zen {
    /// Zen, Zen+ and Zen 2.
    First,
    Third,
    Fourth,
    Fifth,
}

impl Zen {
    /// By family and model of `/proc/cpuinfo`, as `arch/x86/kernel/cpu/amd.c` distinguishes Zen 3 and Zen 4.
    pub(super) fn of(family: u32, model: u32) -> Option<Self> {
        match (family, model) {
            (23, _) => Some(Self::First),
            (25, 0x00..=0x0f | 0x20..=0x5f) => Some(Self::Third),
            (25, 0x10..=0x1f | 0x60..=0xaf) => Some(Self::Fourth),
            (26, _) => Some(Self::Fifth),
            _ => None,
        }
    }
}

const PLAIN: Controller = Controller {
    prefix: "",
    not: None,
    read: &[],
    write: &[],
    total: &[],
    bytes: None,
    zens: &[],
    model: None,
};

/// i.MX 8M counts beats of its memory bus, 4 transfers of 16 or 32 bits each.
const fn imx8(model: &'static str, bytes: f64) -> Controller {
    Controller {
        prefix: "imx8_ddr",
        read: &[&["read-cycles"]],
        write: &[&["write-cycles"]],
        bytes: Some(bytes),
        model: Some(model),
        ..PLAIN
    }
}

/// In the order in which they are tried.
pub(super) const CONTROLLERS: [Controller; 18] = [
    // Intel servers and, with other names, clients up to Coffee Lake.
    Controller {
        prefix: "uncore_imc",
        not: Some("uncore_imc_free_running"),
        read: &[&["cas_count_read"], &["cas_count_read_sch0", "cas_count_read_sch1"], &["data_reads"]],
        write: &[&["cas_count_write"], &["cas_count_write_sch0", "cas_count_write_sch1"], &["data_writes"]],
        ..PLAIN
    },
    // Intel clients from Tiger Lake on; servers have them beside the others.
    Controller {
        prefix: "uncore_imc_free_running",
        read: &[&["data_read"], &["read"]],
        write: &[&["data_write"], &["write"]],
        total: &[&["data_total"]],
        ..PLAIN
    },
    // AMD from Zen 4 on: one PMU for each active channel, 64 B for each column access.
    Controller {
        prefix: "amd_umc",
        read: &[&["event=0x0a,rdwrmask=0x1"]],
        write: &[&["event=0x0a,rdwrmask=0x2"]],
        bytes: Some(64.0),
        zens: &[Zen::Fourth, Zen::Fifth],
        ..PLAIN
    },
    // AMD Zen to Zen 3: the data fabric's ports to eight channels, 64 B each.
    Controller {
        prefix: "amd_df",
        total: &[&[
            "event=0x07,umask=0x38",
            "event=0x47,umask=0x38",
            "event=0x87,umask=0x38",
            "event=0xc7,umask=0x38",
            "event=0x107,umask=0x38",
            "event=0x147,umask=0x38",
            "event=0x187,umask=0x38",
            "event=0x1c7,umask=0x38",
        ]],
        bytes: Some(64.0),
        zens: &[Zen::First, Zen::Third],
        ..PLAIN
    },
    // NVIDIA Grace, one PMU for each socket: reads in beats of 32 B, writes in bytes. Each has a scale of its own.
    Controller { prefix: "nvidia_scf_pmu", read: &[&["cmem_rd_data"]], bytes: Some(32.0), ..PLAIN },
    // Arm's mesh: requests to memory of 64 B.
    Controller { prefix: "arm_cmn", total: &[&["hnf_mc_reqs"]], bytes: Some(64.0), ..PLAIN },
    Controller { prefix: "ali_drw", read: &[&["hif_rd"]], write: &[&["hif_wr"]], bytes: Some(64.0), ..PLAIN },
    Controller { prefix: "rockchip_ddr", read: &[&["read-bytes"]], write: &[&["write-bytes"]], ..PLAIN },
    Controller { prefix: "meson_ddr_bw", total: &[&["total_rw_bytes"]], ..PLAIN },
    // NVIDIA's server after Grace counts bytes, to memory of its own socket and of others.
    Controller {
        prefix: "nvidia_ucf_pmu",
        read: &[&["mem_bytes_rd"]],
        write: &[&["mem_bytes_wr"]],
        bytes: Some(1.0),
        ..PLAIN
    },
    // Arm's controller in Ampere Altra: bursts of 8 on a bus of 64 bits, distinguished by a filter.
    Controller {
        prefix: "arm_dmc620",
        read: &[&["clkdiv2_rdwr,mask=0x1,match=0x0"]],
        write: &[&["clkdiv2_rdwr,mask=0x1,match=0x1"]],
        bytes: Some(64.0),
        ..PLAIN
    },
    // HiSilicon's: bursts of 32 B on Kunpeng 920 and its successor. Caches have the same beginning and no flux.
    Controller {
        prefix: "hisi_sccl",
        read: &[&["flux_rd"]],
        write: &[&["flux_wr"]],
        bytes: Some(32.0),
        ..PLAIN
    },
    // i.MX 8M Plus counts bytes behind a filter by master, which lets all of them pass.
    Controller {
        prefix: "imx8_ddr",
        read: &[&["axid-read,axi_mask=0xffff,axi_id=0x0"]],
        write: &[&["axid-write,axi_mask=0xffff,axi_id=0x0"]],
        bytes: Some(1.0),
        model: Some("i.MX8MP"),
        ..PLAIN
    },
    imx8("i.MX8MQ", 16.0),
    imx8("i.MX8MM", 16.0),
    imx8("i.MX8MN", 8.0),
    Controller {
        prefix: "imx9_ddr",
        read: &[&["eddrtq_pm_rd_beat_filt0,axi_mask=0x0,axi_id=0x0"]],
        write: &[&["eddrtq_pm_wr_beat_filt,axi_mask=0x0,axi_id=0x0"]],
        bytes: Some(32.0),
        model: Some("imx95"),
        ..PLAIN
    },
    // Others of that family: beats of a width that only the board knows, unless sysfs states a scale.
    Controller { prefix: "imx", read: &[&["read-cycles"]], write: &[&["write-cycles"]], ..PLAIN },
];

/// Writes of Grace, which count in bytes.
pub(super) const GRACE_WRITES: (&str, &str) = ("nvidia_scf_pmu", "cmem_wr_total_bytes");

/// PMUs of memory controllers whose counts have no known size.
pub(super) const UNSIZED: [&str; 3] = ["imx8_ddr", "imx9_ddr", "qcom_llcc"];
