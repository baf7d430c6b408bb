//! What a client asks, and how it is answered.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{MAX_ECHO, glob_problem};
use crate::display::excerpt;
use crate::job::{JobId, ModelRef};
use crate::kept::Wanted;
use crate::sessions::NoteChange;
use crate::words::open_words;
use crate::workload::Workload;

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// Comes back as `re` of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The protocol that the client speaks; `None` leaves it to the daemon. MessagePack clients state theirs
    /// with the magic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// What is asked.
    #[serde(flatten)]
    pub method: Method,
}

impl Request {
    /// A request whose answer carries `id`.
    pub fn new(id: Option<u64>, method: Method) -> Self {
        Self { id, protocol: None, method }
    }
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Starts the stream, or changes what it carries; `ok` is a [`Subscribed`].
    Subscribe(Subscribe),
    /// Queues a job; `ok` is `{job}`.
    Submit(Submit),
    /// Ends a job; `ok` is the [`Job`](crate::job::Job).
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Lists the jobs, and the results that are kept; `ok` is `{jobs: [Job], results: [KeptResult]}`. See
    /// [`crate::job::Job`] and [`crate::kept::KeptResult`].
    Jobs {},
    /// A result that is kept; `ok` is a [`KeptRun`](crate::kept::KeptRun).
    Result(Wanted),
    /// Lists the sessions that are kept; `ok` is `{sessions: [SessionInfo]}`. See [`crate::sessions::SessionInfo`].
    Sessions {},
    /// Opens a session for reading; `ok` is its [`SessionInfo`](crate::sessions::SessionInfo), and the open file travels
    /// with the answer (SCM_RIGHTS).
    OpenSession(Wanted),
    /// Removes a session; `ok` is `{bytes}`, what that frees.
    RemoveSession {
        /// Which.
        session: JobId,
    },
    /// Changes what the owner of a session says of it; `ok` is its [`SessionInfo`](crate::sessions::SessionInfo).
    NoteSession {
        /// Which.
        session: JobId,
        /// What is to be changed.
        change: NoteChange,
    },
    /// Writes what the loop that runs did of late, which is kept in memory, into the open file that travels with the
    /// request; `ok` is a [`RecentSaved`](crate::sessions::RecentSaved).
    SaveRecent {
        /// Of the last so many seconds, as far as it is kept.
        seconds: u64,
    },
    /// The daemon's own figures; `ok` is a [`crate::status::Status`].
    Status {},
    /// Every probe's reading; `ok` is a [`crate::doctor::DoctorReport`].
    Doctor {},
}

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscribe {
    /// Channels, as patterns where `*` stands for any characters.
    pub channels: Vec<String>,
    /// At most so many samples of a channel a second: above 0, at most [`MAX_HZ`].
    pub max_hz: f64,
    /// Op events.
    pub ops: OpsDetails,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { channels: vec!["*".to_owned()], max_hz: 10.0, ops: OpsDetails::SUMMARY }
    }
}

/// The answer to a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subscribed {
    /// Those of the patterns that match no channel of this machine, the first [`MAX_UNMATCHED`], each as far as an error
    /// would repeat it. `slmscope doctor all` lists the channels.
    #[serde(default)]
    pub unmatched: Vec<String>,
}

/// The most patterns that an answer repeats.
pub const MAX_UNMATCHED: usize = 20;

/// The most samples of a channel in a second that a stream may ask for. No sensor is read more often than 1000 times.
pub const MAX_HZ: f64 = 1e6;

/// A field of a subscription with an impossible value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SubscribeError {
    /// The field.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Subscribe {
    /// A subscription to states of jobs and results, without readings and op events.
    pub fn states() -> Self {
        Self { channels: Vec::new(), ops: OpsDetails::OFF, ..Self::default() }
    }

    /// Checks rate and patterns.
    ///
    /// # Errors
    /// Names the first field with an impossible value.
    pub fn validate(&self) -> Result<(), SubscribeError> {
        if !(self.max_hz > 0.0 && self.max_hz <= MAX_HZ) {
            let problem = format!(
                "a number of samples in a second, above 0 and at most {MAX_HZ}, is expected, not {}",
                excerpt(&self.max_hz.to_string(), MAX_ECHO / 4)
            );
            return Err(SubscribeError { field: "max_hz".to_owned(), problem });
        }
        for (at, pattern) in self.channels.iter().enumerate() {
            if let Some(problem) = glob_problem(pattern) {
                let problem = format!("`{}`: {problem}", excerpt(pattern, MAX_ECHO / 2));
                return Err(SubscribeError { field: format!("channels[{at}]"), problem });
            }
        }
        Ok(())
    }
}

