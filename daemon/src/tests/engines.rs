//! Engines of other kinds behind the same border: one with a device, one that reports tokens alone, one with experts.

use std::sync::Arc;

use serde_json::json;
use slmscope_profiles::channel::{Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::clock::{Calibration, CalibrationMethod, ClockSource};
use slmscope_profiles::lane::{Lane, LaneKind};
use slmscope_profiles::op::{ColumnQuantity, ColumnValue, Granularity, OpBatch, OpEvent, Phase};
use slmscope_profiles::span::{NamedSpan, SpanName};

use super::{START_NS, TestDaemon, books_close, channel, submission};
use crate::backend::protocol::{Load, Loaded};
use crate::backend::scripted::{GAP_NS, OP_NS, SAMPLE_NS, Step, TOKEN_NS, Token, loaded, span};
use crate::backend::{Command, Event};

/// A daemon whose engine loads as `load` says and makes each of four tokens of a repetition as `token` says.
fn daemon(load: fn(&mut Loaded), token: fn(&Token, u64) -> Vec<OpBatch>) -> TestDaemon {
    let last_load = std::sync::Mutex::new(None::<Load>);
    TestDaemon::scripted(move |command, now_ns| match command {
        Command::Load(request) => {
            *last_load.lock().unwrap() = Some((**request).clone());
            let mut answer = loaded(request.setup);
            load(&mut answer);
            Some(vec![Step::Report(Event::Loaded(Box::new(answer)))])
        }
        Command::Repeat { repetition, .. } => {
            let load = last_load.lock().unwrap().clone().expect("a model is loaded");
            let (repetition, phase) = (*repetition, Phase::Decode);
            let first = Token { load, repetition, phase, index: 0, begin_ns: now_ns };
            Some(repeat(&first, 4, token))
        }
        _ => None,
    })
}

/// A repetition of so many tokens from `first` on, each made as `token` says.
pub(super) fn repeat(first: &Token, count: u32, token: fn(&Token, u64) -> Vec<OpBatch>) -> Vec<Step> {
    let tokens: Vec<Token> = (0..count).map(|count| first.after(count)).collect();
    let mut steps = Vec::new();
    for made in &tokens {
        steps.extend(token(made, u64::from(made.index) * 2 + 1).into_iter().map(Step::Batch));
        steps.push(Step::Pass(TOKEN_NS));
    }
    steps.push(Step::Report(Event::Span(span(&tokens))));
    let (repetition, ids) = (first.repetition, (1..=count).collect());
    steps.push(Step::Report(Event::RepetitionDone { repetition, ids }));
    steps
}

/// The host hands its work to a queue and waits for it; the queue's times were placed by two readings of the host's
/// clock.
pub(super) fn with_device(token: &Token, seq: u64) -> Vec<OpBatch> {
    let mut host = token.batch(seq);
    host.events.clear();
    host.spans = [(SpanName::Submit, 30_000), (SpanName::Wait, 900_000), (SpanName::Sample, SAMPLE_NS)]
        .map(|(name, ns)| NamedSpan { name, ns })
        .to_vec();
    let mut device = token.batch(seq + 1);
    device.head.lane = 1;
    let calibration =
        Calibration { method: CalibrationMethod::Bracketed, offset_ns: -7, error_ns: Some(2_000) };
    device.head.clock = ClockSource::Device { calibration };
    device.head.begin_ns += 20_000;
    device.spans = vec![NamedSpan { name: SpanName::Launch, ns: 10_000 }];
    vec![host, device]
}

#[test]
fn a_device_lane_has_books_of_its_own_and_the_host_waits_for_it() {
    let add_lane = |loaded: &mut Loaded| {
        let kind = LaneKind::Device { device: "a card".to_owned(), queue: 0 };
        loaded.lanes.push(Lane { lane: 1, name: "compute".to_owned(), kind });
    };
    let daemon = daemon(add_lane, with_device);
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let plan = client.frame("plan");
    assert_eq!(plan["lanes"][1]["device"], "a card");
    let raw: Vec<_> = (0..8).map(|_| client.frame("ops")).collect();
    assert_eq!((&raw[0]["head"]["lane"], &raw[1]["head"]["lane"]), (&json!(0), &json!(1)));
    assert_eq!(raw[1]["head"]["clock"]["calibration"]["error_ns"], 2_000);
    let result = client.result();
    assert_eq!(result["status"], "complete");
    books_close(&result["phases"]);
    let host = &result["phases"][0];
    assert_eq!((host["wall_ns"].as_u64(), host["ops_ns"].as_u64()), (Some(4 * TOKEN_NS), Some(0)));
    assert_eq!(host["other"].as_array().unwrap().len(), 3);
    assert_eq!(host["unattributed_ns"], 4 * (TOKEN_NS - 30_000 - 900_000 - SAMPLE_NS));
    let lanes = &result["lanes"];
    books_close(lanes);
    let device = &lanes[0];
    assert_eq!((device["lane"].as_u64(), device["ops_ns"].as_u64()), (Some(1), Some(8 * u64::from(OP_NS))));
    assert_eq!(device["placement_error_ns"], 2_000);
    // Each op row is of the lane that it ran in.
    assert!(
        result["ops"].as_array().unwrap().iter().all(|op| op["lane"] == 1 && op["count"] == 4),
        "{}",
        result["ops"]
    );
    let rate = result["summary"]["decode_tokens_per_s"]["median"].as_f64().unwrap();
    assert!((rate - 1000.0).abs() < 1e-9, "{rate}: the device's time is not added to the host's");
}

#[test]
fn an_engine_that_reports_tokens_alone_needs_no_plan() {
    let tokens_only = |loaded: &mut Loaded| {
        loaded.sites.clear();
        loaded.granularity = Granularity::Token;
        (loaded.params, loaded.weight_bytes, loaded.format) = (None, None, None);
    };
    let without_events = |token: &Token, seq| {
        let mut batch = token.batch(seq);
        batch.events.clear();
        vec![batch]
    };
    let daemon = daemon(tokens_only, without_events);
    let mut client = daemon.watch();
    client.submit(&json!({}));
    assert_eq!(client.frame("plan")["granularity"], "token");
    let result = client.result();
    assert_eq!(
        (result["status"].as_str(), result["engine"]["granularity"].as_str()),
        (Some("complete"), Some("token"))
    );
    books_close(&result["phases"]);
    let phase = &result["phases"][0];
    assert_eq!((phase["ops_ns"].as_u64(), phase["recorded_tokens"].as_u64()), (Some(0), Some(4)));
    assert_eq!(phase["unattributed_ns"], 4 * (TOKEN_NS - SAMPLE_NS));
    assert_eq!(result["ops"], json!([]));
    assert!(result["model"]["params"].is_null());
    assert!((result["summary"]["decode_tokens_per_s"]["median"].as_f64().unwrap() - 1000.0).abs() < 1e-9);
}

#[test]
fn counts_of_experts_travel_beside_the_events_and_the_books_close() {
    let with_experts = |token: &Token, seq| {
        let mut batch = token.batch(seq);
        let value = f64::from(token.index % 8);
        batch.columns = vec![ColumnValue { event: Some(1), quantity: ColumnQuantity::Experts, value }];
        vec![batch]
    };
    let daemon = daemon(|_| (), with_experts);
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let raw: Vec<_> = (0..4).map(|_| client.frame("ops")).collect();
    assert_eq!(raw[3]["columns"], json!([{"event": 1, "quantity": "experts", "value": 3.0}]));
    let result = client.result();
    books_close(&result["phases"]);
    assert_eq!(result["phases"][0]["gap_ns"], 4 * GAP_NS);
}

#[test]
fn a_device_whose_ops_overlap_still_has_books_that_close() {
    let overlapping = |token: &Token, seq| {
        let mut batches = with_device(token, seq);
        let device = batches.last_mut().expect("it has a device");
        device.events.extend([OpEvent { site: 0, reserved: 0, gap: 0, duration: 3_000_000 }; 2]);
        batches
    };
    let add_lane = |loaded: &mut Loaded| {
        let kind = LaneKind::Device { device: "a card".to_owned(), queue: 0 };
        loaded.lanes.push(Lane { lane: 1, name: "compute".to_owned(), kind });
    };
    let daemon = daemon(add_lane, overlapping);
    let mut client = daemon.watch();
    client.submit(&json!({}));
    let result = client.result();
    books_close(&result["phases"]);
    books_close(&result["lanes"]);
    assert_eq!(result["phases"][0]["wall_ns"], 4 * TOKEN_NS);
}

#[test]
fn batches_that_an_engine_lost_are_counted_and_told() {
    let daemon = TestDaemon::scripted(|command, _| {
        matches!(command, Command::Identify).then(|| {
            let answer = Event::Identity { hash: String::new(), changed: false };
            vec![Step::Lose(3), Step::Report(answer)]
        })
    });
    let mut client = daemon.watch();
    client.submit(&json!({}));
    assert_eq!(client.frame("loss"), json!({"batches": 3}));
    client.result();
    assert_eq!(client.ask(&json!({"status": {}}))["ok"]["lost_batches"], 3);
}

/// A daemon on a machine with a meter, whose engines follow a script.
pub(super) fn metered(
    script: impl Fn(&Command, u64) -> Option<Vec<Step>> + Send + Sync + 'static,
) -> TestDaemon {
    let mut meter = channel(0, Quantity::Power);
    (meter.unit, meter.scope, meter.update_ns) = (Unit::Watts, Scope::BoardInput, Some(1_000_000));
    TestDaemon::with(vec![meter], Arc::new(script))
}

/// Reads so many watts from `begin_ns` until the wait of the job is over, which then passes; returns its end.
pub(super) fn read_until_wait(daemon: &TestDaemon, watts: f64, begin_ns: u64, step_ns: usize) -> u64 {
    let until_ns = daemon.clock.next_wait();
    for (index, t_ns) in (begin_ns..=until_ns).step_by(step_ns).enumerate() {
        // A meter that reports the same again and again is taken for one that reports nothing new.
        let noise = if index % 2 == 0 { 0.01 } else { -0.01 };
        let values = vec![(0, Value::Present(watts + noise))];
        daemon.daemon.hub.sample(&Sample { t_ns, values, ..Sample::default() });
    }
    daemon.clock.pass_wait();
    until_ns
}

/// The result of two repetitions during which the meter read 5 W, 2 W before.
fn metered_run() -> serde_json::Value {
    let daemon = metered(|_, _| None);
    let mut client = daemon.watch();
    client.submit(&json!({"repetitions": 2, "generate": 40}));
    let begin_ns = read_until_wait(&daemon, 2.0, START_NS, 10_000_000);
    read_until_wait(&daemon, 5.0, begin_ns, 1_000_000);
    client.result()
}

#[test]
fn every_turn_of_a_loop_has_energy_of_its_own_readings_above_the_one_baseline() {
    let daemon = metered(|_, _| None);
    let mut client = daemon.watch();
    client.submit(&json!({"repetitions": 2, "generate": 40, "loop": true, "pause": 60}));
    let mut begin_ns = read_until_wait(&daemon, 2.0, START_NS, 10_000_000);
    for watts in [5.0, 8.0, 6.0] {
        read_until_wait(&daemon, watts, begin_ns, 1_000_000);
        let result = client.result();
        let energy = &result["energy"]["phases"][0];
        let number = |key: &str| energy[key].as_f64().unwrap_or_else(|| panic!("{key} in {energy}"));
        assert!((number("joules") - watts * 0.08).abs() < 0.004, "{energy}");
        assert!((number("baseline_watts") - 2.0).abs() < 0.02, "{energy}");
        assert!((number("above_baseline_joules") - (watts - 2.0) * 0.08).abs() < 0.006, "{energy}");
        begin_ns = daemon.clock.next_wait();
        daemon.clock.pass_wait();
    }
}

#[test]
fn the_same_script_gives_the_same_books_and_energy_to_the_bit() {
    let (first, second) = (metered_run(), metered_run());
    assert_eq!(first["phases"].as_array().unwrap().len(), 2);
    books_close(&first["phases"]);
    let energy = &first["energy"]["phases"][0];
    let joules = energy["joules"].as_f64().unwrap_or_else(|| panic!("{energy}"));
    assert!((joules - 5.0 * 0.08).abs() < 0.004, "{energy}");
    assert!((energy["baseline_watts"].as_f64().unwrap() - 2.0).abs() < 0.02, "{energy}");
    // The rest depends on what the process of this test costs.
    for key in
        ["phases", "ops", "lanes", "summary", "energy", "bandwidth", "conditions", "roofs", "generated_ids"]
    {
        assert_eq!(first[key].to_string(), second[key].to_string(), "{key}");
    }
}

/// Load and speed of a run are those of the run alone because nothing of an earlier one is left: each job has engines of
/// its own, which end with it, and asks them for the same, whatever ran before. `.ci/history` measures it.
#[test]
fn a_job_starts_engines_of_its_own_and_asks_them_for_the_same_whatever_ran_before() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::<Command>::new()));
    let seen = asked.clone();
    let daemon = TestDaemon::scripted(move |command, _| {
        let mut command = command.clone();
        if let Command::Load(load) = &mut command {
            // Numbers of jobs name spans and batches, nothing else.
            (load.job, load.plan) = (0, 0);
        }
        seen.lock().unwrap().push(command);
        None
    });
    let mut client = daemon.watch();
    let mut run = |(model, format): (&str, &str)| {
        let mut request = submission(&json!({"format": format, "prompt": 4, "warmup": 1}));
        request["submit"]["model"] = json!({ "catalogue": model });
        let begin = daemon.engines.log().len();
        let job = client.ask(&request)["ok"]["job"].as_u64().expect("a job");
        client.job(job, "done");
        (daemon.engines.log().split_off(begin), std::mem::take(&mut *asked.lock().unwrap()))
    };
    let runs = [
        ("smollm2-135m", "q4_0"),
        ("smollm2-360m", "q4_0"),
        ("smollm2-360m", "q8_0"),
        ("smollm2-135m", "q8_0"),
    ];
    let first = runs.map(&mut run);
    for (log, commands) in &first {
        let count = |entry: &str| log.iter().filter(|found| *found == entry).count();
        assert_eq!((count("start"), count("kill")), (3, 3), "the model's and one for each look at the roofs");
        assert_eq!(count("load"), 1, "weights are loaded for every job: {log:?}");
        assert!(matches!(commands.last(), Some(Command::Identify)), "{commands:?}");
    }
    assert_ne!(first[0], first[1]);
    // Once more in the other order: each after another one than before.
    for (asked, first) in runs.into_iter().zip(&first).rev() {
        assert_eq!(&run(asked), first, "{asked:?}");
    }
}
