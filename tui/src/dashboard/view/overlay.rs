//! Overlays: help with the keys and terms of the open screen, and all findings. They scroll.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};
use slmscope_profiles::display;
use slmscope_profiles::finding::Figure;

use super::table::fit;
use super::text::wrap;
use super::{export, form, picker, put};
use crate::dashboard::overlay::Overlay;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens;
use crate::dashboard::screens::live::remarks::remarks;
use crate::dashboard::state::State;

/// Width of a column of keys.
const KEYS: usize = 38;
/// Most columns of an overlay; longer lines are hard to read.
const WIDTH: u16 = 118;
/// Most lines of one finding or term.
const LINES: usize = 40;

/// Draws the open overlay over the middle of `area`, if there is one.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let Some(overlay) = state.overlay else { return };
    match overlay {
        Overlay::Picker => return picker::draw(state, palette, area, buf),
        Overlay::Form => return form::draw(state, palette, area, buf),
        Overlay::Export => return export::draw(state, palette, area, buf),
        Overlay::Help | Overlay::Findings | Overlay::Page => {}
    }
    let width = area.width.min(WIDTH);
    let lines = lines(state, overlay, palette, width);
    let height = area.height.min(u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2));
    let x = area.x + (area.width - width) / 2;
    let place = Rect { x, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let title = match overlay {
        Overlay::Help => format!(" keys on {} ", state.tab.title()),
        Overlay::Findings => " what stands out ".to_owned(),
        _ => format!(" {} ", state.page.title),
    };
    let inner_height = usize::from(height.saturating_sub(2));
    let hidden = lines.len().saturating_sub(inner_height);
    let first = state.scroll.min(hidden);
    let foot = if hidden > 0 {
        format!(" j k scroll ({} more), q closes ", hidden - first)
    } else {
        " q closes ".to_owned()
    };
    let block = Block::bordered().title(title).title_bottom(Line::from(foot).right_aligned());
    let inner = block.inner(place);
    block.render(place, buf);
    for (row, line) in lines.into_iter().skip(first).take(inner_height).enumerate() {
        put(line, row, inner, buf);
    }
}

/// How far the open overlay can be scrolled on this terminal.
pub fn last_scroll(state: &State) -> usize {
    let Some(overlay) = state.overlay else { return 0 };
    let (width, height) = state.size;
    let lines = lines(state, overlay, Palette::any(), width.min(WIDTH));
    lines.len().saturating_sub(usize::from(height.saturating_sub(4)))
}

fn lines(state: &State, overlay: Overlay, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width.saturating_sub(2));
    match overlay {
        Overlay::Help => help(state, palette, width),
        Overlay::Findings => findings(state, palette, width),
        Overlay::Page => state.page.text.lines().map(|line| Line::from(format!(" {line}"))).collect(),
        Overlay::Picker | Overlay::Form | Overlay::Export => Vec::new(),
    }
}

fn help(state: &State, palette: Palette, width: usize) -> Vec<Line<'static>> {
    let keymap = &state.options.settings.keymap;
    let bindings: Vec<_> = screens::bindings(state.tab, state.replay.is_some())
        .map(|binding| (keymap.spelling(binding), binding.help))
        .filter(|(spelling, _)| !spelling.is_empty())
        .collect();
    let columns = (width / KEYS).max(1);
    let rows = bindings.len().div_ceil(columns);
    let mut lines = Vec::new();
    for row in 0..rows {
        let mut spans = Vec::new();
        for (spelling, help) in bindings.iter().skip(row).step_by(rows) {
            spans.push(Span::styled(fit(&format!(" {spelling}"), 10, false), Palette::strong()));
            spans.push(Span::raw(fit(help, KEYS - 10, false)));
        }
        lines.push(Line::from(spans));
    }
    let common = [
        (
            "pause",
            "space, or an arrow, keeps a moment on screen while the daemon goes on. ← → go back and forth by tokens \
             where single events are sent (Ops, Timeline), else by tenths of a second; , . go over a 20th of what is \
             kept, $ follows the daemon again. A recording has the same keys",
        ),
        (
            "mouse",
            "M gives the mouse back to the terminal. A click opens a tab, selects a row, opens a selected one, sorts by \
             a heading; the wheel moves in lists; dragging over the waterfall of a token shows that part of it",
        ),
    ];
    for &(term, meaning) in screens::terms(state.tab).iter().chain(&common) {
        lines.push(Line::default());
        lines.push(Line::styled(format!(" {term}"), palette.curve()));
        let meaning = wrap(meaning, width.saturating_sub(4), LINES);
        lines.extend(meaning.into_iter().map(|text| Line::from(format!("   {text}"))));
    }
    lines
}

fn findings(state: &State, palette: Palette, width: usize) -> Vec<Line<'static>> {
    let data = state.shown();
    let remarks = remarks(data);
    if remarks.is_empty() {
        return vec![Line::from(" nothing stands out; findings come when a run has ended")];
    }
    let findings = data.result.as_ref().map_or(&[][..], |result| &result.findings);
    let others = remarks.len() - findings.len();
    let room = width.saturating_sub(4);
    let mut lines = Vec::new();
    for (at, remark) in remarks.iter().enumerate() {
        let style = if remark.is_bad { palette.bad() } else { palette.warning() };
        let mark = |mark: &'static str, at: usize| if at == 0 { mark } else { "   " };
        for (row, text) in wrap(&remark.text, room, LINES).into_iter().enumerate() {
            lines.push(Line::styled(format!("{}{text}", mark(" ! ", row)), style));
        }
        for (row, text) in wrap(&remark.advice, room, LINES).into_iter().enumerate() {
            lines.push(Line::from(format!("{}{text}", mark(" > ", row))));
        }
        let evidence = at.checked_sub(others).and_then(|at| findings.get(at));
        for Figure { name, value, unit } in evidence.iter().flat_map(|finding| &finding.evidence) {
            let text = format!("{name}: {}", figure(*value, unit));
            let text = wrap(&text, room.saturating_sub(2), LINES);
            lines.extend(text.into_iter().map(|text| Line::styled(format!("     {text}"), palette.dim())));
        }
        lines.push(Line::default());
    }
    lines
}

/// A figure of a finding with its unit.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => display::share(value),
        "B/s" => display::bytes_per_second(value),
        "B" if value >= 0.0 => display::bytes(value as u64),
        "" => display::significant(value),
        unit => format!("{} {unit}", display::significant(value)),
    }
}
