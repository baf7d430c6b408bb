//! Records of a run survive both codecs byte for byte, and those of a newer build do no harm.

use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, ReasonCode, Sample, Scope, Unit, Value};
use slmscope_profiles::clock::{Calibration, CalibrationMethod, ClockSource};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::Span;
use slmscope_profiles::lane::{HOST_LANE, Lane, LaneKind};
use slmscope_profiles::op::{BatchHead, ColumnQuantity, ColumnValue, Granularity, OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::site::{Module, OpKind, SiteFormat, SiteWeight};
use slmscope_profiles::profile::Profile;
use slmscope_profiles::record::{Header, Mark, MarkKind, OpColumns, PlanRecord, Record};
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::stats::SplitMix;
use slmscope_profiles::summary::Summary;
use slmscope_profiles::wire::codec::{Codec, Envelope, Incoming};
use slmscope_profiles::wire::{Frame, Talk};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

fn lanes() -> Vec<Lane> {
    let kind = LaneKind::Device { device: "a card".to_owned(), queue: 1 };
    vec![Lane::host(2), Lane { lane: 1, name: "card 0, queue 1".to_owned(), kind }]
}

fn host_batch(token: u32, random: &mut SplitMix) -> OpBatch {
    let begin_ns = 1_000_000 * u64::from(token);
    let head = BatchHead {
        job: 3,
        plan: 3,
        lane: HOST_LANE,
        repetition: 0,
        phase: Phase::Decode,
        token,
        rows: 1,
        context: 7 + token,
        seq: u64::from(token) * 2,
        begin_ns,
        end_ns: begin_ns + 1_000_000,
        tick_ns: 1,
        clock: ClockSource::Host,
    };
    let spans = [(SpanName::Submit, 40_000), (SpanName::Wait, 700_000), (SpanName::Sample, 9_000)];
    let spans = spans.map(|(name, ns)| NamedSpan { name, ns }).to_vec();
    let experts = |event| ColumnValue { event: Some(event), quantity: ColumnQuantity::Experts, value: 8.0 };
    let waited = ColumnValue {
        event: None,
        quantity: ColumnQuantity::BarrierWait,
        value: random.next_u64() as f64 / 1e13,
    };
    let event = |site| OpEvent { site, reserved: 0, gap: 20, duration: 1_000 + u32::from(site) };
    OpBatch {
        head,
        spans,
        columns: vec![experts(0), experts(2), waited],
        events: (0..3).map(event).collect(),
    }
}

fn device_batch(token: u32) -> OpBatch {
    let mut batch = host_batch(token, &mut SplitMix(1));
    let calibration =
        Calibration { method: CalibrationMethod::CalibratedPair, offset_ns: -77, error_ns: Some(1_200) };
    (batch.head.lane, batch.head.clock) = (1, ClockSource::Device { calibration });
    batch.head.seq += 1;
    batch.head.begin_ns += 50_000;
    batch.head.end_ns -= 210_000;
    let spans = [(SpanName::Launch, 12_000), (SpanName::Readback, 30_000)];
    batch.spans = spans.map(|(name, ns)| NamedSpan { name, ns }).to_vec();
    batch.columns.clear();
    batch
}

/// Header, catalogue and plan of a short run.
fn beginning() -> [Record; 3] {
    let header = Header {
        origin_ns: 1,
        wall_ns: 2,
        boottime_offset_ns: 3,
        boot_id: None,
        version: "0".to_owned(),
        host: Host { logical_cpus: 2, ..Host::default() },
    };
    let channel = Channel {
        channel: 0,
        id: "temp.cpu".to_owned(),
        quantity: Quantity::Temperature,
        unit: Unit::Celsius,
        scope: Scope::Package,
        class: Class::Measured,
        kind: Kind::Gauge,
        source: "hwmon0".to_owned(),
        period_ns: Some(1_000_000_000),
        update_ns: None,
        reason: None,
        remedy: None,
    };
    let plan = PlanRecord {
        plan: 3,
        model: "m".to_owned(),
        threads: 2,
        path: "p".to_owned(),
        granularity: Granularity::Op,
        lanes: lanes(),
        roofs: Roofs::absent("not measured yet"),
        sites: Vec::new(),
    };
    [Record::Header(header), Record::Catalogue { channels: vec![channel] }, Record::Plan(plan)]
}

/// What a recording of it holds.
fn recording() -> Vec<Record> {
    let mut random = SplitMix(5);
    let [header, catalogue, plan] = beginning();
    let state = |t_ns, state: &str| {
        Record::Mark(Mark { t_ns, job: 3, kind: MarkKind::JobState, text: Some(state.to_owned()) })
    };
    let mut records = vec![header, catalogue, state(10, "loading"), plan, state(20, "measuring")];
    for token in 0..20 {
        let value = if token % 5 == 4 {
            Value::Absent(ReasonCode::Offline)
        } else {
            Value::Present(40.0 + random.next_u64() as f64 / 1e20)
        };
        let t_ns = 1_000_000 * u64::from(token);
        records.push(Record::Sample(Sample { t_ns, values: vec![(0, value)], ..Sample::default() }));
        records.push(Record::Ops(OpColumns::from(&host_batch(token, &mut random))));
        records.push(Record::Ops(OpColumns::from(&device_batch(token))));
    }
    let span = Span {
        job: 3,
        repetition: 0,
        phase: Phase::Decode,
        begin_ns: 0,
        end_ns: 20_000_000,
        tokens: 20,
        sample_ns: 180_000,
        token_ends_ns: (1..=20).map(|token| token * 1_000_000).collect(),
    };
    records.extend([Record::Span(span), Record::Loss { batches: 2 }, state(99, "done")]);
    records
}

/// The messages in `bytes`.
fn messages(codec: Codec, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(message) = codec.split(&mut bytes).expect("short enough") {
        messages.push(message);
    }
    assert!(bytes.is_empty());
    messages
}

#[test]
fn a_recording_survives_both_codecs_byte_for_byte() {
    let records = recording();
    for codec in CODECS {
        let bytes: Vec<u8> =
            records.iter().flat_map(|record| codec.encode(Envelope::Frame, record)).collect();
        let read: Vec<Frame> = messages(codec, bytes.clone())
            .iter()
            .map(|message| match codec.incoming(message).expect("a message") {
                Incoming::Frame(frame) => *frame,
                other => panic!("{codec:?}: {other:?}"),
            })
            .collect();
        let again: Vec<u8> = read.iter().flat_map(|frame| codec.encode(Envelope::Frame, frame)).collect();
        assert_eq!(again, bytes, "{codec:?}");
        let read: Vec<Record> = read
            .into_iter()
            .map(|frame| match frame {
                Frame::Record(record) => record,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(read, records, "{codec:?}");
    }
}

#[test]
fn records_summaries_and_talk_keep_their_keys_on_the_wire() {
    let key = |frame: &Frame| {
        let json = serde_json::to_value(frame).expect("frames are JSON");
        let object = json.as_object().expect("an object");
        assert_eq!(object.len(), 1);
        object.keys().next().expect("one key").clone()
    };
    let mut keys: Vec<String> = recording().into_iter().map(|record| key(&record.into())).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys, ["catalogue", "header", "loss", "mark", "ops", "plan", "sample", "span"]);
    let summary = Summary::of(&device_batch(1), &[]);
    assert_eq!((key(&summary.clone().into()), summary.lane, summary.job), ("summary".to_owned(), 1, 3));
    let bye = Frame::from(Talk::Bye { reason: "r".to_owned() });
    assert_eq!(key(&bye), "bye");
    for codec in CODECS {
        for frame in [Frame::from(summary.clone()), bye.clone()] {
            let message = messages(codec, codec.encode(Envelope::Frame, &frame)).remove(0);
            assert_eq!(codec.incoming(&message).unwrap(), Incoming::Frame(Box::new(frame)), "{codec:?}");
        }
    }
}

/// One message in both codecs, as the JSON `text` says it.
fn said(text: &str) -> [Incoming; 2] {
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    CODECS.map(|codec| {
        let message = messages(codec, codec.encode(Envelope::Frame, &value)).remove(0);
        codec.incoming(&message).expect("no error ends the stream")
    })
}

#[test]
fn kinds_of_records_from_a_newer_build_are_skipped() {
    for text in [r#"{"aurora":{"colour":"green"}}"#, r#"{"mark":{"t_ns":"noon"}}"#, r#"{"sample":7}"#, "{}"] {
        for read in said(text) {
            assert_eq!(read, Incoming::Unknown, "{text}");
        }
    }
}

#[test]
fn words_of_a_newer_build_are_kept() {
    let mark = r#"{"mark":{"t_ns":1,"job":2,"kind":"eclipse","depth":3}}"#;
    for read in said(mark) {
        let Incoming::Frame(frame) = read else { panic!("{read:?}") };
        let Frame::Record(Record::Mark(mark)) = *frame else { panic!("{frame:?}") };
        assert_eq!((mark.kind.as_str(), mark.text), ("eclipse", None));
    }
    let ops = r#"{"ops":{"head":{"plan":1,"run":0,"phase":"decode","token":0,"rows":1,"context":0,"seq":1,
        "begin_ns":5,"end_ns":105,"tick_ns":1,"clock":{"kind":"sundial","shadow":4}},
        "spans":[{"name":"thaw","ns":30}],"columns":[{"event":0,"quantity":"joules","value":0.5}],
        "site":[0],"gap":[1],"duration":[50]}}"#;
    let as_text = serde_json::from_str::<Frame>(ops).expect("a frame");
    let Frame::Record(Record::Ops(columns)) = as_text else { panic!("{as_text:?}") };
    assert_eq!(
        (columns.head.clock.clone(), columns.head.lane, columns.head.job),
        (ClockSource::Unknown, 0, 0)
    );
    assert_eq!(columns.spans[0].name.as_str(), "thaw");
    assert_eq!(columns.columns[0].quantity.as_str(), "joules");
    let summary = Summary::of(&columns.to_batch(), &[]);
    assert_eq!((summary.books.other_ns(), summary.books.unattributed_ns), (30, 20));
    let again = serde_json::to_value(Record::Ops(columns)).expect("JSON");
    assert_eq!(again["ops"]["spans"][0]["name"], "thaw");
    assert_eq!(again["ops"]["columns"][0]["quantity"], "joules");
    let lane = r#"{"lane":2,"name":"oracle","kind":"crystal","facets":9}"#;
    let lane: Lane = serde_json::from_str(lane).expect("a lane");
    assert_eq!((lane.lane, lane.kind), (2, LaneKind::Unknown));
    let kind: OpKind = serde_json::from_str(r#""teleport""#).expect("a word");
    assert_eq!(kind, OpKind::Other);
    let module: Module = serde_json::from_str(r#""dream""#).expect("a word");
    assert_eq!(module, Module::Other);
    let weight = r#"{"tensor":"w","format":"q1_ternary","shape":[2,3]}"#;
    let weight: SiteWeight = serde_json::from_str(weight).expect("a plan is read although a format is new");
    assert_eq!((weight.format.name(), weight.format.is_plain()), ("q1_ternary", None));
    assert_eq!(serde_json::to_value(&weight).expect("JSON")["format"], "q1_ternary");
    let known = SiteFormat::from(WeightFormat::Q4_0);
    assert_eq!(serde_json::from_str::<SiteFormat>(r#""q4_0""#).expect("a word"), known);
    assert_eq!(serde_json::to_value(&known).expect("JSON"), "q4_0");
    let granularity: Granularity = serde_json::from_str(r#""warp""#).expect("a word");
    assert_eq!(granularity, Granularity::Unknown, "a plan is read although its granularity is new");
    let method: CalibrationMethod = serde_json::from_str(r#""gut_feeling""#).expect("a word");
    assert_eq!(method.as_str(), "gut_feeling");
}

#[test]
fn columns_are_absent_where_there_are_none_and_experts_survive_where_there_are_some() {
    let json = serde_json::to_value(OpColumns::from(&device_batch(0))).expect("JSON");
    assert_eq!(json.get("columns"), None);
    let batch = host_batch(0, &mut SplitMix(3));
    for codec in CODECS {
        let record = Record::Ops(OpColumns::from(&batch));
        let message = messages(codec, codec.encode(Envelope::Frame, &record)).remove(0);
        let Incoming::Frame(frame) = codec.incoming(&message).unwrap() else { panic!("{codec:?}") };
        let Frame::Record(Record::Ops(columns)) = *frame else { panic!("{codec:?}") };
        assert_eq!(columns.to_batch(), batch);
        let experts = columns.columns.iter().filter(|value| value.quantity == ColumnQuantity::Experts);
        assert_eq!(
            experts.map(|value| (value.event, value.value)).collect::<Vec<_>>(),
            [(Some(0), 8.0), (Some(2), 8.0)]
        );
    }
}

#[test]
fn the_wait_for_a_device_is_in_the_hosts_books_and_the_devices_time_is_in_its_own() {
    let mut profile = Profile::new(Vec::new(), "p".to_owned()).with_lanes(&lanes());
    for record in recording() {
        match record {
            Record::Ops(columns) => profile.add_batch(&columns.to_batch()),
            Record::Span(span) => profile.add_span(span),
            _ => {}
        }
    }
    let mut of_nowhere = device_batch(0);
    of_nowhere.head.lane = 7;
    profile.add_batch(&of_nowhere);
    let phases = profile.phases();
    assert_eq!((phases.len(), phases[0].wall_ns, phases[0].recorded_wall_ns), (1, 20_000_000, 20_000_000));
    let other: u64 = phases[0].other.iter().map(|span| span.ns).sum();
    assert_eq!(other, 20 * 749_000);
    let ops = phases[0].ops_ns;
    assert_eq!(ops + phases[0].gap_ns + other + phases[0].unattributed_ns, 20_000_000);
    let lanes = profile.lanes();
    assert_eq!((lanes.len(), lanes[0].lane.lane, lanes[0].recorded_tokens), (1, 1, 20));
    assert_eq!((lanes[0].wall_ns, lanes[0].placement_error_ns), (20 * 740_000, Some(1_200)));
    let other: u64 = lanes[0].other.iter().map(|span| span.ns).sum();
    assert_eq!((lanes[0].ops_ns, other), (ops, 20 * 42_000));
    assert_eq!(lanes[0].ops_ns + lanes[0].gap_ns + other + lanes[0].unattributed_ns, lanes[0].wall_ns);
    assert_eq!(profile.rates(Phase::Decode), [1_000.0], "the host's lane alone makes the rate");
}

#[test]
fn tokens_without_events_make_rates_and_close_their_books() {
    let mut profile = Profile::new(Vec::new(), "p".to_owned());
    let mut random = SplitMix(9);
    for token in 0..20 {
        let mut batch = host_batch(token, &mut random);
        batch.events.clear();
        batch.spans.truncate(0);
        profile.add_batch(&batch);
    }
    profile.close_broken(3);
    let phases = profile.phases();
    assert_eq!((phases[0].tokens, phases[0].ops_ns, phases[0].gap_ns), (20, 0, 0));
    assert_eq!(phases[0].unattributed_ns, phases[0].recorded_wall_ns);
    assert_eq!(profile.rates(Phase::Decode), [1_000.0]);
    assert!(profile.ops(&Roofs::default()).is_empty() && profile.lanes().is_empty());
}
