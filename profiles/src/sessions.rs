//! Recorded sessions as they are listed: a file of records for each job, without what is in it.

use serde::{Deserialize, Serialize};

use crate::format::WeightFormat;
use crate::host::Host;
use crate::hygiene::Grade;
use crate::job::{JobId, JobState};
use crate::phase::Phase;
use crate::result::{Energy, RunResult};

/// What a daemon records by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// Every job into a file of its own. Loops are kept in memory, as much of them as fits.
    #[default]
    Jobs,
    /// Nothing.
    Off,
}

/// A session that is kept. The file is named after number, owner and model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its number: that of its job.
    pub session: JobId,
    /// Whose job it was.
    pub uid: u32,
    /// Name of the model, with `-` for characters that are not plain in a file's name.
    pub model: String,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// When it was written last, by the wall clock, seconds since 1970.
    pub unix_s: u64,
    /// A daemon still writes it.
    pub is_written: bool,
    /// Null while the job runs, and if what the file holds could not be read.
    pub summary: Option<SessionSummary>,
    /// What its owner says of it.
    #[serde(default)]
    pub note: SessionNote,
}

/// What a session's job came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Names the run, as in the result; null if the recording ended before the result.
    pub run_id: Option<String>,
    /// How the job ended; null as above.
    pub state: Option<JobState>,
    /// Format of the largest share of the weights; null if the model was never opened.
    pub format: Option<WeightFormat>,
    /// Board, processor or machine, the first that is known.
    pub machine: Option<String>,
    /// Engine threads.
    pub threads: Option<u32>,
    /// Prompt tokens per second, median; null if nothing was measured.
    pub prefill_tokens_per_s: Option<f64>,
    /// Decode steps per second, median; null if nothing was measured.
    pub decode_tokens_per_s: Option<f64>,
    /// Energy of the measured phases, J; null with a reason.
    pub joules: Option<f64>,
    /// Why there is no energy.
    pub no_joules: Option<String>,
    /// Whether the machine was fit to measure on; null if that is not known.
    pub grade: Option<Grade>,
    /// Why the recording ended before its job; null if it did not.
    pub stopped: Option<String>,
}

/// What the owner of a session says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionNote {
    /// A name of one's own.
    pub name: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// A sentence.
    pub text: Option<String>,
    /// It is never removed to make room.
    pub pinned: bool,
}

impl SessionNote {
    /// Longest name and tag, bytes.
    pub const MAX_NAME: usize = 80;
    /// Longest text, bytes.
    pub const MAX_TEXT: usize = 4000;
    /// Most tags.
    pub const MAX_TAGS: usize = 16;

    /// Changes what `change` sets. An empty name or text removes it, and so does a list without tags.
    #[must_use]
    pub fn with(mut self, change: NoteChange) -> Self {
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        if let Some(name) = change.name {
            self.name = filled(name);
        }
        if let Some(text) = change.text {
            self.text = filled(text);
        }
        if let Some(mut tags) = change.tags {
            tags.retain(|tag| !tag.is_empty());
            tags.dedup();
            self.tags = tags;
        }
        self.pinned = change.pinned.unwrap_or(self.pinned);
        self
    }

    /// What is too long to be kept; `None` if nothing is.
    pub fn problem(&self) -> Option<String> {
        let (name, text, tags) = (Self::MAX_NAME, Self::MAX_TEXT, Self::MAX_TAGS);
        if self.name.iter().chain(&self.tags).any(|word| word.len() > name) {
            return Some(format!("a name or tag is longer than {name} bytes"));
        }
        if self.text.as_ref().is_some_and(|words| words.len() > text) {
            return Some(format!("the note is longer than {text} bytes"));
        }
        (self.tags.len() > tags).then(|| format!("there are more than {tags} tags"))
    }
}

/// What is to be changed of a note; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoteChange {
    /// The name.
    pub name: Option<String>,
    /// All tags.
    pub tags: Option<Vec<String>>,
    /// The text.
    pub text: Option<String>,
    /// Whether it is never removed to make room.
    pub pinned: Option<bool>,
}

/// What was saved of a loop that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentSaved {
    /// Messages in the file.
    pub messages: u64,
    /// From the first of them to the last, ns.
    pub time_ns: u64,
}

