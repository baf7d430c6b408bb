//! The books: where the time of a token went, so that everything adds up to its wall time.
//!
//! ops + gap + other + unattributed = wall, where
//! - *ops* is the time inside steps of the plan,
//! - *gap* is the time between two steps, up to 1 µs a border: the clock and the loop,
//! - *other* is the time in named spans: sampling, detokenizing,
//! - *unattributed* is all the rest: what a border took beyond 1 µs, and what lies before the first step, or
//!   after the last one and outside a span. It is a row in every table, never left out.

use serde::{Deserialize, Serialize};

use crate::op::{OpBatch, OtherSpan};

/// The most that counts as the clock and the loop at one border of two steps, ns.
pub const GAP_LIMIT_NS: u64 = 1_000;

/// Where the time of recorded tokens went, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// End minus begin.
    pub wall_ns: u64,
    /// In steps.
    pub ops_ns: u64,
    /// Between steps.
    pub gap_ns: u64,
    /// In named spans, in the order of [`OtherSpan::ALL`].
    pub other_ns: [u64; 2],
    /// The rest.
    pub unattributed_ns: u64,
}

impl Books {
    /// The books of one token or chunk.
    ///
    /// Clocks tick in whole units, so the parts of a damaged or coarse batch can exceed its wall time; the
    /// wall is then taken to be their sum, and the books still close.
    pub fn of(batch: &OpBatch) -> Self {
        let head = &batch.head;
        let tick = u64::from(head.tick_ns);
        let mut books = Self { other_ns: head.other_ns, ..Self::default() };
        for (index, event) in batch.events.iter().enumerate() {
            books.ops_ns += u64::from(event.duration) * tick;
            if index > 0 {
                books.gap_ns += (u64::from(event.gap) * tick).min(GAP_LIMIT_NS);
            }
        }
        let accounted = books.ops_ns + books.gap_ns + books.other_ns.iter().sum::<u64>();
        books.wall_ns = head.end_ns.saturating_sub(head.begin_ns).max(accounted);
        books.unattributed_ns = books.wall_ns - accounted;
        books
    }

    /// Adds the books of another token.
    pub fn add(&mut self, other: &Self) {
        self.wall_ns += other.wall_ns;
        self.ops_ns += other.ops_ns;
        self.gap_ns += other.gap_ns;
        for (sum, more) in self.other_ns.iter_mut().zip(other.other_ns) {
            *sum += more;
        }
        self.unattributed_ns += other.unattributed_ns;
    }

    /// The named spans that took any time.
    pub fn others(&self) -> impl Iterator<Item = (OtherSpan, u64)> {
        OtherSpan::ALL.into_iter().zip(self.other_ns).filter(|&(_, ns)| ns > 0)
    }

    /// Share of the wall time that nothing explains; `None` if no time passed.
    pub fn unattributed_share(&self) -> Option<f64> {
        (self.wall_ns > 0).then(|| self.unattributed_ns as f64 / self.wall_ns as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BatchHead, OpEvent, Phase};

    fn batch(begin_ns: u64, end_ns: u64, events: &[(u32, u32)], other_ns: [u64; 2]) -> OpBatch {
        let event = |(site, &(gap, duration)): (usize, &(u32, u32))| OpEvent {
            site: site as u16,
            reserved: 0,
            gap,
            duration,
        };
        OpBatch {
            head: BatchHead {
                plan: 0,
                repetition: 0,
                phase: Phase::Decode,
                token: 0,
                rows: 1,
                context: 0,
                seq: 0,
                begin_ns,
                end_ns,
                tick_ns: 1,
                other_ns,
            },
            events: events.iter().enumerate().map(event).collect(),
        }
    }

    #[test]
    fn a_delay_lands_in_its_row() {
        let quiet = Books::of(&batch(0, 10_000, &[(50, 4_000), (50, 4_000)], [1_000, 0]));
        assert_eq!((quiet.ops_ns, quiet.gap_ns, quiet.unattributed_ns), (8_000, 50, 950));
        let in_op = Books::of(&batch(0, 15_000, &[(50, 9_000), (50, 4_000)], [1_000, 0]));
        assert_eq!(in_op.ops_ns - quiet.ops_ns, 5_000);
        assert_eq!(in_op.unattributed_ns, quiet.unattributed_ns);
        let between = Books::of(&batch(0, 15_000, &[(50, 4_000), (5_050, 4_000)], [1_000, 0]));
        assert_eq!((between.gap_ns, between.unattributed_ns), (1_000, 950 + 4_050));
        let in_sampler = Books::of(&batch(0, 15_000, &[(50, 4_000), (50, 4_000)], [6_000, 0]));
        assert_eq!((in_sampler.other_ns[0], in_sampler.unattributed_ns), (6_000, 950));
        let before = Books::of(&batch(0, 15_000, &[(5_050, 4_000), (50, 4_000)], [1_000, 0]));
        assert_eq!((before.gap_ns, before.unattributed_ns), (50, 950 + 5_000));
    }

    #[test]
    fn books_close_for_any_batch() {
        let mut random = crate::stats::SplitMix(7);
        let mut sum = Books::default();
        for _ in 0..2_000 {
            let count = random.below(40);
            let events: Vec<_> =
                (0..count).map(|_| (random.below(5_000) as u32, random.below(100_000) as u32)).collect();
            let begin = random.below(1 << 40) as u64;
            // Some ends lie before the begin, as a damaged record may say.
            let end = begin.saturating_sub(1 << 10) + random.below(1 << 22) as u64;
            let books = Books::of(&batch(begin, end, &events, [random.below(9_000) as u64, 0]));
            sum.add(&books);
            for books in [books, sum] {
                let parts = books.ops_ns + books.gap_ns + books.other_ns[0] + books.unattributed_ns;
                assert_eq!(parts, books.wall_ns);
            }
        }
    }
}
