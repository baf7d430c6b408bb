//! The plan of the benches' runs.

use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite};

/// As SmolLM2-135M has them in a decode step.
pub const SITES: u32 = 400;

pub fn sites() -> Vec<OpSite> {
    let cost = Cost {
        bytes: 4096,
        bytes_per_row: 64,
        bytes_per_cached: 0,
        flops_per_row: 8192,
        flops_per_attended: 0,
        window: None,
        rows: Rows::All,
    };
    let site = |id: u32| OpSite {
        id: id as u16,
        layer: Some(id / 13),
        module: Module::Ffn,
        name: format!("step {}", id % 13),
        kind: OpKind::Matmul,
        weights: Vec::new(),
        fuses: Vec::new(),
        cost,
    };
    (0..SITES).map(site).collect()
}
