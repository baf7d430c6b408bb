//! What the screens look like.
//!
//! Stored pictures lie in `snapshots/`; `SLMSCOPE_UPDATE_SNAPSHOTS=1` writes them anew.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use slmscope_profiles::channel::{Quantity, Scope, Unit};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::wire::{Method, Outcome, Reply, Talk};

use super::super::overlay::Overlay;
use super::super::palette::Palette;
use super::super::screens::bindings;
use super::super::state::State;
use super::super::tab::Tab;
use super::super::terminal::Screen;
use super::super::update::update;
use super::super::view::view;
use super::super::{Effect, Msg};
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

/// Draws every screen in every small size, with and without help; none may panic.
pub(super) fn draw_every_size(state: &mut State) {
    for help in [false, true] {
        state.overlay = help.then_some(Overlay::Help);
        for tab in Tab::ALL {
            state.tab = tab;
            for width in 0..=40 {
                for height in 0..=20 {
                    buffer(state, COLOURED, width, height);
                }
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

fn compare(name: &str, picture: &str) {
    pinned::compare(&Path::new("src/dashboard/snapshots").join(name), picture);
}

#[test]
fn no_size_panics() {
    draw_every_size(&mut connected());
    draw_every_size(&mut busy());
}

#[test]
fn a_share_of_a_roof_above_100_percent_has_its_reason_and_max_its_place() {
    let mut state = busy();
    letters(&mut state, "2");
    let picture = picture(&state, 120, 40);
    let row = picture.lines().find(|line| line.contains("attn.attention")).expect("a row");
    assert!(row.contains("229 % faster"), "{row}");
    assert!(picture.contains(" max 4.00 ms in layer 0, repetition 3, token 5"), "{picture}");
}

/// A dashboard in the middle of a job whose single events were sent.
fn busy_with_events() -> State {
    let mut state = busy();
    for token in 0..200 {
        frame(&mut state, Record::Ops((&batch(token)).into()));
    }
    state
}

#[test]
fn stored_pictures() {
    let mut state = busy_with_events();
    for tab in Tab::ALL {
        state.tab = tab;
        for (width, height) in [(80, 24), (120, 40), (200, 60)] {
            let name = format!("{}-{width}x{height}.txt", tab.title().to_lowercase());
            compare(&name, &picture(&state, width, height));
        }
    }
    state.tab = Tab::Live;
    compare("live-40x12.txt", &picture(&state, 40, 12));
    compare("idle-80x24.txt", &picture(&connected(), 80, 24));
    letters(&mut state, "2d");
    compare("ops-prefill-120x40.txt", &picture(&state, 120, 40));
}

#[test]
fn a_timeline_steps_jumps_zooms_and_compares() {
    let mut state = busy_with_events();
    letters(&mut state, "3");
    let shown = |state: &State| picture(state, 120, 40);
    assert!(
        shown(&state).contains("decode token 200, repetition 1 · 10.0 ms · context 712"),
        "{}",
        shown(&state)
    );
    press(&mut state, KeyCode::Left);
    assert!(shown(&state).contains("decode token 199"), "{}", shown(&state));
    letters(&mut state, "b");
    press(&mut state, KeyCode::Left);
    let compared = shown(&state);
    assert!(compared.contains("against decode token 199, repetition 1"), "{compared}");
    letters(&mut state, "b++");
    assert!(shown(&state).contains("×4"), "{}", shown(&state));
    letters(&mut state, "n");
    assert!(shown(&state).contains("decode token 200"));
    for key in ["s", "p", "m", "<", ">", "j", "k", "-"] {
        letters(&mut state, key);
        shown(&state);
    }
}

#[test]
fn the_selected_op_has_its_distribution_and_its_roofs() {
    let mut state = busy_with_events();
    letters(&mut state, "2");
    let picture = picture(&state, 120, 40);
    for part in
        ["400 calls by time", "kernels avx2", "attn.qkv_proj q4_0 576×576", "roofs: reads 2.00 GB/s", "p99"]
    {
        assert!(picture.contains(part), "{part}:\n{picture}");
    }
}

#[test]
fn ops_are_added_up_by_each_property_and_compared_with_a_pin() {
    let mut state = busy();
    letters(&mut state, "2");
    for (group, part) in [
        ("module", "attention"),
        ("kind", "matmul"),
        ("layer", "layer 1"),
        ("format", "q4_0"),
        ("op", "lm_head"),
    ] {
        letters(&mut state, "g");
        let picture = picture(&state, 120, 40);
        assert!(
            picture.contains(&format!("decode by {group} ")) && picture.contains(part),
            "{group}:\n{picture}"
        );
    }
    letters(&mut state, "p");
    frame(&mut state, summary(Phase::Decode));
    let mut slower = summary(Phase::Decode);
    slower.sites[7].totals.time_ns *= 2;
    frame(&mut state, slower);
    let compared = picture(&state, 200, 60);
    assert!(compared.contains("compared with smollm2-135m q4_0, job 7, 200 steps"), "{compared}");
    let head = compared.lines().find(|line| line.starts_with("    lm_head") || line.contains("▸ lm_head"));
    assert!(head.is_some_and(|line| line.contains("+4.5 %")), "{compared}");
    letters(&mut state, "P");
    assert!(!picture(&state, 200, 60).contains("compared with"));
}

#[test]
fn single_events_are_asked_for_only_while_a_screen_needs_them() {
    let mut state = connected();
    let raw = |effects: Vec<Effect>| match &effects[..] {
        [Effect::Send(request)] => match &request.method {
            Method::Subscribe(subscribe) => Some(subscribe.ops.raw),
            other => panic!("{other:?}"),
        },
        [] => None,
        other => panic!("{other:?}"),
    };
    for (key, expected) in [('2', Some(true)), ('3', None), ('1', Some(false)), ('6', None)] {
        assert_eq!(raw(press(&mut state, KeyCode::Char(key))), expected, "{key}");
    }
}

#[test]
fn q_closes_an_overlay_first_and_help_scrolls() {
    let mut state = busy();
    letters(&mut state, "?");
    assert!(picture(&state, 80, 24).contains("j k scroll"));
    letters(&mut state, "G");
    assert!(picture(&state, 80, 24).contains("gives the mouse back"), "{}", picture(&state, 80, 24));
    assert!(press(&mut state, KeyCode::Char('q')).is_empty() && state.overlay.is_none());
    assert_eq!(press(&mut state, KeyCode::Char('q')), [Effect::Quit]);
    letters(&mut state, "f");
    assert!(picture(&state, 80, 24).contains("what stands out"));
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
fn control_l_repaints_and_control_z_suspends() {
    let mut state = busy();
    let control = |state: &mut State, letter| {
        let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        update(state, Msg::Input(Event::Key(key)))
    };
    assert_eq!(control(&mut state, 'l'), [Effect::Repaint]);
    assert_eq!(control(&mut state, 'z'), [Effect::Suspend]);
    assert_eq!(update(&mut state, Msg::Continued), [Effect::Repaint]);
    assert_eq!(press(&mut state, KeyCode::Char('M')), [Effect::Mouse(false)]);
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
fn a_click_opens_the_tab_under_it() {
    let mut state = busy();
    let mut click = |column| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        let mouse = MouseEvent { kind, column, row: 0, modifiers: KeyModifiers::NONE };
        update(&mut state, Msg::Input(Event::Mouse(mouse)));
        state.tab
    };
    assert_eq!([click(9), click(17), click(2), click(79)], [Tab::Ops, Tab::Timeline, Tab::Live, Tab::Live]);
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
    frame(&mut state, Talk::Job(job(JobState::Done)));
    assert!(picture(&state, 80, 24).contains("done · turn 2 of a loop · nothing runs: press r"));
}

#[test]
fn a_directory_that_is_called_like_a_catalogue_model_is_not_synthetic() {
    let mut state = busy();
    let real = Job { source: ModelSource::Hf, format: Some(WeightFormat::Bf16), ..job(JobState::Measuring) };
    frame(&mut state, Talk::Job(real));
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
    update(&mut state, Msg::Disconnected { reason: "gone".to_owned() });
    for tab in Tab::ALL {
        state.tab = tab;
        let buf = buffer(&state, (false, false), 120, 40);
        assert!(buf.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}

#[test]
fn help_lists_the_keys_of_the_screen() {
    let mut state = connected();
    letters(&mut state, "2?");
    let help = picture(&state, 80, 30);
    assert!(help.contains("keys on Ops") && help.contains("sort") && help.contains("filter"));
    press(&mut state, KeyCode::Esc);
    assert!(!picture(&state, 80, 30).contains("keys on Ops"));
}

#[test]
fn help_shows_every_key_on_a_small_terminal() {
    for tab in Tab::ALL {
        let mut state = connected();
        state.tab = tab;
        letters(&mut state, "?");
        let help = picture(&state, 80, 24);
        for binding in bindings(tab, false) {
            assert!(help.contains(binding.help), "{} on {tab:?}:\n{help}", binding.help);
        }
    }
}

#[test]
fn names_of_any_kind_are_drawn() {
    let mut state = busy();
    let long = "模型\u{1b}[31m👩‍👩‍👧‍👦\u{202e}e\u{301}".repeat(50);
    let mut odd = job(JobState::Failed);
    odd.model.clone_from(&long);
    odd.error = Some(long.clone());
    frame(&mut state, Talk::Job(odd));
    let mut channels =
        vec![channel(9, &long, Quantity::Temperature, Unit::Celsius, Scope::Rail(long.clone()))];
    channels[0].remedy = Some(long.clone());
    frame(&mut state, Record::Catalogue { channels });
    state.hardware.selected = Some(long.clone());
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
    screen.draw(&state, palette).unwrap();
    let first = meter.0.take();
    assert!(first > 500, "{first}");
    update(&mut state, Msg::Tick { now_ns: 8_600_000_000 });
    frame(&mut state, Record::Sample(sample(9)));
    screen.draw(&state, palette).unwrap();
    assert_eq!(meter.0.take(), 0);
    letters(&mut state, "2");
    screen.draw(&state, palette).unwrap();
    assert!(meter.0.take() > 0);
    screen.resize(80, 24);
    screen.draw(&state, palette).unwrap();
    assert!(meter.0.take() > 500);
}

#[test]
fn nothing_is_drawn_when_nothing_happens() {
    let mut state = busy();
    state.take_dirty();
    update(&mut state, Msg::Tick { now_ns: 8_900_000_000 });
    assert!(!state.is_dirty());
}
