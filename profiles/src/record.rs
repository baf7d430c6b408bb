//! Records: what a daemon observes, in the order in which it observed it. A file stores exactly these, and a
//! stream carries them to clients beside summaries and talk ([`crate::wire`]).
//!
//! A record is an object with one key, which names its kind. Readers skip kinds and fields that they do not
//! know. A word that they do not know is kept as it is in open lists (names of spans, quantities, kinds of
//! marks) and reads as unknown in `granularity` and in the kinds of lanes and clocks. All times are
//! CLOCK_MONOTONIC, ns; the header has the offsets to other clocks.
//!
//! | record | when |
//! |---|---|
//! | `header` | first |
//! | `catalogue` | before the first sample of a channel |
//! | `plan` | before the first batch that names it, and again when its roofs were measured anew |
//! | `span` | at the end of a phase |
//! | `sample` | after a reading |
//! | `ops` | after each token or chunk |
//! | `loss` | when batches were lost |
//! | `mark` | at anything else that has a time, like a job's new state |
//!
//! ```
//! use slmscope_profiles::record::{Mark, MarkKind, Record};
//!
//! let mark = Mark { t_ns: 5, job: 1, kind: MarkKind::JobState, text: Some("loading".to_owned()) };
//! let json = serde_json::to_string(&Record::Mark(mark)).unwrap();
//! assert_eq!(json, r#"{"mark":{"t_ns":5,"job":1,"kind":"job_state","text":"loading"}}"#);
//! // A kind of mark from a newer build is kept as it is.
//! let newer: Record = serde_json::from_str(r#"{"mark":{"t_ns":5,"job":1,"kind":"eclipse"}}"#).unwrap();
//! assert!(matches!(newer, Record::Mark(mark) if mark.kind.as_str() == "eclipse"));
//! ```

mod column;
mod mark;
mod ops;
mod plan;

use serde::{Deserialize, Serialize};

pub use column::Column;
pub use mark::{Mark, MarkKind};
pub use ops::OpColumns;
pub use plan::PlanRecord;

use crate::channel::{Channel, Sample};
use crate::host::Host;
use crate::job::Span;

/// One observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Clocks and machine.
    Header(Header),
    /// All channels, or those that came later.
    Catalogue {
        /// In the order of their numbers.
        channels: Vec<Channel>,
    },
    /// What the batches from here on are about.
    Plan(PlanRecord),
    /// A phase that ended.
    Span(Span),
    /// Readings.
    Sample(Sample),
    /// Op events of one token or chunk.
    Ops(OpColumns),
    /// Batches that the engine made and the daemon did not get.
    Loss {
        /// How many tokens or chunks.
        batches: u64,
    },
    /// Something happened.
    Mark(Mark),
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
