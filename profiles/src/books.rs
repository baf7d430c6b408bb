//! The books: where the time of a token went in one lane, so that everything adds up to the lane's wall time.
//!
//! ops + gap + other + unattributed = wall, where
//! - *ops* is the time inside steps of the plan,
//! - *gap* is the time between two steps, up to 1 µs a border: the clock and the loop,
//! - *other* is the time in named spans, like sampling,
//! - *unattributed* is all the rest: what a border took beyond 1 µs, and what lies before the first step, or
//!   after the last one and outside a span. It is a row in every table, never left out.
//!
//! Books of different lanes are not added to each other: what a device computes, the host waits for, and that
//! time is a named span in the host's books. A batch without events is unattributed but for its named spans.

use serde::{Deserialize, Serialize};

use crate::op::OpBatch;
use crate::span::{self, NamedSpan, SpanName};

/// The most that counts as the clock and the loop at one border of two steps, ns.
pub const GAP_LIMIT_NS: u64 = 1_000;

/// Where the time of recorded tokens went in one lane, ns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// End minus begin.
    pub wall_ns: u64,
    /// In steps.
    pub ops_ns: u64,
    /// Between steps.
    pub gap_ns: u64,
    /// In named spans; each name at most once.
    #[serde(default)]
    pub other: Vec<NamedSpan>,
    /// The rest.
    pub unattributed_ns: u64,
}

impl Books {
    /// The books of one token or chunk in its lane.
    ///
    /// Clocks tick in whole units, ops of a device may overlap and a record may be damaged, so the parts of a
    /// batch can exceed its wall time; the wall is then taken to be their sum, and the books still close.
    pub fn of(batch: &OpBatch) -> Self {
        let head = &batch.head;
        let tick = u64::from(head.tick_ns);
        let mut books = Self::default();
        // All parts together stay below the largest number, whatever a damaged record says.
        let mut room = u64::MAX;
        let mut take = |ns: u64| {
            let taken = ns.min(room);
            room -= taken;
            taken
        };
        for (index, event) in batch.events.iter().enumerate() {
            books.ops_ns += take(u64::from(event.duration) * tick);
            if index > 0 {
                books.gap_ns += take((u64::from(event.gap) * tick).min(GAP_LIMIT_NS));
            }
        }
        for span in batch.spans.iter().take(span::MAX_NAMES) {
            span::add(&mut books.other, &span.name, take(span.ns));
        }
        let accounted = u64::MAX - room;
        books.wall_ns = head.end_ns.saturating_sub(head.begin_ns).max(accounted);
        books.unattributed_ns = books.wall_ns - accounted;
        books
    }

    /// Adds the books of another token of the same lane. Left out if the sum would be above the largest
    /// number, as only damaged records can make it.
    pub fn add(&mut self, other: &Self) {
        let Some(wall_ns) = self.wall_ns.checked_add(other.wall_ns) else { return };
        self.wall_ns = wall_ns;
        self.ops_ns = self.ops_ns.saturating_add(other.ops_ns);
        self.gap_ns = self.gap_ns.saturating_add(other.gap_ns);
        self.unattributed_ns = self.unattributed_ns.saturating_add(other.unattributed_ns);
        for more in &other.other {
            if !span::add(&mut self.other, &more.name, more.ns) {
                self.unattributed_ns = self.unattributed_ns.saturating_add(more.ns);
            }
        }
    }

    /// Time in the span of that name, ns; 0 if there was none.
    pub fn span_ns(&self, name: &SpanName) -> u64 {
        self.other.iter().find(|span| span.name == *name).map_or(0, |span| span.ns)
    }

