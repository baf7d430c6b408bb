//! What the mouse is over: the row of a list, or the heading of a column.
//!
//! The frame is drawn once more and looked at: rows are where they are seen, whatever a screen puts around them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::palette::Palette;
use super::screens::ops::columns::Column;
use super::screens::ops::rows::rows;
use super::screens::{self, ops};
use super::state::State;
use super::tab::Tab;
use super::view::view;

/// Largest frame that is looked at, cells.
const MAX_CELLS: u32 = 1 << 18;

/// What a click is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hit {
    /// A row of the screen's list, by its key.
    Row(String),
    /// The heading of a column of the table of ops.
    Heading(Column),
}

/// What is at this place of the terminal; `None` if it is nothing that can be chosen.
pub fn hit(state: &State, column: u16, row: u16) -> Option<Hit> {
    let (width, height) = state.size;
    if row == 0 || row >= height.saturating_sub(1) || u32::from(width) * u32::from(height) > MAX_CELLS {
        return None;
    }
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    view(state, Palette::any(), area, &mut buf);
    if state.tab == Tab::Ops
        && let Some(order) = heading(state, &buf, column, row)
    {
        return Some(Hit::Heading(order));
    }
    list_row(state, &buf, row).map(Hit::Row)
}

/// The column of the table of ops whose heading is there.
fn heading(state: &State, buf: &Buffer, column: u16, row: u16) -> Option<Column> {
    let rows = rows(state.shown(), &state.ops);
    let fields = ops::columns::fields(&rows, usize::from(buf.area.width));
    let first = fields.first()?;
    if !line(buf, 0, row).starts_with(first.column.title) {
        return None;
    }
    let mut end = 0;
    let found = fields.into_iter().find(|field| {
        end += field.column.width + 1;
        usize::from(column) < end
    });
    found.map(|field| field.order)
}

/// The key of the list's row that is drawn there: so many rows from the selected one, which is drawn reversed.
fn list_row(state: &State, buf: &Buffer, row: u16) -> Option<String> {
    let keys = screens::row_keys(state);
    let selected = screens::list(state)?.selected.as_ref();
    let at = selected.and_then(|key| keys.iter().position(|known| known == key)).unwrap_or(0);
    let is_reversed = |&(x, y): &(u16, u16)| buf[(x, y)].modifier.contains(Modifier::REVERSED);
    let mut cells = (1..buf.area.height - 1).flat_map(|y| (0..buf.area.width).map(move |x| (x, y)));
    let (left, drawn) = cells.find(is_reversed)?;
    let between = if row < drawn { row..drawn } else { drawn + 1..row + 1 };
    let mut count = 0;
    for y in between {
        let text = line(buf, left, y);
        // Another part of the screen begins.
        if text.trim().is_empty() || text.contains("──") {
            return None;
        }
        // Families of channels have headings between their rows.
        let is_heading = state.tab == Tab::Hardware && !text.starts_with(' ');
        if is_heading && y == row {
            return None;
        }
        count += usize::from(!is_heading);
    }
    let to = if row < drawn { at.checked_sub(count)? } else { at + count };
    keys.into_iter().nth(to)
}

/// The text of a row from a column on.
fn line(buf: &Buffer, left: u16, row: u16) -> String {
    (left..buf.area.width).map(|x| buf[(x, row)].symbol()).collect()
}
