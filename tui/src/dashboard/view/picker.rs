//! The picker over a screen: models with what they need and whether that is free, and sessions to replay.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};
use slmscope_profiles::display;
use slmscope_profiles::sessions::SessionInfo;

use super::table::{self, fit};
use super::{put, take_top};
use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::picker::{Choice, Offer};
use crate::dashboard::state::State;

/// Most columns.
const WIDTH: u16 = 100;

/// Draws it over the middle of `area`.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = area.width.min(WIDTH);
    let place = Rect { x: area.x + (area.width - width) / 2, width, ..area };
    Clear.render(place, buf);
    let foot = " enter runs it in a loop, tab sets options, ↑ ↓ select, esc closes ";
    let block = Block::bordered().title(" run which model? ").title_bottom(Line::from(foot).right_aligned());
    let mut inner = block.inner(place);
    block.render(place, buf);
    let typed = format!(" {}▏", state.picker.list.filter);
    let hint = if state.picker.list.filter.is_empty() { " type a part of its name" } else { "" };
    let line = Line::from(vec![Span::styled(typed, Palette::strong()), Span::styled(hint, palette.dim())]);
    put(line, 0, take_top(&mut inner, 1), buf);
    let shown = state.picker.shown(&state.options.models, &state.options.model, &state.sessions);
    if shown.is_empty() {
        put(Line::styled(" no model has that in its name", palette.dim()), 0, inner, buf);
        return;
    }
    let selected = state.picker.selected(&shown);
    let free = state.live.channels.by_id("mem.available").and_then(Track::value);
    let rows: Vec<_> = shown.into_iter().enumerate().collect();
    table::scroll(&rows, selected, inner, buf, |&(at, offer)| {
        line_of(offer, at == selected, free, palette, inner.width)
    });
}

fn line_of(
    offer: Offer<'_>,
    is_selected: bool,
    free: Option<f64>,
    palette: Palette,
    width: u16,
) -> Line<'static> {
    let (name, facts, is_too_large) = match offer {
        Offer::Model(choice) => model(choice, free),
        Offer::Session(info) => (offer.key(), session(info), false),
    };
    let names = (usize::from(width) / 3).clamp(12, 40);
    let room = usize::from(width).saturating_sub(names + 3);
    let text = format!(" {}  {}", fit(&name, names, false), fit(&facts, room, false));
    let style = match (is_selected, is_too_large) {
        (true, _) => Palette::selected(),
        (false, true) => palette.dim(),
        (false, false) => Style::new(),
    };
    Line::styled(text, style)
}

/// A model's name and facts, and whether it needs more memory than is free.
fn model(choice: &Choice, free: Option<f64>) -> (String, String, bool) {
    let needs = choice.needs.unwrap_or(choice.bytes);
    let is_too_large = free.is_some_and(|free| needs as f64 > free);
    let needs = match (choice.needs, is_too_large) {
        (_, true) => format!("needs {}: more than is free", display::bytes(needs)),
        (Some(needs), false) => format!("needs {}", display::bytes(needs)),
        (None, false) => display::bytes(choice.bytes),
    };
    (choice.name.clone(), format!("{}, {needs}", choice.facts), is_too_large)
}

/// What a session is, for a replay.
fn session(info: &SessionInfo) -> String {
    let rate = info.summary.as_ref().and_then(|summary| summary.decode_tokens_per_s);
    let rate = rate.map_or_else(String::new, |rate| format!(", decode {} tok/s", display::significant(rate)));
    format!("replay {}{rate}, {}", info.model, display::bytes(info.bytes))
}
