//! What crosses the socket between daemon and clients.
//!
//! A Unix stream socket; one set of types, two codecs, chosen by the client's first byte:
//!
//! - `{` begins JSON lines: every message is one line.
//! - The eight bytes of [`MAGIC`] begin MessagePack: every message is a little-endian `u32` length, then a
//!   byte that says what it is ([`codec::Envelope`]), then a map with named fields. The length counts the
//!   byte and the map.
//!
//! The server says nothing until that first byte; its first frame is [`Frame::Hello`]. A request may carry
//! an `id`; its answer is `{re, ok}` or `{re, error}` with that id. Stream frames have no id: an object with one
//! key, which names the kind. Receivers skip kinds and fields that they do not know.

pub mod codec;
mod column;

use serde::{Deserialize, Serialize};

pub use column::Column;

use crate::channel::{Channel, Sample};
use crate::host::Host;
use crate::job::{Job, JobId, ModelRef, Progress, Span};
use crate::op::{BatchHead, OpBatch, OpEvent};
use crate::plan::site::OpSite;
use crate::result::RunResult;
use crate::roofline::Roofs;
use crate::summary::Summary;
use crate::workload::Workload;

/// First bytes of a client that speaks MessagePack.
pub const MAGIC: [u8; 8] = *b"slmscope";

/// The protocol that this build speaks. Grows when a change would mislead older readers.
pub const PROTOCOL: u32 = 1;

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Comes back as `re` of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What is asked.
    #[serde(flatten)]
    pub method: Method,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Starts the stream, or changes what it carries.
    Subscribe(Subscribe),
    /// Queues a job; `ok` is `{job}`.
    Submit(Submit),
    /// Ends a job; `ok` is the [`Job`].
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Lists the jobs; `ok` is `{jobs: [Job]}`.
    Jobs {},
    /// The daemon's own figures; `ok` is a [`crate::status::Status`].
    Status {},
    /// Every probe's reading; `ok` is a [`crate::doctor::DoctorReport`].
    Doctor {},
}

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscribe {
    /// Channels, as patterns where `*` stands for any characters.
    pub channels: Vec<String>,
    /// At most so many samples of a channel a second. Above 0.
    pub max_hz: f64,
    /// Op events.
    pub ops: OpsDetail,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { channels: vec!["*".to_owned()], max_hz: 10.0, ops: OpsDetail::Summary }
    }
}

/// How much of the op events a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpsDetail {
    /// Nothing.
    Off,
    /// Sums, ten times a second.
    Summary,
    /// Every event.
    Raw,
}

/// A job to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submit {
    /// Its model.
    pub model: ModelRef,
    /// Its options.
    #[serde(default)]
    pub workload: Workload,
    /// The job outlives the connection.
    #[serde(default)]
    pub detach: bool,
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
    /// Word for machines: `bad_request` `forbidden` `unknown_model` `bad_workload` `no_such_job` `busy`
    /// `not_in_this_build` `internal`.
    pub code: String,
    /// Sentence for people, with the remedy.
    pub message: String,
    /// The field of the request at fault, if it is one.
    pub field: Option<String>,
}

/// A message of the daemon that answers nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// First frame of every connection.
    Hello(Hello),
    /// Clock and machine; first frame of every stream.
    Header(Header),
    /// All channels, or those that came later.
    Catalogue {
        /// In the order of their numbers.
        channels: Vec<Channel>,
    },
    /// The sites of a plan, before any batch that names them.
    Plan(PlanFrame),
    /// A job's new state.
    Job(Job),
    /// How far loading or a phase is.
    Progress(Progress),
    /// A phase that ended.
    Span(Span),
    /// Readings.
    Sample(Sample),
    /// Op events.
    Ops(OpColumns),
    /// Sums of op events.
    Summary(Summary),
    /// Generated text; to the submitter only.
    Text {
        /// The job.
        job: JobId,
        /// Repetition.
        #[serde(rename = "run")]
        repetition: u32,
        /// What came since the last such frame.
        text: String,
    },
    /// Batches that the engine made and the daemon did not get.
    Loss {
        /// How many tokens or chunks.
        batches: u64,
    },
    /// Batches that this client was too slow for.
    Gap {
        /// First batch that was dropped.
        first_seq: u64,
        /// Last batch that was dropped.
        last_seq: u64,
        /// How many.
        batches: u64,
    },
    /// A job's result; to the submitter only.
    Result {
        /// The job.
        job: JobId,
        /// The object that `run --json` prints.
        result: Box<RunResult>,
    },
    /// The daemon ends the connection after this frame.
    Bye {
        /// Why.
        reason: String,
    },
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest protocol that the daemon speaks.
    pub protocol: [u32; 2],
    /// Version of the daemon.
    pub version: String,
    /// As which user it runs.
    pub uid: u32,
    /// What this connection may do: `read`, `submit`.
    pub capabilities: Vec<String>,
}

/// Where times and numbers come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// CLOCK_MONOTONIC at the daemon's start, ns; views subtract it.
    pub origin_ns: u64,
    /// CLOCK_REALTIME at the same moment, ns since 1970.
    pub wall_ns: u64,
    /// CLOCK_BOOTTIME minus CLOCK_MONOTONIC at that moment, ns: time asleep.
    pub boottime_offset_ns: u64,
    /// The kernel's id of this boot; `None` if it has none.
    pub boot_id: Option<String>,
    /// Version of the daemon.
    pub version: String,
    /// The machine.
    pub host: Host,
}

/// The sites of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFrame {
    /// Its number.
    pub plan: u32,
    /// The model.
    pub model: String,
    /// Engine threads.
    pub threads: u32,
    /// Which kernels run.
    pub path: String,
    /// What the machine can do at most, as far as it was looked at: the plan comes again when it was.
    #[serde(default)]
    pub roofs: Roofs,
    /// Indexed by site id.
    pub sites: Vec<OpSite>,
}

/// An op batch, by columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpColumns {
    /// What the events share.
    pub head: BatchHead,
    /// Sites.
    pub site: Column<u16>,
    /// Ticks since the end of the event before.
    pub gap: Column<u32>,
    /// Ticks that each took.
    pub duration: Column<u32>,
}

impl From<&OpBatch> for OpColumns {
    fn from(batch: &OpBatch) -> Self {
        Self {
            head: batch.head,
            site: Column(batch.events.iter().map(|event| event.site).collect()),
            gap: Column(batch.events.iter().map(|event| event.gap).collect()),
            duration: Column(batch.events.iter().map(|event| event.duration).collect()),
        }
    }
}

impl OpColumns {
    /// Back to events; columns of unequal length end with the shortest.
    pub fn to_batch(&self) -> OpBatch {
        let columns = self.site.0.iter().zip(&self.gap.0).zip(&self.duration.0);
        let events =
            columns.map(|((&site, &gap), &duration)| OpEvent { site, reserved: 0, gap, duration }).collect();
        OpBatch { head: self.head, events }
    }
}

/// Whether `id` matches `pattern`, in which `*` stands for any characters.
pub fn glob_matches(pattern: &str, id: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = id.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, id, matches) in [
            ("*", "cpu.cpu0", true),
            ("cpu.*", "cpu.cpu0", true),
            ("cpu.*", "temp.cpu", false),
            ("cpu", "cpu.cpu0", false),
            ("*.time", "cpu.cpu0.time", true),
            ("e*-0*", "energy.package-0", true),
            ("aa*a", "aa", false),
            ("", "", true),
        ] {
            assert_eq!(glob_matches(pattern, id), matches, "{pattern} {id}");
        }
    }
}
