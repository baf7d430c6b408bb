//! Folders of sessions with more or less in them.

use std::os::unix::fs::PermissionsExt;

use slmscope_profiles::job::JobState;

use super::*;

const ROOM: u64 = 1 << 30;

/// A folder with sessions of `lengths` bytes, numbered from 1.
fn folder(lengths: &[usize]) -> (tempfile::TempDir, SessionFolder) {
    let outer = tempfile::tempdir().unwrap();
    let folder = SessionFolder::open(outer.path().join("sessions"), ROOM).unwrap();
    for (number, &length) in (1..).zip(lengths) {
        let name = name(number);
        folder.create(&name).unwrap().write_all(&vec![0; length]).unwrap();
        folder.summarize(&name, &SessionSummary::default()).unwrap();
    }
    (outer, folder)
}

fn name(number: JobId) -> Name {
    Name::new(number, 1000, "m")
}

fn numbers(folder: &SessionFolder) -> Vec<JobId> {
    folder.list().iter().map(|info| info.session).collect()
}

#[test]
fn the_oldest_sessions_go_until_there_is_room_but_not_those_that_are_pinned_or_in_use() {
    let (_outer, folder) = folder(&[100; 12]);
    let pinned = NoteChange { pinned: Some(true), ..NoteChange::default() };
    assert!(folder.note(2, 1000, pinned).unwrap().note.pinned);
    let (info, read) = folder.open_session(&Wanted::Job(3), 1000).unwrap();
    assert_eq!((info.session, info.bytes), (3, 100));
    let written = folder.create(&name(13)).unwrap();
    assert_eq!(folder.make_room(700), 700);
    // By number, not by the name's letters: 10 comes after 9.
    assert_eq!(numbers(&folder), [2, 3, 8, 9, 10, 11, 12, 13]);
    assert_eq!(folder.make_room(0), 200, "pinned and read");
    assert_eq!(numbers(&folder), [2, 3, 13]);
    drop((read, written));
    assert_eq!(folder.make_room(0), 100);
    assert_eq!(numbers(&folder), [2]);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "summaries and notes go with their sessions");
}

#[test]
fn a_session_is_its_owners_and_roots_and_one_in_use_is_not_removed() {
    let (_outer, folder) = folder(&[10, 20]);
    assert_eq!(folder.open_session(&Wanted::Latest {}, 1000).unwrap().0.session, 2);
    assert!(folder.open_session(&Wanted::Job(1), 0).is_ok());
    let refused = |result: Result<u64, SessionError>| result.unwrap_err().to_string();
    assert_eq!(refused(folder.remove(1, 1001)), "session 1 belongs to user 1000");
    assert_eq!(refused(folder.remove(9, 1000)), "there is no session 9: see `slmscope sessions`");
    assert!(matches!(folder.open_session(&Wanted::Latest {}, 1001), Err(SessionError::None)));
    let run = Wanted::Run("1-2-3".to_owned());
    assert!(matches!(folder.open_session(&run, 1000), Err(SessionError::UnknownRun(_))));
    let (_, open) = folder.open_session(&Wanted::Job(1), 1000).unwrap();
    assert!(refused(folder.remove(1, 1000)).contains("being written or read"));
    drop(open);
    assert_eq!(folder.remove(1, 1000).unwrap(), 10);
    assert_eq!(numbers(&folder), [2]);
}

