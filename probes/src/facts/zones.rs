//! Words in the names of thermal zones and in labels, by which a sensor of an unknown driver is placed.
//!
//! A zone is on the processor only if its name says so. Phones and laptops have many more zones on boards, batteries
//! and power chips than on what computes.

/// Beginnings of words that name what computes, or a part of the same chip. Qualcomm: `cpuss`, `gpuss`, `nspss`, `aoss`;
/// Rockchip: `bigcore`, `center`; Tegra: `tj`, `pll`, `ao`, `cv`; Exynos and Tensor: `big`, `mid`, `little`, `g3d`, `tpu`;
/// MediaTek: `apu`, `vpu`; Samsung and Marvell: `thsens`.
const COMPUTES: &[&str] = &[
    "cpu",
    "gpu",
    "npu",
    "vpu",
    "apu",
    "tpu",
    "soc",
    "cluster",
    "tsens",
    "thsens",
    "package",
    "pkg",
    "bigcore",
    "littlecore",
    "apss",
    "nsp",
    "aoss",
    "imx",
    "exynos",
    "bcm",
    "mali",
    "gfx",
];

/// Whole words of the same.
const COMPUTES_WHOLE: &[&str] =
    &["die", "core", "cores", "big", "mid", "little", "center", "tj", "pll", "ao", "cv"];

/// Ends of words of the same: `mtktscpu`, `MCPU`, `TCPU`.
const COMPUTES_END: &[&str] = &["cpu", "gpu", "npu"];

/// Whole names of the same: Intel's thermal framework calls the processor by its PCI function, Exynos the graphics
/// processor after what it draws.
const NAMES: &[&str] = &["b0d4", "g3d"];

/// Beginnings of words that place a sensor elsewhere, whatever else the name says: `PMIC-Die`, `cpu_pcb`, `gpu_vr`.
/// `socd` is the battery's state of charge.
const ELSEWHERE: &[&str] = &[
    "adc", "amb", "bat", "board", "charg", "chg", "conn", "drive", "emmc", "fan", "fuel", "mos", "nvme",
    "pcb", "pch", "pmic", "pmu", "skin", "socd", "ssd", "tdiode", "ufs", "usb", "vr", "wifi", "wlan", "wmt",
    "xo", "xtal",
];

/// Words in the name, in lower case.
fn words(name: &str) -> Vec<String> {
    let letters = |c: char| !c.is_ascii_alphabetic();
    name.to_ascii_lowercase().split(letters).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether the name places a sensor on what computes.
pub(crate) fn computes(name: &str) -> bool {
    let words = words(name);
    if words.iter().any(|word| ELSEWHERE.iter().any(|begin| word.starts_with(begin))) {
        return false;
    }
    let named = |word: &String| {
        COMPUTES.iter().any(|begin| word.starts_with(begin))
            || COMPUTES_WHOLE.contains(&word.as_str())
            || COMPUTES_END.iter().any(|end| word.ends_with(end))
    };
    NAMES.contains(&name.to_ascii_lowercase().as_str()) || words.iter().any(named)
}
