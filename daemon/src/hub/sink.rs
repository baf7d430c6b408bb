//! Where records go: a client's queue, the runner's log of samples, a recording.

use std::cell::OnceCell;
use std::sync::Arc;

use slmscope_profiles::channel::{Channel, Sample};
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::record::{OpColumns, Record};
use slmscope_profiles::wire::codec::{Codec, Envelope};
use slmscope_profiles::wire::{Frame, OpsDetails, Subscribe, Talk, glob_matches};

/// Takes what the hub publishes.
pub trait Sink: Send + Sync {
    /// Takes one message that it wants. Called under the hub's lock: it must neither wait nor call the hub.
    fn take(&self, message: &Published<'_>);
}

/// What a sink wants of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// By channel number: the shortest time between two readings, ns, 0 for all of them; `None` for channels that it
    /// does not want. A sample of several channels comes as often as the most wanted of them.
    pub channels: Vec<Option<u64>>,
    /// Op events, their sums, or both.
    pub ops: OpsDetails,
    /// Header, catalogue, plans, spans, losses and marks.
    pub events: bool,
}

impl Wants {
    /// What a client's request stands for.
    pub(super) fn of(subscribe: &Subscribe, channels: &[Channel]) -> Self {
        let hz = if subscribe.max_hz > 0.0 { subscribe.max_hz.clamp(1e-3, 1e6) } else { 10.0 };
        let period_ns = (1e9 / hz) as u64;
        let is_wanted =
            |channel: &Channel| subscribe.channels.iter().any(|pattern| glob_matches(pattern, &channel.id));
        Self {
            channels: channels.iter().map(|channel| is_wanted(channel).then_some(period_ns)).collect(),
            ops: subscribe.ops,
            events: true,
        }
    }

    /// The shortest time between two readings of a channel, ns; `None` if it is not wanted.
    pub(super) fn period_ns(&self, channel: u16) -> Option<u64> {
        self.channels.get(usize::from(channel)).copied().flatten()
    }
}

/// Batches of op events, by their numbers. All lanes of a job share one series of numbers, so the batches of one lane
/// need not have all the numbers between the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// The lowest number.
    pub first: u64,
    /// The highest number.
    pub last: u64,
    /// How many.
    pub count: u64,
}

impl Batches {
    /// These and others.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            count: self.count.saturating_add(other.count),
        }
    }
}

/// What is published.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Readings; those of channels that the sink wants.
    Sample(&'a Sample),
    /// Op events.
    Batch(&'a OpBatch),
    /// Any other record.
    Record(&'a Arc<Record>),
    /// Sums of op events of these batches.
    Summary(&'a Frame, Batches),
    /// Not a record.
    Talk(&'a Talk),
}

/// A message on its way to the sinks. Its record is made once, and its bytes once for each codec, when the first sink
/// asks for them: where nobody listens, nothing is made.
pub struct Published<'a> {
    content: Content<'a>,
    record: OnceCell<Arc<Record>>,
    bytes: [OnceCell<Arc<[u8]>>; 2],
}

impl<'a> Published<'a> {
    pub(super) fn new(content: Content<'a>) -> Self {
        Self { content, record: OnceCell::new(), bytes: [const { OnceCell::new() }; 2] }
    }

    /// What it is.
    pub fn content(&self) -> Content<'a> {
        self.content
    }

    /// It as a record, shared among all who ask; `None` for what is no record.
    pub fn record(&self) -> Option<&Arc<Record>> {
        match self.content {
            Content::Record(record) => Some(record),
            Content::Sample(sample) => Some(self.made(|| Record::Sample(sample.clone()))),
            Content::Batch(batch) => Some(self.made(|| Record::Ops(OpColumns::from(batch)))),
            Content::Summary(..) | Content::Talk(_) => None,
        }
    }

    /// Its bytes, shared among all who ask.
    pub fn bytes(&self, codec: Codec) -> Arc<[u8]> {
        let encode = || match self.content {
            Content::Record(record) => codec.encode(Envelope::Frame, &**record),
            Content::Sample(sample) => {
                codec.encode(Envelope::Frame, &**self.made(|| Record::Sample(sample.clone())))
            }
            Content::Batch(batch) => {
                codec.encode(Envelope::Frame, &**self.made(|| Record::Ops(OpColumns::from(batch))))
            }
            Content::Summary(summary, _) => codec.encode(Envelope::Frame, summary),
            Content::Talk(talk) => codec.encode(Envelope::Frame, talk),
        };
        self.bytes[codec as usize].get_or_init(|| encode().into()).clone()
    }

    /// Whether anybody asked for its record or bytes.
    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        self.record.get().is_some() || self.bytes.iter().any(|bytes| bytes.get().is_some())
    }

    fn made(&self, make: impl FnOnce() -> Record) -> &Arc<Record> {
        self.record.get_or_init(|| Arc::new(make()))
    }
}
