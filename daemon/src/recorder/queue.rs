//! What the hub published and the writer of a session has yet to write: bounded, so that whoever publishes waits for no
//! disk, and what a slow disk does not take is counted.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slmscope_exports::recording::{Entry, Topic};
use slmscope_profiles::job::JobId;
use slmscope_profiles::record::Record;

use super::session_writer::Ending;
use crate::error::with_sources;
use crate::hub::{Published, Sink};

/// Time between two chunks.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Most bytes that wait to be written, as they are in memory. A disk that stalls for longer than it takes to fill them
/// costs records, which are counted.
const MAX_QUEUED: usize = 32 << 20;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Queue {
    job: JobId,
    state: Mutex<State>,
    /// Wakes the writer for the last time.
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// What they take in memory, about.
    bytes: usize,
    /// Op batches that were left out since the last that were taken to be written.
    lost: u64,
    /// No more is taken: the recording was stopped, or its file takes no more.
    is_stopped: bool,
    ending: Option<Ending>,
}

impl Queue {
    /// An empty one for the recording of job `job`.
    pub(super) fn of(job: JobId) -> Self {
        Self { job, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry that takes about `bytes` in memory. Op batches and samples are left out while there is no room, and
    /// the batches counted; what else there is takes little, and without it the rest could not be read.
    pub(super) fn push(&self, entry: Entry, bytes: usize) {
        let mut state = self.state();
        if state.is_stopped {
            return;
        }
        if state.bytes + bytes > MAX_QUEUED && matches!(entry.topic(), Topic::Ops | Topic::Sample) {
            state.lost += u64::from(entry.topic() == Topic::Ops);
            return;
        }
        state.bytes += bytes;
        state.entries.push(entry);
    }

    /// Waits for the next time to write; what is to be written, and whether it is the last. What was left out is a record.
    pub(super) fn take(&self) -> (Vec<Entry>, bool) {
        let state = self.state();
        let waited = self.stopped.wait_timeout_while(state, FLUSH_EVERY, |state| !state.is_stopped);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.bytes = 0;
        let mut entries = mem::take(&mut state.entries);
        let batches = mem::take(&mut state.lost);
        if batches > 0 {
            entries.push(Entry::Record(Arc::new(Record::Loss { batches })));
        }
        (entries, state.is_stopped)
    }

    /// Takes no more, and wakes the writer for what waits.
    pub(super) fn stop(&self) {
        self.state().is_stopped = true;
        self.stopped.notify_one();
    }

    /// Takes no more: what waits is left out.
    pub(super) fn close(&self, ending: Ending) {
        let mut state = self.state();
        state.is_stopped = true;
        state.entries = Vec::new();
        state.ending = Some(ending);
    }

    /// Why nothing more is written; `None` while it is.
    pub(super) fn problem(&self) -> Option<String> {
        self.state().ending.as_ref().map(|ending| with_sources(ending))
    }

    /// Why the recording ended before it was stopped.
    pub(super) fn take_ending(&self) -> Option<Ending> {
        self.state().ending.take()
    }
}

impl Sink for Queue {
    fn take(&self, message: &Published<'_>) {
        if let Some(record) = message.record().filter(|record| !is_of_earlier_job(record, self.job)) {
            self.push(Entry::Record(record.clone()), size_of_record(record));
        }
    }
}

/// Whether a record is the plan of a job before `job`, which the hub shows to those who come. Plans have the numbers of
/// their jobs.
pub(super) fn is_of_earlier_job(record: &Record, job: JobId) -> bool {
    matches!(record, Record::Plan(plan) if plan.plan != job as u32)
}

/// What a record takes in memory, about, bytes.
pub(super) fn size_of_record(record: &Record) -> usize {
    let parts = match record {
        Record::Ops(ops) => ops.site.0.len() * 10,
        Record::Sample(sample) => size_of_val(&sample.values[..]),
        Record::Span(span) => span.token_ends_ns.len() * 8,
        Record::Plan(plan) => plan.sites.len() * 300,
        Record::Catalogue { channels } => channels.len() * 300,
        Record::Header(_) | Record::Loss { .. } | Record::Mark(_) => 0,
    };
    size_of::<Record>() + parts
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::Sample;
    use slmscope_profiles::record::{Mark, MarkKind};

    use super::*;
    use crate::backend::scripted;

    #[test]
    fn what_a_slow_disk_does_not_take_is_a_loss_in_the_file_and_not_kept() {
        let queue = Queue::default();
        let ops = Entry::Record(Arc::new(Record::Ops((&scripted::token().batch(1)).into())));
        for _ in 0..40 {
            queue.push(ops.clone(), 1 << 20);
        }
        queue.push(Entry::Record(Arc::new(Record::Sample(Sample::default()))), 1);
        let mark = Mark { t_ns: 1, job: 1, kind: MarkKind::JobState, text: None };
        queue.push(Entry::Record(Arc::new(Record::Mark(mark))), 1);
        {
            let state = queue.state();
            assert_eq!((state.entries.len(), state.lost), (33, 8));
            assert_eq!(state.entries.last().unwrap().topic(), Topic::Mark, "what takes little is kept");
        }
        queue.stop();
        let (entries, is_last) = queue.take();
        let loss = Entry::Record(Arc::new(Record::Loss { batches: 8 }));
        assert_eq!((entries.len(), entries.last(), is_last), (34, Some(&loss), true));
        queue.close(Ending::Panicked);
        queue.push(ops, 0);
        assert!(queue.state().entries.is_empty());
    }
}
