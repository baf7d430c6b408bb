//! Recordings of earlier versions, one for each change of what records hold: they are added to and never rewritten, since
//! files like them lie on other machines.

use std::collections::BTreeMap;

use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::profile::OpRow;

/// Three repetitions of a tiny model on a machine called `board`, by version 0.1.0 of 2026-11-30.
const FIRST: &[u8] = include_bytes!("recordings/1.mcap");

#[test]
fn a_recording_of_the_first_version_has_the_tables_that_it_had() {
    let session = Session::read(&mut Reader::new(FIRST).unwrap()).unwrap();
    assert!(session.end.is_complete && session.damage.is_empty());
    assert_eq!((session.end.unknown, session.left_out, session.events), (0, 0, 405));
    let counts: BTreeMap<&str, u64> =
        session.counts.iter().map(|(topic, &count)| (topic.as_str(), count)).collect();
    let written = [
        ("catalogue", 1),
        ("header", 1),
        ("job", 13),
        ("mark", 8),
        ("ops", 15),
        ("plan", 1),
        ("result", 1),
        ("sample", 146),
        ("span", 6),
    ];
    assert_eq!(counts, BTreeMap::from(written));
    let host = &session.header.as_ref().unwrap().host;
    assert_eq!((host.name.as_deref(), &host.board), (Some("board"), &None), "it did not say which board");
    let run = session.last_run().unwrap();
    let result = run.result.as_deref().unwrap();
    assert_eq!(run.profile.phases(), result.phases);
    // What is derived from the times may change from version to version, and they do not.
    let times = |ops: &[OpRow]| -> Vec<_> {
        ops.iter().map(|op| (op.phase, op.id, op.count, op.time_ns, op.bytes, op.flops)).collect()
    };
    assert_eq!(times(&run.profile.ops(&result.roofs)), times(&result.ops));
    assert_eq!(run.repetitions(Phase::Decode).len(), 3);
    let rate = result.summary.decode_tokens_per_s.unwrap();
    assert!((rate.median - 908.573_435).abs() < 1e-3, "{rate:?}");
    assert_eq!(run.job.as_ref().unwrap().to_submit().workload.generate, 5);
}
