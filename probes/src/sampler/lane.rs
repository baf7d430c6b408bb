//! The threads of one lane, and the slots that its sources have in it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use slmscope_profiles::channel::{ChannelId, ReasonCode, Sample, Value};

use super::alarm::Alarm;
use super::track::{ChannelState, Track};
use super::{Shared, Watched};
use crate::machine::clock::{monotonic_ns, thread_cpu_ns};
use crate::source::{Group, Pace, Source};

/// Every how many readings one is timed; the readings between carry its cost. Reading the clock of a thread's CPU
/// time is a system call and costs as much as reading a small file. The period of updates is measured as often.
const COST_EVERY: u32 = 16;

/// The longest wait for which an [`Alarm`] is used, ns. Such a wait cannot be interrupted.
const SHORT_NS: u64 = 10_000_000;

/// One source of a lane.
pub(super) struct Slot {
    channels: Vec<ChannelId>,
    supports_khz: bool,
    /// When the reading in progress began, ns; 0 between readings.
    reading_since: AtomicU64,
    /// Whether its absence has been reported. Such a slot is skipped until its reading returns.
    stuck: AtomicBool,
    /// Held while it is read.
    state: Mutex<SlotState>,
}

/// The source with what it was read into.
struct SlotState {
    source: Box<dyn Source>,
    pace: Option<Pace>,
    readings: u32,
    sample: Sample,
    tracks: Vec<Track>,
}

impl Slot {
    /// `stated_ns` returns what makers state of the time between two values of a channel, ns.
    pub(super) fn new(source: Box<dyn Source>, stated_ns: impl Fn(ChannelId) -> Option<u64>) -> Self {
        let channels = source.channels();
        let tracks: Vec<_> =
            channels.iter().map(|&channel| Track::new(channel, stated_ns(channel))).collect();
        Self {
            supports_khz: source.supports_khz(),
            channels,
            reading_since: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            state: Mutex::new(SlotState {
                source,
                pace: None,
                readings: 0,
                sample: Sample { other_update_ns: Vec::with_capacity(tracks.len()), ..Sample::default() },
                tracks,
            }),
        }
    }

    /// Whether it has been reading for longer than `deadline_ns` and that was not reported yet.
    pub(super) fn is_newly_overdue(&self, now_ns: u64, deadline_ns: u64) -> bool {
        let since = self.reading_since.load(Ordering::Acquire);
        let overdue = since != 0 && now_ns.saturating_sub(since) > deadline_ns;
        overdue && !self.stuck.swap(true, Ordering::AcqRel)
    }

    #[cfg(test)]
    pub(super) fn begin_reading_at(&self, t_ns: u64) {
        self.reading_since.store(t_ns, Ordering::Release);
    }

    /// What is reported of it while it hangs.
    pub(super) fn absent(&self, t_ns: u64) -> Sample {
        let absent = Value::Absent(ReasonCode::Deadline);
        let values = self.channels.iter().map(|&channel| (channel, absent)).collect();
        Sample { t_ns, values, ..Sample::default() }
    }

    /// `None` while it is being read.
    pub(super) fn states(&self, now_ns: u64) -> Option<Vec<ChannelState>> {
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let of_track = |track: &Track| track.state(now_ns, state.sample.cost_ns);
        Some(state.tracks.iter().map(of_track).collect())
    }

    pub(super) fn period_ns(&self, group: Group, pace: Pace, counters_hz: u32) -> u64 {
        if self.supports_khz && pace == Pace::Workload {
            return 1_000_000_000 / u64::from(counters_hz.max(1));
        }
        group.period(pace).as_nanos() as u64
    }

    /// Reads the source and delivers its values, unless the sampler was stopped meanwhile.
    fn read(&self, pace: Pace, shared: &Shared, lane: &'static str) {
        if self.stuck.load(Ordering::Acquire) {
            return;
        }
        // Held only by a thread that is stuck in it and has not been noticed yet, or while its state is copied.
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let SlotState { source, pace: known, readings, sample, tracks } = &mut *state;
        let begin = monotonic_ns();
        self.reading_since.store(begin, Ordering::Release);
        // Sources may close a library here, which may hang as well as a reading.
        if *known != Some(pace) {
            *known = Some(pace);
            source.set_pace(pace);
        }
        sample.values.clear();
        if readings.is_multiple_of(COST_EVERY) {
            let cpu_begin = thread_cpu_ns();
            source.read(&mut sample.values);
            sample.cost_ns = thread_cpu_ns().saturating_sub(cpu_begin);
        } else {
            source.read(&mut sample.values);
        }
        let end = monotonic_ns();
        self.reading_since.store(0, Ordering::Release);
        sample.t_ns = begin + end.saturating_sub(begin) / 2;
        for (at, &(channel, value)) in sample.values.iter().enumerate() {
            // Sources answer in the order of their channels, as a rule.
            let place = match tracks.get(at) {
                Some(track) if track.channel == channel => Some(at),
                _ => tracks.iter().position(|track| track.channel == channel),
            };
            if let Some(track) = place.and_then(|at| tracks.get_mut(at)) {
                track.see(sample.t_ns, value);
            }
        }
        if readings.is_multiple_of(COST_EVERY) {
            state_updates(sample, tracks);
        }
        *readings = readings.wrapping_add(1);
        sample.age_ns = tracks.iter().map(|track| track.age_ns(sample.t_ns)).min().unwrap_or(0);
        if !shared.is_stopping() {
            shared.deliver(sample);
        }
        if self.stuck.swap(false, Ordering::AcqRel) {
            tracing::info!(lane, "The sensor answers again.");
        }
    }
}

