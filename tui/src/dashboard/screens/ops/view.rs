//! The Ops screen: the time of prefill and decode by op, and all that is known of the selected row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display;
use slmscope_profiles::op::Phase;

use super::columns::fields;
use super::panel;
use super::row::{Level, Row};
use super::rows::rows;
use super::state::OpsTable;
use crate::dashboard::mark::Mark;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::{self, Column};
use crate::dashboard::view::text::pieces;
use crate::dashboard::view::{put, take_bottom, take_top};

/// Share of a phase above which unattributed time is red.
pub const UNATTRIBUTED_LIMIT: f64 = 0.01;
/// Rows of the table that the panel leaves at least.
const MIN_ROWS: u16 = 11;

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let table = &state.ops;
    let rows = rows(data, table);
    let mut rest = area;
    put(title(state, palette, usize::from(area.width)), 0, take_top(&mut rest, 1), buf);
    if rows.is_empty() {
        let line = match state.replay {
            Some(_) => " no tokens up to here; → goes to the first one",
            None => " no tokens recorded yet; ops appear with the first one (r runs the default workload)",
        };
        put(Line::styled(line, palette.dim()), 1, rest, buf);
        return;
    }
    let key = table.list.selected.as_ref();
    let selected = rows.iter().position(|row| Some(&row.key) == key).unwrap_or(0);
    if let Some(row) = rows.get(selected) {
        let lines = panel::lines(data, row, palette, rest.width);
        let height = (lines.len() as u16 + 1).min(rest.height.saturating_sub(MIN_ROWS));
        if height > 1 {
            panel::draw(row, lines, palette, take_bottom(&mut rest, height), buf);
        }
    }
    let list_of =
        List { rows: &rows, selected: Some(selected), table: Some(table), mark: state.mark.as_ref() };
    list_of.draw(palette, rest, buf);
}

/// Rows with their headings.
pub struct List<'a> {
    pub rows: &'a [Row],
    /// The row around which as many as fit are drawn.
    pub selected: Option<usize>,
    /// The heading of the column that it is sorted by is marked.
    pub table: Option<&'a OpsTable>,
    /// The op that is followed on all screens.
    pub mark: Option<&'a Mark>,
}

impl List<'_> {
    /// Draws it.
    pub fn draw(&self, palette: Palette, area: Rect, buf: &mut Buffer) {
        let mut rest = area;
        let fields = fields(self.rows, usize::from(rest.width));
        let columns: Vec<Column> = fields.iter().map(|field| field.column).collect();
        let mut titles = Line::default();
        for field in &fields {
            let is_order = self.table.is_some_and(|table| table.sort == field.order);
            let style = if is_order { palette.curve() } else { Palette::strong() };
            titles.extend(table::cells(&[field.column], &[field.column.title], style));
        }
        put(titles, 0, take_top(&mut rest, 1), buf);
        let selected_key = self.selected.and_then(|at| self.rows.get(at)).map(|row| &row.key);
        table::scroll(self.rows, self.selected.unwrap_or(0), rest, buf, |row| {
            let mut texts: Vec<_> = fields.iter().map(|field| (field.text)(row)).collect();
            let is_marked =
                self.mark.is_some_and(|mark| row.level == Level::Op && mark.is_named(row.module, &row.name));
            if let Some(name) = texts.first_mut().filter(|_| is_marked) {
                name.push_str(" <");
            }
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            let mut style = style(row, palette);
            if is_marked {
                style = style.patch(palette.warning());
            }
            if Some(&row.key) == selected_key {
                style = style.patch(Palette::selected());
            }
            Line::from(table::cells(&columns, &texts, style))
        });
    }
}

fn style(row: &Row, palette: Palette) -> Style {
    match row.level {
        Level::Total => Palette::strong(),
        Level::Layer if row.depth > 0 => palette.dim(),
        Level::Unattributed => {
            let too_much = row.share().is_some_and(|share| share > UNATTRIBUTED_LIMIT);
            if too_much { palette.bad() } else { Style::new() }
        }
        _ => Style::new(),
    }
}

fn title(state: &State, palette: Palette, width: usize) -> Line<'static> {
    let table = &state.ops;
    let phase = table.phase.map_or("prefill and decode", Phase::as_str);
    let order = match (table.reversed, table.sort.is_number()) {
        (true, _) => "reversed",
        (false, true) => "largest first",
        (false, false) => "in order",
    };
    let mut facts = vec![
        format!(" {phase} by {}", table.group.as_str()),
        format!("sorted by {} ({order})", table.sort.title()),
    ];
    if !table.list.filter.is_empty() {
        facts.push(format!("filter `{}`", table.list.filter));
    }
    if let Some(baseline) = &table.baseline {
        facts.push(format!("compared with {}", baseline.name));
    }
    if let Some(plan) = &state.shown().plan {
        facts.push(format!("{}, {}", display::plural(u64::from(plan.threads), "thread"), plan.path));
    }
    pieces(facts.into_iter().map(|fact| vec![Span::styled(fact, palette.dim())]), " · ", width)
}
