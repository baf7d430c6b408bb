//! The Ops screen: the time of prefill and decode by op.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::op::Phase;
use slmscope_profiles::roofline::Bound;
use slmscope_profiles::totals::EventPlace;

use super::rows::{Level, Row, rows};
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::{self, Column};
use crate::dashboard::view::{put, take_bottom, take_top};

/// Share of a phase above which unattributed time is red.
pub const UNATTRIBUTED_LIMIT: f64 = 0.01;

/// A column, and its text for a row.
type Field = (Column, fn(&Row) -> String);

/// Columns in order of importance; a narrow screen shows the first of them.
const COLUMNS: [Field; 14] = [
    (column("phase", 7, false), |row| row.phase.as_str().to_owned()),
    (column("op", 24, false), name),
    (column("share", 7, true), |row| or_absent(row.share(), display::share)),
    (column("time/tok", 9, true), |row| or_absent(row.time_per_token(), display::duration)),
    (column("mean", 8, true), |row| or_absent(row.mean_ns(), display::duration)),
    (column("max", 8, true), |row| or_absent(row.max_ns(), display::duration)),
    (column("roof", 10, true), |row| or_absent(row.roof(), |reached| roof(reached, row.above_roof))),
    (column("memory", 9, true), |row| or_absent(row.bytes_per_second(), display::bytes_per_second)),
    (column("bytes/tok", 9, true), |row| or_absent(row.bytes_per_token(), display::traffic)),
    (column("compute", 12, true), |row| or_absent(row.flops_per_second(), display::flops_per_second)),
    (column("count", 7, true), |row| or_absent(row.count(), display::count)),
    (column("module", 9, false), |row| row.module.to_owned()),
    (column("format", 6, false), |row| row.format.clone()),
    (column("kind", 11, false), |row| row.kind.to_owned()),
];

const fn column(title: &'static str, width: usize, right: bool) -> Column {
    Column { title, width, right }
}

/// `62 % mem`; without the roof's name where neither roof explains the time. Above the roof the reason is there
/// instead: the cache's level, `?` where that is not known, `fast` where the machine was faster than its roof.
fn roof((share, bound): (f64, Bound), above: Option<AboveRoof>) -> String {
    let percent = display::rough_share(share);
    match (above, bound) {
        (Some(AboveRoof::Cache { level, .. }), _) => format!("{percent} L{level} "),
        (Some(AboveRoof::UnknownCaches), _) => percent + " ?  ",
        (Some(AboveRoof::Faster), _) => percent + " fast",
        (None, Bound::Memory) => percent + " mem",
        (None, Bound::Compute) => percent + " cpu",
        (None, Bound::Overhead) => percent + "    ",
    }
}

/// What stands below the table: of the selected row when and in which layer the longest call was, and why it is above
/// its roof.
fn remark(row: &Row) -> String {
    let layer = row.max_layer().map(|layer| format!("layer {layer}"));
    let step = if row.phase == Phase::Prefill { "chunk" } else { "token" };
    let at = row.max_at().map(|EventPlace { repetition, token }| {
        format!("repetition {}, {step} {}", u64::from(repetition) + 1, u64::from(token) + 1)
    });
    let place: Vec<_> = layer.into_iter().chain(at).collect();
    let longest = row.max_ns().filter(|_| !place.is_empty());
    let longest = longest.map(|ns| format!("max {} in {}", display::duration(ns), place.join(", ")));
    let above = row.above_roof.map(|why| why.to_string());
    let parts: Vec<_> = longest.into_iter().chain(above).collect();
    if parts.is_empty() {
        return " mean, max: of a call; times, counts, roofs measured; bytes, FLOPs, rates derived"
            .to_owned();
    }
    format!(" {}", parts.join(" · "))
}

fn name(row: &Row) -> String {
    let mark = match (row.level, row.open) {
        (Level::Module | Level::Op, true) => "▾ ",
        (Level::Module | Level::Op, false) => "▸ ",
        (Level::Layer | Level::Other | Level::Unattributed | Level::Total, _) => "  ",
    };
    format!("{}{mark}{}", "  ".repeat(row.depth), row.name)
}

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let table = &state.ops;
    let rows = rows(data, table);
    let mut rest = area;
    put(title(state, palette), 0, take_top(&mut rest, 1), buf);
    if rows.is_empty() {
        let line = " no tokens recorded yet; ops appear with the first one (r runs the default workload)";
        put(Line::styled(line, palette.dim()), 1, rest, buf);
        return;
    }
    let key = table.list.selected.as_ref();
    let selected = rows.iter().position(|row| Some(&row.key) == key).unwrap_or(0);
    if rest.height > 5 {
        let foot = take_bottom(&mut rest, 1);
        let remark = rows.get(selected).map_or_else(String::new, remark);
        put(Line::styled(remark, palette.dim()), 0, foot, buf);
    }
    list(&rows, Some(selected), palette, rest, buf);
}

/// Draws headings and as many of `rows` around the selected one as fit.
pub fn list(rows: &[Row], selected: Option<usize>, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let columns = columns(usize::from(rest.width));
    let titles: Vec<_> = columns.iter().map(|&(column, _)| column).collect();
    put(table::titles(&titles, Palette::strong()), 0, take_top(&mut rest, 1), buf);
    let selected_key = selected.and_then(|at| rows.get(at)).map(|row| &row.key);
    table::scroll(rows, selected.unwrap_or(0), rest, buf, |row| {
        let texts: Vec<_> = columns.iter().map(|(_, text)| text(row)).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let mut style = style(row, palette);
        if Some(&row.key) == selected_key {
            style = style.patch(Palette::selected());
        }
        Line::from(table::cells(&titles, &texts, style))
    });
}

/// The columns that fit; free space goes to the names.
fn columns(width: usize) -> Vec<Field> {
    let mut left = width;
    let mut columns = Vec::new();
    for column in COLUMNS {
        let Some(rest) = left.checked_sub(column.0.width + 1) else { break };
        left = rest;
        columns.push(column);
    }
    if let Some((names, _)) = columns.get_mut(1) {
        names.width += left.min(24);
    }
    columns
}

fn style(row: &Row, palette: Palette) -> Style {
    match row.level {
        Level::Total => Palette::strong(),
        Level::Layer => palette.dim(),
        Level::Unattributed => {
            let too_much = row.share().is_some_and(|share| share > UNATTRIBUTED_LIMIT);
            if too_much { palette.bad() } else { Style::new() }
        }
        Level::Module | Level::Op | Level::Other => Style::new(),
    }
}

fn title(state: &State, palette: Palette) -> Line<'static> {
    let table = &state.ops;
    let phase = table.phase.map_or("prefill and decode", Phase::as_str);
    let order = if table.reversed { "reversed" } else { "largest first" };
    let mut text = format!(" {phase} · sorted by {} ({order})", table.sort.title());
    if !table.list.filter.is_empty() {
        text = format!("{text} · filter `{}`", table.list.filter);
    }
    if let Some(plan) = &state.shown().plan {
        text = format!("{text} · {}, {}", display::plural(u64::from(plan.threads), "thread"), plan.path);
    }
    Line::styled(text, palette.dim())
}
