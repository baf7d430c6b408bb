//! What a temperature sensor is on, by its driver or its name.
//!
//! Only sensors on processors show how much inference heats the machine; the hottest sensor of a board is often on a
//! network chip or a drive. A sensor is on the processor only if its driver, its label or its zone's name says so: the
//! words are in `facts`.

use slmscope_profiles::channel::Scope;

use crate::facts::{self, Kind, zones};
use crate::machine::root::Root;

/// Drivers of sensors on memory modules.
const MODULES: [&str; 3] = ["spd5118", "jc42", "ee1004"];

/// Names of the machine's power supplies, as far as they could name a thermal zone.
pub(crate) struct Supplies(Vec<String>);

impl Supplies {
    /// All of them: batteries, gauges, chargers.
    pub(crate) fn of(root: &Root) -> Self {
        let names = root.list("sys/class/power_supply").unwrap_or_default();
        Self(names.iter().map(|name| plain(name)).collect())
    }

    /// What a thermal zone of this type covers. A zone that is called like a power supply is that one's.
    pub(crate) fn of_zone(&self, kind: &str) -> Scope {
        if !self.0.contains(&plain(kind)) && zones::computes(kind) { Scope::Package } else { Scope::Machine }
    }
}

/// Zones of supplies have the name with other separators.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// What a monitor's input covers.
pub(crate) fn of_monitor(driver: &str, label: Option<&str>) -> Scope {
    let known = facts::driver(driver).and_then(|known| known.input(Kind::Temperature, label));
    match known {
        Some(input) => input.place.scope(""),
        None if MODULES.contains(&driver) => Scope::Dram,
        None if is_on_processor(label.unwrap_or_default()) => Scope::Package,
        None => Scope::Machine,
    }
}

/// Whether a label of an unknown driver names a processor. PECI is the processor's own thermal interface.
fn is_on_processor(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    let words: Vec<&str> =
        label.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).collect();
    let names = words.iter().any(|word| matches!(*word, "cpu" | "gpu" | "soc" | "peci"));
    // Voltage regulators are next to it, and what a chip set or a calibration says of it is no sensor of its own.
    let beside = ["vr", "calibration", "pch", "pcb"];
    names && !beside.iter().any(|part| label.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_zone(kind: &str) -> Scope {
        Supplies(vec!["sec-fuelgauge".to_owned(), "soc-battery".to_owned()]).of_zone(kind)
    }

    #[test]
    fn zones_are_on_the_chip_only_if_their_name_says_so() {
        for kind in [
            "x86_pkg_temp",
            "TCPU",
            "B0D4",
            "cpu-thermal",
            "CPU-therm",
            "GPU-therm",
            "SOC2-therm",
            "CV0-therm",
            "tj-thermal",
            "PLL-therm",
            "AO-therm",
            "soc-thermal",
            "package-thermal",
            "bigcore0-thermal",
            "center-thermal",
            "npu-thermal",
            "cpuss-0",
            "mtktscpu",
            "thsens_cpu",
            "G3D",
            "BCPU-therm",
            "cluster0",
            "TCPU_PCI",
        ] {
            assert_eq!(of_zone(kind), Scope::Package, "{kind}");
        }
        for kind in [
            "acpitz",
            "iwlwifi_1",
            "pch_cannonlake",
            "INT3400 Thermal",
            "SEN1",
            "PMIC-Die",
            "pm8550_tz",
            "Tboard_tegra",
            "Tdiode_tegra",
            "thermal-fan-est",
            "battery",
            "charger-skin",
            "nvme",
            "sec-fuelgauge",
            "soc_battery",
            "mtkts_bts0",
            "mtktspmic",
            "mtktsAP",
            "quiet-thermal",
            "xo-thermal",
            "ufs-thermal",
            "TSKN",
            "cpu_pcb",
            "socd",
            "foo",
        ] {
            assert_eq!(of_zone(kind), Scope::Machine, "{kind}");
        }
    }

    #[test]
    fn monitors_are_elsewhere_unless_their_driver_or_label_names_a_processor() {
        let of =
            |driver: &str, label: &str| of_monitor(driver, Some(label).filter(|label| !label.is_empty()));
        for (driver, label) in [
            ("coretemp", "Package id 0"),
            ("k10temp", "Tctl"),
            ("thinkpad", "CPU"),
            ("dell_smm", "GPU"),
            ("asusec", "CPU Package"),
            ("nct6798", "PECI Agent 0"),
            ("scmi_sensors", "CPU_B1"),
            ("ibmpowernv", "Chip 8 Core 136"),
            ("120e0000.tmon", ""),
            ("fam15h_power", "CPU"),
        ] {
            assert_eq!(of(driver, label), Scope::Package, "{driver} {label}");
        }
        assert_eq!(of("amdgpu", "edge"), Scope::Gpu);
        assert_eq!(of("spd5118", ""), Scope::Dram);
        for (driver, label) in [
            ("6810000_ethernet_0", ""),
            ("mlx5", "asic"),
            ("iwlwifi_1", ""),
            ("nvme", "Composite"),
            ("drivetemp", ""),
            ("sht3x", ""),
            ("bq257xx_charger", ""),
            ("rp1_adc", ""),
            ("nct6798", "CPUTIN"),
            ("nct6798", "PCH_CPU_TEMP"),
            ("nct6798", "PECI Agent 0 Calibration"),
            ("scmi_sensors", "PCB_HOT"),
            ("ibmpowernv", "Ambient"),
            ("macsmc_hwmon", "NAND Flash Temperature"),
            ("asusec", "CPU VRM"),
        ] {
            assert_eq!(of(driver, label), Scope::Machine, "{driver} {label}");
        }
    }
}
