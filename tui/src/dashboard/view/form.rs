//! The form of a workload over a screen: its fields, what the selected one takes, and whether the run fits the memory.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};
use slmscope_profiles::display;

use super::put;
use super::table::fit;
use super::text::wrap;
use crate::dashboard::channels::Track;
use crate::dashboard::form::{Field, Form, Need};
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;

/// Most columns.
const WIDTH: u16 = 78;
/// Rows: the fields, an empty one, three of explanation, the border.
const HEIGHT: u16 = Field::ALL.len() as u16 + 7;
/// Width of the labels.
const LABEL: usize = 11;

/// Draws it over the middle of `area`.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let (width, height) = (area.width.min(WIDTH), area.height.min(HEIGHT));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let foot = " ↑ ↓ field, enter runs it, esc closes ";
    let block = Block::bordered().title(" a workload ").title_bottom(Line::from(foot).right_aligned());
    let inner = block.inner(place);
    block.render(place, buf);
    for (row, line) in lines(state, palette, usize::from(inner.width)).into_iter().enumerate() {
        put(line, row, inner, buf);
    }
}

fn lines(state: &State, palette: Palette, width: usize) -> Vec<Line<'static>> {
    let form = &state.form;
    let mut lines = Vec::new();
    for field in Field::ALL {
        let is_open = form.field() == field;
        let cursor = if is_open && !matches!(field, Field::Format | Field::Repeat) { "▏" } else { "" };
        let style = if is_open { Palette::selected() } else { Palette::strong() };
        let room = width.saturating_sub(LABEL + 3);
        lines.push(Line::from(vec![
            Span::styled(fit(&format!(" {}", field.label()), LABEL, false), palette.dim()),
            Span::styled(format!(" {}{cursor} ", fit_end(&form.text(field), room)), style),
        ]));
    }
    lines.push(Line::default());
    let room = width.saturating_sub(2);
    let say = |text: String, style| {
        let lines = wrap(&text, room, 2).into_iter();
        lines.map(move |text| Line::styled(format!(" {text}"), style)).collect::<Vec<_>>()
    };
    lines.extend(say(form.field().hint().to_owned(), palette.dim()));
    match form.workload() {
        Err(wrong) => lines.extend(say(wrong.to_string(), palette.warning())),
        Ok(workload) => {
            let (text, fits) = memory(state, form, Need::of(&form.model, &workload));
            lines.extend(say(text, if fits { palette.dim() } else { palette.warning() }));
        }
    }
    lines
}

/// The end of a text that is too long: the place where it is typed.
fn fit_end(text: &str, width: usize) -> String {
    let text: Vec<char> = display::printable(text).chars().collect();
    let skip = text.len().saturating_sub(width);
    let mark = if skip > 0 { "…" } else { "" };
    let shown: String = text.iter().skip(skip + usize::from(skip > 0)).collect();
    format!("{mark}{shown}")
}

/// What the run needs and what there is, and whether that is enough as far as is known.
fn memory(state: &State, form: &Form, need: Option<Need>) -> (String, bool) {
    let free = state.live.channels.by_id("mem.available").and_then(Track::value).map(|bytes| bytes as u64);
    let is_free = free.map_or_else(String::new, |free| format!("; {} are free", display::bytes(free)));
    let Some(need) = need else {
        let file = state.options.models.iter().find(|choice| choice.name == form.model);
        let text = file.map_or_else(
            || "what it needs is known when its files are opened".to_owned(),
            |file| format!("the file has {}; keys and values come on top", display::bytes(file.bytes)),
        );
        let fits = file.zip(free).is_none_or(|(file, free)| file.bytes <= free);
        return (text + &is_free, fits);
    };
    let fits = free.is_none_or(|free| need.total() <= free);
    let verdict = if fits { "" } else { ": too much" };
    let text = format!(
        "needs at least {}: weights {}, keys and values {}{is_free}{verdict}",
        display::bytes(need.total()),
        display::bytes(need.weights),
        display::bytes(need.kv)
    );
    (text, fits)
}
