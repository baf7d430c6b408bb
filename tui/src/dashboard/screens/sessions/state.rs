//! What is known of the kept sessions.

use slmscope_profiles::job::JobId;
use slmscope_profiles::sessions::SessionInfo;

use crate::dashboard::list::List;

/// What a key of the screen does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Replays the selected session.
    Open,
    /// Compares the Ops screen, and the next comparison, with it.
    Baseline,
    /// Compares it with the baseline.
    Compare,
    /// Fills the form with its workload.
    Repeat,
    /// Opens the form of a new workload.
    Start,
    /// Removes it, after a question.
    Remove,
}

/// Settings of the screen, and what was listed.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Filter and selection.
    pub list: List,
    /// The sessions that are kept, oldest first; `None` before they were listed.
    pub kept: Option<Vec<SessionInfo>>,
    /// Why they cannot be listed.
    pub problem: Option<String>,
    /// When they were listed, by the wall clock, seconds since 1970.
    pub listed_s: u64,
    /// When they were asked for last, CLOCK_MONOTONIC ns; `None` if they are to be asked for now.
    pub asked_ns: Option<u64>,
    /// An answer to that is awaited.
    pub is_asked: bool,
    /// The session that others are compared with.
    pub baseline: Option<JobId>,
}

impl Sessions {
    /// The session of that number.
    pub fn info(&self, session: JobId) -> Option<&SessionInfo> {
        self.kept.iter().flatten().find(|info| info.session == session)
    }

    /// What a session is compared with: the baseline, or else the newest older one of the same model.
    pub fn compared_with(&self, session: JobId) -> Option<JobId> {
        if let Some(baseline) = self.baseline.filter(|&baseline| baseline != session) {
            return Some(baseline);
        }
        let model = &self.info(session)?.model;
        let older = self.kept.iter().flatten().filter(|info| info.session < session && info.model == *model);
        older.map(|info| info.session).next_back()
    }
}
