//! Rules on constructed results: each for a hit with its figures, and for silence.

mod bounds;
mod machine;
mod memory;
mod order;
mod stability;
mod threads;

use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::finding::{Finding, FindingCode};
use slmscope_profiles::host::Host;
use slmscope_profiles::lane::LaneId;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::{Module, OpKind};
use slmscope_profiles::profile::{OpRow, PhaseBooks};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::{Bound, OpRoof};
use slmscope_profiles::workload::Workload;

/// A result of which nothing is known.
fn result() -> RunResult {
    RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "")
}

fn codes(result: &RunResult) -> Vec<FindingCode> {
    findings(result).into_iter().map(|finding| finding.code).collect()
}

/// The only finding of a result.
fn only(result: &RunResult) -> Finding {
    let mut found = findings(result);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// A figure that a finding rests on.
fn figure(finding: &Finding, name: &str) -> f64 {
    finding.evidence.iter().find(|figure| figure.name == name).unwrap_or_else(|| panic!("{finding:?}")).value
}

/// A machine with two CPUs, which are cores.
fn host() -> Host {
    Host { logical_cpus: 2, physical_cores: Some(2), memory_bytes: Some(8 << 30), ..Host::default() }
}

/// An op of decode of 1 s, on the host.
fn op(module: Module, kind: OpKind, share: f64) -> OpRow {
    OpRow {
        id: 0,
        phase: Phase::Decode,
        lane: 0,
        module,
        name: "op".to_owned(),
        kind,
        layer: None,
        path: String::new(),
        runs: 1,
        count: 1,
        time_ns: 1_000_000_000,
        max_ns: 1,
        call_ns: None,
        max_at: None,
        bytes: 1,
        flops: 1,
        share,
        roof: None,
    }
}

fn in_lane(lane: LaneId, op: OpRow) -> OpRow {
    OpRow { lane, ..op }
}

/// What an op reached: at the median, at the fastest and at the slowest sample of the roof.
fn roof(bound: Bound, [share, low, high]: [f64; 3]) -> OpRoof {
    OpRoof { memory_ns: 1, compute_ns: 1, share, low, high, bound }
}

/// Books of a repetition of 10 tokens, of which so many are recorded and so much is unattributed of 100 ns.
fn books(phase: Phase, recorded_tokens: u64, unattributed_ns: u64) -> PhaseBooks {
    PhaseBooks {
        phase,
        repetition: 0,
        tokens: 10,
        recorded_tokens,
        wall_ns: 100,
        recorded_wall_ns: 100,
        ops_ns: 100 - unattributed_ns,
        gap_ns: 0,
        unattributed_ns,
        other: Vec::new(),
    }
}