/// Writes into the sample how often each of its channels has a new value. Allocates nothing: there is room for all.
fn state_updates(sample: &mut Sample, tracks: &[Track]) {
    let updates = &mut sample.other_update_ns;
    updates.clear();
    updates.extend(tracks.iter().map(|track| (track.channel, track.update_ns())));
    let fastest_ns = updates.iter().filter_map(|&(_, update_ns)| update_ns).min();
    updates.retain(|&(_, update_ns)| update_ns != fastest_ns);
    sample.update_ns = fastest_ns;
}

/// Reads the lane's sources until the sampler stops or another thread takes the lane over.
pub(super) fn run(shared: &Shared, index: usize, thread: u32) {
    let Some(Watched { name, group, slots, newest }) = shared.lanes.get(index) else { return };
    let mut pace = None;
    let mut due = vec![0; slots.len()];
    let mut alarm = None;
    while !shared.is_stopping() {
        let wanted = (shared.pace(), shared.counters_hz.load(Ordering::Relaxed));
        let now = monotonic_ns();
        if pace != Some(wanted) {
            pace = Some(wanted);
            due.fill(now);
        }
        for (slot, due) in slots.iter().zip(&mut due) {
            if monotonic_ns() < *due {
                continue;
            }
            let period = slot.period_ns(*group, wanted.0, wanted.1);
            let begin = monotonic_ns();
            if begin - *due > period / 2 {
                shared.late.fetch_add(1, Ordering::Relaxed);
            }
            slot.read(wanted.0, shared, name);
            if newest.load(Ordering::Acquire) != thread {
                return;
            }
            *due = next_due(*due, period, monotonic_ns());
        }
        let next = due.iter().copied().min().unwrap_or(u64::MAX);
        wait(next, &mut alarm);
    }
}

/// Waits until `next_ns`. A new pace or the end of sampling interrupts the wait, except for its last
/// [`SHORT_NS`].
fn wait(next_ns: u64, alarm: &mut Option<Alarm>) {
    let left = next_ns.saturating_sub(monotonic_ns());
    if left == 0 {
        return;
    }
    if left <= SHORT_NS {
        if alarm.is_none() {
            *alarm = Alarm::new().ok();
        }
        if alarm.as_mut().is_some_and(|alarm| alarm.wait_until(next_ns).is_ok()) {
            return;
        }
    }
    thread::park_timeout(Duration::from_nanos(left));
}

/// The first due time after `now` on the grid of the last one: a slow reading skips ticks and shifts none.
fn next_due(due: u64, period: u64, now: u64) -> u64 {
    let passed = now.saturating_sub(due) / period.max(1);
    due.saturating_add((passed + 1).saturating_mul(period.max(1)))
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::{Sample, Value};

    use super::{next_due, state_updates};
    use crate::sampler::track::Track;

    #[test]
    fn each_channel_of_a_sample_has_its_own_period() {
        let mut tracks =
            [Track::new(4, None), Track::new(5, None), Track::new(6, None), Track::new(7, Some(7))];
        for t_ns in 0..100_u64 {
            for (track, every) in tracks.iter_mut().zip([1, 10, 1_000, 1]) {
                track.see(t_ns, Value::Present((t_ns / every) as f64));
            }
        }
        let mut sample = Sample { other_update_ns: Vec::with_capacity(4), ..Sample::default() };
        let room = sample.other_update_ns.as_ptr();
        for _ in 0..2 {
            state_updates(&mut sample, &tracks);
            let updates = [4, 5, 6, 7].map(|channel| sample.update_ns_of(channel));
            assert_eq!(updates, [Some(1), Some(10), None, Some(7)]);
            assert_eq!((sample.update_ns, sample.other_update_ns.len()), (Some(1), 3));
        }
        assert_eq!(sample.other_update_ns.as_ptr(), room, "nothing was allocated");
        state_updates(&mut sample, &tracks[..1]);
        assert!(sample.other_update_ns.is_empty(), "one period for all needs no list");
    }

    #[test]
    fn late_ticks_are_skipped_and_the_grid_is_kept() {
        assert_eq!(next_due(100, 10, 103), 110);
        assert_eq!(next_due(100, 10, 110), 120);
        assert_eq!(next_due(100, 10, 157), 160);
        assert_eq!(next_due(100, 10, 90), 110);
    }
}
