//! How long single calls took, as a histogram: memory does not grow with their number.
//!
//! ```text
//! ns   0 1 2 … 63 | 64 65 … 127 | 128 130 … 254 | 256 260 … 508 | …
//!      exact      | exact       | parts of 2 ns | parts of 4 ns | 64 parts from each power of two to the next
//! ```
//!
//! A percentile is the middle of the part that it falls into, so it is off by at most half a part: [`ERROR`] of itself.
//! Histograms of several ops add up to that of all their calls, in any order.
//!
//! An op has one call a token, and between two of them its counts have left the processor's caches. So calls are noted
//! first, beside those of other ops, and [`NOTED`] of them are counted together.

use std::borrow::Cow;

use super::Percentiles;

/// Parts from one power of two to the next.
const PARTS: usize = 64;

/// A percentile is off by at most this share of itself: half of one part in 64.
pub const ERROR: f64 = 0.5 / PARTS as f64;

/// Counts of the parts between two powers of two; the first octave holds all that is below [`PARTS`] ns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Octave {
    number: u8,
    counts: Box<[u32; PARTS]>,
}

/// How many octaves may still be made, for all histograms of a profile together: some hundred ops need a thousand, and
/// a damaged record cannot take more than 16 MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(1 << 16)
    }
}

/// Calls that are noted before they are counted.
const NOTED: usize = 12;

/// Times of calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Durations {
    /// In the order of their numbers; those without calls are left out.
    octaves: Vec<Octave>,
    /// Calls that are not counted yet, ns; the first ones up to `noted`.
    notes: [u32; NOTED],
    noted: u8,
    /// Whether a call found no room, so that nothing is known of all of them.
    is_cut: bool,
}

impl Durations {
    /// Adds a call.
    pub(super) fn add(&mut self, ns: u64, room: &mut Room) {
        let note = u32::try_from(ns).ok().zip(self.notes.get_mut(usize::from(self.noted)));
        if let Some((ns, place)) = note {
            *place = ns;
            self.noted += 1;
        } else {
            self.count_notes(room);
            self.count(ns, room);
        }
    }

    /// Counts what is noted.
    fn count_notes(&mut self, room: &mut Room) {
        let (notes, noted) = (std::mem::take(&mut self.notes), std::mem::take(&mut self.noted));
        for &ns in notes.iter().take(usize::from(noted)) {
            self.count(u64::from(ns), room);
        }
    }

