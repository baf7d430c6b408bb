//! What a loop did lately, in memory: as much of it as fits, for whoever wants a file of it. Nothing is written until then.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_exports::recording::{Entry, WriteError, Writer};
use slmscope_profiles::job::Job;
use slmscope_profiles::record::Record;

use super::packed::PackedBatch;
use super::queue::{is_of_earlier_job, size_of_record};
use crate::hub::{Content, Published, Sink};

/// Most bytes that are kept, as they take them in memory: a minute or more of a small model.
const MAX_BYTES: usize = 32 << 20;

/// What a row of an op's figures takes in a result, about, bytes.
const OP_ROW: usize = 300;

/// What a loop did lately.
pub(super) struct Recent {
    /// The loop.
    job: Job,
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Header, catalogue and the last plan, with which every recording begins.
    first: Vec<Arc<Record>>,
    plan: Option<Arc<Record>>,
    /// Oldest first.
    items: VecDeque<Timed>,
    bytes: usize,
    last_ns: u64,
}

struct Timed {
    t_ns: u64,
    item: Item,
    bytes: usize,
}

/// Something that is kept; shared with whoever saves it.
#[derive(Clone)]
enum Item {
    Ops(Arc<PackedBatch>),
    Other(Entry),
}

impl Item {
    fn into_entry(self) -> Entry {
        match self {
            Self::Ops(batch) => Entry::Record(Arc::new(Record::Ops(batch.unpack()))),
            Self::Other(entry) => entry,
        }
    }
}

impl Recent {
    /// Nothing yet of the loop `job`.
    pub(super) fn of(job: Job) -> Self {
        Self { job, max_bytes: MAX_BYTES, kept: Mutex::default() }
    }

    /// Whose loop it is.
    pub(super) fn uid(&self) -> u32 {
        self.job.uid
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the result of a turn.
    pub(super) fn add_result(&self, entry: Entry) {
        let ops = if let Entry::Result { result, .. } = &entry { result.ops.len() } else { 0 };
        self.push(entry, ops * OP_ROW);
    }

    fn push(&self, entry: Entry, bytes: usize) {
        self.keep(entry.t_ns(), Item::Other(entry), bytes);
    }

    /// Keeps what is of time `t_ns`, or of the last time.
    fn keep(&self, t_ns: Option<u64>, item: Item, bytes: usize) {
        let mut kept = self.kept();
        let t_ns = t_ns.unwrap_or(kept.last_ns);
        kept.last_ns = t_ns;
        kept.bytes += bytes;
        kept.items.push_back(Timed { t_ns, item, bytes });
        while kept.bytes > self.max_bytes
            && let Some(oldest) = kept.items.pop_front()
        {
            kept.bytes -= oldest.bytes;
        }
    }

    /// Writes what is kept of the last `ns` into `file`: how many messages, and the time from the first to the last, ns.
    pub(super) fn save(&self, ns: u64, file: &File) -> Result<(u64, u64), WriteError> {
        let (first, items, time_ns) = self.of_last(ns);
        let mut writer = Writer::new(std::io::BufWriter::new(file))?;
        let job = Entry::Job(Box::new(self.job.clone()));
        let mut messages = 0;
        let entries = items.into_iter().map(Item::into_entry);
        for entry in first.into_iter().map(Entry::Record).chain([job]).chain(entries) {
            writer.write(&entry)?;
            messages += 1;
        }
        let mut file = writer.finish()?;
        file.flush().map_err(WriteError::Io)?;
        Ok((messages, time_ns))
    }

    /// What every recording begins with, what came in the last `ns`, and the time that this covers, ns. Copies pointers
    /// alone, since whoever publishes waits meanwhile.
    fn of_last(&self, ns: u64) -> (Vec<Arc<Record>>, Vec<Item>, u64) {
        let kept = self.kept();
        let from_ns = kept.last_ns.saturating_sub(ns);
        let mut wanted = kept.items.iter().filter(|timed| timed.t_ns >= from_ns).peekable();
        let begin_ns = wanted.peek().map_or(kept.last_ns, |timed| timed.t_ns);
        let items = wanted.map(|timed| timed.item.clone()).collect();
        let first = kept.first.iter().chain(&kept.plan).cloned().collect();
        (first, items, kept.last_ns.saturating_sub(begin_ns))
    }
}

impl Sink for Recent {
    fn take(&self, message: &Published<'_>) {
        if let Content::Batch(batch) = message.content() {
            let packed = PackedBatch::of(batch);
            let bytes = packed.size();
            self.keep(Some(packed.end_ns()), Item::Ops(Arc::new(packed)), bytes);
            return;
        }
        let Some(record) = message.record() else { return };
        match **record {
            Record::Header(_) | Record::Catalogue { .. } => self.kept().first.push(record.clone()),
            Record::Plan(_) if is_of_earlier_job(record, self.job.job) => {}
            Record::Plan(_) => self.kept().plan = Some(record.clone()),
            _ => self.push(Entry::Record(record.clone()), size_of_record(record)),
        }
    }
}

#[cfg(test)]
mod tests {
    use slmscope_exports::recording::Reader;
    use slmscope_exports::session::Session;
    use slmscope_profiles::job::JobState;
    use slmscope_profiles::model::ModelSource;
    use slmscope_profiles::record::{Mark, MarkKind};
    use slmscope_profiles::wire::OpsDetails;
    use slmscope_profiles::workload::Workload;

