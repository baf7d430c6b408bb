//! All that is known of the selected job and its session.

use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::sessions::SessionInfo;
use slmscope_profiles::workload::Workload;

use super::rows::Row;

/// Its lines, each a list of facts, the most important first.
pub fn facts(row: &Row<'_>) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    lines.extend(row.job.map(|job| workload(&job.workload)));
    lines.extend(row.info.map(session_facts));
    lines.extend(row.job.and_then(|job| job.error.clone()).map(|error| vec![error]));
    let note = row.note();
    lines.extend((!note.is_empty()).then(|| vec![note]));
    if row.info.is_none() && !row.is_busy() {
        lines.push(vec!["nothing of it was recorded".to_owned()]);
    }
    lines
}

/// A workload in words.
fn workload(workload: &Workload) -> Vec<String> {
    let prompt = if workload.has_text() { "a text".to_owned() } else { workload.prompt.to_string() };
    let mut facts = vec![format!("prompt {prompt}, generate {}", workload.generate)];
    if workload.depth > 0 {
        facts.push(format!("depth {}", workload.depth));
    }
    facts.extend(workload.format.map(|format| format.to_string()));
    facts.push(workload.threads.map_or_else(
        || "threads by default".to_owned(),
        |threads| display::plural(threads.into(), "thread"),
    ));
    facts.push(match (workload.looped, workload.repetitions) {
        (true, _) => "in a loop".to_owned(),
        (false, Some(repetitions)) => display::plural(repetitions.into(), "repetition"),
        (false, None) => "6 repetitions and more".to_owned(),
    });
    facts
}

fn session_facts(info: &SessionInfo) -> Vec<String> {
    let mut facts = vec![format!("session {}, {}", info.session, display::bytes(info.bytes))];
    let Some(summary) = &info.summary else {
        if !info.is_written {
            facts.push("what it holds is known when it is opened".to_owned());
        }
        return facts;
    };
    let rate =
        |value: Option<f64>, of: &str| value.map(|rate| format!("{of} {} tok/s", display::significant(rate)));
    facts.extend(rate(summary.prefill_tokens_per_s, "prefill"));
    facts.extend(rate(summary.decode_tokens_per_s, "decode"));
    facts.push(match (&summary.joules, &summary.no_joules) {
        (Some(joules), _) => format!("{} J", display::significant(*joules)),
        (None, reason) => format!("no joules: {}", or_absent(reason.clone(), |reason| reason)),
    });
    facts.extend(summary.machine.clone());
    facts.extend(summary.stopped.as_ref().map(|why| format!("its recording ended early: {why}")));
    facts.extend(summary.run_id.as_ref().map(|run| format!("run {run}")));
    facts
}
