//! Boards that slmscope knows: how each is recognised, which of its supply rails carries what, and what its
//! memory and its cores could do at best.
//!
//! A board is a table in a file under `profiles/boards/`; a new one needs no code. The first table that matches
//! counts, so a particular board stands before its family:
//!
//! ```toml
//! [[board]]
//! id = "acme-board-7"                 # name in reports
//! name = "Acme Board 7"
//! compatible = ["acme,board-7"]       # parts of a string in the device tree's `compatible`
//! dmi = ["Board 7"]                   # parts of the firmware tables' product name
//! memory = { kind = "LPDDR5", bus_bits = 128, transfers_per_s = 6400e6 }
//! cores = [{ name = "Cortex-A78AE", count = 6, hertz = 1.5104e9, f32_flops_per_cycle = 16 }]
//! input_rails = ["VDD_GPU", "VDD_SYS"]  # together the board's power, where no sensor sits at the input
//!
//! [[board.rail]]                      # what a sensor measures, where its name alone does not show it
//! chip = "ina219"                     # the monitor's name in hwmon or IIO
//! label = "VDD_IN"                    # the input's label; without: whatever the chip has
//! scope = "board-input"               # as in channels
//! ```
//!
//! One of `compatible` and `dmi` is needed, the rest may be left out. Figures are the vendors' nominal ones:
//! bandwidth is bus width × transfers, f32 peak is cores × clock × operations per cycle.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::channel::Scope;

/// The shipped files, with their names.
const FILES: [(&str, &str); 6] = [
    ("jetson", include_str!("../boards/jetson.toml")),
    ("raspberry-pi", include_str!("../boards/raspberry-pi.toml")),
    ("rockchip", include_str!("../boards/rockchip.toml")),
    ("qualcomm", include_str!("../boards/qualcomm.toml")),
    ("riscv", include_str!("../boards/riscv.toml")),
    ("pc", include_str!("../boards/pc.toml")),
];

/// One board, as its file describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardProfile {
    /// Name in reports.
    pub id: String,
    /// The name in words.
    pub name: String,
    /// Parts of one of the device tree's `compatible` strings; any of them will do.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// Parts of the product name in the firmware tables; any of them will do.
    #[serde(default)]
    pub dmi: Vec<String>,
    /// The machine's memory.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// Its cores, a line for each kind.
    #[serde(default)]
    pub cores: Vec<Cores>,
    /// Labels of the rails that together carry what the board draws; empty where a sensor sits at the input.
    #[serde(default)]
    pub input_rails: Vec<String>,
    /// Sensors whose name does not show what they measure.
    #[serde(default, rename = "rail")]
    pub rails: Vec<Rail>,
}

/// Memory of a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// What it is made of: `LPDDR5`.
    pub kind: String,
    /// Width of all channels together, bits.
    pub bus_bits: u32,
    /// Transfers on each line, 1/s.
    pub transfers_per_s: f64,
}

impl Memory {
    /// Nominal bandwidth, B/s: what the lines carry when they never pause.
    pub fn bytes_per_s(&self) -> f64 {
        f64::from(self.bus_bits) / 8.0 * self.transfers_per_s
    }
}

/// Cores of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cores {
    /// The core's name: `Cortex-A76`.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Highest nominal clock, Hz.
    pub hertz: f64,
    /// f32 additions and multiplications that one core finishes in a cycle, a fused one counted as two.
    pub f32_flops_per_cycle: u32,
}

/// What a sensor measures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rail {
    /// The monitor's name.
    pub chip: String,
    /// The input's label; `None` for whatever the chip has.
    #[serde(default)]
    pub label: Option<String>,
    /// What flows through it.
    pub scope: Scope,
}

impl BoardProfile {
    /// f32 operations per second of all cores at best; `None` where the file does not state its cores.
    pub fn f32_flops(&self) -> Option<f64> {
        let of = |cores: &Cores| f64::from(cores.count) * cores.hertz * f64::from(cores.f32_flops_per_cycle);
        (!self.cores.is_empty()).then(|| self.cores.iter().map(of).sum())
    }

