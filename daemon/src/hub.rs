//! The hub: the one place where records get their order, and from which every sink is served.
//!
//! ```text
//! sampler threads ──Sample──▶ ┌─────┐ ──▶ queue of each client ([`queue`]) ──▶ socket
//! runner thread ───OpBatch──▶ │ hub │ ──▶ the runner's log of samples
//!               ───Record───▶ │     │ ──▶ (any other sink)
//!               ───Talk─────▶ └─────┘
//! ```
//!
//! Whoever publishes never waits for a sink. A message is made when the first sink needs it, encoded at most once for
//! each codec, and shared by the sinks that want it; a sink that wants only some channels of a sample gets one of its
//! own. A sink says what it wants as a set ([`Wants`]).

pub mod queue;
mod rate;
mod sink;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_profiles::channel::{Channel, ChannelId, Sample};
use slmscope_profiles::job::Job;
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::record::{Header, Record};
use slmscope_profiles::summary::{Summarizer, Summary};
use slmscope_profiles::wire::codec::Codec;
use slmscope_profiles::wire::{Frame, Subscribe, Talk};

use queue::Queue;
use rate::RateLimiter;
pub use sink::{Batches, Content, Published, Sink, Wants};

/// Number of a connection, or of another sink.
pub type ClientId = u64;

/// Orders records and hands them out.
pub struct Hub {
    state: Mutex<State>,
    /// Batches that were dropped for slow clients.
    dropped: Arc<AtomicU64>,
}

struct State {
    header: Header,
    channels: Vec<Channel>,
    /// The last plan.
    plan: Option<Arc<Record>>,
    summarizer: Summarizer,
    clients: Vec<(ClientId, Arc<Queue>)>,
    sinks: Vec<Attached>,
    next_id: ClientId,
}

/// A sink, and what it gets.
struct Attached {
    id: ClientId,
    sink: Arc<dyn Sink>,
    wants: Wants,
    limiter: RateLimiter,
}

impl Hub {
    /// A hub whose streams begin with `header` and `channels`.
    pub fn new(header: Header, channels: Vec<Channel>) -> Self {
        let state = State {
            header,
            channels,
            plan: None,
            summarizer: Summarizer::default(),
            clients: Vec::new(),
            sinks: Vec::new(),
            next_id: 1,
        };
        Self { state: Mutex::new(state), dropped: Arc::default() }
    }

    /// The state is consistent between statements that can panic, so a poisoned lock is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, and returns the queue from which it is served.
    pub fn connect(&self, codec: Codec) -> (ClientId, Arc<Queue>) {
        let queue = Arc::new(Queue::new(codec, self.dropped.clone()));
        let mut state = self.state();
        let id = state.new_id();
        state.clients.push((id, queue.clone()));
        (id, queue)
    }

    /// Removes a connection.
    pub fn disconnect(&self, id: ClientId) {
        let mut state = self.state();
        state.clients.retain(|(client, _)| *client != id);
        state.sinks.retain(|attached| attached.id != id);
    }

    /// Connections.
    pub fn clients(&self) -> usize {
        self.state().clients.len()
    }

    /// Connections that have subscribed.
    pub fn streams(&self) -> usize {
        let state = self.state();
        state.clients.iter().filter(|(id, _)| state.sinks.iter().any(|attached| attached.id == *id)).count()
    }

    /// Channels in the catalogue.
    pub fn channels(&self) -> Vec<Channel> {
        self.state().channels.clone()
    }

    /// Where times and numbers come from.
    pub fn header(&self) -> Header {
        self.state().header.clone()
    }

    /// Batches that were dropped for slow clients, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Starts a client's stream, or changes it. Header, catalogue, plan and the given jobs come first.
    pub fn subscribe(&self, id: ClientId, subscribe: &Subscribe, jobs: &[Job]) {
        let mut state = self.state();
        let Some(queue) = state.queue(id) else { return };
        let wants = Wants::of(subscribe, &state.channels);
        queue.set_raw(wants.ops.raw);
        state.sinks.retain(|attached| attached.id != id);
        state.attach(id, queue.clone(), wants);
        for job in jobs {
            queue.take(&Published::new(Content::Talk(&Talk::Job(job.clone()))));
        }
    }

    /// Adds a sink that is no client. If it wants events, header, catalogue and plan come first.
    pub fn attach(&self, sink: Arc<dyn Sink>, wants: Wants) -> ClientId {
        let mut state = self.state();
        let id = state.new_id();
        state.attach(id, sink, wants);
        id
    }

    /// Removes a sink that is no client; it gets nothing after this.
    pub fn detach(&self, id: ClientId) {
        self.state().sinks.retain(|attached| attached.id != id);
    }

