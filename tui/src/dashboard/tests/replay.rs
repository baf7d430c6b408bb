//! A recording that is replayed shows what the daemon's stream showed.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::sync::Arc;

use crossterm::event::KeyCode;
use slmscope_exports::recording::{Entry, Reader, Writer};
use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::JobState;
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::record::{Header, Record};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::summary::Summarizer;

use super::super::Msg;
use super::super::player::Player;
use super::super::replay::Replay;
use super::super::state::State;
use super::super::update::update;
use super::fixture::{catalogue, connected, frame, job, options, plan, press, sample};
use super::screens::picture;

const TOKEN_NS: u64 = 10_000_000;
const BEGIN_NS: u64 = 1_000_000_000;

/// A decode step of the fixture's plan.
pub(super) fn batch(token: u32) -> OpBatch {
    let begin_ns = BEGIN_NS + TOKEN_NS * u64::from(token);
    let durations = [100_000, 2_000_000, 300_000, 2_400_000, 2_000_000, 400_000, 1_400_000, 1_000_000];
    let event = |(site, ns): (usize, u32)| OpEvent {
        site: site as u16,
        reserved: 0,
        gap: 12_500,
        duration: ns + token % 7,
    };
    OpBatch {
        head: BatchHead {
            job: 7,
            plan: 3,
            lane: HOST_LANE,
            repetition: 0,
            phase: Phase::Decode,
            token,
            rows: 1,
            context: 512 + token,
            seq: u64::from(token) + 1,
            begin_ns,
            end_ns: begin_ns + TOKEN_NS,
            tick_ns: 1,
            clock: ClockSource::Host,
        },
        spans: vec![NamedSpan { name: SpanName::Sample, ns: 200_000 }],
        columns: Vec::new(),
        events: durations.into_iter().enumerate().map(event).collect(),
    }
}

pub(super) fn entries(tokens: u32) -> Vec<Entry> {
    let record = |record| Entry::Record(Arc::new(record));
    let header = Header {
        // The daemon has run for a long time.
        origin_ns: 1,
        wall_ns: 2,
        boottime_offset_ns: 0,
        boot_id: None,
        version: "1.2.3".to_owned(),
        host: Host::default(),
    };
    let mut entries = vec![
        record(Record::Header(header)),
        record(Record::Catalogue { channels: catalogue() }),
        Entry::Job(Box::new(job(JobState::Measuring))),
        record(Record::Plan(plan())),
        record(Record::Sample(sample(1))),
    ];
    entries.extend((0..tokens).map(|token| record(Record::Ops((&batch(token)).into()))));
    entries.push(Entry::Job(Box::new(job(JobState::Done))));
    entries
}

fn reader(entries: &[Entry]) -> Reader<Cursor<Vec<u8>>> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for entry in entries {
        writer.write(entry).unwrap();
    }
    Reader::new(Cursor::new(writer.finish().unwrap())).unwrap()
}

/// A dashboard on a recording, and its player.
pub(super) fn replay(entries: &[Entry], speed: Option<f64>) -> (State, Player<Cursor<Vec<u8>>>) {
    let (player, index) = Player::open(reader(entries)).unwrap();
    (State::replaying(options(), Replay::new("a.mcap".to_owned(), index, speed)), player)
}

pub(super) fn follow(state: &mut State, player: &mut Player<Cursor<Vec<u8>>>) {
    player.follow(state, false, || false).unwrap();
}

/// Decode steps that the state has.
fn steps(state: &State) -> u64 {
    state.shown().totals.decode.rows
}

