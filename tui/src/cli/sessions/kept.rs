//! `slmscope sessions list`, `rm` and `note`: the sessions that are kept.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::job::{JobId, JobState};
use slmscope_profiles::kept::Wanted;
use slmscope_profiles::sessions::{NoteChange, SessionInfo, SessionNote, SessionSummary};

use super::super::jobs::age;
use super::super::number;
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::kept_sessions::KeptSessions;
use crate::session_source::SessionSource;
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `sessions list`.
#[derive(Debug, Default, Args)]
pub struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `sessions rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Numbers of sessions
    #[arg(value_name = "SESSION", required_unless_present_any = ["all", "older_than"])]
    sessions: Vec<SessionSource>,
    /// Remove all that are not pinned
    #[arg(long, conflicts_with = "sessions")]
    all: bool,
    /// Remove those that are older, such as 7d, 12h or 30m, and not pinned
    #[arg(long, value_name = "TIME", conflicts_with = "sessions", value_parser = number::seconds)]
    older_than: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Options of `sessions note`.
#[derive(Debug, Args)]
pub struct NoteArgs {
    /// Number of the session, or `latest`
    #[arg(value_name = "SESSION")]
    session: SessionSource,
    /// What there is to say of it; an empty text removes it
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Give it a name; an empty one removes it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Give it these tags instead of those that it has
    #[arg(long, value_name = "TAG,...", value_delimiter = ',')]
    tag: Option<Vec<String>>,
    /// Never remove it to make room
    #[arg(long, conflicts_with = "unpin")]
    pin: bool,
    /// Remove it when there is no room, as others
    #[arg(long)]
    unpin: bool,
}

/// Lists all sessions.
pub fn list(args: &ListArgs, target: &Target) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Document {
        schema: &'static str,
        sessions: Vec<SessionInfo>,
    }
    let sessions = KeptSessions::of(target)?.list()?;
    if args.json {
        print_json(&Document { schema: "slmscope.sessions/1", sessions })?;
    } else {
        print(&table(&sessions, now_s(), Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The wall clock, seconds since 1970.
fn now_s() -> u64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as u64
}

/// Most columns of a model's or machine's name.
const MAX_NAME: usize = 22;

fn table(sessions: &[SessionInfo], now_s: u64, style: Style) -> String {
    if sessions.is_empty() {
        return "no sessions are kept yet: `slmscope run` records one\n".to_owned();
    }
    let mut table = Table::new(&[
        ("session", Align::Right),
        ("model", Align::Left),
        ("format", Align::Left),
        ("tok/s", Align::Right),
        ("joules", Align::Right),
        ("fit", Align::Left),
        ("age", Align::Right),
        ("size", Align::Right),
        ("machine", Align::Left),
        ("note", Align::Left),
    ]);
    for info in sessions {
        table.row(row(info, now_s));
    }
    if sessions.iter().all(|info| info.note == SessionNote::default()) {
        table.remove_column("note");
    }
    let left_out = table.fit(style, &["machine", "fit", "joules"]);
    let mut text = table.render(style);
    for (problem, sessions) in problems(sessions) {
        text.push_str(&style.wrap_words(&format!("{sessions}: {problem}"), 2));
        text.push('\n');
    }
    if !left_out.is_empty() {
        text.push_str(&format!("left out for want of room: {}\n", left_out.join(", ")));
    }
    text
}

/// The cells of a session, in the order of the columns.
fn row(info: &SessionInfo, now_s: u64) -> [String; 10] {
    let summary = info.summary.as_ref();
    let figure =
        |of: fn(&SessionSummary) -> Option<f64>| or_absent(summary.and_then(of), display::significant);
    let rate = figure(|summary| summary.decode_tokens_per_s.or(summary.prefill_tokens_per_s));
    let grade = summary.and_then(|summary| summary.grade).map_or(ABSENT, |grade| grade.as_str());
    let format =
        summary.and_then(|summary| summary.format).map_or(ABSENT.to_owned(), |format| format.to_string());
    let machine = summary.and_then(|summary| summary.machine.as_deref()).unwrap_or(ABSENT);
    [
        info.session.to_string(),
        display::excerpt(&info.model, MAX_NAME),
        format,
        if info.is_written { "running".to_owned() } else { rate },
        figure(|summary| summary.joules),
        grade.to_owned(),
        age(now_s.saturating_sub(info.unix_s)),
        display::bytes(info.bytes),
        machine.chars().take(MAX_NAME).collect(),
        note(info),
    ]
}

/// `pinned base #a #b before the change`.
fn note(info: &SessionInfo) -> String {
    let note = &info.note;
    let pinned = note.pinned.then(|| "pinned".to_owned());
    let tags = note.tags.iter().map(|tag| format!("#{tag}"));
    let words: Vec<String> =
        pinned.into_iter().chain(note.name.clone()).chain(tags).chain(note.text.clone()).collect();
    words.join(" ")
}

