//! The bounded queue of one client.
//!
//! | class | when the client is slow |
//! |---|---|
//! | control | kept; when even these exceed the limit, the connection ends with a reason |
//! | gauges | an older reading of the same source is dropped for the newer one |
//! | op batches | dropped whole, oldest first; a gap marker takes their place |
//! | summaries | as op batches. For a client that gets both, only dropped batches count: summaries repeat them |

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_profiles::channel::ChannelId;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::wire::codec::{Codec, Envelope};
use tokio::sync::Notify;

use super::sink::{Batches, Content, Published, Sink};

/// Bytes that may wait for one client.
const LIMIT: usize = 4 << 20;
/// Samples that may wait before older ones of the same source are dropped.
const GAUGES: usize = 64;

/// Something to send.
#[derive(Debug, Clone)]
pub enum Item {
    /// Catalogue, plan, states, answers.
    Control {
        /// The message.
        bytes: Arc<[u8]>,
    },
    /// An answer with which an open file travels.
    File {
        /// The message.
        bytes: Arc<[u8]>,
        /// The file.
        file: Arc<OwnedFd>,
    },
    /// Readings of one source.
    Gauge {
        /// First channel of the sample.
        source: ChannelId,
        /// The message.
        bytes: Arc<[u8]>,
    },
    /// Op events of one batch.
    Batch {
        /// Its number.
        seq: u64,
        /// The message.
        bytes: Arc<[u8]>,
    },
    /// Sums of op events.
    Summary {
        /// Which batches it covers.
        covers: Batches,
        /// The message.
        bytes: Arc<[u8]>,
    },
}

impl Item {
    fn bytes(&self) -> &Arc<[u8]> {
        match self {
            Self::Control { bytes }
            | Self::File { bytes, .. }
            | Self::Gauge { bytes, .. }
            | Self::Batch { bytes, .. }
            | Self::Summary { bytes, .. } => bytes,
        }
    }

    fn is_ops(&self) -> bool {
        matches!(self, Self::Batch { .. } | Self::Summary { .. })
    }
}

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The message.
    pub bytes: Arc<[u8]>,
    /// The open file that travels with it.
    pub file: Option<Arc<OwnedFd>>,
}

/// What waits for one client.
pub struct Queue {
    codec: Codec,
    limit: usize,
    /// Counts the batches that are dropped, for all clients together.
    dropped: Arc<AtomicU64>,
    state: Mutex<Waiting>,
    filled: Notify,
    ended: Notify,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    gauges: usize,
    /// The batches dropped since the last gap marker, which comes before the next batch, or at once if none waits.
    gap: Option<Batches>,
    /// The client gets every batch, so a dropped summary is no gap.
    has_raw: bool,
    closed: bool,
}

