//! The findings of the last result on the Live screen.

use slmscope_profiles::finding::{Finding, FindingCode};
use slmscope_profiles::job::JobState;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::workload::Workload;

use super::super::state::State;
use super::fixture::{busy, frame, job};
use super::screens::{draw_every_size, picture};

fn finding(code: FindingCode, reason: &str) -> Finding {
    Finding { code, reason: reason.to_owned(), evidence: Vec::new(), advice: "wait".to_owned() }
}

/// A dashboard that got a result with four findings.
fn with_findings() -> State {
    let mut result = RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "");
    let long =
        "other processes used 62 % of one core, most of it rustc (41 %), cargo (9 %), \u{1b}[31mlinker (7 %)";
    result.findings = vec![
        finding(FindingCode::ForeignLoad, long),
        finding(FindingCode::BandwidthBound, "decode moves 30.0 GB/s of 40.0 GB/s that can be read"),
        finding(FindingCode::LmHeadDominates, "the LM head takes 30 % of decode"),
        finding(FindingCode::Overhead, "measuring cost 3.18 % of the run"),
    ];
    let mut state = busy();
    frame(&mut state, Talk::Result { job: 7, result: Box::new(result) });
    state
}

#[test]
fn live_shows_the_first_findings_in_words_at_every_usual_size() {
    let mut state = with_findings();
    let small = picture(&state, 80, 24);
    let line = small.lines().find(|line| line.starts_with(" findings ")).unwrap();
    assert!(line.contains("other processes used 62 % of one core, most of it rustc (41 %)"), "{small}");
    assert!(line.ends_with("…  +3") && line.chars().count() <= 80, "{line}");
    assert!(!small.contains('\u{1b}') && !small.contains("decode moves"), "{small}");
    assert!(small.contains("ms per token, newest right"), "the curve stays:\n{small}");
    let middle = picture(&state, 120, 30);
    assert!(middle.contains("decode moves 30.0 GB/s") && middle.contains("+2"), "{middle}");
    let large = picture(&state, 200, 60);
    assert!(large.contains("the LM head takes 30 % of decode") && large.contains("+1"), "{large}");
    draw_every_size(&mut state);
}

#[test]
fn another_job_has_no_findings_yet() {
    let mut state = with_findings();
    let mut next = job(JobState::Loading);
    next.job = 8;
    frame(&mut state, Talk::Job(next));
    assert!(!picture(&state, 80, 24).contains("findings"));
    assert!(!picture(&busy(), 80, 24).contains("findings"), "nothing was measured");
}
