//! The Sessions screen: what it lists, asks for, and makes of the answers.

use crossterm::event::KeyCode;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::hygiene::Grade;
use slmscope_profiles::job::{Job, JobId, JobState};
use slmscope_profiles::sessions::{SessionInfo, SessionNote, SessionSummary};
use slmscope_profiles::wire::{Method, Talk};
use slmscope_profiles::workload::Workload;

use super::super::export_line::ExportFrom;
use super::super::overlay::Overlay;
use super::super::replay::Index;
use super::super::screens::sessions::rows::rows;
use super::super::state::State;
use super::super::tab::Tab;
use super::super::tasks::{Done, Figures, Opened, Task};
use super::super::update::update;
use super::super::{Effect, Msg};
use super::fixture::{busy, connected, frame, job, letters, press, sent};
use super::screens::picture;

fn info(session: JobId, decode: f64) -> SessionInfo {
    let summary = SessionSummary {
        run_id: Some(format!("19ad-1f-{session}")),
        state: Some(JobState::Done),
        format: Some(WeightFormat::Q4_0),
        machine: Some("AMD EPYC 9B45 64-Core Processor".to_owned()),
        threads: Some(2),
        prefill_tokens_per_s: Some(1330.0),
        decode_tokens_per_s: Some(decode),
        joules: None,
        no_joules: Some("this machine has none: no sensor".to_owned()),
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

/// Sessions 3 to 6; the last one was cut off.
pub(super) fn kept() -> Vec<SessionInfo> {
    let note = SessionNote { name: Some("base".to_owned()), pinned: true, ..SessionNote::default() };
    let named = SessionInfo { note, ..info(4, 190.0) };
    let other = SessionInfo { model: "gemma3-270m".to_owned(), ..info(5, 90.0) };
    vec![info(3, 183.4), named, other, SessionInfo { summary: None, ..info(6, 0.0) }]
}

fn done(state: &mut State, done: Done) {
    update(state, Msg::Done(done));
}

/// The Sessions screen with four sessions, of a daemon that runs job 7.
fn listed() -> State {
    let mut state = busy();
    letters(&mut state, "7");
    done(&mut state, Done::Listed { sessions: kept(), now_s: 1_000_600 });
    state
}

/// Selects a row by its number.
fn select(state: &mut State, number: JobId) {
    state.sessions.list.selected = Some(number.to_string());
}

fn task(effects: Vec<Effect>) -> Task {
    match effects.into_iter().next() {
        Some(Effect::Task(task)) => task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_list_is_asked_for_while_it_is_on_screen() {
    let mut state = busy();
    let lists = |state: &mut State, now_ns| {
        let effects = update(state, Msg::Tick { now_ns });
        effects.contains(&Effect::Task(Task::List))
    };
    assert!(!lists(&mut state, 9_000_000_000), "nobody looks at it");
    letters(&mut state, "7");
    assert!(lists(&mut state, 9_100_000_000));
    assert!(!lists(&mut state, 19_000_000_000), "the answer is awaited");
    done(&mut state, Done::NotListed("no folder".to_owned()));
    assert!(!lists(&mut state, 9_200_000_000) && lists(&mut state, 19_000_000_000));
    state.live.job = None;
    assert!(picture(&state, 80, 24).contains("cannot be listed: no folder"));
    done(&mut state, Done::Listed { sessions: Vec::new(), now_s: 0 });
    assert!(picture(&state, 80, 24).contains("no session is kept yet"));
}

#[test]
fn jobs_and_sessions_stand_in_one_list_newest_first() {
    let state = listed();
    let found: Vec<_> = rows(&state).iter().map(|row| (row.number, row.state())).collect();
    let row = |number, state: &str| (number, state.to_owned());
    assert_eq!(found, [row(7, "turn 2"), row(6, "cut off"), row(5, "done"), row(4, "done"), row(3, "done")]);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let shown = picture(&state, width, height);
        for part in [
            "smollm2-135m",
            "183",
            "clean",
            "10 min",
            "4 sessions kept, 20.0 MiB",
            "prompt 512, generate 128",
        ] {
            assert!(shown.contains(part), "{part} at {width}×{height}:\n{shown}");
        }
    }
}

#[test]
fn a_filter_finds_models_states_and_notes() {
    let mut state = listed();
    for (filter, expected) in [("gemma", vec![5]), ("base", vec![4]), ("cut", vec![6]), ("nothing", vec![])] {
        state.sessions.list.filter = filter.to_owned();
        assert_eq!(rows(&state).iter().map(|row| row.number).collect::<Vec<_>>(), expected, "{filter}");
    }
    assert!(picture(&state, 80, 24).contains("no job or session matches `nothing`"));
    press(&mut state, KeyCode::Esc);
    assert_eq!(rows(&state).len(), 5);
}

#[test]
fn a_session_is_replayed_over_the_daemon_and_left_again() {
    let mut state = listed();
    select(&mut state, 4);
    assert_eq!(task(press(&mut state, KeyCode::Enter)), Task::Open(4));
    let opened = Opened {
        name: "session 4".to_owned(),
        source: "4".to_owned(),
        index: Index { first_ns: 5, last_ns: 9, is_complete: true, ..Index::default() },
        player: None,
    };
    update(&mut state, Msg::Opened(Box::new(opened)));
    assert_eq!((state.tab, state.shown().job.is_none()), (Tab::Live, true), "nothing was played yet");
    let shown = picture(&state, 120, 40);
    assert!(shown.contains("session 4") && shown.contains("esc back to the daemon"), "{shown}");
    let rows = state.live.totals.decode.rows;
    frame(&mut state, super::fixture::summary(slmscope_profiles::op::Phase::Decode));
    assert!(state.live.totals.decode.rows > rows, "the daemon goes on");
    assert_eq!(press(&mut state, KeyCode::Esc), [Effect::CloseReplay]);
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(7));
    let index = Index { is_complete: true, ..Index::default() };
    let damaged = Opened { name: String::new(), source: String::new(), index, player: None };
    update(&mut state, Msg::Opened(Box::new(damaged)));
    update(&mut state, Msg::Unreadable("it is gone".to_owned()));
    assert!(state.replay.is_none() && picture(&state, 80, 24).contains("cannot be read: it is gone"));
    select(&mut state, 7);
    letters(&mut state, "7");
    assert!(press(&mut state, KeyCode::Enter).is_empty());
    assert_eq!(state.notice.as_deref(), Some("nothing of job 7 was recorded"));
}

#[test]
fn a_session_is_the_baseline_of_ops_and_of_comparisons() {
    let mut state = listed();
    select(&mut state, 4);
    assert_eq!(task(press(&mut state, KeyCode::Char('d'))), Task::Compare { before: 3, after: 4, width: 76 });
    select(&mut state, 3);
    assert!(press(&mut state, KeyCode::Char('d')).is_empty());
    assert!(state.notice.as_ref().is_some_and(|notice| notice.starts_with("nothing to compare with")));
    assert_eq!(task(press(&mut state, KeyCode::Char('p'))), Task::Baseline(3));
    let figures = Figures::of(&state.live.clone()).expect("a job runs");
    done(&mut state, Done::Baseline(3, figures));
    select(&mut state, 5);
    assert_eq!(task(press(&mut state, KeyCode::Char('d'))), Task::Compare { before: 3, after: 5, width: 76 });
    assert!(picture(&state, 80, 24).contains("* 3 is the baseline"), "{}", picture(&state, 80, 24));
    letters(&mut state, "2");
    assert!(picture(&state, 120, 40).contains("vs pin"), "{}", picture(&state, 120, 40));
    letters(&mut state, "7");
    select(&mut state, 3);
    assert!(press(&mut state, KeyCode::Char('p')).is_empty() && state.ops.baseline.is_none());
}

#[test]
fn a_comparison_is_read_and_closed() {
    let mut state = listed();
    done(&mut state, Done::Text { title: "5 against 3".to_owned(), text: "decode: same\n".repeat(40) });
    let shown = picture(&state, 80, 24);
    assert!(shown.contains("5 against 3") && shown.contains("decode: same"), "{shown}");
    letters(&mut state, "G");
    assert!(state.scroll > 0);
    letters(&mut state, "q");
    assert_eq!(state.overlay, None);
}

#[test]
fn nothing_is_removed_without_a_yes() {
    let mut state = listed();
    select(&mut state, 5);
    assert!(press(&mut state, KeyCode::Char('D')).is_empty());
    assert!(picture(&state, 80, 24).contains("remove session 5 (gemma3-270m) for good? y/n"));
    assert!(press(&mut state, KeyCode::Char('n')).is_empty());
    assert_eq!(state.notice.as_deref(), Some("session 5 stays"));
    press(&mut state, KeyCode::Delete);
    assert_eq!(task(press(&mut state, KeyCode::Char('y'))), Task::Remove(5));
    done(&mut state, Done::Removed("session 5 is removed, 5.00 MiB".to_owned()));
    assert!(state.sessions.asked_ns.is_none(), "the list is read anew");
}

#[test]
fn a_workload_is_filled_in_and_queued() {
    let mut state = listed();
    letters(&mut state, "w");
    assert_eq!(state.overlay, Some(Overlay::Form));
    let shown = picture(&state, 80, 24);
    for part in ["model", "format", "prompt", "generate", "threads", "repeat", "needs at least"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    for key in [KeyCode::Down, KeyCode::Down, KeyCode::Backspace] {
        press(&mut state, key);
    }
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Run { model, workload, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((model.as_str(), workload.prompt, workload.looped), ("smollm2-135m", 51, false));
    letters(&mut state, "w");
    (0..20).for_each(|_| drop(press(&mut state, KeyCode::Backspace)));
    assert!(press(&mut state, KeyCode::Enter).is_empty(), "a model is missing");
    assert!(picture(&state, 80, 24).contains("model: name one"), "{}", picture(&state, 80, 24));
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.overlay, None);
}

#[test]
fn what_ran_is_repeated_with_its_options() {
    let mut state = listed();
    select(&mut state, 7);
    letters(&mut state, "R");
    assert_eq!(state.form.workload().unwrap(), job(JobState::Measuring).workload);
    press(&mut state, KeyCode::Esc);
    select(&mut state, 4);
    assert_eq!(task(press(&mut state, KeyCode::Char('R'))), Task::Recall(4));
    let workload = Workload { generate: 9, ..Workload::default() };
    done(&mut state, Done::Recalled("a.gguf".to_owned(), Box::new(workload)));
    assert_eq!((state.form.model.as_str(), state.form.workload().unwrap().generate), ("a.gguf", 9));
}

#[test]
fn c_cancels_the_selected_job_on_this_screen() {
    let mut state = listed();
    state.options.private = true;
    let queued = Job { job: 8, state: JobState::Queued, ahead: 1, ..job(JobState::Queued) };
    let status = serde_json::json!({
        "schema": "slmscope.status/1", "slmscope": "1.2.3", "pid": 1, "uid": 0, "socket": null, "uptime_ns": 1,
        "cpu_ns": null, "rss": null, "clients": 1, "channels": 0, "late_ticks": 0, "lost_batches": 0,
        "dropped_batches": 0, "jobs": [job(JobState::Measuring), queued]
    });
    state.live.enter_status(serde_json::from_value(status).unwrap());
    select(&mut state, 8);
    assert!(picture(&state, 80, 24).contains("queued, 1 ahead"));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('c'))), [&Method::Cancel { job: 8 }]);
    select(&mut state, 5);
    assert!(press(&mut state, KeyCode::Char('c')).is_empty());
}