/// What is missing and why, with the sessions of which that is said.
fn problems(sessions: &[SessionInfo]) -> Vec<(String, String)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for info in sessions {
        for problem in problem(info) {
            match found.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, numbers)) => numbers.push(info.session.to_string()),
                None => found.push((problem, vec![info.session.to_string()])),
            }
        }
    }
    let named = |numbers: Vec<String>| match numbers.as_slice() {
        [one] => format!("session {one}"),
        [first, .., last] => format!("{} sessions from {first} to {last}", numbers.len()),
        [] => String::new(),
    };
    found
        .into_iter()
        .map(|(problem, numbers)| (display::printable(&problem).into_owned(), named(numbers)))
        .collect()
}

/// What is to be said below the table of a session.
fn problem(info: &SessionInfo) -> Vec<String> {
    let Some(summary) = &info.summary else {
        let unread = "its summary is missing: `slmscope sessions info` reads the recording itself";
        return if info.is_written { Vec::new() } else { vec![unread.to_owned()] };
    };
    let ended = match summary.state {
        Some(JobState::Failed) => Some("its job failed".to_owned()),
        Some(JobState::Cancelled) => Some("its job was cancelled".to_owned()),
        _ => None,
    };
    let no_joules = summary.no_joules.as_ref().map(|reason| format!("no joules: {reason}"));
    no_joules.into_iter().chain(ended).chain(summary.stopped.clone()).collect()
}

/// The number of a session that is kept.
fn number_of(source: &SessionSource, kept: &[SessionInfo]) -> Result<JobId, Failure> {
    let found = match source {
        SessionSource::Kept(Wanted::Job(session)) => return Ok(*session),
        SessionSource::Kept(Wanted::Latest {}) => kept.last(),
        SessionSource::Kept(Wanted::Run(run)) => kept
            .iter()
            .find(|info| info.summary.as_ref().is_some_and(|summary| summary.run_id.as_ref() == Some(run))),
        SessionSource::File(path) => {
            let path = path.display();
            return Err(Failure::usage(format!("{path}: name a session by its number; a file is your own")));
        }
    };
    found.map(|info| info.session).ok_or_else(|| source.failed(&"none is kept"))
}

