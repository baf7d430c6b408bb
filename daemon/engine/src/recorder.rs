//! The op recorder: the duration of each step of a forward pass, at the cost of two clock reads and one store.
//!
//! All memory is allocated when the recorder is made. While it records it takes no lock, allocates nothing and
//! calls nothing but the clock that its caller reads.
//!
//! Events are kept in ticks of 1 ns. An op or a gap of more than `u32` ticks (4.29 s) makes the ticks of the
//! whole batch coarser, 1,024 times each; every border is then rounded down to a tick, so durations still
//! add up to the time between first and last border and nothing is lost but the sub-tick parts.

use slmscope_profiles::op::OpEvent;
use slmscope_profiles::plan::SiteId;
use slmscope_profiles::span::{self, NamedSpan, SpanName};

/// Ticks grow by this power of two.
const COARSER: u32 = 10;

/// Records the steps of one token or chunk at a time.
#[derive(Debug)]
pub struct Recorder {
    on: bool,
    events: Vec<OpEvent>,
    /// More steps were closed than the plan has: the token counts as unrecorded.
    overflowed: bool,
    begin_ns: u64,
    /// End of the last event, ticks since `begin_ns`.
    last: u64,
    /// A tick is `1 << shift` nanoseconds.
    shift: u32,
    /// Its capacity is the number of known names.
    spans: Vec<NamedSpan>,
}

/// The record of one token or chunk: a batch without its labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded<'a> {
    /// The steps in the order in which they ran.
    pub events: &'a [OpEvent],
    /// Where the first gap begins, clock ns.
    pub begin_ns: u64,
    /// Nanoseconds per tick of the events.
    pub tick_ns: u32,
    /// Time in named spans; each name at most once.
    pub spans: &'a [NamedSpan],
}

impl Recorder {
    /// A recorder for plans of up to `steps` steps, switched on.
    pub fn new(steps: usize) -> Self {
        Self {
            on: true,
            events: Vec::with_capacity(steps),
            overflowed: false,
            begin_ns: 0,
            last: 0,
            shift: 0,
            spans: Vec::with_capacity(SpanName::KNOWN.len()),
        }
    }

    /// Switches recording; takes effect with the next [`Recorder::begin`].
    pub fn set_on(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether it records. The loop reads no clock when it does not.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Forgets what was recorded and starts a token or chunk at `now`, clock ns.
    pub fn begin(&mut self, now: u64) {
        self.events.clear();
        self.overflowed = false;
        self.begin_ns = now;
        self.last = 0;
        self.shift = 0;
        self.spans.clear();
    }

    /// Closes the step of `site` that ran from `begin` to `end`, clock ns.
    #[inline]
    pub fn close(&mut self, site: SiteId, begin: u64, end: u64) {
        let start = begin.saturating_sub(self.begin_ns) >> self.shift;
        let stop = end.saturating_sub(self.begin_ns) >> self.shift;
        let (gap, duration) = (start.saturating_sub(self.last), stop.saturating_sub(start));
        if (gap | duration) > u64::from(u32::MAX) {
            self.coarsen(gap.max(duration));
            return self.close(site, begin, end);
        }
        if self.events.len() == self.events.capacity() {
            self.overflowed = true;
            return;
        }
        self.events.push(OpEvent { site, reserved: 0, gap: gap as u32, duration: duration as u32 });
        self.last = stop;
    }

    /// Adds a stretch that is no op, from `begin` to `end`, clock ns.
    pub fn span(&mut self, name: SpanName, begin: u64, end: u64) {
        span::add(&mut self.spans, &name, end.saturating_sub(begin));
    }

    /// What was recorded since [`Recorder::begin`]. `None` if the recorder is off or had no room for all
    /// steps: a token is recorded whole or not at all.
    pub fn recorded(&self) -> Option<Recorded<'_>> {
        (self.on && !self.overflowed).then_some(Recorded {
            events: &self.events,
            begin_ns: self.begin_ns,
            tick_ns: 1 << self.shift,
            spans: &self.spans,
        })
    }

