//! The findings of the last result on the Live screen.

use crossterm::event::KeyCode;
use slmscope_profiles::channel::{Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::finding::{Finding, FindingCode};
use slmscope_profiles::job::JobState;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::workload::Workload;

use super::super::state::State;
use super::fixture::{busy, catalogue, channel, frame, job, press};
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
    let line = small.lines().find(|line| line.starts_with(" ! ")).unwrap();
    assert!(line.contains("other processes used 62 % of one core, most of it rustc (41 %)"), "{small}");
    assert!(
        small.contains(" > wait") && small.contains("[31mlinker (7 %)"),
        "whole, with what to do:\n{small}"
    );
    assert!(small.lines().any(|line| line.ends_with("+3: f")), "{small}");
    assert!(small.lines().all(|line| line.chars().count() <= 80) && !small.contains('\u{1b}'), "{small}");
    let middle = picture(&state, 120, 30);
    assert!(middle.contains("decode moves 30.0 GB/s") && middle.contains("+1: f"), "{middle}");
    let large = picture(&state, 200, 60);
    assert!(
        large.contains("the LM head takes 30 % of decode") && large.contains("measuring cost 3.18 %"),
        "{large}"
    );
    assert!(large.contains("ms per token, newest right"), "the curve stays:\n{large}");
    draw_every_size(&mut state);
}

#[test]
fn another_job_has_no_findings_yet() {
    let mut state = with_findings();
    let mut next = job(JobState::Loading);
    next.job = 8;
    frame(&mut state, Talk::Job(Box::new(next)));
    assert!(picture(&state, 80, 24).contains("nothing stands out so far"));
    assert!(picture(&busy(), 80, 24).contains("nothing stands out so far"), "nothing was measured");
}

#[test]
fn what_disturbs_a_run_is_said_while_it_runs() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "cpu.foreign", Quantity::Cpu, Unit::Ratio, Scope::Machine));
    channels.push(channel(8, "throttle.power", Quantity::Throttle, Unit::Count, Scope::Machine));
    frame(&mut state, Record::Catalogue { channels });
    let mut read = |seconds: u64, others: f64, flag: f64| {
        let values = [(7, others), (8, flag)].map(|(id, value)| (id, Value::Present(value))).to_vec();
        let t_ns = seconds * 1_000_000_000;
        frame(&mut state, Record::Sample(Sample { t_ns, values, ..Sample::default() }));
        picture(&state, 80, 24)
    };
    let quiet = read(9, 0.01, 0.0);
    assert!(quiet.contains("nothing stands out") && quiet.contains("2.0 % of one core"), "{quiet}");
    assert!(quiet.contains("throttling none"), "{quiet}");
    let loaded = read(10, 0.39, 0.0);
    assert!(loaded.contains(" ! other programs use 40.0 % of one core now"), "{loaded}");
    assert!(loaded.contains(" > End them or wait"), "{loaded}");
    assert!(read(11, 0.2, 1.0).contains("something throttles: throttle.power"));
    frame(&mut state, Talk::Job(Box::new(job(JobState::Done))));
    assert!(!picture(&state, 80, 24).contains("something throttles:"), "the run is over");
}

#[test]
fn hardware_and_live_show_other_programs_on_the_same_basis() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "cpu.foreign", Quantity::Cpu, Unit::Ratio, Scope::Machine));
    frame(&mut state, Record::Catalogue { channels });
    let values = vec![(7, Value::Present(0.39))];
    frame(&mut state, Record::Sample(Sample { t_ns: 9_000_000_000, values, ..Sample::default() }));
    let live = picture(&state, 80, 24);
    assert!(live.contains("78.0 % of one core"), "{live}");
    press(&mut state, KeyCode::Char('6'));
    let hardware = picture(&state, 80, 24);
    let row = hardware.lines().find(|line| line.contains("other programs")).expect("a row");
    assert!(row.contains(" 78.0 % ") && row.contains("78.0 % to 78.0 % of one core"), "{row}");
}
