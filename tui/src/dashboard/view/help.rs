//! The help: the keys that work on the open screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use super::put;
use super::table::fit;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens;
use crate::dashboard::tab::Tab;

/// Width of a column of keys.
const WIDTH: u16 = 38;

/// Draws the help over the middle of `area`, in as many columns as its height needs.
pub(super) fn draw(tab: Tab, replays: bool, area: Rect, buf: &mut Buffer) {
    let bindings: Vec<_> = screens::bindings(tab, replays).collect();
    let most_rows = usize::from(area.height.saturating_sub(2)).max(1);
    let rows = bindings.len().div_ceil(bindings.len().div_ceil(most_rows));
    let columns = bindings.len().div_ceil(rows);
    let width = (WIDTH * columns as u16 + 2).min(area.width);
    let height = (rows as u16 + 2).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let block = Block::bordered().title(format!(" keys on {} ", tab.title()));
    let inner = block.inner(place);
    block.render(place, buf);
    for (column, bindings) in bindings.chunks(rows).enumerate() {
        let left = (WIDTH * column as u16).min(inner.width);
        let area = Rect { x: inner.x + left, width: (inner.width - left).min(WIDTH), ..inner };
        for (row, binding) in bindings.iter().enumerate() {
            let keys = Span::styled(fit(&format!(" {}", binding.spelling), 10, false), Palette::strong());
            put(Line::from(vec![keys, Span::raw(binding.help)]), row, area, buf);
        }
    }
}
