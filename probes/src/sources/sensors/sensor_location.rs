//! What a temperature sensor is on, by its driver or its name.
//!
//! Only sensors on processors show how much inference heats the machine; the hottest sensor of a board is often on a
//! network chip or a drive. A zone of the device tree is assumed to be on the processor's chip unless its name names
//! another place, because each chip maker has names of its own for the chip's parts. A monitor is assumed to be
//! elsewhere unless its driver or a label names the processor.

use slmscope_profiles::channel::Scope;

/// Drivers of sensors inside a processor.
const PROCESSORS: [&str; 9] = [
    "coretemp",
    "k10temp",
    "k8temp",
    "zenpower",
    "via_cputemp",
    "apm_xgene",
    "altra_hwmon",
    "scpi_sensors",
    "scmi_sensors",
];

/// Drivers of graphics cards.
const CARDS: [&str; 5] = ["amdgpu", "radeon", "nouveau", "i915", "xe"];

/// Drivers of sensors on memory modules.
const MODULES: [&str; 3] = ["spd5118", "jc42", "ee1004"];

/// Words of labels that name a processor, for monitors of other drivers.
const LABELS: [&str; 4] = ["cpu", "gpu", "soc", "peci"];

/// Beginnings of words in the names of zones that are not on the processor's chip.
const ELSEWHERE: [&str; 24] = [
    "acpitz", "adc", "ambient", "bat", "board", "charger", "chg", "drive", "emmc", "eth", "fan", "iwlwifi",
    "mdio", "mlx", "nvme", "pch", "phy", "pm", "skin", "ssd", "tboard", "tdiode", "wifi", "wlan",
];

/// Whole words of the same, most of them participants of Intel's thermal framework.
const PARTICIPANTS: [&str; 5] = ["int", "ngff", "sen", "tmem", "tskn"];

/// What a thermal zone of this type covers.
pub(crate) fn of_zone(kind: &str) -> Scope {
    let kind = kind.to_ascii_lowercase();
    let is_elsewhere = words(&kind)
        .any(|word| ELSEWHERE.iter().any(|begin| word.starts_with(begin)) || PARTICIPANTS.contains(&word));
    if is_elsewhere { Scope::Machine } else { Scope::Package }
}

/// What a monitor's input covers.
pub(crate) fn of_monitor(driver: &str, label: Option<&str>) -> Scope {
    let label = label.unwrap_or_default().to_ascii_lowercase();
    match driver {
        _ if CARDS.contains(&driver) => Scope::Gpu,
        _ if MODULES.contains(&driver) => Scope::Dram,
        _ if PROCESSORS.contains(&driver) => Scope::Package,
        // Voltage regulators are next to it.
        _ if !label.contains("vr") && words(&label).any(|word| LABELS.contains(&word)) => Scope::Package,
        _ => Scope::Machine,
    }
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_on_the_chip_unless_their_name_says_otherwise() {
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
            ("asusec", "CPU VRM"),
        ] {
            assert_eq!(of(driver, label), Scope::Machine, "{driver} {label}");
        }
    }
}
