//! Readings of a job's duration, kept for what is derived from them when it ends.

use std::sync::{Mutex, PoisonError};

use slmscope_profiles::channel::{Channel, ChannelId, Quantity, Sample};

/// Most samples that are kept: ten minutes of five sources at 100 Hz. Later ones are left out, and the
/// coverage of what is derived says so.
const MOST: usize = 300_000;

/// The energy and power readings since a job began.
pub struct SampleLog {
    wanted: Vec<bool>,
    kept: Mutex<Option<Vec<Sample>>>,
}

impl SampleLog {
    /// Keeps readings of the energy and power channels among `channels`.
    pub fn new(channels: &[Channel]) -> Self {
        let is_wanted = |channel: &Channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power);
        Self { wanted: channels.iter().map(is_wanted).collect(), kept: Mutex::new(None) }
    }

    /// Takes a reading, if it is of interest and a job runs.
    pub fn add(&self, sample: &Sample) {
        let is_wanted = |id: ChannelId| self.wanted.get(usize::from(id)).copied().unwrap_or(false);
        if !sample.values.iter().any(|(id, _)| is_wanted(*id)) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(samples) = kept.as_mut().filter(|samples| samples.len() < MOST) {
            samples.push(sample.clone());
        }
    }

    /// Begins anew.
    pub(super) fn begin(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// What was kept; nothing more is until the next begin.
    pub(super) fn take(&self) -> Vec<Sample> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}
