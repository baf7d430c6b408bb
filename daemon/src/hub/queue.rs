//! The bounded queue of one client.
//!
//! | class | when the client is slow |
//! |---|---|
//! | control | kept; when even these exceed the limit, the connection ends with a reason |
//! | gauges | an older reading of the same source is dropped for the newer one |
//! | op batches | dropped whole, oldest first; a gap marker takes their place |

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_profiles::channel::ChannelId;
use slmscope_profiles::wire::Talk;
use slmscope_profiles::wire::codec::{Codec, Envelope};
use tokio::sync::Notify;

use super::sink::{Content, Published, Sink};

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
    /// Readings of one source.
    Gauge {
        /// First channel of the sample.
        source: ChannelId,
        /// The message.
        bytes: Arc<[u8]>,
    },
    /// Op events or their sums.
    Ops {
        /// First and last batch that it covers.
        seq: (u64, u64),
        /// The message.
        bytes: Arc<[u8]>,
    },
}

impl Item {
    fn bytes(&self) -> &Arc<[u8]> {
        match self {
            Self::Control { bytes } | Self::Gauge { bytes, .. } | Self::Ops { bytes, .. } => bytes,
        }
    }
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
    /// First, last and number of the batches dropped since the last gap marker, which comes before the next batch.
    gap: Option<(u64, u64, u64)>,
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
    pub async fn next(&self) -> Option<Arc<[u8]>> {
        loop {
            let filled = self.filled.notified();
            {
                let mut waiting = self.state();
                if let Some(bytes) = waiting.take(self.codec) {
                    return Some(bytes);
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
            Content::Batch(batch) => Item::Ops { seq: (batch.head.seq, batch.head.seq), bytes },
            Content::Summary(_, seq) => Item::Ops { seq, bytes },
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

    /// Drops the oldest batch or summary and remembers the gap; `None` if none waits.
    fn drop_oldest_ops(&mut self) -> Option<u64> {
        let at = self.items.iter().position(|item| matches!(item, Item::Ops { .. }))?;
        let Some(Item::Ops { seq: (first, last), bytes }) = self.items.remove(at) else { return None };
        self.bytes -= bytes.len();
        let batches = last.saturating_sub(first) + 1;
        let (begin, _, sum) = self.gap.unwrap_or((first, last, 0));
        self.gap = Some((begin, last, sum + batches));
        Some(batches)
    }

    fn take(&mut self, codec: Codec) -> Option<Arc<[u8]>> {
        if matches!(self.items.front(), Some(Item::Ops { .. }))
            && let Some((first_seq, last_seq, batches)) = self.gap.take()
        {
            let gap = Talk::Gap { first_seq, last_seq, batches };
            return Some(codec.encode(Envelope::Frame, &gap).into());
        }
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes().len().min(self.bytes);
        self.gauges -= usize::from(matches!(item, Item::Gauge { .. }));
        Some(item.bytes().clone())
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
            .map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
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
            queue.push(Item::Ops { seq: (seq, seq), bytes: bytes("ops-\u{0}") });
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        let sent = drain(&queue);
        assert_eq!(sent[0], "plan");
        assert_eq!(sent[1], r#"{"gap":{"first_seq":0,"last_seq":2,"batches":3}}"#);
        assert_eq!(sent.len(), 2 + 3);
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
