//! The order of findings, and their place in JSON.

use slmscope_profiles::drift::{Change, MachineFigure, Since};
use slmscope_profiles::finding::FindingCode;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::plan::site::{Module, OpKind};

use super::{codes, host, op, result};

#[test]
fn doubts_come_first_then_gains_then_explanations_then_notes() {
    let mut result = result();
    result.host = Some(host());
    (result.overhead.fraction, result.overhead.low) = (Some(0.05), Some(0.04));
    result.ops = vec![op(Module::LmHead, OpKind::Matmul, 0.4)];
    result.engine.threads = Some(4);
    result.hygiene.other_load = Some(0.1);
    let (from, to) = (40e9, 20e9);
    result.hygiene.changes =
        vec![Change { figure: MachineFigure::ReadBandwidth, since: Since::BeginOfRun, from, to }];
    assert_eq!(
        codes(&result),
        [
            FindingCode::MachineChanged,
            FindingCode::ForeignLoad,
            FindingCode::TooManyThreads,
            FindingCode::LmHeadDominates,
            FindingCode::Overhead
        ]
    );
}

#[test]
fn findings_are_the_first_of_a_result_after_its_status() {
    let json = serde_json::to_string(&result()).unwrap();
    let at = |key: &str| json.find(&format!("\"{key}\":")).unwrap();
    assert!(at("status") < at("findings") && at("error") < at("findings"));
    assert!(["run_id", "host", "model", "phases"].iter().all(|key| at("findings") < at(key)), "{json}");
}

#[test]
fn every_finding_says_what_it_rests_on_and_what_to_do() {
    let mut result = result();
    result.host = Some(host());
    result.engine.threads = Some(4);
    result.ops = vec![op(Module::LmHead, OpKind::Matmul, 0.4)];
    for finding in findings(&result) {
        assert!(!finding.reason.is_empty() && !finding.advice.is_empty(), "{finding:?}");
        assert!(finding.evidence.iter().all(|figure| figure.value.is_finite()), "{finding:?}");
        assert!(!finding.evidence.is_empty(), "{finding:?}");
    }
}
