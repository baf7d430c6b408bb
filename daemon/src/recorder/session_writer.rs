//! Writes what the hub publishes into a file: a sink that queues, and a thread that writes.
//!
//! ```text
//! hub ──Arc<Record>──▶ queue, bounded ──every 200 ms──▶ thread: one chunk ──▶ file
//!                      full: left out, counted                 fdatasync once a second
//! ```
//!
//! Whoever publishes pays for a push to a list. A daemon that is killed loses what came after the last chunk, a machine
//! that loses its power what came after the last fdatasync. A file that takes no more ends the recording, not the run.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use slmscope_exports::recording::{Entry, WriteError, Writer};
use slmscope_profiles::display;
use slmscope_profiles::job::JobId;
use slmscope_profiles::record::{Mark, MarkKind, Record};

use crate::clock::Clock;
use crate::error::with_sources;
use crate::hub::{ClientId, Hub, Published, Sink};

/// Time between two chunks.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Chunks between two fdatasync.
const FLUSHES_PER_SYNC: u32 = 5;

/// Most bytes that wait to be written, as they are in memory. A disk that stalls for longer than it takes to fill them
/// costs records, which are counted.
const MAX_QUEUED: usize = 32 << 20;

/// A recording ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It is as long as it may be.
    #[error("the file has reached {}: sessions may take no more (sessions_mib of the configuration)", display::bytes(*.0))]
    Full(u64),
    /// The thread panicked.
    #[error("the recorder's thread ended")]
    Panicked,
}

/// How much is written.
pub(super) struct Limit {
    /// Most bytes of the file.
    pub(super) bytes: u64,
    /// Counts the bytes of all files.
    pub(super) written: Arc<AtomicU64>,
    /// Is told why the recording ended before its job.
    pub(super) problem: Arc<Mutex<Option<String>>>,
}

/// A recording that goes on.
pub(super) struct SessionWriter {
    queue: Arc<Queue>,
    sink: ClientId,
    thread: JoinHandle<()>,
}

impl SessionWriter {
    /// Begins to record all that `hub` publishes, after its header and catalogue, into `file`. If the recording of job
    /// `job` ends early, `hub` is told.
    ///
    /// # Errors
    /// If the file cannot be written, or no thread be started.
    pub(super) fn start(
        hub: &Arc<Hub>,
        clock: &Arc<dyn Clock>,
        job: JobId,
        file: File,
        limit: Limit,
    ) -> Result<Self, WriteError> {
        let synced = file.try_clone().map_err(WriteError::Io)?;
        let own = Arc::new(AtomicU64::new(0));
        let mut written = Written { synced, own: own.clone(), limit: limit.bytes, length: 0 };
        let writer = Writer::new(Counted { file, counts: [own, limit.written] })?;
        let queue = Arc::new(Queue { job, ..Queue::default() });
        let thread = thread::Builder::new().name("recorder".to_owned()).spawn({
            let (queue, hub, clock, problem) = (queue.clone(), hub.clone(), clock.clone(), limit.problem);
            move || {
                let Err(ending) = write(&queue, writer, &mut written) else { return };
                // What is left of a chunk on a full disk would be taken for damage.
                let _ = written.synced.set_len(written.length);
                let reason = with_sources(&ending);
                queue.close(ending);
                problem.lock().unwrap_or_else(PoisonError::into_inner).replace(reason.clone());
                let (t_ns, kind) = (clock.now_ns(), MarkKind::RecordingStopped);
                hub.record(Record::Mark(Mark { t_ns, job, kind, text: Some(reason) }));
            }
        });
        let thread = thread.map_err(WriteError::Io)?;
        let sink = hub.attach(queue.clone(), super::everything(hub));
        Ok(Self { queue, sink, thread })
    }

    /// Adds what is no record: a job, a result.
    pub(super) fn add(&self, entry: Entry) {
        self.queue.push(entry, 0);
    }