    /// What the input with this label of this monitor measures; `None` if the file does not say.
    pub fn scope(&self, chip: &str, label: Option<&str>) -> Option<&Scope> {
        let fits =
            |rail: &&Rail| rail.chip == chip && (rail.label.is_none() || rail.label.as_deref() == label);
        self.rails.iter().find(fits).map(|rail| &rail.scope)
    }

    fn fits(&self, compatible: &[String], product: Option<&str>) -> bool {
        let tree = self.compatible.iter().any(|part| compatible.iter().any(|string| string.contains(part)));
        tree || product.is_some_and(|product| self.dmi.iter().any(|part| product.contains(part)))
    }
}

/// The board with these device-tree strings or this product name; `None` if it is not known.
pub fn recognise(compatible: &[String], product: Option<&str>) -> Option<&'static BoardProfile> {
    boards().iter().find(|board| board.fits(compatible, product))
}

/// All boards, in the order in which they are tried.
///
/// # Panics
/// If a shipped file is broken, which a test of this module rules out.
pub fn boards() -> &'static [BoardProfile] {
    static BOARDS: OnceLock<Vec<BoardProfile>> = OnceLock::new();
    let shipped = |(name, text): &(&str, &str)| {
        parse(text).unwrap_or_else(|error| panic!("profiles/boards/{name}.toml: {error}"))
    };
    BOARDS.get_or_init(|| FILES.iter().flat_map(shipped).collect())
}

/// The tables of one file.
///
/// # Errors
/// Where the text is no TOML, or a field is unknown, missing or of another type.
pub fn parse(text: &str) -> Result<Vec<BoardProfile>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        board: Vec<BoardProfile>,
    }
    Ok(toml::from_str::<File>(text)?.board)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_file_parses_and_every_board_can_be_recognised_by_itself() {
        let mut ids = Vec::new();
        for (_, text) in FILES {
            for board in parse(text).unwrap() {
                assert!(!board.compatible.is_empty() || !board.dmi.is_empty(), "{}", board.id);
                let product = board.dmi.first().map(String::as_str);
                let found = recognise(&board.compatible[..board.compatible.len().min(1)], product).unwrap();
                assert_eq!(found.id, board.id, "another board is tried before");
                let bandwidth = board.memory.as_ref().map_or(10e9, Memory::bytes_per_s);
                assert!((1e9..1e13).contains(&bandwidth), "{}: {bandwidth}", board.id);
                assert!(board.f32_flops().is_none_or(|flops| (1e9..1e14).contains(&flops)), "{}", board.id);
                ids.push(board.id);
            }
        }
        assert_eq!(ids.len(), boards().len());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), boards().len(), "an id occurs twice");
    }

    #[test]
    fn the_board_stands_before_its_family() {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let of = |list: &[&str]| recognise(&strings(list), None).map(|board| board.id.as_str());
        assert_eq!(of(&["nvidia,p3768-0000+p3767-0003", "nvidia,tegra234"]), Some("jetson-orin-nano"));
        assert_eq!(of(&["acme,carrier", "nvidia,tegra234"]), Some("tegra234"));
        assert_eq!(of(&["raspberrypi,5-model-b", "brcm,bcm2712"]), Some("raspberry-pi-5"));
        assert_eq!(of(&["acme,unheard-of"]), None);
        assert_eq!(recognise(&[], Some("Jupiter")).map(|board| board.id.as_str()), Some("steam-deck-lcd"));
    }

    #[test]
    fn a_rail_is_found_by_chip_and_label() {
        let text = "[[board]]\nid = 'a'\nname = 'A'\ncompatible = ['a,a']\n\
            rail = [{ chip = 'ina226', label = 'VIN', scope = 'board-input' }, { chip = 'ina219', scope = 'battery' }]";
        let board = parse(text).unwrap().remove(0);
        assert_eq!(board.scope("ina226", Some("VIN")), Some(&Scope::BoardInput));
        assert_eq!(board.scope("ina226", Some("VDD")), None);
        assert_eq!(board.scope("ina219", None), Some(&Scope::Battery));
        assert!(parse("[[board]]\nid = 'a'\nname = 'A'\nvoltage = 5").is_err());
    }
}
