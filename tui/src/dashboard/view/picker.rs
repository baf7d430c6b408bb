//! The picker over a screen: models with their sizes, and which fit the memory that is free.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};
use slmscope_profiles::display;

use super::table::{self, fit};
use super::{put, take_top};
use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::picker::Choice;
use crate::dashboard::state::State;

/// Most columns.
const WIDTH: u16 = 100;

/// Draws it over the middle of `area`.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = area.width.min(WIDTH);
    let place = Rect { x: area.x + (area.width - width) / 2, width, ..area };
    Clear.render(place, buf);
    let foot = " enter runs it in a loop, ↑ ↓ select, esc closes ";
    let block = Block::bordered().title(" run which model? ").title_bottom(Line::from(foot).right_aligned());
    let mut inner = block.inner(place);
    block.render(place, buf);
    let typed = format!(" {}▏", state.picker.list.filter);
    let hint = if state.picker.list.filter.is_empty() { " type a part of its name" } else { "" };
    let line = Line::from(vec![Span::styled(typed, Palette::strong()), Span::styled(hint, palette.dim())]);
    put(line, 0, take_top(&mut inner, 1), buf);
    let shown = state.picker.shown(&state.options.models);
    if shown.is_empty() {
        put(Line::styled(" no model has that in its name", palette.dim()), 0, inner, buf);
        return;
    }
    let selected = state.picker.selected(&shown);
    let free = state.shown().channels.by_id("mem.available").and_then(Track::value);
    let rows: Vec<_> = shown.into_iter().enumerate().collect();
    table::scroll(&rows, selected, inner, buf, |&(at, choice)| {
        line_of(choice, at == selected, free, palette, inner.width)
    });
}

fn line_of(
    choice: &Choice,
    is_selected: bool,
    free: Option<f64>,
    palette: Palette,
    width: u16,
) -> Line<'static> {
    let is_too_large = free.is_some_and(|free| choice.bytes as f64 > free);
    let note = if is_too_large { "larger than free memory" } else { "" };
    let names = usize::from(width).saturating_sub(50).clamp(12, 40);
    let text = format!(
        " {} {} {note}",
        fit(&choice.name, names, false),
        fit(&format!("{}, {}", choice.facts, display::bytes(choice.bytes)), 30, false)
    );
    let style = match (is_selected, is_too_large) {
        (true, _) => Palette::selected(),
        (false, true) => palette.dim(),
        (false, false) => Style::new(),
    };
    Line::styled(text, style)
}
