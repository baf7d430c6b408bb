//! Recordings whose chunks are whole and whose content is nonsense: hostile counts, times that run backwards, numbers of
//! sites, lanes, plans and jobs that there are not. They make poor tables and never a panic.

mod support;

use std::sync::Arc;

use slmscope_exports::recording::{Entry, Reader, Topic, Writer};
use slmscope_exports::session::Session;
use slmscope_profiles::channel::{Sample, Value};
use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite};
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::stats::SplitMix;
use support::{batch, session};

/// Writes the entries and reads them as a session.
fn read(entries: &[Entry]) -> Session {
    let mut writer = Writer::new(Vec::new()).expect("memory takes all");
    for entry in entries {
        writer.write(entry).expect("memory takes all");
    }
    let file = writer.finish().expect("memory takes all");
    let mut reader = Reader::new(&file[..]).expect("it is a recording");
    let session = Session::read(&mut reader).expect("memory can be read");
    assert!(session.damage.is_empty() && session.end.is_complete);
    session
}

/// All tables that are made of a session.
fn tables(session: &Session) -> usize {
    let mut rows = 0;
    for run in session.runs.values() {
        let roofs = run.plan.as_ref().map(|plan| plan.roofs.clone()).unwrap_or_default();
        rows += run.profile.phases().len() + run.profile.ops(&roofs).len() + run.profile.lanes().len();
        for phase in [Phase::Prefill, Phase::Decode] {
            rows += run.repetitions(phase).len() + run.profile.rates(phase).len();
        }
    }
    rows
}

/// Any number, the extreme ones often.
fn number(random: &mut SplitMix) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::from(u32::MAX),
        3 => 1 << random.below(64),
        _ => random.below(1 << 20) as u64,
    }
}

fn spoil_batch(batch: &mut OpBatch, random: &mut SplitMix) {
    for _ in 0..=random.below(4) {
        let value = number(random);
        let head = &mut batch.head;
        match random.below(16) {
            0 => head.job = value,
            1 => head.plan = value as u32,
            2 => head.lane = value as u16,
            3 => head.repetition = value as u32,
            4 => head.phase = Phase::Prefill,
            5 => head.token = value as u32,
            6 => head.rows = value as u32,
            7 => head.context = value as u32,
            8 => head.seq = value,
            9 => head.begin_ns = value,
            10 => head.end_ns = value,
            11 => head.tick_ns = value as u32,
            12 => head.clock = ClockSource::Host,
            13 => batch.spans.iter_mut().for_each(|span| span.ns = value),
            14 => batch.events.iter_mut().for_each(|event| event.site = value as u16),
            _ => batch
                .events
                .iter_mut()
                .for_each(|event| (event.gap, event.duration) = (value as u32, value as u32)),
        }
    }
}

/// A step with any cost.
fn site(id: u16, random: &mut SplitMix) -> OpSite {
    let mut any = || number(random);
    OpSite {
        id,
        layer: Some(any() as u32),
        module: Module::Ffn,
        name: "ffn.down_proj".to_owned(),
        kind: OpKind::Matmul,
        weights: Vec::new(),
        fuses: Vec::new(),
        cost: Cost {
            bytes: any(),
            bytes_per_row: any(),
            bytes_per_cached: any(),
            flops_per_row: any(),
            flops_per_attended: any(),
            window: Some(any() as u32),
            rows: Rows::All,
        },
    }
}

fn record(record: Record) -> Entry {
    Entry::Record(Arc::new(record))
}

#[test]
fn no_number_in_a_record_panics_or_takes_memory() {
    let mut random = SplitMix(41);
    for _ in 0..1_500 {
        let mut entries = session(4);
        for entry in &mut entries {
            let spoilt = match &*entry {
                Entry::Record(kept) => match &**kept {
                    Record::Ops(ops) => {
                        let mut batch = ops.to_batch();
                        spoil_batch(&mut batch, &mut random);
                        Some(Record::Ops((&batch).into()))
                    }
                    Record::Span(span) => {
                        let mut span = span.clone();
                        (span.begin_ns, span.tokens) = (number(&mut random), number(&mut random) as u32);
                        span.sample_ns = number(&mut random);
                        span.token_ends_ns.iter_mut().for_each(|end| *end = number(&mut random));
                        Some(Record::Span(span))
                    }
                    Record::Plan(plan) => {
                        let sites = (0..20).map(|id| site(id, &mut random)).collect();
                        Some(Record::Plan(PlanRecord { sites, ..plan.clone() }))
                    }
                    Record::Loss { .. } => Some(Record::Loss { batches: number(&mut random) }),
                    Record::Sample(sample) => {
                        let values = vec![(number(&mut random) as u16, Value::Present(f64::NAN))];
                        Some(Record::Sample(Sample { t_ns: number(&mut random), values, ..sample.clone() }))
                    }
                    _ => None,
                },
                _ => None,
            };
            if let Some(spoilt) = spoilt {
                *entry = record(spoilt);
            }
        }
        // In any order, too: what a plan explains may come before it.
        if random.below(4) == 0 {
            let (a, b) = (random.below(entries.len()), random.below(entries.len()));
            entries.swap(a, b);
        }
        tables(&read(&entries));
    }
}

#[test]
fn jobs_beyond_the_most_that_a_session_has_are_counted_and_left_out() {
    let mut random = SplitMix(1);
    let entries: Vec<Entry> = (0..400)
        .map(|job| {
            let mut batch = batch(0, 3, &mut random);
            batch.head.job = job;
            record(Record::Ops((&batch).into()))
        })
        .collect();
    let session = read(&entries);
    assert_eq!((session.runs.len(), session.left_out), (256, 144));
    assert_eq!(tables(&session), 0, "nothing is known of their plans");
}

#[test]
fn a_session_without_op_events_or_without_a_header_is_read_as_what_it_is() {
    let whole = session(4);
    let without: Vec<Entry> = whole.iter().filter(|entry| entry.topic() != Topic::Ops).cloned().collect();
    let found = read(&without);
    assert_eq!((found.events, found.runs.len()), (0, 1));
    assert!(found.header.is_some() && found.last_run().is_some_and(|run| run.result.is_some()));
    tables(&found);
    let found = read(&whole[3..]);
    assert!(found.header.is_none() && found.channels.is_empty() && found.events > 0);
    tables(&found);
    let none = read(&[]);
    assert!(none.last_run().is_none() && none.time_ns.is_none());
}

#[test]
fn times_that_run_backwards_span_what_they_span() {
    let mut entries = session(4);
    entries.reverse();
    let found = read(&entries);
    let (first, last) = found.time_ns.unwrap();
    assert!(first < last);
    assert_eq!(read(&session(4)).time_ns, Some((first, last)));
    tables(&found);
}
