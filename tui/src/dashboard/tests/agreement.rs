//! What the doctor, the dashboard and the report of a run say of one scripted machine and one scripted run.
//!
//! The machine uses 12.5 W, and its counter of CPU time runs ahead of the clock. The run has six decode steps of
//! 1 s: 0.6 s and 0.3 s in two ops, 0.05 s in sampling and 0.05 s unattributed.

use slmscope_profiles::bandwidth::{self, Measured};
use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::display;
use slmscope_profiles::doctor::{Board, DoctorReport};
use slmscope_profiles::energy::{Energy, Stretch, Window, phase_energy};
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::job::{JobId, JobState};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::site::{Cost, OpSite};
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::result::{ModelSource, RunResult, RunStatus};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::summary::Summary;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::workload::Workload;

use super::super::channels::Track;
use super::super::screens::ops::row::{Level, Row};
use super::super::screens::ops::rows::rows;
use super::super::state::State;
use super::fixture::{channel, connected, frame, job, letters, plan};
use super::screens::picture;
use crate::cli::doctor;
use crate::report;
use crate::style::Style;

const SECOND: u64 = 1_000_000_000;
const JOB: JobId = 7;
const STEPS: u32 = 6;
/// The run, between the first and the last reading.
const RUN: Window = Window { begin_ns: 2 * SECOND, end_ns: 8 * SECOND };
/// Bytes of a step: 6 GB in 0.6 s and 3 GB in 0.3 s.
const BYTES: [u64; 2] = [6_000_000_000, 3_000_000_000];

fn channels() -> Vec<Channel> {
    let counter = |channel: Channel| Channel { kind: Kind::Counter { range: None }, ..channel };
    let rate = |of, channel: Channel| Channel { kind: Kind::Rate { of }, class: Class::Derived, ..channel };
    vec![
        counter(channel(0, "energy.package-0", Quantity::Energy, Unit::Joules, Scope::Package)),
        rate(0, channel(1, "power.package-0", Quantity::Power, Unit::Watts, Scope::Package)),
        counter(channel(2, "cpu.cpu0.time", Quantity::Cpu, Unit::Seconds, Scope::CpuN(0))),
        rate(2, channel(3, "cpu.cpu0", Quantity::Cpu, Unit::Ratio, Scope::CpuN(0))),
    ]
}

/// Readings from 1 s to 9 s, ten in a second.
fn samples() -> Vec<Sample> {
    let sample = |tick: u64| {
        let seconds = tick as f64 / 10.0;
        let values = vec![(0, Value::Present(12.5 * seconds)), (2, Value::Present(1.012 * seconds))];
        Sample { t_ns: tick * SECOND / 10, values, ..Sample::default() }
    };
    (10..=90).map(sample).collect()
}

fn sites() -> Vec<OpSite> {
    let sites = plan().sites.into_iter().filter(|site| [1, 3].contains(&site.id));
    let priced = sites.zip(BYTES).enumerate().map(|(id, (site, bytes))| OpSite {
        id: id as u16,
        cost: Cost { bytes, ..site.cost },
        ..site
    });
    priced.collect()
}

fn batches() -> Vec<OpBatch> {
    let event = |site, duration| OpEvent { site, reserved: 0, gap: 0, duration };
    let batch = |token: u32| OpBatch {
        head: BatchHead {
            job: JOB,
            plan: 3,
            lane: HOST_LANE,
            repetition: 0,
            phase: Phase::Decode,
            token,
            rows: 1,
            context: token,
            seq: u64::from(token) + 1,
            begin_ns: RUN.begin_ns + u64::from(token) * SECOND,
            end_ns: RUN.begin_ns + u64::from(token + 1) * SECOND,
            tick_ns: 1000,
            clock: ClockSource::default(),
        },
        spans: vec![NamedSpan { name: SpanName::Sample, ns: SECOND / 20 }],
        columns: Vec::new(),
        events: vec![event(0, 600_000), event(1, 300_000)],
    };
    (0..STEPS).map(batch).collect()
}

/// What `slmscope doctor` prints.
fn doctor_text() -> String {
    let report = DoctorReport {
        schema: String::new(),
        root: "/".to_owned(),
        user: "me".to_owned(),
        board: Board::default(),
        channels: slmscope_probes::doctor_rows(&channels(), &samples(), None),
    };
    doctor::every_group(&report, Style::plain())
}

/// The dashboard after the run.
fn dashboard() -> State {
    let mut state = connected();
    let sites = sites();
    frame(&mut state, Record::Catalogue { channels: channels() });
    frame(&mut state, Talk::Job(Box::new(job(JobState::Measuring))));
    frame(&mut state, Record::Plan(PlanRecord { sites: sites.clone(), ..plan() }));
    for sample in samples() {
        frame(&mut state, Record::Sample(sample));
    }
    for batch in batches() {
        frame(&mut state, Summary::of(&batch, &sites));
    }
    state
}

