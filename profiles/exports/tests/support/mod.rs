//! The records of a short session.

mod batch;

use batch::TOKEN_NS;
pub use batch::batch;
use slmscope_exports::recording::Entry;
use slmscope_profiles::channel::{Sample, Value};
use slmscope_profiles::host::Host;
use slmscope_profiles::job::{Job, JobState, Span};
use slmscope_profiles::lane::Lane;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::record::{Header, Mark, PlanRecord, Record};
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::stats::SplitMix;
use slmscope_profiles::workload::Workload;

/// All kinds of messages, in the order of a run with so many tokens.
pub fn session(tokens: u32) -> Vec<Entry> {
    let mut random = SplitMix(u64::from(tokens));
    let workload = Workload::default();
    let mut job = Job {
        job: 1,
        model: "m".to_owned(),
        source: ModelSource::Synthetic,
        format: None,
        files: Vec::new(),
        workload: workload.clone(),
        uid: 1000,
        state: JobState::Queued,
        ahead: 0,
        repetition: None,
        turns: 0,
        worker: None,
        error: None,
        submitted_ns: None,
        ended_ns: None,
        progress: None,
    };
    let header = Header {
        origin_ns: 1,
        wall_ns: 2,
        boottime_offset_ns: 3,
        boot_id: None,
        version: "0".to_owned(),
        host: Host { logical_cpus: 2, ..Host::default() },
    };
    let plan = PlanRecord {
        plan: 1,
        model: "m".to_owned(),
        threads: 2,
        path: "p".to_owned(),
        granularity: Granularity::Op,
        lanes: vec![Lane::host(2)],
        roofs: Roofs::absent("not measured yet"),
        sites: Vec::new(),
    };
    let record = |record| Entry::Record(std::sync::Arc::new(record));
    let mut entries = vec![
        record(Record::Header(header)),
        record(Record::Catalogue { channels: Vec::new() }),
        Entry::Job(Box::new(job.clone())),
        record(Record::Plan(plan)),
    ];
    for token in 0..tokens {
        let batch = batch(token, 20, &mut random);
        entries.push(record(Record::Ops((&batch).into())));
        let value = if token % 3 == 0 { Value::Present(51.5) } else { Value::Present(f64::from(token)) };
        let sample = Sample { t_ns: batch.head.end_ns, values: vec![(0, value)], ..Sample::default() };
        entries.push(record(Record::Sample(sample)));
    }
    let end_ns = 1_000_000_000 + TOKEN_NS * u64::from(tokens);
    let span = Span {
        job: 1,
        repetition: 0,
        phase: Phase::Decode,
        begin_ns: 1_000_000_000,
        end_ns,
        tokens,
        sample_ns: 0,
        token_ends_ns: (1..=u64::from(tokens)).map(|token| 1_000_000_000 + TOKEN_NS * token).collect(),
    };
    job.state = JobState::Done;
    entries.extend([
        record(Record::Span(span)),
        record(Record::Loss { batches: 3 }),
        record(Record::Mark(Mark::state_of(&job, end_ns))),
        Entry::Job(Box::new(job)),
        Entry::Result {
            job: 1,
            result: Box::new(RunResult::failed("m", ModelSource::Synthetic, &workload, "no error")),
        },
    ]);
    entries
}