#[test]
fn a_replay_has_the_figures_of_the_stream() {
    let entries = entries(57);
    let mut live = connected();
    let (plan, mut summarizer) = (plan(), Summarizer::default());
    for entry in entries.clone() {
        let summaries = match &entry {
            Entry::Record(record) => match &**record {
                Record::Ops(ops) => summarizer.add(&ops.to_batch(), &plan),
                _ => Vec::new(),
            },
            _ => summarizer.flush(),
        };
        for summary in summaries {
            frame(&mut live, summary);
        }
        frame(&mut live, entry.into_frame());
    }
    let (mut state, mut player) = replay(&entries, None);
    follow(&mut state, &mut player);
    assert_eq!(steps(&state), 57);
    let body = |state: &mut State, tab: char| {
        press(state, KeyCode::Char(tab));
        let picture = picture(state, 200, 60);
        let rows: Vec<_> = picture.lines().collect();
        // Not the header and the footer, nor the line that says what a daemon could run.
        rows[3..59].join("\n")
    };
    for tab in ['1', '2'] {
        assert_eq!(body(&mut state, tab), body(&mut live, tab));
    }
}

#[test]
fn a_replay_steps_by_tokens_in_both_directions() {
    let (mut state, mut player) = replay(&entries(10), None);
    follow(&mut state, &mut player);
    assert_eq!(steps(&state), 10, "the whole recording is shown first");
    for (key, expected) in [
        (KeyCode::Left, 9),
        (KeyCode::Left, 8),
        (KeyCode::Right, 9),
        (KeyCode::Char('0'), 0),
        (KeyCode::Right, 1),
        (KeyCode::Right, 2),
        (KeyCode::Char('$'), 10),
        (KeyCode::Char(','), 9),
        (KeyCode::Right, 10),
        (KeyCode::Right, 10),
    ] {
        press(&mut state, key);
        follow(&mut state, &mut player);
        assert_eq!(steps(&state), expected, "{key:?}");
    }
}

#[test]
fn a_replay_plays_at_its_speed_and_stops_at_its_end() {
    let (mut state, mut player) = replay(&entries(10), Some(1.0));
    let mut tick = |state: &mut State, ms: u64| {
        update(state, Msg::Tick { now_ns: 5_000_000_000 + ms * 1_000_000 });
        follow(state, &mut player);
        steps(state)
    };
    assert_eq!(tick(&mut state, 0), 0);
    assert_eq!(tick(&mut state, 35), 3);
    press(&mut state, KeyCode::Char(']'));
    assert_eq!(tick(&mut state, 45), 5, "twice as fast");
    press(&mut state, KeyCode::Char(' '));
    assert_eq!(tick(&mut state, 500), 5, "paused");
    press(&mut state, KeyCode::Char(' '));
    assert_eq!(tick(&mut state, 510), 7);
    assert!(state.is_dirty());
    assert_eq!(tick(&mut state, 900), 10);
    state.take_dirty();
    assert!(!state.is_dirty(), "nothing is drawn at the end");
    press(&mut state, KeyCode::Char(' '));
    assert_eq!(tick(&mut state, 910), 0, "from the beginning again");
}

#[test]
fn a_long_way_is_gone_in_parts_and_arrives() {
    let (mut state, mut player) = replay(&entries(1000), None);
    let mut parts = 0;
    while state.replay.as_ref().unwrap().is_behind() {
        player.follow(&mut state, false, || true).unwrap();
        parts += 1;
    }
    assert_eq!((steps(&state), parts > 10), (1000, true));
}

#[test]
fn a_replay_says_where_it_is_and_offers_no_run() {
    let (mut state, mut player) = replay(&entries(100), None);
    follow(&mut state, &mut player);
    let shown = picture(&state, 80, 24);
    assert!(shown.contains(" replay 0:01.0 of 0:01.0 ×1 a.mcap "), "{shown}");
    assert!(!shown.contains("press r") && !shown.contains("disconnected"), "{shown}");
    assert!(press(&mut state, KeyCode::Char('r')).is_empty() && state.notice.is_none());
    press(&mut state, KeyCode::Char('?'));
    let help = picture(&state, 80, 24);
    assert!(help.contains("next token") && help.contains("play faster"), "{help}");
}

/// A file of which so many bytes are written by now.
struct Growing {
    whole: Cursor<Vec<u8>>,
    written: Rc<Cell<usize>>,
}

impl Read for Growing {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.written.get().saturating_sub(self.whole.position() as usize).min(bytes.len());
        self.whole.read(&mut bytes[..left])
    }
}