#[test]
fn what_is_no_recording_is_neither_listed_nor_opened_nor_removed() {
    let (outer, folder) = folder(&[10]);
    let secret = outer.path().join("secret");
    fs::write(&secret, "x").unwrap();
    std::os::unix::fs::symlink(&secret, folder.path().join("2_1000_m.mcap")).unwrap();
    fs::create_dir(folder.path().join("3_1000_m.mcap")).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        folder.path().join("4_1000_m.mcap"),
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    fs::write(folder.path().join("notes.mcap"), "x").unwrap();
    assert_eq!(numbers(&folder), [1]);
    assert_eq!(folder.make_room(0), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    assert!(secret.exists());
}

#[test]
fn the_summary_of_a_session_that_was_cut_is_made_when_it_is_listed_and_kept() {
    let (_outer, folder) = folder(&[]);
    let written = folder.create(&name(1)).unwrap();
    let writer = slmscope_exports::recording::Writer::new(written.try_clone().unwrap()).unwrap();
    writer.finish().unwrap();
    let list = folder.list();
    assert!(list[0].is_written && list[0].summary.is_none(), "{list:?}");
    drop(written);
    let list = folder.list();
    let summary = list[0].summary.clone().unwrap();
    assert!(!list[0].is_written && summary.state.is_none());
    assert!(summary.stopped.unwrap().contains("ended before the result"));
    assert!(folder.path().join("1_1000_m.json").exists());
    fs::write(folder.path().join("1_1000_m.json"), "no summary").unwrap();
    assert_eq!(folder.list(), list, "a broken one is made again");
    let mut foreign = folder.create(&name(2)).unwrap();
    foreign.write_all(b"no recording").unwrap();
    drop(foreign);
    assert_eq!(folder.list()[1].summary, None);
}

#[test]
fn notes_are_changed_in_parts_and_a_long_one_is_refused() {
    let (_outer, folder) = folder(&[10]);
    let text = |text: &str| NoteChange { text: Some(text.to_owned()), ..NoteChange::default() };
    folder.note(1, 1000, text("before the change")).unwrap();
    let tags = NoteChange { tags: Some(vec!["base".to_owned()]), ..NoteChange::default() };
    let note = folder.note(1, 1000, tags).unwrap().note;
    assert_eq!((note.text.as_deref(), note.tags.len()), (Some("before the change"), 1));
    let refused = folder.note(1, 1000, text(&"x".repeat(5000))).unwrap_err().to_string();
    assert!(refused.contains("longer than 4000 bytes"), "{refused}");
    assert_eq!(folder.list()[0].note, note);
    assert!(matches!(folder.note(1, 7, text("")), Err(SessionError::NotYours { .. })));
}

#[test]
fn the_folder_is_its_users_alone_and_takes_a_share_of_what_is_free() {
    let (_outer, folder) = folder(&[10]);
    let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(folder.limit().unwrap() <= ROOM);
    let small = SessionFolder::open(folder.path().to_owned(), 7).unwrap();
    assert_eq!(small.limit().unwrap(), 7);
}

#[test]
fn a_summary_says_how_the_job_ended() {
    use slmscope_profiles::model::ModelSource;
    use slmscope_profiles::result::RunResult;
    use slmscope_profiles::workload::Workload;
    let result = RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "no room");
    let summary = SessionSummary::of(&result, JobState::Failed);
    assert_eq!((summary.state, summary.joules), (Some(JobState::Failed), None));
    assert_eq!(summary.no_joules.as_deref(), Some("no phase was measured"));
}

/// A list that came between the making of a file and its lock used to take the lock, and the job was not recorded.
#[test]
fn a_new_session_gets_its_name_with_its_lock_and_none_that_exists() {
    let (_outer, folder) = folder(&[10]);
    assert_eq!(folder.create(&name(1)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the recording and its summary");
    let written = folder.create(&name(2)).unwrap();
    assert!(folder.list()[1].is_written);
    drop(written);
    let (own, abandoned) = (folder.part("3_1000_m.mcap"), folder.path().join(".part-9999999-3_1000_m.mcap"));
    for path in [&own, &abandoned] {
        fs::write(path, "").unwrap();
    }
    assert_eq!(numbers(&folder), [1, 2], "files without their names are no sessions");
    SessionFolder::open(folder.path().to_owned(), ROOM).unwrap();
    assert!(own.exists() && !abandoned.exists());
}
