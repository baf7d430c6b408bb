//! What the dashboard has done by a thread of its own, because it waits for files: reading, comparing and exporting
//! sessions.

use std::fmt;

use slmscope_profiles::job::JobId;
use slmscope_profiles::sessions::SessionInfo;
use slmscope_profiles::workload::Workload;

use super::data::Data;
use super::export_line::ExportFrom;
use super::player::Playing;
use super::replay::Index;
use super::screens::ops::state::{self, Baseline};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// List the sessions that are kept.
    List,
    /// Open one to be replayed.
    Open(JobId),
    /// Read the figures of one, to compare with them.
    Baseline(JobId),
    /// Find out what one ran.
    Recall(JobId),
    /// Compare two.
    Compare {
        /// The one to compare with.
        before: JobId,
        /// The one to judge.
        after: JobId,
        /// Columns of the text.
        width: u16,
    },
    /// Remove one.
    Remove(JobId),
    /// Export a recording.
    Export {
        /// Of what.
        from: ExportFrom,
        /// Into which file; the end of its name says in which format.
        path: String,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// The sessions that are kept, oldest first.
    Listed {
        /// Them.
        sessions: Vec<SessionInfo>,
        /// The wall clock, seconds since 1970.
        now_s: u64,
    },
    /// They cannot be listed, for this reason.
    NotListed(String),
    /// The figures of one.
    Baseline(JobId, Figures),
    /// What one ran.
    Recalled(String, Box<Workload>),
    /// A text to be read.
    Text {
        /// What it is.
        title: String,
        /// Its lines.
        text: String,
    },
    /// A session is gone.
    Removed(String),
    /// Something else was done, or could not be done: one line.
    Said(String),
}

/// A recording that is open, and its player.
pub struct Opened {
    /// Its name on screen.
    pub name: String,
    /// As commands name it.
    pub source: String,
    /// What it holds.
    pub index: Index,
    /// Reads it; taken by the loop.
    pub player: Option<Playing>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The figures of a whole recording.
#[derive(Debug)]
pub struct Figures(Baseline);

impl Figures {
    /// Of what a player gave to its end; `None` if no job is in it.
    pub(super) fn of(data: &Data) -> Option<Self> {
        state::baseline(data).map(Self)
    }

    /// As Ops compares with them.
    pub(super) fn into_baseline(self) -> Baseline {
        self.0
    }
}