    /// Time in named spans, all together, ns.
    pub fn other_ns(&self) -> u64 {
        self.other.iter().fold(0, |sum, span| sum.saturating_add(span.ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Calibration, CalibrationMethod, ClockSource};
    use crate::lane::{HOST_LANE, LaneId};
    use crate::op::{BatchHead, OpEvent, Phase};
    use crate::stats::SplitMix;

    fn batch(begin_ns: u64, end_ns: u64, events: &[(u32, u32)], spans: &[(SpanName, u64)]) -> OpBatch {
        let event = |(site, &(gap, duration)): (usize, &(u32, u32))| OpEvent {
            site: site as u16,
            reserved: 0,
            gap,
            duration,
        };
        OpBatch {
            head: BatchHead {
                job: 1,
                plan: 0,
                lane: HOST_LANE,
                repetition: 0,
                phase: Phase::Decode,
                token: 0,
                rows: 1,
                context: 0,
                seq: 0,
                begin_ns,
                end_ns,
                tick_ns: 1,
                clock: ClockSource::Host,
            },
            spans: spans.iter().map(|(name, ns)| NamedSpan { name: name.clone(), ns: *ns }).collect(),
            columns: Vec::new(),
            events: events.iter().enumerate().map(event).collect(),
        }
    }

    fn sampled(ns: u64) -> [(SpanName, u64); 1] {
        [(SpanName::Sample, ns)]
    }

    /// What `batch` says, as a device's queue says it.
    fn on_device(mut batch: OpBatch, lane: LaneId) -> OpBatch {
        let calibration =
            Calibration { method: CalibrationMethod::Bracketed, offset_ns: -5, error_ns: Some(900) };
        (batch.head.lane, batch.head.clock) = (lane, ClockSource::Device { calibration });
        batch
    }

    fn assert_closed(books: &Books) {
        let parts = u128::from(books.ops_ns)
            + u128::from(books.gap_ns)
            + books.other.iter().map(|span| u128::from(span.ns)).sum::<u128>()
            + u128::from(books.unattributed_ns);
        assert_eq!(parts, u128::from(books.wall_ns), "{books:?}");
    }

    #[test]
    fn a_delay_lands_in_its_row() {
        let quiet = Books::of(&batch(0, 10_000, &[(50, 4_000), (50, 4_000)], &sampled(1_000)));
        assert_eq!((quiet.ops_ns, quiet.gap_ns, quiet.unattributed_ns), (8_000, 50, 950));
        let in_op = Books::of(&batch(0, 15_000, &[(50, 9_000), (50, 4_000)], &sampled(1_000)));
        assert_eq!(in_op.ops_ns - quiet.ops_ns, 5_000);
        assert_eq!(in_op.unattributed_ns, quiet.unattributed_ns);
        let between = Books::of(&batch(0, 15_000, &[(50, 4_000), (5_050, 4_000)], &sampled(1_000)));
        assert_eq!((between.gap_ns, between.unattributed_ns), (1_000, 950 + 4_050));
        let in_sampler = Books::of(&batch(0, 15_000, &[(50, 4_000), (50, 4_000)], &sampled(6_000)));
        assert_eq!((in_sampler.span_ns(&SpanName::Sample), in_sampler.unattributed_ns), (6_000, 950));
        let before = Books::of(&batch(0, 15_000, &[(5_050, 4_000), (50, 4_000)], &sampled(1_000)));
        assert_eq!((before.gap_ns, before.unattributed_ns), (50, 950 + 5_000));
    }

    #[test]
    fn books_close_for_any_batch() {
        let mut random = SplitMix(7);
        let mut sum = Books::default();
        for _ in 0..2_000 {
            let count = random.below(40);
            let events: Vec<_> =
                (0..count).map(|_| (random.below(5_000) as u32, random.below(100_000) as u32)).collect();
            let begin = random.below(1 << 40) as u64;
            // Some ends lie before the begin, as a damaged record may say.
            let end = begin.saturating_sub(1 << 10) + random.below(1 << 22) as u64;
            let books = Books::of(&batch(begin, end, &events, &sampled(random.below(9_000) as u64)));
            sum.add(&books);
            assert_closed(&books);
            assert_closed(&sum);
        }
    }

    #[test]
    fn books_of_a_device_close_when_its_ops_overlap_or_its_records_are_damaged() {
        // Two ops of 4 µs that ran side by side in 5 µs: their sum is the lane's wall.
        let overlapping = on_device(batch(100, 5_100, &[(0, 4_000), (0, 4_000)], &[]), 1);
        let books = Books::of(&overlapping);
        assert_eq!((books.wall_ns, books.ops_ns, books.unattributed_ns), (8_000, 8_000, 0));
        let mut random = SplitMix(11);
        let mut sum = Books::default();
        for _ in 0..2_000 {
            let count = random.below(40);
            let events: Vec<_> =
                (0..count).map(|_| (random.next_u64() as u32, random.next_u64() as u32)).collect();
            let names = [SpanName::Launch, SpanName::Readback, "thaw".into(), SpanName::Launch];
            let spans: Vec<_> = (0..random.below(5))
                .map(|_| (names[random.below(names.len())].clone(), random.next_u64() >> random.below(64)))
                .collect();
            let mut batch = on_device(batch(random.next_u64(), random.next_u64(), &events, &spans), 1);
            batch.head.tick_ns = random.next_u64() as u32;
            let books = Books::of(&batch);
            sum.add(&books);
            assert_closed(&books);
            assert_closed(&sum);
        }
    }

    #[test]
    fn a_token_without_events_is_unattributed_but_for_its_named_spans() {
        let books = Books::of(&batch(1_000, 51_000, &[], &sampled(8_000)));
        assert_eq!((books.wall_ns, books.ops_ns, books.gap_ns), (50_000, 0, 0));
        assert_eq!((books.other_ns(), books.unattributed_ns), (8_000, 42_000));
        assert_closed(&books);
    }

    #[test]
    fn endless_names_end_in_what_is_unattributed() {
        let mut sum = Books::default();
        for round in 0..3 {
            let spans: Vec<_> =
                (0..100).map(|index| (SpanName::from(&*format!("{round}.{index}")), 10)).collect();
            sum.add(&Books::of(&batch(0, 1_000, &[], &spans)));
        }
        assert_closed(&sum);
        assert_eq!((sum.other.len(), sum.wall_ns), (span::MAX_NAMES, 3_000));
    }
}