impl SessionSummary {
    /// Of a job that ended in `state` with `result`.
    pub fn of(result: &RunResult, state: JobState) -> Self {
        let (joules, no_joules) = joules(&result.energy);
        Self {
            run_id: result.run_id.clone(),
            state: Some(state),
            format: result.model.format,
            machine: result.host.as_ref().and_then(machine),
            threads: result.engine.threads,
            prefill_tokens_per_s: result.summary.prefill_tokens_per_s.as_ref().map(|rate| rate.median),
            decode_tokens_per_s: result.summary.decode_tokens_per_s.as_ref().map(|rate| rate.median),
            no_joules,
            joules,
            grade: result.hygiene.grade,
            stopped: result.recorded.error.clone(),
        }
    }
}

/// What a machine is called in a list: the board, else the processor, else its name on the network. What a hypervisor
/// calls its machines says nothing of their speed.
pub fn machine(host: &Host) -> Option<String> {
    let board = host.board.as_ref().filter(|_| host.virtualised.is_none());
    board.or(host.cpu_model.as_ref()).or(host.name.as_ref()).cloned()
}

/// Energy of prefill and decode together, J, each by its first source that has a figure; else why there is none.
fn joules(energy: &Energy) -> (Option<f64>, Option<String>) {
    let rows = |phase| energy.phases.iter().filter(move |row| row.phase == phase && row.tokens > 0);
    let mut sum = None;
    for phase in [Phase::Prefill, Phase::Decode] {
        if rows(phase).next().is_none() {
            continue;
        }
        let Some(joules) = rows(phase).find_map(|row| row.joules) else {
            return (None, Some(rows(phase).find_map(|row| row.reason.clone()).unwrap_or_default()));
        };
        sum = Some(sum.unwrap_or(0.0) + joules);
    }
    let reason = || energy.phases.iter().find_map(|row| row.reason.clone());
    let no_sum = || reason().unwrap_or_else(|| "no phase was measured".to_owned());
    (sum, sum.is_none().then(no_sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_changed_in_parts_and_an_empty_part_is_removed() {
        let first = NoteChange {
            name: Some("base".to_owned()),
            tags: Some(vec!["a".to_owned(), "a".to_owned(), String::new()]),
            ..NoteChange::default()
        };
        let note = SessionNote::default().with(first);
        assert_eq!((note.name.as_deref(), note.tags.as_slice()), (Some("base"), &["a".to_owned()][..]));
        let note = note.with(NoteChange { pinned: Some(true), ..NoteChange::default() });
        assert!(note.pinned && note.name.is_some(), "what is not named stays");
        let none = NoteChange { name: Some(String::new()), tags: Some(Vec::new()), ..NoteChange::default() };
        assert_eq!(note.with(none), SessionNote { pinned: true, ..SessionNote::default() });
    }

    #[test]
    fn a_machine_is_called_by_its_board_unless_a_hypervisor_made_it_up() {
        let name = |text: &str| Some(text.to_owned());
        let host = Host {
            name: name("lab-3"),
            board: name("Raspberry Pi 5 Model B Rev 1.0"),
            cpu_model: name("Cortex-A76"),
            ..Host::default()
        };
        assert_eq!(machine(&host), name("Raspberry Pi 5 Model B Rev 1.0"));
        assert_eq!(machine(&Host { virtualised: name("QEMU"), ..host.clone() }), name("Cortex-A76"));
        let bare = Host { board: None, cpu_model: None, ..host };
        assert_eq!((machine(&bare), machine(&Host::default())), (name("lab-3"), None));
    }

    #[test]
    fn a_note_that_is_too_long_is_named() {
        let tags = vec!["t".to_owned(); 17];
        for (note, problem) in [
            (SessionNote { name: Some("n".repeat(81)), ..SessionNote::default() }, "80 bytes"),
            (SessionNote { text: Some("n".repeat(4001)), ..SessionNote::default() }, "4000 bytes"),
            (SessionNote { tags, ..SessionNote::default() }, "16 tags"),
        ] {
            assert!(note.problem().unwrap().contains(problem));
        }
        assert_eq!(SessionNote::default().problem(), None);
    }
}
