//! The tables of a run are the same wherever they are made of the same records: in the runner, by whoever follows the
//! stream, and from the file of a recording.

use std::sync::{Arc, Mutex};

use serde_json::json;
use slmscope_exports::recording::{Entry, Event as FileEvent, Reader, Writer};
use slmscope_exports::session::Session;
use slmscope_profiles::channel::Sample;
use slmscope_profiles::energy::{self, Energy};
use slmscope_profiles::lane::{Lane, LaneKind};
use slmscope_profiles::op::{OpBatch, Phase};
use slmscope_profiles::profile::{By, Profile};
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::stats::SplitMix;
use slmscope_profiles::wire::OpsDetails;

use super::TestDaemon;
use super::engines::{metered, read_until_wait, repeat, with_device};
use crate::backend::scripted::{Token, loaded};
use crate::backend::{Command, Event};
use crate::hub::{Published, Sink, Wants};

/// Everything that the hub published, in order.
#[derive(Default)]
struct Records(Mutex<Vec<Arc<Record>>>);

impl Sink for Records {
    fn take(&self, message: &Published<'_>) {
        self.0.lock().unwrap().extend(message.record().cloned());
    }
}

/// A token on two lanes whose ops take different times each.
fn uneven(token: &Token, seq: u64) -> Vec<OpBatch> {
    let mut random = SplitMix(u64::from(token.repetition) << 32 | u64::from(token.index));
    let mut batches = with_device(token, seq);
    for event in batches.iter_mut().flat_map(|batch| &mut batch.events) {
        event.duration -= random.below(200_000) as u32;
        event.gap += random.below(3_000) as u32;
    }
    batches
}

/// A daemon with a meter, whose engine computes on a device.
fn daemon() -> TestDaemon {
    let load = Mutex::new(None);
    metered(move |command, now_ns| match command {
        Command::Load(request) => {
            *load.lock().unwrap() = Some((**request).clone());
            let mut answer = loaded(request.setup);
            let kind = LaneKind::Device { device: "a card".to_owned(), queue: 0 };
            answer.lanes.push(Lane { lane: 1, name: "compute".to_owned(), kind });
            Some(vec![crate::backend::scripted::Step::Report(Event::Loaded(Box::new(answer)))])
        }
        Command::Repeat { repetition, .. } => {
            let load = load.lock().unwrap().clone().expect("a model is loaded");
            let first =
                Token { load, repetition: *repetition, phase: Phase::Decode, index: 0, begin_ns: now_ns };
            Some(repeat(&first, 40, uneven))
        }
        _ => None,
    })
}

/// All tables of a profile, as text to the last bit.
fn tables(profile: &Profile, roofs: &Roofs) -> Vec<String> {
    let divisions = [By::Phase, By::Module, By::Kind, By::Name, By::Site, By::Layer, By::Token];
    let mut tables: Vec<String> =
        divisions.map(|by| serde_json::to_string(&profile.breakdown(by, roofs)).unwrap()).to_vec();
    tables.extend(of_result(&(profile.phases(), profile.lanes(), profile.ops(roofs))));
    tables
}

/// The tables that a result has.
fn of_result<T: serde::Serialize>(tables: &T) -> [String; 1] {
    [serde_json::to_string(tables).unwrap()]
}

/// Energy without the power before the run, whose time no record tells.
fn without_baseline(mut energy: Energy) -> String {
    for row in &mut energy.phases {
        (row.baseline_watts, row.above_baseline_joules) = (None, None);
    }
    serde_json::to_string(&energy).unwrap()
}

/// A profile that follows records as they come.
fn follow(records: &[Arc<Record>]) -> (Profile, Vec<Sample>) {
    let (mut profile, mut samples) = (Profile::default(), Vec::new());
    for record in records {
        match &**record {
            Record::Plan(plan) if profile.spans().is_empty() => {
                profile = Profile::new(plan.sites.clone(), plan.path.clone()).with_lanes(&plan.lanes);
            }
            Record::Ops(ops) => profile.add_batch(&ops.to_batch()),
            Record::Span(span) => profile.add_span(span.clone()),
            Record::Sample(sample) => samples.push(sample.clone()),
            _ => {}
        }
    }
    (profile, samples)
}

#[test]
fn live_replayed_and_exported_tables_are_the_same_to_the_bit() {
    let daemon = daemon();
    let records = Arc::new(Records::default());
    let channels = daemon.daemon.hub.channels();
    let ops = OpsDetails { raw: true, summary: false };
    let wants = Wants { channels: vec![Some(0); channels.len()], ops, events: true };
    daemon.daemon.hub.attach(records.clone(), wants);
    let mut client = daemon.watch();
    client.submit(&json!({"repetitions": 3, "generate": 40}));
    let begin_ns = read_until_wait(&daemon, 2.0, super::START_NS, 10_000_000);
    read_until_wait(&daemon, 5.0, begin_ns, 1_000_000);
    let result: RunResult = serde_json::from_value(client.result()).unwrap();
    let records = records.0.lock().unwrap().clone();

    // The file of a recording, and what is read of it.
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file).unwrap();
    for record in &records {
        writer.write(&Entry::Record(record.clone())).unwrap();
    }
    writer.finish().unwrap();
    let session = Session::read(&mut Reader::new(&file[..]).unwrap()).unwrap();
    let replayed = session.last_run().unwrap();
    let from_file: Vec<Sample> = Reader::new(&file[..])
        .unwrap()
        .filter_map(|event| match event.unwrap() {
            FileEvent::Entry(Entry::Record(record)) => match &*record {
                Record::Sample(sample) => Some(sample.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect();

    let (live, samples) = follow(&records);
    let roofs = &result.roofs;
    assert_eq!(result.phases.len(), 3);
    assert_eq!(live.breakdown(By::Token, roofs).len(), 2 * 3 * 40);
    assert_eq!(tables(&live, roofs), tables(&replayed.profile, roofs));
    let in_result = of_result(&(&result.phases, &result.lanes, &result.ops));
    assert_eq!(tables(&live, roofs).last(), in_result.first());
    let figures = |profile: &Profile| {
        let figures = profile.figures(0, true, None);
        serde_json::to_string(&(figures.decode_tokens_per_s, figures.token_ns)).unwrap()
    };
    let summary = (&result.summary.decode_tokens_per_s, &result.summary.token_ns);
    assert_eq!(figures(&live), serde_json::to_string(&summary).unwrap());
    assert_eq!(figures(&replayed.profile), figures(&live));
    let energy = |profile: &Profile, samples: &[Sample]| {
        without_baseline(energy::of_phases(profile.spans(), None, samples, &channels))
    };
    assert!(result.energy.phases[0].joules.is_some(), "{:?}", result.energy);
    assert_eq!(energy(&live, &samples), without_baseline(result.energy.clone()));
    assert_eq!(energy(&replayed.profile, &from_file), without_baseline(result.energy));
}