    /// Makes ticks coarse enough for `ticks` of the present ones to fit an event.
    #[cold]
    fn coarsen(&mut self, ticks: u64) {
        let mut by = COARSER;
        while ticks >> by > u64::from(u32::MAX) {
            by += COARSER;
        }
        let (mut at, mut border) = (0_u64, 0_u64);
        for event in &mut self.events {
            let begin = at + u64::from(event.gap);
            let end = begin + u64::from(event.duration);
            event.gap = ((begin >> by) - border) as u32;
            event.duration = ((end >> by) - (begin >> by)) as u32;
            (at, border) = (end, end >> by);
        }
        self.shift += by;
        self.last = border;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(recorder: &Recorder) -> Vec<(u32, u32)> {
        recorder.recorded().unwrap().events.iter().map(|event| (event.gap, event.duration)).collect()
    }

    #[test]
    fn gaps_count_from_the_begin_and_then_from_the_end_before() {
        let mut recorder = Recorder::new(2);
        recorder.begin(1000);
        recorder.close(0, 1010, 1030);
        recorder.close(1, 1035, 1100);
        assert_eq!(times(&recorder), [(10, 20), (5, 65)]);
        assert_eq!(recorder.recorded().unwrap().begin_ns, 1000);
    }

    #[test]
    fn a_long_op_makes_the_whole_batch_coarser_and_loses_less_than_a_tick() {
        let mut recorder = Recorder::new(4);
        recorder.begin(7);
        let mut at = 7;
        for (site, duration) in [(0, 2000), (1, 4 * SECOND), (2, 60 * SECOND), (3, 1500)] {
            recorder.close(site, at + 100, at + 100 + duration);
            at += 100 + duration;
        }
        let recorded = recorder.recorded().unwrap();
        assert_eq!(recorded.tick_ns, 1024);
        let sum: u64 = recorded.events.iter().map(|e| u64::from(e.gap) + u64::from(e.duration)).sum();
        assert!((at - 7) - sum * 1024 < 1024, "{at} {sum}");
        assert_eq!(u64::from(recorded.events[2].duration), 60 * SECOND / 1024);
    }

    #[test]
    fn a_gap_of_days_still_fits() {
        let mut recorder = Recorder::new(1);
        recorder.begin(0);
        recorder.close(0, 200 * 24 * 3600 * SECOND, 200 * 24 * 3600 * SECOND + SECOND);
        let recorded = recorder.recorded().unwrap();
        assert_eq!(recorded.tick_ns, 1 << 30);
        assert_eq!(u64::from(recorded.events[0].gap), (200 * 24 * 3600 * SECOND) >> 30);
    }

    #[test]
    fn a_token_with_more_steps_than_room_is_unrecorded_and_the_next_is_recorded_again() {
        let mut recorder = Recorder::new(1);
        let room = recorder.events.capacity();
        recorder.begin(0);
        for step in 0..=room as u64 {
            recorder.close(0, step, step);
        }
        assert_eq!(recorder.recorded(), None);
        assert_eq!(recorder.events.capacity(), room);
        recorder.begin(0);
        recorder.close(0, 1, 2);
        assert_eq!(times(&recorder), [(1, 1)]);
    }

    #[test]
    fn spans_add_up_and_start_anew_with_each_token() {
        let mut recorder = Recorder::new(1);
        recorder.begin(0);
        recorder.span(SpanName::Sample, 10, 15);
        recorder.span(SpanName::Wait, 15, 16);
        recorder.span(SpanName::Sample, 20, 22);
        let room = recorder.spans.capacity();
        let expected = [(SpanName::Sample, 7), (SpanName::Wait, 1)].map(|(name, ns)| NamedSpan { name, ns });
        assert_eq!(recorder.recorded().unwrap().spans, expected);
        recorder.begin(30);
        assert!(recorder.recorded().unwrap().spans.is_empty());
        assert_eq!(recorder.spans.capacity(), room);
    }
}
