//! Sweeps that come with the program: `profiles/workloads/`. Each file says in its first lines what it reproduces.

use super::sweep::{BadSweep, Sweep};

/// A sweep that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

/// All of them.
pub const PRESETS: [Preset; 6] = [
    Preset { name: "llama-bench", text: include_str!("../../workloads/llama-bench.toml") },
    Preset { name: "survey", text: include_str!("../../workloads/survey.toml") },
    Preset { name: "depths", text: include_str!("../../workloads/depths.toml") },
    Preset { name: "threads-cores", text: include_str!("../../workloads/threads-cores.toml") },
    Preset { name: "cold-start", text: include_str!("../../workloads/cold-start.toml") },
    Preset { name: "sustained", text: include_str!("../../workloads/sustained.toml") },
];

impl Preset {
    /// The one of a name.
    pub fn find(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// What it sweeps.
    ///
    /// # Errors
    /// None of those that come with the program: a test reads them all.
    pub fn sweep(self) -> Result<Sweep, BadSweep> {
        Sweep::parse(self.text)
    }
}
