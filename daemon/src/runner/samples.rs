//! Readings during a job, kept for what its result derives from them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_profiles::channel::{Channel, Quantity, Sample};

use crate::hub::{ClientId, Content, Hub, Published, Sink, Wants};

/// Most samples that are kept: ten minutes of a counter at 1 kHz and of what is read beside it. Later ones are left out,
/// and the coverage of what is derived says so.
const MAX_SAMPLES: usize = 800_000;

/// Clocks, temperatures and the like are kept ten times a second, however often they are read.
const CONDITIONS_NS: u64 = 100_000_000;

/// The readings of a job, while it is attached to the hub.
pub(super) struct SampleLog {
    kept: Arc<Kept>,
    /// Its number at the hub while a job runs.
    attached: Option<ClientId>,
}

#[derive(Default)]
struct Kept(Mutex<Vec<Sample>>);

impl Kept {
    fn samples(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Kept {
    fn take(&self, message: &Published<'_>) {
        if let Content::Sample(sample) = message.content() {
            let mut samples = self.samples();
            if samples.len() < MAX_SAMPLES {
                samples.push(sample.clone());
            }
        }
    }
}

impl SampleLog {
    pub(super) fn new() -> Self {
        Self { kept: Arc::default(), attached: None }
    }

    /// Starts keeping readings of the channels that results are derived from; drops those of before.
    pub(super) fn start(&mut self, hub: &Hub) {
        self.stop(hub);
        self.attached = Some(hub.attach(self.kept.clone(), wants(&hub.channels())));
    }

    /// Stops, and returns what was kept.
    pub(super) fn stop(&mut self, hub: &Hub) -> Vec<Sample> {
        if let Some(id) = self.attached.take() {
            hub.detach(id);
        }
        std::mem::take(&mut self.kept.samples())
    }
}

/// Readings that are integrated or counted, all of them; those that say under which conditions tokens were computed, now
/// and then.
fn wants(channels: &[Channel]) -> Wants {
    let period_ns = |channel: &Channel| match channel.quantity {
        Quantity::Energy | Quantity::Power | Quantity::MemoryBandwidth => Some(0),
        Quantity::Frequency | Quantity::Temperature | Quantity::Throttle => Some(CONDITIONS_NS),
        _ => None,
    };
    Wants { channels: channels.iter().map(period_ns).collect(), ..Wants::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmscope_profiles::channel::{ChannelId, Value};

    use crate::tests::{channel, hub};

    #[test]
    fn what_is_integrated_is_kept_whole_and_the_rest_now_and_then() {
        let hub = hub(vec![
            channel(0, Quantity::Energy),
            channel(1, Quantity::Frequency),
            channel(2, Quantity::Fan),
        ]);
        let publish = |id: ChannelId, ms: u64| {
            let values = vec![(id, Value::Present(1.0))];
            hub.sample(&Sample { t_ns: ms * 1_000_000, values, ..Sample::default() });
        };
        let mut log = SampleLog::new();
        publish(0, 5);
        log.start(&hub);
        for ms in 0..1000 {
            (0..3).for_each(|id| publish(id, ms));
        }
        let kept = log.stop(&hub);
        let of = |id| kept.iter().filter(|sample| sample.values[0].0 == id).count();
        assert_eq!((of(0), of(1), of(2)), (1000, 12, 0));
        publish(0, 2000);
        assert!(log.stop(&hub).is_empty(), "no job runs");
    }
}
