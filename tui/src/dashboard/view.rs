//! The frame around a screen: header, footer, help. Views are pure functions of the state and an area; they change
//! nothing but cells.

pub(super) mod chart;
mod help;
pub(super) mod table;

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use slmscope_profiles::display::printable;

use super::palette::Palette;
use super::replay::Replay;
use super::screens;
use super::state::{Link, State};
use super::tab::Tab;

/// Draws everything.
pub(super) fn view(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let head = take_top(&mut rest, 1);
    let foot = take_bottom(&mut rest, 1);
    header(state, palette).render(head, buf);
    screens::draw(state, palette, rest, buf);
    if state.help {
        help::draw(state.tab, state.replay.is_some(), rest, buf);
    }
    footer(state, palette).render(foot, buf);
}

fn header(state: &State, palette: Palette) -> Line<'static> {
    let mut spans = vec![Span::styled(" slmscope ", Palette::strong())];
    for (index, tab) in Tab::ALL.into_iter().enumerate() {
        let style = if tab == state.tab { Palette::selected() } else { palette.dim() };
        spans.push(Span::styled(format!(" {} {} ", index + 1, tab.title()), style));
    }
    spans.push(Span::raw("  "));
    if let Some(replay) = &state.replay {
        spans.extend(recording(replay, palette));
        return Line::from(spans);
    }
    match &state.link {
        Link::Waiting => spans.push(Span::styled("connecting", palette.warning())),
        Link::Up { .. } => spans.push(Span::styled("● connected", palette.good())),
        Link::Down { .. } => spans.push(Span::styled("○ disconnected", palette.bad())),
    }
    if state.is_paused() {
        spans.push(Span::styled("  PAUSED", palette.warning()));
    }
    let daemon = match &state.link {
        _ if state.options.private => "private daemon".to_owned(),
        Link::Up { version, .. } => format!("{} {version}", state.options.target),
        _ => state.options.target.clone(),
    };
    spans.push(Span::styled(format!("  {daemon}"), palette.dim()));
    Line::from(spans)
}

/// Where the recording is, how fast it is played, and its name.
fn recording(replay: &Replay, palette: Palette) -> Vec<Span<'static>> {
    let state = if replay.playing { "playing" } else { "replay" };
    let (elapsed, length) = (clock(replay.elapsed_ns()), clock(replay.length_ns()));
    let at = format!(" {elapsed} of {length}  ×{}", replay.speed());
    vec![
        Span::styled(state, palette.good()),
        Span::raw(at),
        Span::styled(format!("  {}", printable(&replay.name)), palette.dim()),
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

fn footer(state: &State, palette: Palette) -> Line<'static> {
    if state.typing {
        let filter = screens::list(state).map_or("", |list| &list.filter);
        return Line::from(format!(" /{filter}▏  enter keeps it, esc clears it"));
    }
    if let Link::Down { reason } = &state.link
        && state.replay.is_none()
    {
        return Line::styled(format!(" disconnected: {reason}; trying to reconnect"), palette.bad());
    }
    if let Some((_, question)) = &state.confirm {
        return Line::styled(format!(" {question}"), palette.warning());
    }
    if let Some(notice) = &state.notice {
        return Line::styled(format!(" {notice}"), palette.warning());
    }
    let mut spans = Vec::new();
    // The screen's own keys come first, because a narrow terminal cuts the end off.
    for binding in screens::bindings(state.tab, state.replay.is_some()).filter(|binding| binding.is_in_footer)
    {
        spans.push(Span::styled(format!(" {} ", binding.spelling), Palette::strong()));
        spans.push(Span::styled(format!("{} ", binding.help), palette.dim()));
    }
    Line::from(spans)
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
