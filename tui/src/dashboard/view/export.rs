//! The line in which the file of an export is typed, over a screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};
use slmscope_exports::export::Format;
use slmscope_profiles::display::printable;

use super::put;
use super::text::wrap;
use crate::dashboard::export_line::ExportFrom;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;

/// Most columns.
const WIDTH: u16 = 78;

/// Draws it over the middle of `area`.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = area.width.min(WIDTH);
    let room = usize::from(width.saturating_sub(4));
    let hint = format!("the end of the name chooses the format: {}", endings());
    let hint = wrap(&hint, room, 4);
    let height = area.height.min(hint.len() as u16 + 5);
    let x = area.x + (area.width - width) / 2;
    let place = Rect { x, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let title = match &state.export.from {
        Some(ExportFrom::Session(source)) if source.parse::<u64>().is_ok() => {
            format!(" export session {source} to ")
        }
        Some(ExportFrom::Session(source)) => format!(" export {} to ", printable(source)),
        Some(ExportFrom::Recent) => " export what the loop did of late to ".to_owned(),
        None => String::new(),
    };
    let foot = " enter writes it, esc closes ";
    let block = Block::bordered().title(title).title_bottom(Line::from(foot).right_aligned());
    let inner = block.inner(place);
    block.render(place, buf);
    let format = match file_format(&state.export.path) {
        Ok(opened_by) => Span::styled(format!("for {opened_by}"), palette.dim()),
        Err(problem) => Span::styled(problem, palette.warning()),
    };
    let typed = Span::styled(format!(" {}▏", printable(&state.export.path)), Palette::strong());
    put(Line::from(typed), 0, inner, buf);
    put(Line::from(vec![Span::raw(" "), format]), 1, inner, buf);
    for (row, line) in hint.into_iter().enumerate() {
        put(Line::styled(format!(" {line}"), palette.dim()), row + 3, inner, buf);
    }
}

/// The ends of names that there are.
fn endings() -> String {
    let mut ends = vec!["mcap", "html"];
    for format in Format::ALL {
        if !ends.contains(&format.extension()) {
            ends.push(format.extension());
        }
    }
    ends.join(" ")
}

/// What opens a file of that name.
fn file_format(path: &str) -> Result<String, &'static str> {
    let path = std::path::Path::new(path.trim());
    match path.extension().and_then(std::ffi::OsStr::to_str) {
        Some("mcap") => Ok("slmscope itself: replay, diff, export".to_owned()),
        Some("html") => Ok("a browser: the report as a page".to_owned()),
        _ => Format::of_file(path)
            .map(|format| format.opened_by().to_owned())
            .ok_or("this end names no format"),
    }
}