/// A form in which a stream carries op events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpsDetail {
    /// Sums, ten times a second.
    Summary,
    /// Every event.
    Raw,
}

/// The forms in which a stream carries op events: none, one or both.
///
/// In JSON a list, `["summary","raw"]`; one word is read too: `"summary"`, `"raw"`, or `"off"` for none. Words
/// that this build does not know are skipped in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpsDetails {
    /// [`OpsDetail::Summary`] is among them.
    pub summary: bool,
    /// [`OpsDetail::Raw`] is among them.
    pub raw: bool,
}

impl OpsDetails {
    /// No op events.
    pub const OFF: Self = Self { summary: false, raw: false };
    /// Sums alone.
    pub const SUMMARY: Self = Self { summary: true, raw: false };
    /// Events alone.
    pub const RAW: Self = Self { summary: false, raw: true };
    /// Events and their sums.
    pub const BOTH: Self = Self { summary: true, raw: true };

    /// Whether `detail` is among them.
    pub fn contains(self, detail: OpsDetail) -> bool {
        match detail {
            OpsDetail::Summary => self.summary,
            OpsDetail::Raw => self.raw,
        }
    }

    /// Adds what a word stands for; `false` if it is unknown.
    fn add(&mut self, word: &str) -> bool {
        match word {
            "off" => {}
            "summary" => self.summary = true,
            "raw" => self.raw = true,
            _ => return false,
        }
        true
    }
}

impl Serialize for OpsDetails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = [OpsDetail::Summary, OpsDetail::Raw];
        serializer.collect_seq(all.into_iter().filter(|&detail| self.contains(detail)))
    }
}

impl<'de> Deserialize<'de> for OpsDetails {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OpsVisitor)
    }
}

struct OpsVisitor;

impl<'de> Visitor<'de> for OpsVisitor {
    type Value = OpsDetails;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, `summary`, `raw`, or a list of the last two")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<OpsDetails, E> {
        let mut details = OpsDetails::OFF;
        if details.add(word) {
            return Ok(details);
        }
        Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<OpsDetails, A::Error> {
        let mut details = OpsDetails::OFF;
        while let Some(word) = words.next_element::<String>()? {
            details.add(&word);
        }
        Ok(details)
    }
}

/// A job to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Its model.
    pub model: ModelRef,
    /// Its options.
    #[serde(default)]
    pub workload: Workload,
    /// The job outlives the connection.
    #[serde(default)]
    pub detach: bool,
    /// The daemon records it, if it records jobs at all.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub record: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl Submit {
    /// A job of `model`, which ends with its connection and is recorded.
    pub fn new(model: ModelRef, workload: Workload) -> Self {
        Self { model, workload, detach: false, record: true }
    }
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id; `None` if it had none, or if it could not be read.
    pub re: Option<u64>,
    /// The answer, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Success or failure of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; the shape is documented at [`Method`].
    Ok(serde_json::Value),
    /// Refused.
    Error(WireError),
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// For machines.
    pub code: ErrorCode,
    /// Sentence for people, with the remedy.
    pub message: String,
    /// The field of the request at fault, if it is one.
    pub field: Option<String>,
}

open_words! {
    /// Why a request was refused, in a word.
    pub enum ErrorCode {
        /// It cannot be read.
        BadRequest = "bad_request",
        /// This client may not ask that.
        Forbidden = "forbidden",
        /// The model is unknown or cannot be opened.
        UnknownModel = "unknown_model",
        /// An option cannot be; the field says which.
        BadWorkload = "bad_workload",
        /// The machine has too little memory for the job.
        NoMemory = "no_memory",
        /// There is no job of that number.
        NoSuchJob = "no_such_job",
        /// No result is kept of that job or run, or not yet.
        NoResult = "no_result",
        /// There is no such session, or none can be kept.
        NoSession = "no_session",
        /// The queue is full.
        Busy = "busy",
        /// A fault of the daemon.
        Internal = "internal",
    }
}
