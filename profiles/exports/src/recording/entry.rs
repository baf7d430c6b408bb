//! What one message of a recording holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::wire::{Frame, Talk};

/// One message of a recording.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An observation; shared, since a recorder is one of several who have it.
    Record(Arc<Record>),
    /// What was asked for, and how it ended.
    Job(Box<Job>),
    /// The result of a job.
    Result {
        /// The job.
        job: JobId,
        /// The object that `run --json` prints.
        result: Box<RunResult>,
    },
}

/// The kinds of messages, which are MCAP's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Topic {
    /// Clocks and machine.
    Header,
    /// Channels.
    Catalogue,
    /// Sites and lanes.
    Plan,
    /// A phase that ended.
    Span,
    /// Readings.
    Sample,
    /// Op events.
    Ops,
    /// Batches that were lost.
    Loss,
    /// Something happened.
    Mark,
    /// A job.
    Job,
    /// A result.
    Result,
}

impl Topic {
    /// All of them, in the order of their MCAP channel numbers.
    pub const ALL: [Self; 10] = [
        Self::Header,
        Self::Catalogue,
        Self::Plan,
        Self::Span,
        Self::Sample,
        Self::Ops,
        Self::Loss,
        Self::Mark,
        Self::Job,
        Self::Result,
    ];

    /// The topic as it is spelled in the file: the key of the message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Catalogue => "catalogue",
            Self::Plan => "plan",
            Self::Span => "span",
            Self::Sample => "sample",
            Self::Ops => "ops",
            Self::Loss => "loss",
            Self::Mark => "mark",
            Self::Job => "job",
            Self::Result => "result",
        }
    }
}

impl Entry {
    /// Its kind.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Record(record) => match **record {
                Record::Header(_) => Topic::Header,
                Record::Catalogue { .. } => Topic::Catalogue,
                Record::Plan(_) => Topic::Plan,
                Record::Span(_) => Topic::Span,
                Record::Sample(_) => Topic::Sample,
                Record::Ops(_) => Topic::Ops,
                Record::Loss { .. } => Topic::Loss,
                Record::Mark(_) => Topic::Mark,
            },
            Self::Job(_) => Topic::Job,
            Self::Result { .. } => Topic::Result,
        }
    }

    /// When it was observed, CLOCK_MONOTONIC ns; `None` for messages that have no time of their own.
    pub fn t_ns(&self) -> Option<u64> {
        let Self::Record(record) = self else { return None };
        match &**record {
            Record::Header(header) => Some(header.origin_ns),
            Record::Span(span) => Some(span.end_ns),
            Record::Sample(sample) => Some(sample.t_ns),
            Record::Ops(ops) => Some(ops.head.end_ns),
            Record::Mark(mark) => Some(mark.t_ns),
            Record::Catalogue { .. } | Record::Plan(_) | Record::Loss { .. } => None,
        }
    }

    /// The same as a message of a stream.
    pub fn into_frame(self) -> Frame {
        match self {
            Self::Record(record) => Frame::Record(Arc::unwrap_or_clone(record)),
            Self::Job(job) => Frame::Talk(Talk::Job(job)),
            Self::Result { job, result } => Frame::Talk(Talk::Result { job, result }),
        }
    }

    /// What of a stream is recorded; `None` for summaries and other talk.
    pub fn from_frame(frame: Frame) -> Option<Self> {
        match frame {
            Frame::Record(record) => Some(Self::Record(Arc::new(record))),
            Frame::Talk(Talk::Job(job)) => Some(Self::Job(job)),
            Frame::Talk(Talk::Result { job, result }) => Some(Self::Result { job, result }),
            Frame::Summary(_) | Frame::Talk(_) => None,
        }
    }

    /// The bytes of its message.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        // As on the wire, so that a reader of one reads the other.
        let written = match self {
            Self::Record(record) => rmp_serde::encode::write_named(bytes, &**record),
            Self::Job(job) => rmp_serde::encode::write_named(bytes, &Borrowed::Job(job)),
            Self::Result { job, result } => {
                rmp_serde::encode::write_named(bytes, &Borrowed::Result { job: *job, result })
            }
        };
        written.expect("writing to memory cannot fail");
    }

    /// From the bytes of a message of `topic`.
    pub(super) fn decode(topic: Topic, bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        match topic {
            Topic::Job | Topic::Result => Ok(match rmp_serde::from_slice(bytes)? {
                Owned::Job(job) => Self::Job(job),
                Owned::Result { job, result } => Self::Result { job, result },
            }),
            _ => Ok(Self::Record(Arc::new(rmp_serde::from_slice(bytes)?))),
        }
    }
}

/// What is no record, as [`Talk`] spells it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Borrowed<'a> {
    Job(&'a Job),
    Result { job: JobId, result: &'a RunResult },
}

/// The same, read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Owned {
    Job(Box<Job>),
    Result { job: JobId, result: Box<RunResult> },
}
