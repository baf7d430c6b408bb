//! The cost of measuring, and a recording of it that is not whole.

use super::{FindingCode, Found, Use};
use crate::display;
use crate::result::RunResult;

/// Share of the run that measuring may cost, without a budget.
const OVERHEAD_SHARE: f64 = 0.01;

/// Measuring cost more than its budget, or 1 % without one: also at the lower end of its interval.
pub(super) fn overhead(result: &RunResult) -> Option<Found> {
    let budget = result.workload.overhead_budget;
    let limit = budget.unwrap_or(OVERHEAD_SHARE);
    let (fraction, low) = (result.overhead.fraction?, result.overhead.low?);
    if fraction <= limit || low <= limit {
        return None;
    }
    let of =
        budget.map_or_else(String::new, |budget| format!(", its budget is {}", display::fine_share(budget)));
    // A budget bounds what the recorder costs, so what is above it was taken by the daemon and its clients.
    let advice = if budget.is_some() {
        "Close dashboards and other clients, or read the figures with that in mind."
    } else {
        "Close dashboards, let fewer tokens be recorded with --overhead-budget, or read the figures with that in mind."
    };
    Some(
        Found::new(FindingCode::Overhead, Use::Note, fraction)
            .reason(format!("measuring cost {} of the run{of}", display::fine_share(fraction)))
            .figure("cost", fraction, "ratio")
            .figure("lower end of the interval", low, "ratio")
            .known("upper end of the interval", result.overhead.high, "ratio")
            .known("recording", result.overhead.recording, "ratio")
            .known("daemon, clients and helper threads", result.overhead.stolen, "ratio")
            .advice(advice),
    )
}

/// The daemon was to record the run, and could not, or not to its end.
pub(super) fn recording_stopped(result: &RunResult) -> Option<Found> {
    let recorded = &result.recorded;
    let error = recorded.error.as_ref()?;
    let (what, kept) = match recorded.session {
        Some(session) => (
            format!("the recording of session {session} stopped before the run"),
            "Figures are of the whole run; the session holds what was recorded before.",
        ),
        None => ("the run was not recorded".to_owned(), "Figures are of the whole run; no session holds it."),
    };
    Some(
        Found::new(FindingCode::RecordingStopped, Use::Note, 1.0)
            .reason(format!("{what}: {}", display::printable(error)))
            .advice(kept),
    )
}
