//! The frame around a screen: header, footer, help. Views are pure functions of the state and an area; they change
//! nothing but cells.

pub(super) mod chart;
mod export;
mod form;
mod overlay;
pub(super) mod overview;
mod picker;
pub(super) mod table;
pub(super) mod text;

pub(super) use overlay::last_scroll;

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use slmscope_profiles::display::{self, printable};

use super::palette::Palette;
use super::replay::Replay;
use super::screens;
use super::state::{Frozen, Link, State};
use super::tab::Tab;
use crate::width::{columns, cut};

/// Most columns of a host's name.
const HOST: usize = 20;

/// Draws everything.
pub(super) fn view(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let head = take_top(&mut rest, 1);
    let foot = take_bottom(&mut rest, 1);
    header(state, palette, usize::from(area.width)).render(head, buf);
    screens::draw(state, palette, rest, buf);
    overlay::draw(state, palette, rest, buf);
    footer(state, palette, usize::from(area.width)).render(foot, buf);
}

fn header(state: &State, palette: Palette, width: usize) -> Line<'static> {
    let mut spans = Vec::new();
    for (tab, title) in tabs(width) {
        let style = if tab == Some(state.tab) { Palette::selected() } else { palette.dim() };
        spans.push(Span::styled(title, if tab.is_none() { Palette::strong() } else { style }));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let room = width.saturating_sub(used + 2);
    let mut parts = connection(state, palette);
    if let Some(first) = parts.first_mut().filter(|first| first.iter().map(Span::width).sum::<usize>() > room)
    {
        shorten(first);
    }
    spans.push(Span::raw("  "));
    spans.extend(text::pieces(parts, "  ", room).spans);
    Line::from(spans)
}

/// Leaves the first sign of a piece alone: the footer has the words.
fn shorten(piece: &mut text::Piece) {
    piece.truncate(1);
    for span in piece {
        span.content = span.content.chars().take(1).collect::<String>().into();
    }
}

/// The tabs from left to right, with the program's name first where there is room.
fn tabs(width: usize) -> Vec<(Option<Tab>, String)> {
    let name = (None, " slmscope ".to_owned());
    let full = || {
        Tab::ALL.into_iter().enumerate().map(|(at, tab)| (Some(tab), format!(" {} {}", at + 1, tab.title())))
    };
    let fits = |tabs: &[(Option<Tab>, String)], connection: usize| {
        tabs.iter().map(|(_, title)| columns(title)).sum::<usize>() + connection <= width
    };
    let with_name: Vec<_> = std::iter::once(name).chain(full()).collect();
    if fits(&with_name, 16) {
        return with_name;
    }
    let named: Vec<_> = full().collect();
    if fits(&named, 3) {
        return named;
    }
    Tab::ALL.into_iter().enumerate().map(|(at, tab)| (Some(tab), format!(" {}", at + 1))).collect()
}

/// The tab in this column of the header.
pub(super) fn tab_at(state: &State, column: u16) -> Option<Tab> {
    let mut end = 0;
    let tabs = tabs(usize::from(state.size.0));
    let found = tabs.into_iter().find(|(_, title)| {
        end += columns(title);
        usize::from(column) < end
    });
    found.and_then(|(tab, _)| tab)
}

/// The connection, or that it is a recording.
fn connection(state: &State, palette: Palette) -> Vec<text::Piece> {
    if let Some(replay) = &state.replay {
        return vec![vec![Span::styled(replay.does(), palette.good())]];
    }
    let mut parts = Vec::new();
    if state.is_paused() {
        parts.push(vec![Span::styled("PAUSED", palette.warning())]);
    }
    parts.push(vec![match (&state.link, state.silent_ns()) {
        (Link::Up { .. }, Some(ns)) => {
            Span::styled(format!("○ silent for {}", display::duration(ns)), palette.bad())
        }
        (Link::Waiting, _) => Span::styled("connecting", palette.warning()),
        (Link::Up { .. }, None) if state.options.remote => {
            let host = cut(&printable(&state.options.target), HOST).to_owned();
            Span::styled(format!("● {host}"), palette.good())
        }
        (Link::Up { .. }, None) => Span::styled("● connected", palette.good()),
        (Link::Down { .. }, _) => Span::styled("○ disconnected", palette.bad()),
    }]);
    let daemon = match &state.link {
        _ if state.options.private => "private daemon".to_owned(),
        Link::Up { version, .. } => format!("{} {version}", printable(&state.options.target)),
        _ => printable(&state.options.target).into_owned(),
    };
    parts.push(vec![Span::styled(daemon, palette.dim())]);
    parts
}

