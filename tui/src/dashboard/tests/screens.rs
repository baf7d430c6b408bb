//! What the screens look like.
//!
//! Stored pictures lie in `snapshots/`; `SLMSCOPE_UPDATE_SNAPSHOTS=1` writes them anew.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use slmscope_profiles::channel::{Quantity, Scope, Unit};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::wire::{Outcome, Reply, Talk};

use super::super::Msg;
use super::super::overlay::Overlay;
use super::super::palette::Palette;
use super::super::state::State;
use super::super::tab::Tab;
use super::super::terminal::Screen;
use super::super::update::update;
use super::super::view::view;
use super::fixture::{busy, channel, connected, frame, job, letters, press, sample, summary};
use super::replay::batch;
use crate::pinned;

const COLOURED: (bool, bool) = (true, false);

fn buffer(state: &State, (colours, plain): (bool, bool), width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    view(state, Palette::new(colours, plain), area, &mut buf);
    buf
}

fn lines(buf: &Buffer) -> Vec<String> {
    let width = usize::from(buf.area.width.max(1));
    let row = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    buf.content.chunks(width).map(row).collect()
}

pub(super) fn picture(state: &State, width: u16, height: u16) -> String {
    lines(&buffer(state, COLOURED, width, height)).join("\n") + "\n"
}

/// Draws every screen in every small size, with and without overlays; none may panic.
pub(super) fn draw_every_size(state: &mut State) {
    let overlays =
        [Overlay::Help, Overlay::Findings, Overlay::Picker, Overlay::Form, Overlay::Page, Overlay::Export];
    for overlay in std::iter::once(None).chain(overlays.map(Some)) {
        state.overlay = overlay;
        for tab in Tab::ALL {
            // What lies over a screen is the same on all of them, but for the help.
            if tab != Tab::Live && !matches!(overlay, None | Some(Overlay::Help)) {
                continue;
            }
            state.tab = tab;
            let widths = (0..=24).chain((27..=60).step_by(3));
            for (width, height) in widths.flat_map(|width| (0..=20).map(move |height| (width, height))) {
                buffer(state, COLOURED, width, height);
            }
            for (width, height) in [(80, 24), (120, 40), (200, 60), (500, 3), (3, 300)] {
                for look in [COLOURED, (false, false), (true, true), (false, true)] {
                    buffer(state, look, width, height);
                }
            }
        }
    }
    state.overlay = None;
}

pub(super) fn compare(name: &str, picture: &str) {
    pinned::compare(&Path::new("src/dashboard/snapshots").join(name), picture);
}

/// A dashboard in the middle of a job whose single events were sent.
pub(super) fn busy_with_events() -> State {
    let mut state = busy();
    for token in 0..200 {
        frame(&mut state, Record::Ops((&batch(token)).into()));
    }
    state
}

#[test]
fn no_size_panics() {
    draw_every_size(&mut connected());
    draw_every_size(&mut busy());
}

#[test]
fn a_daemon_that_sends_nothing_is_shown_as_silent_with_its_age() {
    let mut state = busy();
    update(&mut state, Msg::Tick { now_ns: 12_000_000_000 });
    assert!(picture(&state, 120, 40).contains("● connected"));
    let asked = update(&mut state, Msg::Tick { now_ns: 30_000_000_000 });
    let silent = picture(&state, 120, 40);
    assert!(
        silent.contains("silent for 21.5 s") && silent.contains("has sent nothing for 21.5 s"),
        "{silent}"
    );
    assert!(asked.is_empty(), "a daemon that reads nothing is asked nothing");
    frame(&mut state, Record::Sample(sample(31)));
    update(&mut state, Msg::Tick { now_ns: 31_000_000_000 });
    assert!(picture(&state, 120, 40).contains("● connected"));
}

#[test]
fn an_idle_daemon_is_shown_with_the_models_that_it_could_run() {
    let mut state = connected();
    let status = serde_json::json!({
        "schema": "slmscope.status/1", "slmscope": "1.2.3", "pid": 1, "uid": 0, "socket": null, "uptime_ns": 1,
        "cpu_ns": null, "rss": null, "clients": 1, "channels": 0, "late_ticks": 0, "lost_batches": 0,
        "dropped_batches": 0, "jobs": []
    });
    let re = state.status_asked.map(|(id, _)| id);
    update(&mut state, Msg::Reply(Reply { re, outcome: Outcome::Ok(status) }));
    let offered = picture(&state, 80, 24);
    assert!(offered.contains("run which model?") && offered.contains("my-model.gguf"), "{offered}");
    compare("picker-80x24.txt", &offered);
    letters(&mut state, "gemma");
    let typed = picture(&state, 80, 24);
    assert!(typed.contains("gemma3-270m") && !typed.contains("smollm2"), "{typed}");
    press(&mut state, KeyCode::Esc);
    assert!(!picture(&state, 80, 24).contains("run which model?"), "it is offered once");
}

