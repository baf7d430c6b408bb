//! Writes what the hub publishes into a file: a sink that queues ([`Queue`]), and a thread that writes.
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use slmscope_exports::recording::{Entry, WriteError, Writer};
use slmscope_profiles::display;
use slmscope_profiles::job::JobId;
use slmscope_profiles::record::{Mark, MarkKind, Record};

use super::queue::Queue;
use crate::clock::Clock;
use crate::error::with_sources;
use crate::hub::{ClientId, Hub};

/// Chunks between two fdatasync.
const FLUSHES_PER_SYNC: u32 = 5;

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
    /// Gets the reason if the recording ends before its job.
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
    /// `job` ends early, a mark says so to `hub`.
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
        let queue = Arc::new(Queue::of(job));
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
        self.queue.problem()
    }

    /// Ends the recording with its index, and waits for the disk. Returns why it ended before.
    pub(super) fn stop(self, hub: &Hub) -> Option<Ending> {
        hub.detach(self.sink);
        self.queue.stop();
        let panicked = self.thread.join().is_err().then_some(Ending::Panicked);
        self.queue.take_ending().or(panicked)
    }
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
    use crate::clock::manual::ManualClock;
    use crate::hub::{Published, Sink, Wants};
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

    /// Keeps the marks of a recording's end.
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
}
