//! The thread of one lane.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use slmscope_profiles::channel::Sample;

use super::{Shared, Watched};
use crate::clock::{monotonic_ns, thread_cpu_ns};
use crate::source::{Lane, Pace, Source};

/// Reads the lane's sources at the pace of its group until the sampler stops.
pub(super) fn run(mut lane: Lane, shared: &Shared, index: usize) {
    let Some(watched) = shared.watched.get(index) else { return };
    let mut pace = None;
    let mut due = monotonic_ns();
    while !shared.is_stopping() {
        let wanted = shared.pace();
        if pace != Some(wanted) {
            adopt(&mut lane, wanted, watched);
            pace = Some(wanted);
            due = monotonic_ns();
        }
        let now = monotonic_ns();
        if now < due {
            thread::park_timeout(Duration::from_nanos(due - now));
            continue;
        }
        let period = lane.group.period(wanted).as_nanos() as u64;
        if now - due > period / 2 {
            shared.late.fetch_add(1, Ordering::Relaxed);
        }
        for source in &mut lane.sources {
            if let Some(sample) = read(source.as_mut(), shared, watched) {
                shared.deliver(sample);
            }
        }
        due = next_due(due, period, monotonic_ns());
    }
}

/// The first due time after `now` on the grid of the last one: a slow reading skips ticks and shifts none.
fn next_due(due: u64, period: u64, now: u64) -> u64 {
    let passed = now.saturating_sub(due) / period.max(1);
    due.saturating_add((passed + 1).saturating_mul(period.max(1)))
}

/// Sources may close a library here, which may hang as well as a reading.
fn adopt(lane: &mut Lane, pace: Pace, watched: &Watched) {
    watched.reading_since.store(monotonic_ns(), Ordering::Release);
    for source in &mut lane.sources {
        source.set_pace(pace);
    }
    finished(watched);
}

/// Reads one source. `None` if the sampler was stopped meanwhile.
fn read(source: &mut dyn Source, shared: &Shared, watched: &Watched) -> Option<Sample> {
    let mut values = Vec::with_capacity(watched.channels.len());
    let begin = monotonic_ns();
    watched.reading_since.store(begin, Ordering::Release);
    let cpu_begin = thread_cpu_ns();
    source.read(&mut values);
    let cost_ns = thread_cpu_ns().saturating_sub(cpu_begin);
    let end = monotonic_ns();
    finished(watched);
    let t_ns = begin + end.saturating_sub(begin) / 2;
    (!shared.is_stopping()).then_some(Sample { t_ns, cost_ns, values })
}

fn finished(watched: &Watched) {
    watched.reading_since.store(0, Ordering::Release);
    if watched.stuck.swap(false, Ordering::AcqRel) {
        tracing::info!(lane = watched.name, "the sensor answers again");
    }
}

#[cfg(test)]
mod tests {
    use super::next_due;

    #[test]
    fn late_ticks_are_skipped_and_the_grid_is_kept() {
        assert_eq!(next_due(100, 10, 103), 110);
        assert_eq!(next_due(100, 10, 110), 120);
        assert_eq!(next_due(100, 10, 157), 160);
        assert_eq!(next_due(100, 10, 90), 110);
    }
}