    /// Why nothing more is written; `None` while it is.
    pub(super) fn problem(&self) -> Option<String> {
        self.queue.state().ending.as_ref().map(|ending| with_sources(ending))
    }

    /// Ends the recording with its index, and waits for the disk. Returns why it ended before.
    pub(super) fn stop(self, hub: &Hub) -> Option<Ending> {
        hub.detach(self.sink);
        self.queue.state().is_stopped = true;
        self.queue.stopped.notify_one();
        let panicked = self.thread.join().is_err().then_some(Ending::Panicked);
        self.queue.state().ending.take().or(panicked)
    }
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
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
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry, bytes: usize) {
        let mut state = self.state();
        if state.is_stopped {
            return;
        }
        if state.bytes + bytes > MAX_QUEUED {
            let is_ops = matches!(&entry, Entry::Record(record) if matches!(**record, Record::Ops(_)));
            state.lost += u64::from(is_ops);
            return;
        }
        state.bytes += bytes;
        state.entries.push(entry);
    }

    /// Waits for the next time to write; what is to be written, and whether it is the last. What was left out is a record.
    fn take(&self) -> (Vec<Entry>, bool) {
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

    /// Takes no more: what waits is left out.
    fn close(&self, ending: Ending) {
        let mut state = self.state();
        state.is_stopped = true;
        state.entries = Vec::new();
        state.ending = Some(ending);
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

/// A file that counts what it takes.
struct Counted {
    file: File,
    counts: [Arc<AtomicU64>; 2],
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        for count in &self.counts {
            count.fetch_add(taken as u64, Ordering::Relaxed);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// How much of the file is written.
struct Written {
    synced: File,
    own: Arc<AtomicU64>,
    limit: u64,
    /// Up to the end of the last whole chunk, bytes.
    length: u64,
}

impl Written {
    fn chunk_ended(&mut self) {
        self.length = self.own.load(Ordering::Relaxed);
    }

    fn sync(&self) -> Result<(), WriteError> {
        self.synced.sync_data().map_err(WriteError::Io)
    }
}

/// Writes until the queue is stopped or the file takes no more.
fn write(queue: &Queue, mut writer: Writer<Counted>, written: &mut Written) -> Result<(), Ending> {
    written.chunk_ended();
    for flushes in 1_u32.. {
        let (entries, is_last) = queue.take();
        for entry in &entries {
            writer.write(entry)?;
        }
        writer.flush()?;
        written.chunk_ended();
        let is_full = written.length >= written.limit;
        if is_last || is_full {
            writer.finish()?;
            written.chunk_ended();
            written.sync()?;
            return if is_full && !is_last { Err(Ending::Full(written.limit)) } else { Ok(()) };
        }
        if flushes.is_multiple_of(FLUSHES_PER_SYNC) {
            written.sync()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use slmscope_exports::recording::{Event, Reader};
    use slmscope_profiles::channel::{Quantity, Sample, Value};

    use super::*;
    use crate::backend::scripted;
    use crate::clock::manual::ManualClock;
    use crate::hub::Wants;
    use crate::tests::{channel, hub};

    fn mark(t_ns: u64) -> Record {
        Record::Mark(Mark { t_ns, job: 1, kind: MarkKind::JobState, text: None })
    }

    fn start(hub: &Arc<Hub>, file: File, bytes: u64) -> Result<SessionWriter, WriteError> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(5));
        SessionWriter::start(
            hub,
            &clock,
            1,
            file,
            Limit { bytes, written: Arc::default(), problem: Arc::default() },
        )
    }

    fn entries(file: File) -> (Vec<Entry>, bool) {
        let mut reader = Reader::new(file).unwrap();
        let entries = reader.by_ref().map(|event| match event.unwrap() {
            Event::Entry(entry) => entry,
            Event::Damage(damage) => panic!("{damage}"),
        });
        let entries = entries.collect();
        (entries, reader.end().is_complete)
    }

    #[test]
    fn all_that_was_published_is_in_the_file() {
        let hub = Arc::new(hub(vec![channel(0, Quantity::Energy)]));
        let path = tempfile::NamedTempFile::new().unwrap();
        let writer = start(&hub, path.reopen().unwrap(), u64::MAX).unwrap();
        let sample = Sample { t_ns: 7, values: vec![(0, Value::Present(2.0))], ..Sample::default() };
        hub.sample(&sample);
        hub.record(mark(9));
        assert!(writer.stop(&hub).is_none());
        hub.record(mark(10));
        let (entries, is_complete) = entries(path.reopen().unwrap());
        assert!(is_complete);
        let record = |record| Entry::Record(Arc::new(record));
        let header = record(Record::Header(hub.header()));
        let catalogue = record(Record::Catalogue { channels: hub.channels() });
        assert_eq!(entries, [header, catalogue, record(Record::Sample(sample)), record(mark(9))]);
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_nothing_else() {
        let hub = Arc::new(hub(Vec::new()));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = match start(&hub, full, u64::MAX) {
            Err(error) => error,
            Ok(writer) => {
                hub.record(mark(1));
                match writer.stop(&hub) {
                    Some(Ending::Write(error)) => error,
                    other => panic!("{other:?}"),
                }
            }
        };
        assert!(matches!(error, WriteError::Io(error) if error.kind() == io::ErrorKind::StorageFull));
    }

    /// Keeps the marks that tell of a recording's end.
    #[derive(Default)]
    struct Told(Mutex<Vec<Arc<Record>>>);

    impl Sink for Told {
        fn take(&self, message: &Published<'_>) {
            if let Some(record) = message.record() {
                self.0.lock().unwrap().push(record.clone());
            }
        }
    }

    #[test]
    fn a_file_that_is_as_long_as_it_may_be_is_whole_and_its_end_is_told() {
        let hub = Arc::new(hub(Vec::new()));
        let told = Arc::new(Told::default());
        hub.attach(told.clone(), Wants { events: true, ..Wants::default() });
        let path = tempfile::NamedTempFile::new().unwrap();
        let writer = start(&hub, path.reopen().unwrap(), 10).unwrap();
        // It looks every 200 ms, or when it is stopped, which would be the end anyway.
        while writer.problem().is_none() {
            thread::yield_now();
        }
        assert!(matches!(writer.stop(&hub), Some(Ending::Full(10))));
        let (entries, is_complete) = entries(path.reopen().unwrap());
        // The writer may have looked before the header came.
        assert!(is_complete && entries.len() <= 2, "{entries:?}");
        let told = told.0.lock().unwrap();
        let Some(Record::Mark(mark)) = told.last().map(|record| &**record) else { panic!("{told:?}") };
        assert_eq!((&mark.kind, mark.t_ns, mark.job), (&MarkKind::RecordingStopped, 5, 1));
        assert!(mark.text.as_ref().unwrap().contains("has reached 10 B"), "{mark:?}");
    }

    #[test]
    fn what_a_slow_disk_does_not_take_is_a_loss_in_the_file_and_not_kept() {
        let queue = Queue::default();
        let ops = Entry::Record(Arc::new(Record::Ops((&scripted::token().batch(1)).into())));
        for _ in 0..40 {
            queue.push(ops.clone(), 1 << 20);
        }
        queue.push(Entry::Record(Arc::new(mark(1))), 0);
        {
            let mut state = queue.state();
            assert_eq!((state.entries.len(), state.lost), (33, 8));
            state.is_stopped = true;
        }
        let (entries, _) = queue.take();
        let loss = Entry::Record(Arc::new(Record::Loss { batches: 8 }));
        assert_eq!((entries.len(), entries.last()), (34, Some(&loss)));
        queue.close(Ending::Panicked);
        queue.push(ops, 0);
        assert!(queue.state().entries.is_empty());
    }
}