/// Removes sessions.
pub fn remove(args: &RemoveArgs, target: &Target) -> Result<ExitCode, Failure> {
    let mut kept = KeptSessions::of(target)?;
    let listed = kept.list()?;
    let now_s = now_s();
    let is_meant = |info: &&SessionInfo| {
        let is_old = args.older_than.is_none_or(|age| now_s.saturating_sub(info.unix_s) >= age);
        !info.note.pinned && !info.is_written && is_old
    };
    let chosen: BTreeSet<JobId> = if args.sessions.is_empty() {
        listed.iter().filter(is_meant).map(|info| info.session).collect()
    } else {
        args.sessions.iter().map(|source| number_of(source, &listed)).collect::<Result<_, _>>()?
    };
    if chosen.is_empty() {
        note_line!("slmscope: no session is to be removed");
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes {
        confirm(&chosen, &listed)?;
    }
    let (mut removed, mut bytes) = (0, 0);
    let mut failed = None;
    for &session in &chosen {
        match kept.remove(session) {
            Ok(freed) => (removed, bytes) = (removed + 1, bytes + freed),
            Err(failure) => {
                note_line!("{}", failure.text().unwrap_or_default());
                failed = Some(Failure::silent(1));
            }
        }
    }
    print(&format!("removed {}, {}\n", display::plural(removed, "session"), display::bytes(bytes)))?;
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Asks on the terminal.
fn confirm(chosen: &BTreeSet<JobId>, listed: &[SessionInfo]) -> Result<(), Failure> {
    let count = display::plural(chosen.len() as u64, "session");
    let bytes: u64 = listed.iter().filter(|info| chosen.contains(&info.session)).map(|info| info.bytes).sum();
    let what = format!("{count}, {}", display::bytes(bytes));
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::usage(format!("{what}: --yes removes them without asking")));
    }
    note!("Remove {what}? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let is_yes = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if is_yes { Ok(()) } else { Err(Failure::error("nothing was removed")) }
}

/// Changes what its owner says of a session.
pub fn note_session(args: &NoteArgs, target: &Target) -> Result<ExitCode, Failure> {
    let change = NoteChange {
        name: args.name.clone(),
        tags: args.tag.clone(),
        text: args.text.clone(),
        pinned: if args.pin { Some(true) } else { args.unpin.then_some(false) },
    };
    if change == NoteChange::default() {
        return Err(Failure::usage("nothing to note: give a text, --name, --tag, --pin or --unpin"));
    }
    let mut kept = KeptSessions::of(target)?;
    let session = match &args.session {
        SessionSource::Kept(Wanted::Job(session)) => *session,
        other => number_of(other, &kept.list()?)?,
    };
    let info = kept.note(session, change)?;
    let said = note(&info);
    print(&format!("session {session}: {}\n", if said.is_empty() { "no note" } else { &said }))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned;
    use slmscope_profiles::hygiene::Grade;

    fn info(session: JobId) -> SessionInfo {
        let summary = SessionSummary {
            run_id: Some(format!("19ad-1f-{session}")),
            state: Some(JobState::Done),
            format: Some(slmscope_profiles::format::WeightFormat::Q4_0),
            machine: Some("AMD EPYC 9B45 64-Core Processor".to_owned()),
            threads: Some(2),
            prefill_tokens_per_s: Some(1330.0),
            decode_tokens_per_s: Some(183.4),
            joules: Some(12.34),
            no_joules: None,
            grade: Some(Grade::Clean),
            stopped: None,
        };
        SessionInfo {
            session,
            uid: 1000,
            model: "smollm2-135m".to_owned(),
            bytes: 5 << 20,
            unix_s: 1_000_000,
            is_written: false,
            summary: Some(summary),
            note: SessionNote::default(),
        }
    }

    fn with(session: JobId, change: impl FnOnce(&mut SessionSummary)) -> SessionInfo {
        let mut info = info(session);
        change(info.summary.as_mut().unwrap());
        info
    }

    #[test]
    fn a_list_fits_80_columns_and_says_why_figures_are_missing() {
        let none = "this machine has none: no sensor";
        let mut named = with(12, |summary| summary.joules = None);
        named.summary.as_mut().unwrap().no_joules = Some(none.to_owned());
        named.note = SessionNote {
            name: Some("base".to_owned()),
            tags: vec!["ci".to_owned()],
            text: Some("before the change".to_owned()),
            pinned: true,
        };
        let failed = with(13, |summary| {
            (summary.state, summary.decode_tokens_per_s, summary.prefill_tokens_per_s) =
                (Some(JobState::Failed), None, None);
            (summary.joules, summary.no_joules) = (None, Some(none.to_owned()));
            summary.stopped = Some("cannot write the recording: No space left on device".to_owned());
        });
        let unread = SessionInfo { summary: None, ..info(14) };
        let running = SessionInfo { is_written: true, summary: None, ..info(15) };
        let plain = [info(7), info(8)];
        pinned::check("sessions.txt", &table(&plain, 1_000_600, pinned::terminal()));
        let all = [info(7), named, failed, unread, running];
        pinned::check("sessions-noted.txt", &table(&all, 1_000_600, pinned::terminal()));
        assert!(table(&[], 0, pinned::terminal()).contains("no sessions are kept yet"));
    }

    #[test]
    fn what_names_no_kept_session_is_refused() {
        let kept = [info(3), info(7)];
        let found = |word: &str| {
            let source: SessionSource = word.parse().unwrap_or_else(|never| match never {});
            number_of(&source, &kept).map_err(|failure| failure.message.unwrap_or_default())
        };
        assert_eq!((found("latest"), found("9"), found("19ad-1f-3")), (Ok(7), Ok(9), Ok(3)));
        assert!(found("1-2-3").unwrap_err().contains("none is kept"));
        assert!(found("a.mcap").unwrap_err().contains("by its number"));
    }
}
