//! The Roofline screen: a plot with a letter for each op, and a list that says what the letters are.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::roofline::Roofs;

use crate::dashboard::palette::Palette;
use crate::dashboard::screens::ops::columns::reached;
use crate::dashboard::screens::ops::row::{Level, Row};
use crate::dashboard::screens::ops::rows::rows;
use crate::dashboard::screens::ops::state::OpsTable;
use crate::dashboard::state::State;
use crate::dashboard::view::table::{self, fit};
use crate::dashboard::view::text::pieces;
use crate::dashboard::view::{heading, put, take_bottom, take_top};

/// Letters of the ops, in the order of their time.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Width from which on the list stands beside the plot.
const WIDE: u16 = 110;
/// Width of the list there.
const LIST: u16 = 56;
/// Width of the scale.
const SCALE: u16 = 14;

/// The ops that are drawn: those that do arithmetic on bytes, the longest first.
pub fn ops(state: &State) -> Vec<Row> {
    let table = OpsTable { phase: state.ops.phase, ..OpsTable::default() };
    let mut rows = rows(state.shown(), &table);
    rows.retain(|row| row.level == Level::Op && intensity(row).is_some());
    rows.sort_by_key(|row| std::cmp::Reverse(row.time_ns()));
    rows.truncate(LETTERS.len());
    rows
}

/// FLOPs for each byte.
fn intensity(row: &Row) -> Option<f64> {
    Some(row.flops_per_second()? / row.bytes_per_second()?)
}

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let Some(plan) = &state.shown().plan else {
        put(
            Line::styled(" no plan yet: the roofs are drawn when a model is loaded", palette.dim()),
            1,
            area,
            buf,
        );
        return;
    };
    put(title(&plan.roofs, palette, usize::from(area.width)), 0, take_top(&mut rest, 1), buf);
    let ops = ops(state);
    let key = state.roofline.selected.as_ref();
    let selected = ops.iter().position(|row| Some(&row.key) == key).unwrap_or(0);
    let list_area = if rest.width >= WIDE {
        let width = rest.width - LIST;
        let list = Rect { x: rest.x + width, width: LIST, ..rest };
        rest.width = width;
        list
    } else {
        let height = (ops.len() as u16 + 1).min(rest.height / 2);
        take_bottom(&mut rest, height)
    };
    let mark = state.mark.as_ref();
    let marked = ops.iter().position(|row| mark.is_some_and(|mark| mark.is_named(row.module, &row.name)));
    plot(&plan.roofs, &ops, [marked, Some(selected)], palette, rest, buf);
    list(&ops, [marked, Some(selected)], palette, list_area, buf);
}

fn title(roofs: &Roofs, palette: Palette, width: usize) -> Line<'static> {
    if let Some(reason) = &roofs.reason {
        return Line::styled(format!(" no roofs: {reason}"), palette.warning());
    }
    let figure =
        |name: &str, value: Option<String>| value.map(|value| vec![Span::raw(format!("{name} {value}"))]);
    let roofs = [
        figure(" memory", roofs.read_bytes_per_s.map(|roof| display::bytes_per_second(roof.median))),
        figure("int8", roofs.int8_ops_per_s.map(|roof| display::ops_per_second(roof.median))),
        figure("f32", roofs.f32_flops_per_s.map(|roof| display::flops_per_second(roof.median))),
        Some(vec![Span::styled(
            format!("measured with {}", display::plural(u64::from(roofs.threads), "thread")),
            palette.dim(),
        )]),
    ];
    pieces(roofs.into_iter().flatten(), " · ", width)
}

/// Logarithmic axes: powers of ten at their ends.
struct Axes {
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    /// That hold all ops and the roofs' corners; `None` without either.
    fn of(roofs: &Roofs, ops: &[Row]) -> Option<Self> {
        let points: Vec<_> = ops.iter().filter_map(point).chain(corners(roofs)).collect();
        let ends = |values: &dyn Fn(&(f64, f64)) -> f64| {
            let logs = points.iter().map(values).filter(|value| *value > 0.0).map(f64::log10);
            let (low, high) = logs
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(log), high.max(log)));
            (low.is_finite() && high.is_finite()).then(|| ((low - 0.1).floor(), (high + 0.1).ceil()))
        };
        Some(Self { x: ends(&|point| point.0)?, y: ends(&|point| point.1)? })
    }

    fn column(&self, x: f64, width: u16) -> Option<u16> {
        place(x, self.x, width)
    }

    fn row(&self, y: f64, height: u16) -> Option<u16> {
        place(y, self.y, height).map(|row| height - 1 - row)
    }
}

/// Cell of a value on an axis of so many cells; `None` where it is outside.
fn place(value: f64, (low, high): (f64, f64), cells: u16) -> Option<u16> {
    let at = (value.log10() - low) / (high - low) * f64::from(cells.saturating_sub(1));
    (at.is_finite() && at >= -0.5 && at <= f64::from(cells))
        .then(|| at.round() as u16)
        .filter(|&at| at < cells)
}

fn point(row: &Row) -> Option<(f64, f64)> {
    Some((intensity(row)?, row.flops_per_second()?))
}

/// Where the slope meets the flat roofs.
fn corners(roofs: &Roofs) -> Vec<(f64, f64)> {
    let Some(read) = roofs.read_bytes_per_s.map(|roof| roof.median).filter(|&read| read > 0.0) else {
        return Vec::new();
    };
    flat(roofs).into_iter().map(|(_, top)| (top / read, top)).collect()
}