#[test]
fn what_is_shown_is_exported_into_the_file_that_is_typed() {
    let export = |state: &mut State| {
        let effects = press(state, KeyCode::Enter);
        match task(effects) {
            Task::Export { from, path } => (from, path),
            other => panic!("{other:?}"),
        }
    };
    let mut state = listed();
    letters(&mut state, "1e");
    assert!(picture(&state, 80, 24).contains("export what the loop did of late to"));
    assert_eq!(export(&mut state), (ExportFrom::Recent, "job-7.pftrace".to_owned()));
    frame(&mut state, Talk::Job(Box::new(job(JobState::Done))));
    letters(&mut state, "e");
    (0..7).for_each(|_| drop(press(&mut state, KeyCode::Backspace)));
    letters(&mut state, "csv");
    assert_eq!(export(&mut state), (ExportFrom::Session("7".to_owned()), "session-7.csv".to_owned()));
    letters(&mut state, "7");
    select(&mut state, 3);
    letters(&mut state, "e");
    assert!(picture(&state, 80, 24).contains("session-3.pftrace"), "{}", picture(&state, 80, 24));
    (0..9).for_each(|_| drop(press(&mut state, KeyCode::Backspace)));
    letters(&mut state, "q.odd");
    assert!(picture(&state, 80, 24).contains("this end names no format"));
    press(&mut state, KeyCode::Esc);
    assert!(state.overlay.is_none());
    letters(&mut connected(), "e");
}
