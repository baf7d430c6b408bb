//! Readings of a job's duration, kept for what is derived from them when it ends.

use std::sync::{Mutex, PoisonError};

use slmscope_profiles::channel::{Channel, ChannelId, Quantity, Sample};

/// Most samples that are kept: ten minutes of a counter at 1 kHz with its company. Later ones are left out, and
/// the coverage of what is derived says so.
const MOST: usize = 800_000;

/// Clocks, heat and the like are kept ten times a second, however often they are read.
const OTHERS_NS: u64 = 90_000_000;

/// What a channel is kept for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    No,
    /// To tell under which conditions tokens were made.
    NowAndThen,
    /// To be integrated or counted.
    Each,
}

/// The readings since a job began.
pub struct SampleLog {
    wanted: Vec<Wanted>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Default)]
struct Kept {
    samples: Vec<Sample>,
    /// By first channel of a sample, which stands for its source: when it was kept last.
    last_ns: Vec<(ChannelId, u64)>,
}

impl SampleLog {
    /// Keeps readings of channels that results are derived from.
    pub fn new(channels: &[Channel]) -> Self {
        let wanted = |channel: &Channel| match channel.quantity {
            Quantity::Energy | Quantity::Power | Quantity::MemoryBandwidth => Wanted::Each,
            Quantity::Frequency | Quantity::Temperature | Quantity::Throttle => Wanted::NowAndThen,
            _ => Wanted::No,
        };
        Self { wanted: channels.iter().map(wanted).collect(), kept: Mutex::new(None) }
    }

    /// Takes a reading, if it is of interest and a job runs.
    pub fn add(&self, sample: &Sample) {
        let of = |id: ChannelId| self.wanted.get(usize::from(id)).copied().unwrap_or(Wanted::No);
        let wanted = sample.values.iter().map(|(id, _)| of(*id)).max().unwrap_or(Wanted::No);
        if wanted == Wanted::No {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.as_mut().filter(|kept| kept.samples.len() < MOST) else { return };
        if wanted == Wanted::Each || kept.is_due(sample) {
            kept.samples.push(sample.clone());
        }
    }

    /// Begins anew.
    pub(super) fn begin(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept::default());
    }

    /// What was kept; nothing more is until the next begin.
    pub(super) fn take(&self) -> Vec<Sample> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map(|kept| kept.samples).unwrap_or_default()
    }
}

impl Kept {
    fn is_due(&mut self, sample: &Sample) -> bool {
        let Some(&(source, _)) = sample.values.first() else { return false };
        match self.last_ns.iter_mut().find(|(known, _)| *known == source) {
            Some((_, last)) if sample.t_ns.saturating_sub(*last) < OTHERS_NS => false,
            Some((_, last)) => {
                *last = sample.t_ns;
                true
            }
            None => {
                self.last_ns.push((source, sample.t_ns));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmscope_profiles::channel::{Class, Kind, Scope, Unit, Value};

    fn channel(number: u16, quantity: Quantity) -> Channel {
        Channel {
            channel: number,
            id: String::new(),
            quantity,
            unit: Unit::Count,
            scope: Scope::Machine,
            class: Class::Measured,
            kind: Kind::Gauge,
            source: String::new(),
            period_ns: None,
            update_ns: None,
            reason: None,
            remedy: None,
        }
    }

    #[test]
    fn what_is_integrated_is_kept_whole_and_the_rest_now_and_then() {
        let channels =
            [channel(0, Quantity::Energy), channel(1, Quantity::Frequency), channel(2, Quantity::Fan)];
        let log = SampleLog::new(&channels);
        let add = |id: ChannelId, ms: u64| {
            let values = vec![(id, Value::Present(1.0))];
            log.add(&Sample { t_ns: ms * 1_000_000, values, ..Sample::default() });
        };
        add(0, 5);
        assert!(log.take().is_empty(), "no job runs");
        log.begin();
        for ms in 0..1000 {
            (0..3).for_each(|id| add(id, ms));
        }
        let kept = log.take();
        let of = |id| kept.iter().filter(|sample| sample.values[0].0 == id).count();
        assert_eq!((of(0), of(1), of(2)), (1000, 12, 0));
    }
}
