//! Every message survives both codecs, and hostile bytes are refused without harm.

use slmscope_profiles::channel::{ReasonCode, Sample, Value};
use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::record::{OpColumns, Record};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::stats::SplitMix;
use slmscope_profiles::wire::codec::{Codec, CodecError, Envelope, Incoming, MAX_MESSAGE};
use slmscope_profiles::wire::{
    ErrorCode, Frame, MAGIC, Method, OpsDetails, Outcome, PROTOCOL, Reply, Request, Submit, Subscribe, Talk,
    WireError, may_be_magic, other_protocol, protocol_of,
};
use slmscope_profiles::workload::Workload;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

fn batch() -> OpBatch {
    let head = BatchHead {
        job: 9,
        plan: 1,
        lane: 0,
        repetition: 2,
        phase: Phase::Prefill,
        token: 3,
        rows: 512,
        context: 4,
        seq: 5,
        begin_ns: 6,
        end_ns: 7,
        tick_ns: 1,
        clock: ClockSource::Host,
    };
    let spans = vec![NamedSpan { name: SpanName::Sample, ns: 8 }];
    let events =
        (0..300).map(|i| OpEvent { site: i, reserved: 0, gap: u32::from(i) * 7, duration: u32::MAX });
    OpBatch { head, spans, columns: Vec::new(), events: events.collect() }
}

fn through(codec: Codec, envelope: Envelope, bytes: &impl serde::Serialize) -> Vec<u8> {
    let mut buffer = codec.encode(envelope, bytes);
    buffer.extend(codec.encode(envelope, bytes));
    let mut split = || codec.split(&mut buffer).expect("short enough").expect("whole");
    let first = split();
    assert_eq!(split(), first);
    assert!(buffer.is_empty());
    first
}

#[test]
fn requests_survive_both_codecs() {
    let submit = Submit {
        model: ModelRef::Catalogue("smollm2-135m".to_owned()),
        workload: Workload {
            repetitions: Some(3),
            prompt_text: Some("é\n".to_owned()),
            ..Workload::default()
        },
        detach: true,
        record: false,
    };
    let subscribe = Subscribe { channels: vec!["cpu.*".to_owned()], max_hz: 5.0, ops: OpsDetails::BOTH };
    let methods = [
        Method::Subscribe(subscribe),
        Method::Submit(submit),
        Method::Cancel { job: 7 },
        Method::Jobs {},
        Method::Status {},
        Method::Doctor {},
    ];
    for codec in CODECS {
        for (method, id) in methods.iter().cloned().zip([Some(1), None, Some(3), None, Some(5), None]) {
            let request = Request::new(id, method);
            let message = through(codec, Envelope::Request, &request);
            assert_eq!(codec.request(&message).unwrap(), request, "{codec:?}");
        }
    }
}