    /// Publishes readings.
    pub fn sample(&self, sample: &Sample) {
        let Some(&(source, _)) = sample.values.first() else { return };
        let mut state = self.state();
        let whole = Published::new(Content::Sample(sample));
        for attached in &mut state.sinks {
            match attached.due_values(source, sample) {
                0 => {}
                all if all == sample.values.len() => attached.sink.take(&whole),
                _ => {
                    let mut part = sample.clone();
                    part.values.retain(|(id, _)| attached.wants.period_ns(*id).is_some());
                    part.other_update_ns.retain(|(id, _)| attached.wants.period_ns(*id).is_some());
                    attached.sink.take(&Published::new(Content::Sample(&part)));
                }
            }
        }
    }

    /// Publishes op events, and adds them to the summaries.
    pub fn batch(&self, batch: &OpBatch) {
        let mut state = self.state();
        state.send(Content::Batch(batch), |wants| wants.ops.raw);
        state.summarize(batch);
    }

    /// Publishes any other record. Batches after a plan are about that plan.
    pub fn record(&self, record: Record) {
        let mut state = self.state();
        let is_plan = matches!(record, Record::Plan(_));
        if is_plan {
            state.flush_summaries();
        } else if !state.sinks.iter().any(|attached| attached.wants.events) {
            return;
        }
        let record = Arc::new(record);
        state.send(Content::Record(&record), |wants| wants.events);
        if is_plan {
            state.plan = Some(record);
        }
    }

    /// Sends the summaries as they are, at the end of a phase.
    pub fn flush(&self) {
        self.state().flush_summaries();
    }

    /// Tells all clients that have subscribed.
    pub fn broadcast(&self, talk: &Talk) {
        let state = self.state();
        let message = Published::new(Content::Talk(talk));
        for (id, queue) in &state.clients {
            if state.sinks.iter().any(|attached| attached.id == *id) {
                queue.take(&message);
            }
        }
    }

    /// Tells one client, subscribed or not.
    pub fn tell(&self, id: ClientId, talk: &Talk) {
        if let Some(queue) = self.state().queue(id) {
            queue.take(&Published::new(Content::Talk(talk)));
        }
    }

    /// Ends all connections, with a reason.
    pub fn close(&self, reason: &str) {
        let state = self.state();
        let bye = Talk::Bye { reason: reason.to_owned() };
        let message = Published::new(Content::Talk(&bye));
        for (_, queue) in &state.clients {
            queue.take(&message);
            queue.close();
        }
    }
}

impl State {
    fn new_id(&mut self) -> ClientId {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn queue(&self, id: ClientId) -> Option<Arc<Queue>> {
        self.clients.iter().find(|(client, _)| *client == id).map(|(_, queue)| queue.clone())
    }

    fn attach(&mut self, id: ClientId, sink: Arc<dyn Sink>, wants: Wants) {
        if wants.events {
            let header = Arc::new(Record::Header(self.header.clone()));
            let catalogue = Arc::new(Record::Catalogue { channels: self.channels.clone() });
            for record in [Some(&header), Some(&catalogue), self.plan.as_ref()].into_iter().flatten() {
                sink.take(&Published::new(Content::Record(record)));
            }
        }
        self.sinks.push(Attached { id, sink, wants, limiter: RateLimiter::default() });
    }

    fn send(&self, content: Content<'_>, wants: impl Fn(&Wants) -> bool) {
        let message = Published::new(content);
        for attached in self.sinks.iter().filter(|attached| wants(&attached.wants)) {
            attached.sink.take(&message);
        }
    }

    fn summarize(&mut self, batch: &OpBatch) {
        if !self.sinks.iter().any(|attached| attached.wants.ops.summary) {
            // What was summed so far would have a hole where this batch is missing.
            self.summarizer = Summarizer::default();
            return;
        }
        let plan = self.plan.clone();
        let Some(Record::Plan(plan)) = plan.as_deref() else { return };
        let whole = self.summarizer.add(batch, plan);
        self.send_summaries(whole);
    }

    fn flush_summaries(&mut self) {
        let open = self.summarizer.flush();
        self.send_summaries(open);
    }

    fn send_summaries(&self, summaries: Vec<Summary>) {
        for summary in summaries {
            let batches = Batches {
                first: summary.first_seq,
                last: summary.last_seq,
                count: summary.token_ns.len() as u64,
            };
            self.send(Content::Summary(&Frame::Summary(summary), batches), |wants| wants.ops.summary);
        }
    }
}

impl Attached {
    /// How many values of a sample the sink wants, if one is due.
    fn due_values(&mut self, source: ChannelId, sample: &Sample) -> usize {
        let (mut count, mut period_ns) = (0, u64::MAX);
        for (channel, _) in &sample.values {
            if let Some(wanted_ns) = self.wants.period_ns(*channel) {
                count += 1;
                period_ns = period_ns.min(wanted_ns);
            }
        }
        if count > 0 && self.limiter.is_due(source, sample.t_ns, period_ns) { count } else { 0 }
    }
}

#[cfg(test)]
mod tests {
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
}