    /// The same calls, all of them counted.
    fn counted(&self) -> Cow<'_, Self> {
        if self.noted == 0 {
            return Cow::Borrowed(self);
        }
        let mut all = self.clone();
        all.count_notes(&mut Room::default());
        Cow::Owned(all)
    }

    fn count(&mut self, ns: u64, room: &mut Room) {
        let (number, part) = place(ns);
        let at = match self.octaves.binary_search_by_key(&number, |octave| octave.number) {
            Ok(at) => at,
            Err(_) if room.0 == 0 => {
                self.is_cut = true;
                return;
            }
            Err(at) => {
                room.0 -= 1;
                self.octaves.insert(at, Octave { number, counts: Box::new([0; PARTS]) });
                at
            }
        };
        let count = &mut self.octaves[at].counts[part];
        *count = count.saturating_add(1);
    }

    /// Adds the calls of another histogram.
    pub(super) fn merge(&mut self, more: &Self) {
        let more = more.counted();
        self.is_cut |= more.is_cut;
        for octave in &more.octaves {
            match self.octaves.binary_search_by_key(&octave.number, |known| known.number) {
                Ok(at) => {
                    let counts = self.octaves[at].counts.iter_mut().zip(octave.counts.iter());
                    counts.for_each(|(sum, count)| *sum = sum.saturating_add(*count));
                }
                Err(at) => self.octaves.insert(at, octave.clone()),
            }
        }
    }

    /// Percentiles of the calls, none above `max_ns`, the longest of them; `None` without calls, or if not all of them
    /// found room.
    pub(super) fn percentiles(&self, max_ns: u64) -> Option<Percentiles> {
        let all = self.counted();
        if all.is_cut {
            return None;
        }
        let counts =
            || all.octaves.iter().flat_map(|octave| octave.counts.iter().map(|&count| u64::from(count)));
        let total: u64 = counts().sum();
        let at = |q: f64| {
            let rank = ((total as f64 * q).ceil() as u64).max(1);
            let mut below = 0;
            let index = counts().position(|count| {
                below += count;
                below >= rank
            })?;
            let octave = all.octaves.get(index / PARTS)?;
            Some(middle(octave.number, index % PARTS).min(max_ns))
        };
        Some(Percentiles { median: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }
}

/// The octave and the part of a time.
fn place(ns: u64) -> (u8, usize) {
    let first = PARTS.trailing_zeros();
    let octave = (u64::BITS - ns.leading_zeros()).saturating_sub(first);
    // In the first octave the time itself; above it, the bits that follow the highest.
    let part = if octave == 0 { ns } else { (ns >> (octave - 1)) - PARTS as u64 };
    (octave as u8, part as usize)
}

/// The middle of a part, ns.
fn middle(octave: u8, part: usize) -> u64 {
    match octave.checked_sub(1) {
        None => part as u64,
        Some(shift) => {
            let low = (PARTS as u64 + part as u64) << shift;
            low + ((1_u64 << shift) >> 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{SplitMix, percentile};

    fn of(times: &[u64]) -> Durations {
        let (mut durations, mut room) = (Durations::default(), Room::default());
        for &ns in times {
            durations.add(ns, &mut room);
        }
        durations
    }

    #[test]
    fn percentiles_are_within_the_stated_error_of_the_true_ones() {
        let mut random = SplitMix(5);
        for _ in 0..300 {
            let shift = random.below(50);
            let mut times: Vec<u64> =
                (0..=random.below(500)).map(|_| random.next_u64() >> (shift + random.below(14))).collect();
            let found = of(&times).percentiles(u64::MAX).unwrap();
            for (found, q) in [(found.median, 0.5), (found.p95, 0.95), (found.p99, 0.99)] {
                let exact = percentile(&mut times, q).unwrap();
                let off = found.abs_diff(exact) as f64;
                assert!(off <= ERROR * exact as f64, "{found} instead of {exact}");
            }
        }
    }

    #[test]
    fn every_time_has_a_place_and_the_ends_are_exact() {
        for ns in [0, 1, 63, 64, 65, 127] {
            assert_eq!(of(&[ns]).percentiles(ns).unwrap().median, ns);
        }
        assert_eq!(of(&[u64::MAX]).percentiles(u64::MAX).unwrap().p99 >> 56, 0xff);
        assert_eq!(of(&[1_001]).percentiles(1_000).unwrap().p99, 1_000, "never above the longest");
        assert!(of(&[]).percentiles(9).is_none());
    }

    #[test]
    fn parts_add_up_to_the_histogram_of_all() {
        let mut random = SplitMix(6);
        let times: Vec<u64> = (0..1_000).map(|_| random.next_u64() >> random.below(60)).collect();
        let (left, right) = times.split_at(300);
        let mut sum = of(right);
        sum.merge(&of(left));
        assert_eq!(sum.counted(), of(&times).counted());
    }

    #[test]
    fn a_histogram_without_room_says_nothing_instead_of_a_part() {
        let (mut durations, mut room) = (Durations::default(), Room(1));
        for _ in 0..=NOTED {
            durations.add(100, &mut room);
        }
        assert!(durations.percentiles(100).is_some());
        for _ in 0..=NOTED {
            durations.add(1_000, &mut room);
        }
        assert_eq!(durations.percentiles(1_000), None);
        assert_eq!(durations.octaves.len(), 1);
    }
}