#[test]
fn a_subscription_may_be_written_by_hand() {
    let request = Codec::Json.request(br#"{"subscribe":{"channels":["temp.*"]}}"#).unwrap();
    let Method::Subscribe(subscribe) = request.method else { panic!("{request:?}") };
    assert_eq!((subscribe.max_hz, subscribe.ops), (10.0, OpsDetails::SUMMARY));
    assert!(Codec::Json.request(br#"{"id":1,"dance":{}}"#).is_err());
    assert!(Codec::Json.request(b"{").is_err());
}

#[test]
fn op_events_are_asked_for_as_a_word_or_as_a_list() {
    for (text, wanted) in [
        (r#""off""#, OpsDetails::OFF),
        (r#""summary""#, OpsDetails::SUMMARY),
        (r#""raw""#, OpsDetails::RAW),
        (r#"["raw"]"#, OpsDetails::RAW),
        (r#"["raw","summary"]"#, OpsDetails::BOTH),
        (r#"["raw","dreams"]"#, OpsDetails::RAW),
        ("[]", OpsDetails::OFF),
    ] {
        let request = Codec::Json.request(format!(r#"{{"subscribe":{{"ops":{text}}}}}"#).as_bytes()).unwrap();
        let Method::Subscribe(subscribe) = request.method else { panic!("{request:?}") };
        assert_eq!(subscribe.ops, wanted, "{text}");
    }
    assert_eq!(serde_json::to_string(&OpsDetails::BOTH).unwrap(), r#"["summary","raw"]"#);
    assert!(Codec::Json.request(br#"{"subscribe":{"ops":"dreams"}}"#).is_err());
}

#[test]
fn clients_of_other_protocols_are_known_and_told_the_remedy() {
    assert_eq!((protocol_of(MAGIC), protocol_of(*b"slmscope")), (Some(PROTOCOL), Some(1)));
    assert_eq!((protocol_of(*b"slmscop3"), protocol_of(*b"slmscop1")), (Some(3), None));
    for (bytes, may_be) in [
        (&b"s"[..], true),
        (b"slmscop", true),
        (b"slmscope", true),
        (b"slmscop2", true),
        (b"slmscopx", false),
        (b"sx", false),
    ] {
        assert_eq!(may_be_magic(bytes), may_be, "{}", bytes.escape_ascii());
    }
    assert!(other_protocol(1).contains("update the client"));
    assert!(other_protocol(3).contains("update the daemon"));
    let stated = Codec::Json.request(br#"{"protocol":1,"status":{}}"#).unwrap();
    assert_eq!((stated.protocol, stated.method), (Some(1), Method::Status {}));
}

#[test]
fn frames_and_replies_survive_both_codecs() {
    let columns = OpColumns::from(&batch());
    let sample = Sample {
        t_ns: 1,
        cost_ns: 2,
        age_ns: 7,
        update_ns: Some(4),
        other_update_ns: vec![(1, Some(5)), (2, None)],
        values: vec![(0, Value::Present(3.0)), (1, Value::Absent(ReasonCode::Offline))],
    };
    for codec in CODECS {
        for frame in [
            Frame::from(Record::Ops(columns.clone())),
            Frame::from(Record::Sample(sample.clone())),
            Frame::from(Talk::Gap { first_seq: 1, last_seq: 2, batches: 2 }),
        ] {
            let message = through(codec, Envelope::Frame, &frame);
            assert_eq!(codec.incoming(&message).unwrap(), Incoming::Frame(Box::new(frame)), "{codec:?}");
        }
        let error = WireError { code: ErrorCode::Busy, message: "m".to_owned(), field: None };
        for outcome in [Outcome::Ok(serde_json::json!({"job": 3})), Outcome::Error(error)] {
            let reply = Reply { re: Some(9), outcome };
            let message = through(codec, Envelope::Reply, &reply);
            assert_eq!(codec.incoming(&message).unwrap(), Incoming::Reply(reply), "{codec:?}");
        }
    }
    assert_eq!(columns.to_batch(), batch());
    let json = serde_json::to_string(&columns).unwrap();
    assert!(json.contains("\"site\":[0,1,2"), "{json}");
}

#[test]
fn unknown_kinds_are_skipped() {
    let json = Codec::Json.incoming(br#"{"aurora":{"colour":"green"}}"#).unwrap();
    assert_eq!(json, Incoming::Unknown);
    let message = through(Codec::MessagePack, Envelope::Frame, &serde_json::json!({"aurora": 1}));
    assert_eq!(Codec::MessagePack.incoming(&message).unwrap(), Incoming::Unknown);
    let sample = br#"{"sample":{"t_ns":1,"cost_ns":2,"values":[],"mood":"fine"}}"#;
    assert!(matches!(Codec::Json.incoming(sample).unwrap(), Incoming::Frame(_)));
}

#[test]
fn a_long_message_is_refused_before_it_is_read() {
    let mut claim = (MAX_MESSAGE as u32 + 1).to_le_bytes().to_vec();
    assert!(matches!(Codec::MessagePack.split(&mut claim), Err(CodecError::TooLong(_))));
    let mut endless = vec![b'{'; MAX_MESSAGE + 1];
    assert!(matches!(Codec::Json.split(&mut endless), Err(CodecError::TooLong(_))));
    let mut half = Codec::MessagePack.encode(Envelope::Request, &Request::new(None, Method::Jobs {}));
    half.pop();
    assert_eq!(Codec::MessagePack.split(&mut half).unwrap(), None);
}

#[test]
fn random_bytes_never_panic() {
    let mut random = SplitMix(42);
    let seeds = [
        Codec::MessagePack.encode(Envelope::Frame, &Record::Ops(OpColumns::from(&batch())))[4..].to_vec(),
        Codec::Json
            .encode(Envelope::Request, &Request::new(Some(1), Method::Subscribe(Subscribe::default()))),
    ];
    for round in 0..20_000 {
        let mut bytes = seeds[round % 2].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next_u64() as u8;
        }
        bytes.truncate(random.below(bytes.len()) + 1);
        for codec in CODECS {
            let _ = codec.request(&bytes);
            let _ = codec.incoming(&bytes);
        }
    }
}
