//! The hub: the one place where records get their order, and from which every sink is served.
//!
//! ```text
//! sampler threads ──Sample──▶ ┌─────┐ ──▶ queue of each client ([`queue`]) ──▶ socket
//! runner thread ───OpBatch──▶ │ hub │ ──▶ the runner's log of samples
//!               ───Record───▶ │     │ ──▶ the recording of the job that runs
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
            queue.take(&Published::new(Content::Talk(&Talk::Job(Box::new(job.clone())))));
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
mod tests;
