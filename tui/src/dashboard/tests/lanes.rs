//! Lanes beside the host's: what a device computes, and how the host waits for it meanwhile.

use crossterm::event::KeyCode;
use slmscope_profiles::clock::{Calibration, CalibrationMethod, ClockSource};
use slmscope_profiles::lane::{HOST_LANE, Lane, LaneId, LaneKind};
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::summary::Summary;

use super::super::screens::ops::row::{Level, Row};
use super::super::screens::ops::rows::rows;
use super::super::state::State;
use super::fixture::{busy, frame, letters, plan, press};
use super::screens::picture;

const TOKEN_NS: u64 = 1_000_000;

fn batch(lane: LaneId, token: u32, spans: Vec<NamedSpan>, events: Vec<OpEvent>) -> OpBatch {
    let begin_ns = u64::from(token) * TOKEN_NS;
    let head = BatchHead {
        job: 7,
        plan: 4,
        lane,
        repetition: 0,
        phase: Phase::Decode,
        token,
        rows: 1,
        context: token,
        seq: u64::from(token) * 2 + u64::from(lane),
        begin_ns,
        end_ns: begin_ns + TOKEN_NS,
        tick_ns: 1,
        clock: ClockSource::Host,
    };
    OpBatch { head, spans, columns: Vec::new(), events }
}

/// A token that a device computes in two ops, 0.4 ms and 0.3 ms of 0.8 ms, while the host waits 0.9 ms of 1 ms.
fn token(token: u32) -> [OpBatch; 2] {
    let span = |name, ns| NamedSpan { name, ns };
    let waits = vec![span(SpanName::Submit, 30_000), span(SpanName::Wait, 900_000)];
    let host = batch(HOST_LANE, token, waits, Vec::new());
    let event = |site, duration| OpEvent { site, reserved: 0, gap: 0, duration };
    let launch = vec![span(SpanName::Launch, 40_000)];
    let mut device = batch(1, token, launch, vec![event(1, 400_000), event(3, 300_000)]);
    device.head.end_ns = device.head.begin_ns + 800_000;
    let calibration =
        Calibration { method: CalibrationMethod::Bracketed, offset_ns: -7, error_ns: Some(2_000) };
    device.head.clock = ClockSource::Device { calibration };
    [host, device]
}

/// A dashboard that has seen four such tokens.
fn with_device() -> State {
    let mut state = busy();
    let kind = LaneKind::Device { device: "a card".to_owned(), queue: 0 };
    let lanes = vec![Lane::host(2), Lane { lane: 1, name: "compute".to_owned(), kind }];
    // Other sites than before, so that the totals start anew.
    let sites = plan().sites.into_iter().filter(|site| site.id < 7).collect();
    let plan = PlanRecord { plan: 4, lanes, sites, ..plan() };
    let sites = plan.sites.clone();
    frame(&mut state, Record::Plan(plan));
    for batch in (0..4).flat_map(token) {
        frame(&mut state, Summary::of(&batch, &sites));
    }
    state
}

fn ops(state: &State) -> Vec<Row> {
    let data = state.shown();
    rows(data, &state.ops)
}

#[test]
fn what_a_device_computes_is_shown_as_rows_of_its_lane_with_shares_of_its_time() {
    let mut state = with_device();
    letters(&mut state, "2");
    let shown: Vec<_> =
        ops(&state).iter().map(|row| (row.name.clone(), row.depth, row.time_ns(), row.share())).collect();
    let row = |name: &str, depth, ns, share| (name.to_owned(), depth, ns, Some(share));
    assert_eq!(
        shown,
        [
            row("submit", 0, 120_000, 0.03),
            row("wait", 0, 3_600_000, 0.9),
            row("gap", 0, 0, 0.0),
            row("unattributed", 0, 280_000, 0.07),
            row("decode in all", 0, 4_000_000, 1.0),
            row("lane 1 compute in all", 0, 3_200_000, 1.0),
            row("attn.qkv_proj", 1, 1_600_000, 0.5),
            row("ffn.gate_up_proj", 1, 1_200_000, 0.375),
            row("launch", 1, 160_000, 0.05),
            row("gap", 1, 0, 0.0),
            row("unattributed", 1, 240_000, 0.075),
        ]
    );
    let text = picture(&state, 120, 40);
    let line = text.lines().find(|line| line.contains("attn.qkv_proj")).expect("a row");
    assert!(line.contains("50.0 %") && line.contains("400 µs"), "{line}");
}

#[test]
fn rows_of_a_lane_open_and_are_filtered_apart_from_those_of_the_host() {
    let mut state = with_device();
    letters(&mut state, "2m");
    let keys: Vec<_> = ops(&state).into_iter().map(|row| row.key).collect();
    let unique: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len(), "{keys:?}");
    let module = keys.iter().position(|key| key == "decode/lane 1/attention").expect("the lane's module");
    (0..module).for_each(|_| drop(press(&mut state, KeyCode::Down)));
    press(&mut state, KeyCode::Enter);
    let opened = ops(&state);
    assert_eq!((opened[module].depth, opened[module].open), (1, true));
    assert_eq!((opened[module + 1].name.as_str(), opened[module + 1].depth), ("attn.qkv_proj", 2));
    letters(&mut state, "/qkv");
    let names: Vec<_> = ops(&state).into_iter().map(|row| (row.name, row.level == Level::Total)).collect();
    let total = |name: &str| (name.to_owned(), true);
    assert!(names.contains(&total("lane 1 compute in all (shown: 50.0 %)")), "{names:?}");
}

#[test]
fn a_devices_time_is_not_in_the_rates_of_the_host() {
    let state = with_device();
    let decode = &state.shown().totals.decode;
    assert_eq!((decode.rows, decode.books.wall_ns), (4, 4 * TOKEN_NS));
    assert_eq!(state.shown().totals.percentiles(), Some(([TOKEN_NS; 3], 4)));
}

#[test]
fn live_says_what_a_device_is_busy_with_while_the_host_waits() {
    let mut state = with_device();
    letters(&mut state, "1");
    for (width, height) in [(80, 24), (120, 40)] {
        let shown = picture(&state, width, height);
        let line = shown.lines().find(|line| line.contains("lane 1 compute")).expect("a row of the lane");
        assert!(line.contains("70.0 %") && line.contains("700 µs"), "busy for 0.7 of 1 ms: {line}");
        assert!(line.contains("busy: attention projections 50.0 %"), "{line}");
    }
}
