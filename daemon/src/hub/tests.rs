use slmscope_profiles::channel::{Quantity, Value};
use slmscope_profiles::wire::OpsDetails;

use super::*;
use crate::backend::scripted;
use crate::tests::{channel, hub, plan};

/// A sink that keeps everything, as a recorder of files would.
#[derive(Default)]
struct Recorder(Mutex<Vec<Arc<Record>>>);

impl Sink for Recorder {
    fn take(&self, message: &Published<'_>) {
        self.0.lock().unwrap().extend(message.record().cloned());
    }
}

fn everything(channels: usize) -> Wants {
    Wants { channels: vec![Some(0); channels], ops: OpsDetails::BOTH, events: true }
}

fn sample(t_ns: u64, channels: &[ChannelId]) -> Sample {
    let values = channels.iter().map(|&id| (id, Value::Present(1.0))).collect();
    Sample { t_ns, values, ..Sample::default() }
}

/// A sink that notes which batches were summed.
#[derive(Default)]
struct Summed(Mutex<Vec<Batches>>);

impl Summed {
    fn attach(hub: &Hub) -> (ClientId, Arc<Self>) {
        let sink = Arc::new(Self::default());
        let ops = OpsDetails { summary: true, raw: false };
        (hub.attach(sink.clone(), Wants { ops, ..Wants::default() }), sink)
    }
}

impl Sink for Summed {
    fn take(&self, message: &Published<'_>) {
        if let Content::Summary(_, covers) = message.content() {
            self.0.lock().unwrap().push(covers);
        }
    }
}

#[test]
fn a_recorder_fits_beside_clients_and_records_are_shared() {
    let hub = hub(vec![channel(0, Quantity::Power)]);
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    hub.attach(first.clone(), everything(1));
    let id = hub.attach(second.clone(), everything(1));
    hub.record(plan());
    hub.sample(&sample(5, &[0]));
    hub.batch(&scripted::token().batch(1));
    hub.record(Record::Loss { batches: 2 });
    hub.flush();
    hub.detach(id);
    hub.sample(&sample(6, &[0]));
    let (first, second) = (first.0.lock().unwrap(), second.0.lock().unwrap());
    assert_eq!((first.len(), second.len()), (7, 6));
    let is_known = [
        matches!(*first[0], Record::Header(_)),
        matches!(*first[1], Record::Catalogue { .. }),
        matches!(*first[2], Record::Plan(_)),
        matches!(*first[3], Record::Sample(_)),
        matches!(*first[4], Record::Ops(_)),
        matches!(*first[5], Record::Loss { batches: 2 }),
    ];
    assert_eq!(is_known, [true; 6], "summaries are no records");
    assert!(first[2..].iter().zip(&second[2..]).all(|(one, other)| Arc::ptr_eq(one, other)));
}

#[test]
fn a_summary_covers_no_batch_that_came_while_nobody_wanted_summaries() {
    let hub = hub(Vec::new());
    hub.record(plan());
    let (id, _) = Summed::attach(&hub);
    hub.batch(&scripted::token().batch(1));
    hub.detach(id);
    hub.batch(&scripted::token().batch(2));
    let (_, late) = Summed::attach(&hub);
    hub.batch(&scripted::token().batch(3));
    hub.flush();
    assert_eq!(late.0.lock().unwrap()[..], [Batches { first: 3, last: 3, count: 1 }]);
}

#[test]
fn a_lane_that_the_plan_does_not_have_gets_no_summary() {
    let hub = hub(Vec::new());
    hub.record(plan());
    let (_, sink) = Summed::attach(&hub);
    for lane in 0..1000 {
        let mut batch = scripted::token().batch(u64::from(lane));
        batch.head.lane = lane;
        hub.batch(&batch);
    }
    hub.flush();
    let of = |seq| Batches { first: seq, last: seq, count: 1 };
    assert_eq!(sink.0.lock().unwrap()[..], [of(0), of(1)]);
}

#[test]
fn a_batch_of_another_plan_gets_no_summary() {
    let hub = hub(Vec::new());
    hub.record(plan());
    let (_, sink) = Summed::attach(&hub);
    let mut other = scripted::token().batch(1);
    other.head.plan = 2;
    hub.batch(&other);
    hub.batch(&scripted::token().batch(2));
    hub.flush();
    assert_eq!(sink.0.lock().unwrap()[..], [Batches { first: 2, last: 2, count: 1 }]);
}

#[test]
fn a_sink_that_comes_late_begins_with_header_catalogue_and_plan() {
    let hub = hub(Vec::new());
    hub.record(plan());
    hub.record(Record::Loss { batches: 1 });
    let late = Arc::new(Recorder::default());
    hub.attach(late.clone(), everything(0));
    assert!(matches!(late.0.lock().unwrap()[..], [_, _, ref last] if matches!(**last, Record::Plan(_))));
}

#[test]
fn a_sample_comes_as_often_as_its_most_wanted_channel_with_the_wanted_ones_alone() {
    let hub = hub((0..3).map(|number| channel(number, Quantity::Power)).collect());
    let sink = Arc::new(Recorder::default());
    let wants = Wants { channels: vec![None, Some(100), Some(10)], ..Wants::default() };
    hub.attach(sink.clone(), wants);
    for t_ns in 0..30 {
        hub.sample(&sample(t_ns, &[0]));
        hub.sample(&sample(t_ns, &[0, 1, 2]));
    }
    let records = sink.0.lock().unwrap();
    let samples: Vec<_> = records
        .iter()
        .map(|record| match &**record {
            Record::Sample(sample) => (sample.t_ns, sample.values.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    // A tenth of tolerance.
    assert_eq!(samples, [(0, 2), (9, 2), (18, 2), (27, 2)]);
}

#[test]
fn where_nobody_listens_nothing_is_made() {
    let reading = sample(1, &[0]);
    let message = Published::new(Content::Sample(&reading));
    assert!(!message.is_made());
    let bytes = message.bytes(Codec::Json);
    assert!(message.is_made() && Arc::ptr_eq(&bytes, &message.bytes(Codec::Json)), "and then once");
}