/// The result of the run.
fn result() -> RunResult {
    let mut profile = Profile::new(sites(), "avx2".to_owned());
    for batch in batches() {
        profile.add_batch(&batch);
    }
    profile.close_broken(JOB);
    let mut result = RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "");
    result.status = RunStatus::Complete;
    result.phases = profile.phases();
    result.ops = profile.ops(&plan().roofs);
    let (channels, samples) = (channels(), samples());
    let measured = Measured { spans: profile.spans(), books: &result.phases, ops: &result.ops };
    result.bandwidth = bandwidth::of_phases(measured, &samples, &channels);
    let stretch = Stretch { phase: Phase::Decode, windows: &[RUN], tokens: u64::from(STEPS), idle: None };
    result.energy = Energy { phases: vec![phase_energy(&stretch, &channels[0], &samples)] };
    result.findings = findings(&result);
    result
}

/// The line of `text` that holds `word`.
fn line<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no {word} in\n{text}"))
}

#[test]
fn doctor_dashboard_and_result_agree_on_power() {
    let mut state = dashboard();
    let watts = state.shown().channels.power().and_then(Track::value).unwrap();
    let text = display::value(watts, Unit::Watts);
    assert_eq!(text, "12.5 W");
    assert!(line(&doctor_text(), "power.package-0").contains(&text));
    assert!(line(&picture(&state, 120, 40), " power ").contains(&text));
    letters(&mut state, "6");
    assert!(line(&picture(&state, 120, 40), "power.package-0").contains(&text));
    let seconds = (RUN.end_ns - RUN.begin_ns) as f64 / 1e9;
    let energy = &result().energy.phases[0];
    assert_eq!(display::value(energy.joules.unwrap() / seconds, Unit::Watts), text);
    assert!(
        line(&report::render(&result(), report::Form::Full, Style::plain()), "J/token")
            .contains("decode: 75.0 J")
    );
}

#[test]
fn doctor_and_dashboard_agree_that_a_cpu_is_busy_all_the_time_at_most() {
    let mut state = dashboard();
    assert_eq!(state.shown().channels.cores(), [(0, Some(1.0))]);
    assert!(line(&picture(&state, 120, 40), "cpu0").contains("100 %"));
    letters(&mut state, "6");
    for text in [doctor_text(), picture(&state, 120, 40)] {
        assert!(line(&text, "cpu.cpu0 ").contains("100.0 %"), "{text}");
    }
}

#[test]
fn dashboard_and_result_agree_on_ops_and_their_rates() {
    let state = dashboard();
    let result = result();
    let shown = rows(state.shown(), &state.ops);
    let ops: Vec<&Row> = shown.iter().filter(|row| row.level == Level::Op).collect();
    assert_eq!(ops.len(), result.ops.len());
    for row in ops {
        let op = result.ops.iter().find(|op| op.name == row.name).unwrap();
        assert_eq!(row.share(), Some(op.share));
        assert_eq!(row.bytes_per_second(), op.totals().totals.bytes_per_second());
        assert_eq!(row.bytes_per_second(), Some(10e9), "bytes divided by the op's own time");
    }
    let report = report::render(&result, report::Form::Full, Style::plain());
    for (name, share) in [("attn.qkv_proj", "60.0 %"), ("ffn.gate_up_proj", "30.0 %")] {
        let line = line(&report, name);
        assert!(line.contains(share) && line.contains(" 10.0 "), "{line}");
    }
}

#[test]
fn dashboard_and_result_agree_on_the_phase_and_its_rates() {
    let state = dashboard();
    let result = result();
    let decode = &state.shown().totals.decode;
    let traffic = &result.bandwidth[0];
    assert_eq!(decode.whole().bytes_per_second(), traffic.derived_wall_bytes_per_s);
    assert_eq!(traffic.derived_wall_bytes_per_s, Some(9e9), "bytes divided by the wall time");
    assert_eq!(traffic.derived_bytes_per_s, Some(10e9), "bytes divided by the time of the ops");
    let report = report::render(&result, report::Form::Full, Style::plain());
    assert!(line(&report, "  decode  ").contains(" 9.00 "), "{report}");
    assert!(line(&picture(&state, 120, 40), " decode   ").contains("9.00 GB/s"));
    let books = &result.phases[0];
    assert_eq!((books.ops_ns, books.unattributed_ns), (decode.books.ops_ns, decode.books.unattributed_ns));
    let shown = rows(state.shown(), &state.ops);
    let unattributed = shown.iter().find(|row| row.name == "unattributed").and_then(Row::share).unwrap();
    let text = display::share(unattributed);
    assert_eq!(text, "5.0 %");
    assert!(
        report.lines().any(|line| line.starts_with("  unattributed ") && line.contains(&text)),
        "{report}"
    );
    assert!(result.findings.iter().any(|finding| finding.reason.starts_with(&text)), "{:?}", result.findings);
}