impl Seek for Growing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.whole.seek(to)
    }
}

/// A dashboard on a recording of 30 tokens, of which the first third is written, and the length of the whole.
fn growing() -> (State, Player<Growing>, Rc<Cell<usize>>, usize) {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for entry in entries(30) {
        writer.write(&entry).unwrap();
        writer.flush().unwrap();
    }
    let file = writer.finish().unwrap();
    let (length, written) = (file.len(), Rc::new(Cell::new(file.len() / 3)));
    let growing = Growing { whole: Cursor::new(file), written: written.clone() };
    let (player, mut index) = Player::open(Reader::new(growing).unwrap()).unwrap();
    index.is_growing = !index.is_complete;
    (State::replaying(options(), Replay::new("a.mcap".to_owned(), index, None)), player, written, length)
}

#[test]
fn a_recording_that_grows_is_followed_as_a_daemon_is() {
    let (mut state, mut player, written, length) = growing();
    let mut follow = |state: &mut State| {
        player.follow(state, true, || false).unwrap();
        // The first time it arrives at what was there, then it takes what came.
        player.follow(state, true, || false).unwrap();
        steps(state)
    };
    let first = follow(&mut state);
    assert!((1..30).contains(&first), "{first}");
    assert!(picture(&state, 80, 24).contains(" following 0:0"), "{}", picture(&state, 80, 24));
    written.set(length / 2);
    let second = follow(&mut state);
    assert!((first + 1..30).contains(&second), "{second}");
    press(&mut state, KeyCode::Char(' '));
    written.set(length * 2 / 3);
    assert_eq!(follow(&mut state), second, "frozen while the recording goes on");
    press(&mut state, KeyCode::Left);
    assert_eq!(follow(&mut state), second - 1);
    press(&mut state, KeyCode::Char('$'));
    let third = follow(&mut state);
    assert!((second + 1..30).contains(&third), "{third}");
    written.set(length);
    assert_eq!(follow(&mut state), 30);
    let replay = state.replay.as_ref().unwrap();
    assert!(replay.index.is_complete && !replay.follows && state.notice.is_none());
    // Now it is a recording like others.
    press(&mut state, KeyCode::Char(' '));
    assert_eq!(follow(&mut state), 0, "space plays it from its beginning");
}

#[test]
fn a_recording_whose_writer_is_killed_is_no_longer_followed_and_that_is_said() {
    let (mut state, mut player, written, length) = growing();
    player.follow(&mut state, true, || false).unwrap();
    written.set(length / 2);
    player.follow(&mut state, false, || false).unwrap();
    assert!(steps(&state) > 10, "what it wrote last is read");
    assert!(!state.replay.as_ref().unwrap().follows);
    assert!(
        state.notice.as_ref().is_some_and(|notice| notice.contains("writer was killed")),
        "{:?}",
        state.notice
    );
    state.take_dirty();
    assert!(!state.is_dirty(), "nothing is to be waited for");
}

#[test]
fn a_recording_of_nothing_and_one_whose_times_are_hostile_are_shown() {
    let (mut state, mut player) = replay(&[], Some(1.0));
    follow(&mut state, &mut player);
    update(&mut state, Msg::Tick { now_ns: 1 });
    assert!(picture(&state, 80, 24).contains("nothing ran yet"));
    let mut entries = entries(3);
    entries.push(Entry::Record(Arc::new(Record::Sample(slmscope_profiles::channel::Sample {
        t_ns: u64::MAX,
        ..Default::default()
    }))));
    entries.push(Entry::Record(Arc::new(Record::Ops((&batch(3)).into()))));
    let (mut state, mut player) = replay(&entries, Some(64.0));
    for key in [KeyCode::Right, KeyCode::Char('.'), KeyCode::Char('$'), KeyCode::Left, KeyCode::Char('$')] {
        press(&mut state, key);
        follow(&mut state, &mut player);
        picture(&state, 80, 24);
    }
    assert_eq!(steps(&state), 4, "an entry that goes back in time is not lost");
}