/// Where the recording is, how fast it is played, and its name.
fn recording(replay: &Replay, is_over_live: bool, palette: Palette) -> Vec<text::Piece> {
    let state = replay.does();
    let (elapsed, length) = (clock(replay.elapsed_ns()), clock(replay.length_ns()));
    let mut parts = vec![
        vec![Span::styled(format!(" {state}"), palette.good()), Span::raw(format!(" {elapsed} of {length}"))],
        vec![Span::raw(format!("×{}", replay.speed()))],
        vec![Span::styled(printable(&replay.name).into_owned(), palette.dim())],
    ];
    if is_over_live {
        parts.push(key("esc", "back to the daemon", palette));
    }
    parts
}

/// Which moment stays on screen, and how to leave it.
fn paused(frozen: &Frozen, palette: Palette) -> Vec<text::Piece> {
    let back_ns = frozen.paused_ns.saturating_sub(frozen.at_ns);
    let at = if back_ns > 0 { format!(" {} before", display::duration(back_ns)) } else { String::new() };
    vec![
        vec![Span::styled(" paused", palette.warning()), Span::raw(at)],
        key("← →", "tokens", palette),
        key("$", "follow", palette),
    ]
}

fn key(spelling: &str, help: &'static str, palette: Palette) -> text::Piece {
    vec![
        Span::styled(format!(" {spelling}"), Palette::strong()),
        Span::styled(format!(" {help}"), palette.dim()),
    ]
}

/// Time since the beginning of a recording: `1:02.5`, `1:02:03.4`.
fn clock(ns: u64) -> String {
    let (minutes, seconds) = (ns / 60_000_000_000, (ns % 60_000_000_000) / 100_000_000);
    let seconds = format!("{:02}.{}", seconds / 10, seconds % 10);
    match minutes {
        0..60 => format!("{minutes}:{seconds}"),
        _ => format!("{}:{:02}:{seconds}", minutes / 60, minutes % 60),
    }
}

fn footer(state: &State, palette: Palette, width: usize) -> Line<'static> {
    if state.typing {
        let filter = screens::list(state).map_or("", |list| &list.filter);
        return Line::from(format!(" /{filter}▏  enter keeps it, esc clears it"));
    }
    if let Link::Down { reason, retry_ns } = &state.link
        && state.replay.is_none()
    {
        let again = format!("; trying again every {}", display::duration(*retry_ns));
        let room = width.saturating_sub(columns(&again) + 16).max(20);
        let reason = text::wrap(reason, room, 1).pop().unwrap_or_default();
        return Line::styled(format!(" disconnected: {reason}{again}"), palette.bad());
    }
    if let Some(ns) = state.silent_ns() {
        let text =
            format!(" the daemon has sent nothing for {}: what is shown is old", display::duration(ns));
        return Line::styled(text, palette.bad());
    }
    if let Some(confirm) = &state.confirm {
        return Line::styled(format!(" {}", confirm.question), palette.warning());
    }
    if let Some(notice) = &state.notice {
        return Line::styled(format!(" {}", printable(notice)), palette.warning());
    }
    // The screen's own keys come first: on a narrow terminal the last ones are left out.
    let mut parts = match (&state.replay, &state.frozen) {
        (Some(replay), _) => recording(replay, state.replay_is_over_live, palette),
        (None, Some(frozen)) => paused(frozen, palette),
        (None, None) => Vec::new(),
    };
    let keymap = &state.options.settings.keymap;
    for binding in screens::bindings(state.tab, state.replay.is_some()).filter(|binding| binding.is_in_footer)
    {
        let spelling = keymap.spelling(binding);
        if !spelling.is_empty() {
            parts.push(key(&spelling, binding.help, palette));
        }
    }
    text::pieces(parts, " ", width)
}

/// Cuts `height` rows, or as many as there are, off the top of `area`.
pub(super) fn take_top(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    let top = Rect { height, ..*area };
    area.y += height;
    area.height -= height;
    top
}

/// Cuts `height` rows, or as many as there are, off the bottom of `area`.
pub(super) fn take_bottom(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    area.height -= height;
    Rect { y: area.y + area.height, height, ..*area }
}

/// Draws `line` in row `row` of `area`, if there is one.
pub(super) fn put(mut line: Line<'_>, row: usize, area: Rect, buf: &mut Buffer) {
    if row < usize::from(area.height) {
        // Names of files and sensors are in it.
        for span in &mut line.spans {
            if let Cow::Owned(text) = printable(&span.content) {
                span.content = text.into();
            }
        }
        line.render(Rect { y: area.y + row as u16, height: 1, ..area }, buf);
    }
}

/// Draws a heading on a horizontal line in the first row of `area`, and cuts that row off.
pub(super) fn heading(title: &str, palette: Palette, area: &mut Rect, buf: &mut Buffer) {
    let row = take_top(area, 1);
    let rule = "─".repeat(usize::from(row.width));
    put(Line::styled(rule, palette.dim()), 0, row, buf);
    let inner =
        Rect { x: row.x.saturating_add(2).min(row.right()), width: row.width.saturating_sub(4), ..row };
    put(Line::styled(format!(" {title} "), Palette::strong()), 0, inner, buf);
}
