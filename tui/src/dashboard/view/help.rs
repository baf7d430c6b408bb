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

const WIDTH: u16 = 44;

/// Draws the help over the middle of `area`.
pub(super) fn draw(tab: Tab, area: Rect, buf: &mut Buffer) {
    let bindings: Vec<_> = screens::bindings(tab).collect();
    let (width, height) = (WIDTH.min(area.width), (bindings.len() as u16 + 2).min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let block = Block::bordered().title(format!(" keys on {} ", tab.title()));
    let inner = block.inner(place);
    block.render(place, buf);
    for (row, binding) in bindings.into_iter().enumerate() {
        let keys = Span::styled(fit(&format!(" {}", binding.spelling), 10, false), Palette::strong());
        put(Line::from(vec![keys, Span::raw(binding.help)]), row, inner, buf);
    }
}
