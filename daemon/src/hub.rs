//! The hub: the one place where records get their order, and from which every client is served.
//!
//! Whoever publishes never waits for a client: a record is encoded once for each codec in use and put into
//! the bounded queues of those who want it ([`queue`]).

pub mod queue;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_profiles::channel::{Channel, ChannelId, Sample};
use slmscope_profiles::job::Job;
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::record::{Header, OpColumns, PlanRecord, Record};
use slmscope_profiles::summary::Summary;
use slmscope_profiles::wire::codec::{Codec, Envelope};
use slmscope_profiles::wire::{Frame, OpsDetail, OpsDetails, Subscribe, Talk, glob_matches};

use queue::{Item, Queue};

/// Time that one summary covers, ns.
const SUMMARY_NS: u64 = 100_000_000;

/// Number of a connection.
pub type ClientId = u64;

/// Orders records and hands them out.
pub struct Hub {
    state: Mutex<State>,
    dropped: AtomicU64,
}

struct State {
    header: Header,
    channels: Vec<Channel>,
    plan: Option<PlanRecord>,
    /// One for each lane that has batches.
    summaries: Vec<Summary>,
    clients: Vec<Client>,
    next_client: ClientId,
}

struct Client {
    id: ClientId,
    queue: Arc<Queue>,
    /// `None` until it subscribes.
    stream: Option<Stream>,
}

struct Stream {
    wanted: Vec<bool>,
    ops: OpsDetails,
    period_ns: u64,
    /// By first channel of a sample, which stands for its source: when it was sent last.
    sent_ns: Vec<(ChannelId, u64)>,
}

/// One record in the codecs that were asked for so far.
struct Encoded<'a> {
    frame: &'a Frame,
    bytes: [Option<Arc<[u8]>>; 2],
}

impl<'a> Encoded<'a> {
    fn new(frame: &'a Frame) -> Self {
        Self { frame, bytes: [None, None] }
    }

    fn bytes(&mut self, codec: Codec) -> Arc<[u8]> {
        let slot = &mut self.bytes[codec as usize];
        slot.get_or_insert_with(|| encode(codec, self.frame)).clone()
    }
}

fn encode(codec: Codec, frame: &Frame) -> Arc<[u8]> {
    codec.encode(Envelope::Frame, frame).into()
}

impl Hub {
    /// A hub whose streams begin with `header` and `channels`.
    pub fn new(header: Header, channels: Vec<Channel>) -> Self {
        let state = State {
            header,
            channels,
            plan: None,
            summaries: Vec::new(),
            clients: Vec::new(),
            next_client: 1,
        };
        Self { state: Mutex::new(state), dropped: AtomicU64::new(0) }
    }

    /// The state is consistent between statements that can panic, so a poisoned lock is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection that is served through `queue`.
    pub fn connect(&self, queue: Arc<Queue>) -> ClientId {
        let mut state = self.state();
        let id = state.next_client;
        state.next_client += 1;
        state.clients.push(Client { id, queue, stream: None });
        id
    }

    /// Removes a connection.
    pub fn disconnect(&self, id: ClientId) {
        let mut state = self.state();
        state.clients.retain(|client| client.id != id);
    }

    /// Connections.
    pub fn clients(&self) -> usize {
        self.state().clients.len()
    }

    /// Connections that have subscribed.
    pub fn streams(&self) -> usize {
        self.state().clients.iter().filter(|client| client.stream.is_some()).count()
    }

    /// Channels in the catalogue.
    pub fn channels(&self) -> Vec<Channel> {
        self.state().channels.clone()
    }

    /// Where times and numbers come from.
    pub fn header(&self) -> Header {
        self.state().header.clone()
    }

    /// Batches that were dropped for slow clients, so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Starts a client's stream, or changes it. Header, catalogue, plan and the given jobs come first.
    pub fn subscribe(&self, id: ClientId, subscribe: &Subscribe, jobs: &[Job]) {
        let mut state = self.state();
        let State { header, channels, plan, clients, .. } = &mut *state;
        let Some(client) = clients.iter_mut().find(|client| client.id == id) else { return };
        let hz = if subscribe.max_hz > 0.0 { subscribe.max_hz.clamp(1e-3, 1e6) } else { 10.0 };
        client.stream = Some(Stream {
            wanted: channels.iter().map(|channel| is_wanted(&subscribe.channels, channel)).collect(),
            ops: subscribe.ops,
            period_ns: (1e9 / hz) as u64,
            sent_ns: Vec::new(),
        });
        let mut first =
            vec![Record::Header(header.clone()), Record::Catalogue { channels: channels.clone() }];
        first.extend(plan.clone().map(Record::Plan));
        let jobs = jobs.iter().cloned().map(|job| Frame::from(Talk::Job(job)));
        let first: Vec<Frame> = first.into_iter().map(Frame::from).chain(jobs).collect();
        for frame in &first {
            client.control(&mut Encoded::new(frame));
        }
    }

    /// Sends a frame that must not be lost to everybody who has subscribed.
    pub fn publish(&self, frame: &Frame) {
        self.state().broadcast(frame);
    }

    /// Sends a frame to one connection, subscribed or not.
    pub fn send(&self, id: ClientId, frame: &Frame) {
        let mut state = self.state();
        if let Some(client) = state.clients.iter_mut().find(|client| client.id == id) {
            client.control(&mut Encoded::new(frame));
        }
    }