#[test]
fn live_shows_what_matters_at_every_usual_size() {
    let state = busy();
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let picture = picture(&state, width, height);
        for part in [
            "smollm2-135m (synthetic weights)",
            "measuring · turn 2 of a loop · repetition 3 of 5 · decode · context 522 of 640",
            "100 tok/s",
            "median 10.0 ms",
            "unattributed",
            "attention projections",
            "attention itself",
            "prefill",
            "12.5 W package, derived",
            "54.0 °C",
            "312 MiB",
            "cpu0",
            "95 %",
        ] {
            assert!(picture.contains(part), "{part} at {width}×{height}:\n{picture}");
        }
    }
}

#[test]
fn ops_and_hardware_show_their_columns() {
    let mut state = busy();
    letters(&mut state, "2");
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let picture = picture(&state, width, height);
        for part in ["attn.qkv_proj", "40.0 %", "4.00 ms", "unattributed", "gap", "sample", "100.0 %"] {
            assert!(picture.contains(part), "{part} at {width}×{height}:\n{picture}");
        }
    }
    letters(&mut state, "6");
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let picture = picture(&state, width, height);
        for part in ["power.package-0", "12.5 W", "derived", "this machine has none: no hwmon fan"] {
            assert!(picture.contains(part), "{part} at {width}×{height}:\n{picture}");
        }
    }
    letters(&mut state, "G");
    assert!(picture(&state, 80, 24).contains("remedy: modprobe nct6775"));
}

#[test]
fn an_idle_daemon_says_how_to_start() {
    let mut state = connected();
    assert!(picture(&state, 80, 24).contains("nothing runs: press r"));
    frame(&mut state, Talk::Job(Box::new(job(JobState::Done))));
    assert!(picture(&state, 80, 24).contains("done · turn 2 of a loop · nothing runs: press r"));
}

#[test]
fn a_directory_that_is_called_like_a_catalogue_model_is_not_synthetic() {
    let mut state = busy();
    let real = Job { source: ModelSource::Hf, format: Some(WeightFormat::Bf16), ..job(JobState::Measuring) };
    frame(&mut state, Talk::Job(Box::new(real)));
    let picture = picture(&state, 120, 40);
    assert!(picture.contains(" smollm2-135m · bf16 · 2 threads"), "{picture}");
    assert!(!picture.contains("synthetic"), "{picture}");
}

#[test]
fn losses_and_broken_books_are_red() {
    let mut state = busy();
    frame(&mut state, Record::Loss { batches: 3 });
    let mut broken = summary(Phase::Decode);
    broken.books.unattributed_ns *= 100;
    broken.books.wall_ns += broken.books.unattributed_ns;
    frame(&mut state, broken);
    let buf = buffer(&state, COLOURED, 80, 24);
    let red = |text: &str| {
        let lines = lines(&buf);
        let y = lines.iter().position(|line| line.contains(text)).unwrap();
        let x = lines[y].find(text).map(|at| lines[y][..at].chars().count()).unwrap();
        buf[(x as u16, y as u16)].fg == Color::LightRed
    };
    assert!(red("3 tokens lost"));
    assert!(red("2.8 %"));
}

#[test]
fn without_colours_there_is_none() {
    let mut state = busy();
    update(&mut state, Msg::Disconnected { reason: "gone".to_owned(), retry: Duration::ZERO });
    for tab in Tab::ALL {
        state.tab = tab;
        let buf = buffer(&state, (false, false), 120, 40);
        assert!(buf.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}

#[test]
fn names_of_any_kind_are_drawn() {
    let mut state = busy();
    let long = "模型\u{1b}[31m👩‍👩‍👧‍👦\u{202e}e\u{301}".repeat(50);
    let mut odd = job(JobState::Failed);
    odd.model.clone_from(&long);
    odd.error = Some(long.clone());
    frame(&mut state, Talk::Job(Box::new(odd)));
    let mut channels =
        vec![channel(9, &long, Quantity::Temperature, Unit::Celsius, Scope::Rail(long.clone()))];
    channels[0].remedy = Some(long.clone());
    frame(&mut state, Record::Catalogue { channels });
    state.hardware.list.selected = Some(long.clone());
    state.options.target = long;
    draw_every_size(&mut state);
}

/// Counts what would go to the terminal.
#[derive(Clone, Default)]
struct Meter(Rc<Cell<usize>>);

impl Write for Meter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_frame_without_change_writes_nothing() {
    let meter = Meter::default();
    let mut screen = Screen::new(meter.clone(), (80, 24));
    let mut state = busy();
    let palette = Palette::new(true, false);
    screen.draw(|area, buf| view(&state, palette, area, buf)).unwrap();
    let first = meter.0.take();
    assert!(first > 500, "{first}");
    update(&mut state, Msg::Tick { now_ns: 8_600_000_000 });
    frame(&mut state, Record::Sample(sample(9)));
    screen.draw(|area, buf| view(&state, palette, area, buf)).unwrap();
    assert_eq!(meter.0.take(), 0);
    letters(&mut state, "2");
    screen.draw(|area, buf| view(&state, palette, area, buf)).unwrap();
    assert!(meter.0.take() > 0);
    screen.resize(80, 24);
    screen.draw(|area, buf| view(&state, palette, area, buf)).unwrap();
    assert!(meter.0.take() > 500);
}

#[test]
fn nothing_is_drawn_when_nothing_happens() {
    let mut state = busy();
    state.take_dirty();
    update(&mut state, Msg::Tick { now_ns: 8_900_000_000 });
    assert!(!state.is_dirty());
}
