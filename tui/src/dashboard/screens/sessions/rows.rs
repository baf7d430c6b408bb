//! The rows of the Sessions screen: one for each number, of its job and of what is kept of it, the newest first.

use std::collections::BTreeMap;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::sessions::{SessionInfo, SessionSummary};

use crate::cli::jobs::age;
use crate::dashboard::state::State;
use crate::dashboard::view::table::Column;

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Number of the job and of its session.
    pub number: JobId,
    /// The job, as long as the daemon knows it.
    pub job: Option<&'a Job>,
    /// What is kept of it.
    pub info: Option<&'a SessionInfo>,
}

impl Row<'_> {
    /// Whether the job waits or runs.
    pub fn is_busy(&self) -> bool {
        self.job.is_some_and(|job| !job.state.is_final())
    }

    /// The model.
    pub fn model(&self) -> &str {
        self.job.map(|job| job.model.as_str()).or(self.info.map(|info| info.model.as_str())).unwrap_or(ABSENT)
    }

    fn summary(&self) -> Option<&SessionSummary> {
        self.info?.summary.as_ref()
    }

    /// How far it is, or how it ended.
    pub fn state(&self) -> String {
        match (self.job, self.info) {
            (Some(job), _) if job.ahead > 0 && !job.state.is_final() => {
                format!("queued, {} ahead", job.ahead)
            }
            (Some(job), _) if job.workload.looped && job.state == JobState::Measuring => {
                format!("turn {}", job.turns.saturating_add(1))
            }
            (Some(job), _) => job.state.as_str().to_owned(),
            (None, Some(info)) if info.is_written => "running".to_owned(),
            (None, _) => {
                let state = self.summary().and_then(|summary| summary.state);
                state.map_or("cut off", |state| state.as_str()).to_owned()
            }
        }
    }

    /// What its owner says of it: `kept base #a before the change`.
    pub fn note(&self) -> String {
        let Some(note) = self.info.map(|info| &info.note) else { return String::new() };
        let kept = note.pinned.then(|| "kept".to_owned());
        let tags = note.tags.iter().map(|tag| format!("#{tag}"));
        let words: Vec<String> =
            kept.into_iter().chain(note.name.clone()).chain(tags).chain(note.text.clone()).collect();
        words.join(" ")
    }

    fn has(&self, filter: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(filter);
        has(self.model()) || has(&self.state()) || has(&self.note()) || has(&self.number.to_string())
    }
}

/// The rows that match the filter.
pub fn rows(state: &State) -> Vec<Row<'_>> {
    let mut rows: BTreeMap<JobId, Row<'_>> = BTreeMap::new();
    let none = |number| Row { number, job: None, info: None };
    for info in state.sessions.kept.iter().flatten() {
        rows.entry(info.session).or_insert_with(|| none(info.session)).info = Some(info);
    }
    let known = state.live.status.iter().flat_map(|status| &status.jobs);
    // The job that runs is told of at once, and the status every two seconds.
    for job in known.chain(&state.live.job) {
        rows.entry(job.job).or_insert_with(|| none(job.job)).job = Some(job);
    }
    let filter = state.sessions.list.filter.to_lowercase();
    rows.into_values().rev().filter(|row| row.has(&filter)).collect()
}

/// The selected row, or the first.
pub fn selected(state: &State) -> Option<Row<'_>> {
    let rows = rows(state);
    let key = state.sessions.list.selected.as_ref();
    rows.iter().find(|row| Some(&row.number.to_string()) == key).or(rows.first()).copied()
}

/// A column: its place and width, and its text for a row.
#[derive(Clone, Copy)]
pub struct Field {
    pub column: Column,
    pub text: fn(&Row<'_>, u64) -> String,
}

const fn left(title: &'static str, width: usize, text: fn(&Row<'_>, u64) -> String) -> Field {
    Field { column: Column { title, width, right: false }, text }
}

const fn right(title: &'static str, width: usize, text: fn(&Row<'_>, u64) -> String) -> Field {
    Field { column: Column { title, width, right: true }, text }
}

fn figure(row: &Row<'_>, of: impl FnOnce(&SessionSummary) -> Option<f64>) -> String {
    or_absent(row.summary().and_then(of), display::significant)
}

/// In order of importance; a narrow screen shows the first of them.
const FIELDS: [Field; 12] = [
    left("model", 21, |row, _| row.model().to_owned()),
    left("state", 15, |row, _| row.state()),
    right("tok/s", 7, |row, _| {
        figure(row, |summary| summary.decode_tokens_per_s.or(summary.prefill_tokens_per_s))
    }),
    left("fit", 6, |row, _| {
        row.summary().and_then(|summary| summary.grade).map_or(ABSENT, |grade| grade.as_str()).to_owned()
    }),
    right("age", 6, |row, now_s| or_absent(row.info, |info| age(now_s.saturating_sub(info.unix_s)))),
    left("format", 6, |row, _| {
        let format = row.job.and_then(|job| job.format);
        let format = format.or(row.summary().and_then(|summary| summary.format));
        or_absent(format, |format| format.to_string())
    }),
    right("size", 9, |row, _| or_absent(row.info, |info| display::bytes(info.bytes))),
    right("joules", 8, |row, _| figure(row, |summary| summary.joules)),
    right("prefill", 9, |row, _| figure(row, |summary| summary.prefill_tokens_per_s)),
    right("threads", 7, |row, _| {
        or_absent(row.summary().and_then(|summary| summary.threads), |threads| threads.to_string())
    }),
    left("machine", 30, |row, _| {
        row.summary().and_then(|summary| summary.machine.as_deref()).unwrap_or(ABSENT).to_owned()
    }),
    left("note", 24, |row, _| row.note()),
];

/// The fields that fit `width`, without those in which no row has anything.
pub fn fields(rows: &[Row<'_>], width: usize, now_s: u64) -> Vec<Field> {
    let mut left = width;
    let mut fields: Vec<Field> = Vec::new();
    for field in FIELDS {
        let is_empty = |text: &str| text.is_empty() || text == ABSENT;
        if rows.iter().all(|row| is_empty(&(field.text)(row, now_s))) {
            continue;
        }
        let Some(rest) = left.checked_sub(field.column.width + 1) else { continue };
        left = rest;
        fields.push(field);
    }
    fields
}
