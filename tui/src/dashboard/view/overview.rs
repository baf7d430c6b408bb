//! Several boards at once: a line for each, with what is worth opening it for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display::{self, ABSENT, or_absent, printable};
use slmscope_profiles::op::Phase;

use super::table::{self, Column, fit};
use super::text::wrap;
use super::{put, take_bottom, take_top};
use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::live::remarks::remarks;
use crate::dashboard::state::{Link, State};
use crate::dashboard::totals::PhaseSum;

/// Rows above the first board: the title and the headings.
const HEAD: u16 = 2;
/// Rows below the last one: what stands out on the selected board, and the keys.
const FOOT: u16 = 2;

const fn column(title: &'static str, width: usize, right: bool) -> Column {
    Column { title, width, right }
}

/// Columns from which on what stands out is said in words; in less room it is counted, and said of the selected board.
const WORDS: usize = 24;

/// Columns beside the last one, which takes the rest.
const COLUMNS: [Column; 7] = [
    column("board", 12, false),
    column("model", 16, false),
    column("doing", 9, false),
    column("tok/s", 6, true),
    column("power", 7, true),
    column("heat", 7, true),
    column("throttling", 10, false),
];

/// Boards that a terminal of so many rows shows.
pub fn rows(terminal: u16) -> usize {
    usize::from(terminal.saturating_sub(HEAD + FOOT))
}

/// The board in a row of the terminal.
pub fn board_at(row: u16, selected: usize, boards: usize, terminal: u16) -> Option<usize> {
    let height = rows(terminal);
    let within = usize::from(row.checked_sub(HEAD)?);
    let board = table::first(selected, boards, height) + within;
    (within < height && board < boards).then_some(board)
}

/// Draws the overview.
pub fn draw(states: &[State], selected: usize, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let connected = states.iter().filter(|state| is_up(state)).count();
    let title =
        format!(" slmscope · {} · {connected} connected", display::plural(states.len() as u64, "board"));
    put(Line::styled(title, Palette::strong()), 0, take_top(&mut rest, 1), buf);
    let foot = take_bottom(&mut rest, 1);
    let keys = " enter opens a board, q there leads back here · j k select · q quits";
    put(Line::styled(keys, palette.dim()), 0, foot, buf);
    let told = take_bottom(&mut rest, 1);
    if let Some(state) = states.get(selected) {
        let text = told_of(state, usize::from(area.width).saturating_sub(2));
        put(Line::styled(format!(" {text}"), style(state, palette)), 0, told, buf);
    }
    let room = usize::from(area.width).saturating_sub(COLUMNS.iter().map(|column| column.width + 1).sum());
    let mut titles = table::titles(&COLUMNS, Palette::strong());
    let last = if room < WORDS { "notes" } else { "what stands out" };
    titles.push_span(Span::styled(last, Palette::strong()));
    put(titles, 0, take_top(&mut rest, 1), buf);
    let boards: Vec<_> = states.iter().enumerate().collect();
    table::scroll(&boards, selected, rest, buf, |&(at, state)| {
        let style = if at == selected { Palette::selected() } else { style(state, palette) };
        let cells = cells(state);
        let texts: Vec<_> = cells.iter().map(String::as_str).collect();
        let mut line = Line::from(table::cells(&COLUMNS, &texts, style));
        let said = if room < WORDS { remark_count(state) } else { first_remark(state) };
        line.push_span(Span::styled(fit(&said, room, false), style));
        line
    });
}

fn is_up(state: &State) -> bool {
    matches!(state.link, Link::Up { .. }) && state.silent_ns().is_none()
}

fn style(state: &State, palette: Palette) -> Style {
    match &state.link {
        Link::Waiting => palette.dim(),
        Link::Down { .. } => palette.bad(),
        Link::Up { .. } if state.silent_ns().is_some() => palette.bad(),
        Link::Up { .. } if state.live.channels.throttling().is_some() => palette.warning(),
        Link::Up { .. } => Style::new(),
    }
}

/// The columns of a board's line.
fn cells(state: &State) -> [String; 7] {
    let data = &state.live;
    let value = |track: Option<&Track>| {
        let fresh = track.filter(|track| is_up(state) && !track.is_stale(state.now_ns));
        or_absent(fresh.and_then(|track| Some((track.value()?, track.channel.unit))), |(value, unit)| {
            display::value(value, unit)
        })
    };
    let model = data.job.as_ref().map_or(ABSENT, |job| job.model.as_str());
    let rate = data.totals.phase(Phase::Decode).map(PhaseSum::recent);
    let rate = rate.filter(|_| is_up(state) && data.is_busy()).and_then(|work| work.rows_per_second());
    let throttling = match data.channels.throttling() {
        _ if !is_up(state) => ABSENT.to_owned(),
        Some(_) => "yes".to_owned(),
        None if data.channels.reports_throttling() => "none".to_owned(),
        None => ABSENT.to_owned(),
    };
    [
        state.options.target.clone(),
        model.rsplit('/').next().unwrap_or(model).to_owned(),
        doing(state),
        or_absent(rate, display::significant),
        value(data.channels.power()),
        value(data.channels.hottest()),
        throttling,
    ]
}

/// What a board does, in a word.
fn doing(state: &State) -> String {
    match &state.link {
        Link::Waiting => "connects".to_owned(),
        Link::Down { .. } => "no link".to_owned(),
        Link::Up { .. } if state.silent_ns().is_some() => "silent".to_owned(),
        Link::Up { .. } => match &state.live.job {
            Some(job) if !job.state.is_final() => job.state.as_str().to_owned(),
            _ => "idle".to_owned(),
        },
    }
}

/// How much stands out; nothing for a board that is not connected.
fn remark_count(state: &State) -> String {
    match &state.link {
        Link::Up { .. } => remarks(&state.live).len().to_string(),
        Link::Waiting | Link::Down { .. } => ABSENT.to_owned(),
    }
}

/// What stands out first.
fn first_remark(state: &State) -> String {
    match &state.link {
        Link::Down { reason, .. } => reason.clone(),
        _ => remarks(&state.live).into_iter().next().map_or_else(String::new, |remark| remark.text),
    }
}

/// The selected board in a line: what stands out, or why a figure is absent.
fn told_of(state: &State, width: usize) -> String {
    let silent = state.silent_ns().map(|ns| format!("has sent nothing for {}", display::duration(ns)));
    let remark = silent.unwrap_or_else(|| first_remark(state));
    let target = printable(&state.options.target);
    let said = if remark.is_empty() {
        format!("{target}: nothing stands out; Live says why a figure is {ABSENT}")
    } else if remark.starts_with(&*target) {
        // As the reason of a lost connection does.
        remark
    } else {
        format!("{target}: {remark}")
    };
    wrap(&said, width, 1).pop().unwrap_or_default()
}