    use super::*;
    use crate::backend::scripted;
    use crate::hub::Wants;
    use crate::tests::{hub, plan};

    fn recent(max_bytes: usize) -> Recent {
        let job = Job {
            job: 1,
            model: "m".to_owned(),
            source: ModelSource::Synthetic,
            format: None,
            files: Vec::new(),
            workload: Workload { looped: true, ..Workload::default() },
            uid: 1000,
            state: JobState::Preparing,
            ahead: 0,
            repetition: None,
            turns: 0,
            worker: None,
            error: None,
            submitted_ns: None,
            ended_ns: None,
            progress: None,
        };
        Recent { max_bytes, ..Recent::of(job) }
    }

    fn mark(t_ns: u64) -> Entry {
        Entry::Record(Arc::new(Record::Mark(Mark { t_ns, job: 1, kind: MarkKind::JobState, text: None })))
    }

    #[test]
    fn the_oldest_records_go_and_the_last_seconds_are_saved() {
        let recent = recent(1000);
        for t_ns in 0..100 {
            recent.push(mark(t_ns), 100);
        }
        let times = |ns| {
            let (_, items, time_ns) = recent.of_last(ns);
            (items.into_iter().filter_map(|item| item.into_entry().t_ns()).collect::<Vec<_>>(), time_ns)
        };
        assert_eq!(times(u64::MAX), ((90..100).collect(), 9));
        assert_eq!(times(3), ((96..100).collect(), 3));
        recent.push(mark(200), 5000);
        assert_eq!(times(u64::MAX), (Vec::new(), 0), "what is too long alone is not kept");
    }

    #[test]
    fn a_saved_loop_is_a_recording_with_header_plan_and_job() {
        let hub = hub(Vec::new());
        hub.record(plan());
        let recent = Arc::new(recent(MAX_BYTES));
        hub.attach(recent.clone(), Wants { ops: OpsDetails::RAW, events: true, ..Wants::default() });
        hub.batch(&scripted::token().batch(1));
        let file = tempfile::NamedTempFile::new().unwrap();
        let (messages, _) = recent.save(u64::MAX, file.as_file()).unwrap();
        assert_eq!(messages, 5);
        let session = Session::read(&mut Reader::new(file.reopen().unwrap()).unwrap()).unwrap();
        assert!(session.end.is_complete && session.damage.is_empty());
        assert!(session.header.is_some() && session.events > 0);
        assert!(session.runs[&1].job.is_some() && session.runs[&1].plan.is_some());
    }
}