/// The flat roofs, the highest first.
fn flat(roofs: &Roofs) -> Vec<(&'static str, f64)> {
    let known = [("int8", roofs.int8_ops_per_s), ("f32", roofs.f32_flops_per_s)];
    let mut flat: Vec<_> = known
        .into_iter()
        .filter_map(|(name, roof)| Some((name, roof?.median)))
        .filter(|(_, top)| *top > 0.0)
        .collect();
    flat.sort_by(|a, b| b.1.total_cmp(&a.1));
    flat
}

/// Draws the roofs and the ops; of `shown` the first is marked, the second selected.
fn plot(
    roofs: &Roofs,
    ops: &[Row],
    shown: [Option<usize>; 2],
    palette: Palette,
    area: Rect,
    buf: &mut Buffer,
) {
    let mut rest = area;
    heading("FLOP/s (up) by FLOP per byte (right)", palette, &mut rest, buf);
    let Some(axes) = Axes::of(roofs, ops) else {
        put(Line::styled(" nothing to draw yet", palette.dim()), 0, rest, buf);
        return;
    };
    let foot = take_bottom(&mut rest, 1);
    let scale = Rect { width: SCALE.min(rest.width), ..rest };
    let inner = Rect { x: rest.x + scale.width, width: rest.width - scale.width, ..rest };
    if inner.is_empty() {
        return;
    }
    scales(&axes, palette, scale, inner, foot, buf);
    let mut set = |column: u16, row: u16, text: &str, style: Style| {
        buf.set_stringn(inner.x + column, inner.y + row, text, usize::from(inner.width - column), style);
    };
    let read = roofs.read_bytes_per_s.map(|roof| roof.median);
    for (name, top) in flat(roofs) {
        for column in 0..inner.width {
            let share = f64::from(column) / f64::from(inner.width.saturating_sub(1).max(1));
            let x = 10_f64.powf(axes.x.0 + share * (axes.x.1 - axes.x.0));
            let y = read.map_or(top, |read| (read * x).min(top));
            if let Some(row) = axes.row(y, inner.height) {
                set(column, row, if y < top { "/" } else { "─" }, palette.dim());
            }
        }
        let label = inner.width.saturating_sub(name.len() as u16 + 1);
        if let Some(row) = axes.row(top, inner.height) {
            set(label, row, name, palette.dim());
        }
    }
    // The marked and the selected one come last, so that no other hides them.
    let order = (0..ops.len()).filter(|&at| !shown.contains(&Some(at))).chain(shown.into_iter().flatten());
    for at in order {
        let Some(row) = ops.get(at) else { continue };
        let Some((x, y)) = point(row) else { continue };
        let (Some(column), Some(line)) = (axes.column(x, inner.width), axes.row(y, inner.height)) else {
            continue;
        };
        set(column, line, letter(at), style(at, shown, palette.curve(), palette));
    }
}

fn letter(at: usize) -> &'static str {
    LETTERS.get(at..=at).unwrap_or("?")
}

fn scales(axes: &Axes, palette: Palette, scale: Rect, inner: Rect, foot: Rect, buf: &mut Buffer) {
    let (low, high) = axes.y;
    for power in low as i32..=high as i32 {
        let value = 10_f64.powi(power);
        if let Some(row) = axes.row(value, inner.height) {
            let text = fit(&display::flops_per_second(value), usize::from(SCALE) - 1, true);
            put(Line::styled(text, palette.dim()), usize::from(row), scale, buf);
        }
    }
    let (low, high) = axes.x;
    for power in low as i32..=high as i32 {
        let value = 10_f64.powi(power);
        if let Some(column) = axes.column(value, inner.width) {
            let text = display::significant(value);
            let x = (inner.x + column).min(foot.right().saturating_sub(text.len() as u16));
            let place = Rect { x, width: foot.right().saturating_sub(x), ..foot };
            put(Line::styled(text, palette.dim()), 0, place, buf);
        }
    }
}

/// The style of the op at `at`: of `shown` the first is marked, the second selected.
fn style(at: usize, [marked, selected]: [Option<usize>; 2], plain: Style, palette: Palette) -> Style {
    let style = if marked == Some(at) { palette.warning() } else { plain };
    if selected == Some(at) { style.patch(Palette::selected()) } else { style }
}

fn list(ops: &[Row], shown: [Option<usize>; 2], palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("op, share, FLOP per byte, of roof", palette, &mut rest, buf);
    if ops.is_empty() {
        put(Line::styled(" no op with bytes and arithmetic yet", palette.dim()), 0, rest, buf);
        return;
    }
    let rows: Vec<_> = ops.iter().enumerate().collect();
    table::scroll(&rows, shown[1].unwrap_or(0), rest, buf, |&(at, row)| {
        let roof = or_absent(row.roof(), |found| reached(found, row.above_roof));
        let text = format!(
            " {} {} {} {} {}",
            letter(at),
            fit(&row.name, 22, false),
            fit(&or_absent(row.share(), display::share), 7, true),
            fit(&or_absent(intensity(row), display::significant), 6, true),
            fit(&roof, 13, true),
        );
        Line::styled(text, style(at, shown, Style::new(), palette))
    });
}