    /// Announces the plan that the batches from now on belong to.
    pub fn set_plan(&self, plan: PlanRecord) {
        let mut state = self.state();
        state.flush_summaries(&self.dropped);
        state.broadcast(&Record::Plan(plan.clone()).into());
        state.plan = Some(plan);
    }

    /// Publishes readings.
    pub fn sample(&self, sample: &Sample) {
        let mut state = self.state();
        let Some(&(source, _)) = sample.values.first() else { return };
        let mut frame = None;
        let mut encoded = [None, None];
        for client in &mut state.clients {
            let Some(stream) = &mut client.stream else { continue };
            if !stream.is_due(source, sample.t_ns) {
                continue;
            }
            let is_wanted = |id: ChannelId| stream.wanted.get(usize::from(id)).copied().unwrap_or(false);
            let wanted = sample.values.iter().filter(|(id, _)| is_wanted(*id)).count();
            if wanted == sample.values.len() {
                // Most readings come when nobody's is due: nothing is made before somebody's is.
                let frame = frame.get_or_insert_with(|| Record::Sample(sample.clone()).into());
                let codec = client.queue.codec();
                let bytes = encoded[codec as usize].get_or_insert_with(|| encode(codec, frame)).clone();
                client.queue.push(Item::Gauge { source, bytes }, &self.dropped);
            } else if wanted > 0 {
                let mut part = sample.clone();
                part.values.retain(|(id, _)| is_wanted(*id));
                let bytes = encode(client.queue.codec(), &Record::Sample(part).into());
                client.queue.push(Item::Gauge { source, bytes }, &self.dropped);
            }
        }
    }

    /// Publishes op events, raw and summed.
    pub fn ops(&self, batch: &OpBatch) {
        let mut state = self.state();
        let state = &mut *state;
        if state.clients.iter().any(|client| client.wants(OpsDetail::Raw)) {
            let frame = Record::Ops(OpColumns::from(batch)).into();
            let mut encoded = Encoded::new(&frame);
            for client in state.clients.iter().filter(|client| client.wants(OpsDetail::Raw)) {
                let bytes = encoded.bytes(client.queue.codec());
                let seq = (batch.head.seq, batch.head.seq);
                client.queue.push(Item::Ops { seq, bytes }, &self.dropped);
            }
        }
        let Some(plan) =
            state.plan.as_ref().filter(|_| state.clients.iter().any(|c| c.wants(OpsDetail::Summary)))
        else {
            return;
        };
        let is_full = |summary: &Summary| summary.end_ns.saturating_sub(summary.begin_ns) >= SUMMARY_NS;
        match state.summaries.iter_mut().find(|summary| summary.lane == batch.head.lane) {
            Some(summary) if summary.continues(batch) => summary.add(batch, &plan.sites),
            Some(_) => {
                let next = Summary::of(batch, &plan.sites);
                state.flush_summaries(&self.dropped);
                state.summaries.push(next);
            }
            None => state.summaries.push(Summary::of(batch, &plan.sites)),
        }
        if state.summaries.iter().any(is_full) {
            state.flush_summaries(&self.dropped);
        }
    }

    /// Sends what is summed up, at the end of a phase.
    pub fn flush(&self) {
        self.state().flush_summaries(&self.dropped);
    }

    /// Ends all connections, with a reason.
    pub fn close(&self, reason: &str) {
        let mut state = self.state();
        let frame = Talk::Bye { reason: reason.to_owned() }.into();
        let mut encoded = Encoded::new(&frame);
        for client in &mut state.clients {
            client.control(&mut encoded);
            client.queue.close();
        }
    }
}

impl State {
    fn broadcast(&mut self, frame: &Frame) {
        let mut encoded = Encoded::new(frame);
        for client in self.clients.iter_mut().filter(|client| client.stream.is_some()) {
            client.control(&mut encoded);
        }
    }

    fn flush_summaries(&mut self, dropped: &AtomicU64) {
        for summary in self.summaries.drain(..) {
            let seq = (summary.first_seq, summary.last_seq);
            let frame = Frame::Summary(summary);
            let mut encoded = Encoded::new(&frame);
            for client in self.clients.iter().filter(|client| client.wants(OpsDetail::Summary)) {
                let bytes = encoded.bytes(client.queue.codec());
                client.queue.push(Item::Ops { seq, bytes }, dropped);
            }
        }
    }
}

impl Client {
    fn control(&mut self, encoded: &mut Encoded<'_>) {
        let bytes = encoded.bytes(self.queue.codec());
        self.queue.push(Item::Control { bytes }, &AtomicU64::new(0));
    }

    fn wants(&self, detail: OpsDetail) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.ops.contains(detail))
    }
}

impl Stream {
    /// Whether a source's sample of that time is to be sent, by the rate that was asked for.
    fn is_due(&mut self, source: ChannelId, t_ns: u64) -> bool {
        match self.sent_ns.iter_mut().find(|(known, _)| *known == source) {
            // A tenth of tolerance: sources and clients have the same nominal rates.
            Some((_, sent)) if t_ns.saturating_sub(*sent) + self.period_ns / 10 < self.period_ns => false,
            Some((_, sent)) => {
                *sent = t_ns;
                true
            }
            None => {
                self.sent_ns.push((source, t_ns));
                true
            }
        }
    }
}

fn is_wanted(patterns: &[String], channel: &Channel) -> bool {
    patterns.iter().any(|pattern| glob_matches(pattern, &channel.id))
}