impl Queue {
    /// An empty queue of messages in `codec`.
    pub fn new(codec: Codec, dropped: Arc<AtomicU64>) -> Self {
        Self {
            codec,
            limit: LIMIT,
            dropped,
            state: Mutex::default(),
            filled: Notify::new(),
            ended: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets whether the client gets every batch: if so, dropped summaries are not counted, as their batches are.
    pub fn set_raw(&self, has_raw: bool) {
        self.state().has_raw = has_raw;
    }

    /// Adds an item; never waits.
    pub fn push(&self, item: Item) {
        let mut waiting = self.state();
        if waiting.closed {
            return;
        }
        if let Item::Gauge { source, .. } = &item {
            waiting.coalesce(*source);
        }
        waiting.bytes += item.bytes().len();
        waiting.gauges += usize::from(matches!(item, Item::Gauge { .. }));
        waiting.items.push_back(item);
        while waiting.bytes > self.limit {
            let Some(batches) = waiting.drop_oldest_ops() else { break };
            self.dropped.fetch_add(batches, Ordering::Relaxed);
        }
        if waiting.bytes > self.limit {
            waiting.items.clear();
            let reason =
                format!("this client reads too slowly: {} bytes of control frames wait", waiting.bytes);
            let bytes = self.codec.encode(Envelope::Frame, &Talk::Bye { reason });
            waiting.items.push_back(Item::Control { bytes: bytes.into() });
            waiting.closed = true;
            self.ended.notify_waiters();
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Takes nothing more; what waits is still sent.
    pub fn close(&self) {
        self.state().closed = true;
        self.ended.notify_waiters();
        self.filled.notify_one();
    }

    /// Waits until the queue takes nothing more.
    pub async fn closed(&self) {
        loop {
            let ended = self.ended.notified();
            if self.state().closed {
                return;
            }
            ended.await;
        }
    }

    /// The next message; `None` once the queue is closed and empty.
    pub async fn next(&self) -> Option<Outgoing> {
        loop {
            let filled = self.filled.notified();
            {
                let mut waiting = self.state();
                if let Some(message) = waiting.take(self.codec) {
                    return Some(message);
                }
                if waiting.closed {
                    return None;
                }
            }
            filled.await;
        }
    }
}

impl Sink for Queue {
    fn take(&self, message: &Published<'_>) {
        let bytes = message.bytes(self.codec);
        self.push(match message.content() {
            Content::Sample(sample) => {
                // Its first channel stands for a source.
                Item::Gauge { source: sample.values.first().map_or(0, |(channel, _)| *channel), bytes }
            }
            Content::Batch(batch) => Item::Batch { seq: batch.head.seq, bytes },
            Content::Summary(_, covers) => Item::Summary { covers, bytes },
            Content::Record(_) | Content::Talk(_) => Item::Control { bytes },
        });
    }
}

impl Waiting {
    /// Takes an older reading of `source` out, if many readings wait.
    fn coalesce(&mut self, source: ChannelId) {
        if self.gauges < GAUGES {
            return;
        }
        let same = |item: &Item| matches!(item, Item::Gauge { source: other, .. } if *other == source);
        if let Some(at) = self.items.iter().position(same) {
            let old = self.items.remove(at).expect("position found it");
            self.bytes -= old.bytes().len();
            self.gauges -= 1;
        }
    }

    /// Drops the oldest batch or summary and remembers the gap; returns the batches that it adds to the gap,
    /// `None` if neither a batch nor a summary waits.
    fn drop_oldest_ops(&mut self) -> Option<u64> {
        let at = self.items.iter().position(Item::is_ops)?;
        let item = self.items.remove(at)?;
        self.bytes -= item.bytes().len();
        let missed = match item {
            Item::Batch { seq, .. } => Batches { first: seq, last: seq, count: 1 },
            Item::Summary { covers, .. } if !self.has_raw => covers,
            _ => return Some(0),
        };
        self.gap = Some(self.gap.map_or(missed, |gap| gap.and(missed)));
        Some(missed.count)
    }

    fn take(&mut self, codec: Codec) -> Option<Outgoing> {
        // What waits of op events is younger than the gap.
        let is_due = |items: &VecDeque<Item>| match items.front() {
            Some(front) => front.is_ops() || !items.iter().any(Item::is_ops),
            None => true,
        };
        if self.gap.is_some()
            && is_due(&self.items)
            && let Some(gap) = self.gap.take()
        {
            let gap = Talk::Gap { first_seq: gap.first, last_seq: gap.last, batches: gap.count };
            return Some(Outgoing { bytes: codec.encode(Envelope::Frame, &gap).into(), file: None });
        }
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes().len().min(self.bytes);
        self.gauges -= usize::from(matches!(item, Item::Gauge { .. }));
        let bytes = item.bytes().clone();
        let file = if let Item::File { file, .. } = item { Some(file) } else { None };
        Some(Outgoing { bytes, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: usize) -> Queue {
        Queue { limit, ..Queue::new(Codec::Json, Arc::default()) }
    }

    fn drain(queue: &Queue) -> Vec<String> {
        let mut waiting = queue.state();
        std::iter::from_fn(|| waiting.take(Codec::Json))
            .map(|message| String::from_utf8_lossy(&message.bytes).trim_end().to_owned())
            .collect()
    }

    fn bytes(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn batches_give_way_oldest_first_and_leave_a_marker() {
        let queue = queue(20);
        queue.push(Item::Control { bytes: bytes("plan") });
        for seq in 0..6 {
            queue.push(Item::Batch { seq, bytes: bytes("ops-\u{0}") });
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        let sent = drain(&queue);
        assert_eq!(sent[0], "plan");
        assert_eq!(sent[1], r#"{"gap":{"first_seq":0,"last_seq":2,"batches":3}}"#);
        assert_eq!(sent.len(), 2 + 3);
    }

    /// A summary of every second batch, as of one of two lanes.
    fn summary(first: u64, count: u64) -> Item {
        let covers = Batches { first, last: first + 2 * (count - 1), count };
        Item::Summary { covers, bytes: bytes("sum-\u{0}") }
    }

    #[test]
    fn summaries_of_interleaved_lanes_do_not_count_batches_of_each_other() {
        let queue = queue(10);
        for item in [summary(1, 10), summary(2, 10), summary(21, 3), summary(22, 3)] {
            queue.push(item);
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 20);
        assert_eq!(drain(&queue)[0], r#"{"gap":{"first_seq":1,"last_seq":20,"batches":20}}"#);
    }

    #[test]
    fn a_summary_does_not_count_again_the_batches_of_a_client_that_gets_them_raw() {
        let queue = queue(10);
        queue.set_raw(true);
        for seq in 1..=3 {
            queue.push(Item::Batch { seq, bytes: bytes("ops-\u{0}") });
        }
        queue.push(summary(1, 2));
        queue.push(Item::Control { bytes: bytes("talk") });
        queue.push(Item::Batch { seq: 4, bytes: bytes("ops-\u{0}") });
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        let gap = r#"{"gap":{"first_seq":1,"last_seq":3,"batches":3}}"#;
        assert_eq!(drain(&queue), ["talk", gap, "ops-\u{0}"]);
    }

    #[test]
    fn a_gap_that_no_batch_follows_is_told_before_what_else_waits() {
        let queue = queue(16);
        for seq in 1..=3 {
            queue.push(Item::Batch { seq, bytes: bytes("ops-\u{0}") });
        }
        queue.push(Item::Control { bytes: bytes("the job is done") });
        assert_eq!(drain(&queue), [r#"{"gap":{"first_seq":1,"last_seq":3,"batches":3}}"#, "the job is done"]);
    }

    #[test]
    fn readings_of_one_source_coalesce_and_those_of_others_stay() {
        let queue = queue(1 << 20);
        queue.push(Item::Gauge { source: 9, bytes: bytes("other") });
        for index in 0..500 {
            queue.push(Item::Gauge { source: 1, bytes: bytes(&index.to_string()) });
        }
        let sent = drain(&queue);
        assert_eq!(sent.len(), GAUGES);
        assert_eq!((sent[0].as_str(), sent.last().unwrap().as_str()), ("other", "499"));
    }

    #[test]
    fn too_many_control_frames_end_the_connection_with_a_reason() {
        let queue = queue(100);
        for _ in 0..30 {
            queue.push(Item::Control { bytes: bytes("control") });
        }
        let sent = drain(&queue);
        assert_eq!(sent.len(), 1);
        assert!(sent[0].contains("bye") && sent[0].contains("slowly"), "{sent:?}");
        assert!(queue.state().closed);
    }
}
