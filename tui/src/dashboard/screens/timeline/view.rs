//! The Timeline screen: a strip of all tokens that are kept, one of them to scale below, and its longest ops.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::channel::Unit;
use slmscope_profiles::display;
use slmscope_profiles::op::{OpBatch, Phase};
use slmscope_profiles::plan::site::OpSite;

use super::state::{Tokens, wall_ns};
use super::waterfall::{self, Row};
use crate::dashboard::data::Data;
use crate::dashboard::mark::Mark;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::live::parts::{PARTS, part_name, part_of};
use crate::dashboard::state::State;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::pieces;
use crate::dashboard::view::{chart, heading, put, take_bottom, take_top};

/// Width of the layers' names and times.
const NAME: usize = 19;
/// Longest ops that are listed.
const LONGEST: usize = 4;

/// Rows of the terminal above the waterfall: the tabs, the title, the strip and the scale.
const ABOVE: u16 = 5;

/// Whether a token is drawn at a place of a terminal of this size.
pub fn is_waterfall(column: u16, row: u16, (width, height): (u16, u16)) -> bool {
    usize::from(column) >= NAME && column + 1 < width && row >= ABOVE && row + 1 < height
}

/// The share of the shown part that a column of the waterfall begins at.
pub fn share_at(column: u16, width: u16) -> f64 {
    let room = usize::from(width).saturating_sub(NAME + 1).max(1);
    usize::from(column).saturating_sub(NAME) as f64 / room as f64
}

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let tokens = data.events.tokens();
    let (Some(at), Some(plan)) = (state.timeline.shown(tokens), &data.plan) else {
        let text = match state.replay {
            Some(_) => " no tokens up to here; → goes to the first one",
            None => " no single events yet: they are sent while this screen is open and a job runs",
        };
        put(Line::styled(text, palette.dim()), 1, area, buf);
        return;
    };
    let Some(token) = tokens.get(at) else { return };
    let mut rest = area;
    put(title(data, tokens, token, palette, usize::from(area.width)), 0, take_top(&mut rest, 1), buf);
    let rows = strip_rows(data, rest.height);
    if rows > 0 {
        strip(data, at, palette, take_top(&mut rest, rows), buf);
    }
    let lower = (LONGEST as u16 + 2).min(rest.height / 3);
    let mut foot = take_bottom(&mut rest, lower);
    scale(state, token, palette, take_top(&mut rest, 1), buf);
    layers(state, token, &plan.sites, palette, rest, buf);
    put(legend(&plan.sites, palette, usize::from(area.width)), 0, take_top(&mut foot, 1), buf);
    match &state.timeline.base {
        Some(base) => differences(base, token, &plan.sites, palette, foot, buf),
        None => longest(token, &plan.sites, state.mark.as_ref(), palette, foot, buf),
    }
}

/// Rows of the strip: the tokens and the mark below, and on a high screen clock and heat, if they are read here.
fn strip_rows(data: &Data, height: u16) -> u16 {
    match height {
        0..=9 => 0,
        10..=24 => 2,
        _ => {
            let has = |unit| data.channels.at_any_time(unit);
            2 + u16::from(has(Unit::Hertz)) + u16::from(has(Unit::Celsius))
        }
    }
}

/// What a token is called.
fn name(token: &OpBatch) -> String {
    let head = &token.head;
    let kind = if head.phase == Phase::Prefill { "chunk" } else { "token" };
    format!(
        "{} {kind} {}, repetition {}",
        head.phase.as_str(),
        u64::from(head.token) + 1,
        u64::from(head.repetition) + 1
    )
}

fn title(data: &Data, tokens: &Tokens, token: &OpBatch, palette: Palette, width: usize) -> Line<'static> {
    let head = &token.head;
    let context = u64::from(head.context) + u64::from(head.rows);
    let steps = tokens.iter().filter(|token| token.head.phase == Phase::Decode).count();
    let mut parts = vec![
        vec![Span::styled(format!(" {}", name(token)), Palette::strong())],
        vec![Span::styled(display::duration(wall_ns(token)), Palette::strong())],
        vec![Span::raw(format!("context {context}"))],
    ];
    let at = |unit| data.channels.at(unit, head.end_ns).map(|value| display::value(value, unit));
    parts
        .extend([at(Unit::Hertz), at(Unit::Celsius)].into_iter().flatten().map(|text| vec![Span::raw(text)]));
    parts.push(vec![Span::styled(format!("{} kept", display::plural(steps as u64, "step")), palette.dim())]);
    pieces(parts, " · ", width)
}

/// All tokens, newest right, with a mark below the shown one, and clock and heat at their ends.
fn strip(data: &Data, at: usize, palette: Palette, area: Rect, buf: &mut Buffer) {
    let tokens = data.events.tokens();
    let width = usize::from(area.width).saturating_sub(NAME + 1);
    // The shown token stays in sight.
    let end = (at + width / 2).max(width).min(tokens.len());
    let first = end.saturating_sub(width);
    let shown: Vec<&OpBatch> = tokens.iter().take(end).skip(first).map(|token| &**token).collect();
    let row = |name: &str, values: Vec<Option<f64>>, show: &dyn Fn(f64) -> String| {
        let highest = values.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let name =
            if highest.is_finite() { format!(" {name} to {}", show(highest)) } else { format!(" {name}") };
        let count = values.len();
        let chart = chart::sparkline(values.into_iter(), count, None, palette);
        Line::from(vec![Span::styled(fit(&name, NAME, false), palette.dim()), chart])
    };
    let time = |token: &&OpBatch| (token.head.phase == Phase::Decode).then(|| wall_ns(token) as f64);
    let times = row("tokens", shown.iter().map(time).collect(), &|ns| display::duration(ns as u64));
    put(times, 0, area, buf);
    let mark = format!("{}^", " ".repeat(NAME + at.saturating_sub(first)));
    put(Line::styled(mark, palette.warning()), 1, area, buf);
    let units = [("clock", Unit::Hertz), ("heat", Unit::Celsius)];
    let units = units.into_iter().filter(|&(_, unit)| data.channels.at_any_time(unit));
    for (at, (name, unit)) in units.enumerate().take(usize::from(area.height).saturating_sub(2)) {
        let values = shown.iter().map(|token| data.channels.at(unit, token.head.end_ns)).collect();
        put(row(name, values, &|value| display::value(value, unit)), at + 2, area, buf);
    }
}

/// Begin and end of the part that is shown, ns from the token's begin.
fn window(state: &State, token: &OpBatch) -> (f64, f64) {
    let (begin, end) = state.timeline.part();
    let wall = wall_ns(token) as f64;
    (begin * wall, end * wall)
}

fn scale(state: &State, token: &OpBatch, palette: Palette, area: Rect, buf: &mut Buffer) {
    let (begin, end) = window(state, token);
    let room = usize::from(area.width).saturating_sub(NAME + 1);
    let (left, right) = (display::duration(begin as u64), display::duration(end as u64));
    let middle =
        if state.timeline.zoom > 0 { format!("×{}", 1_u32 << state.timeline.zoom) } else { String::new() };
    let gap = room.saturating_sub(left.len() + right.len());
    let text = format!("{}{left}{}{right}", " ".repeat(NAME), center(&middle, gap));
    put(Line::styled(text, palette.dim()), 0, area, buf);
}

fn center(text: &str, width: usize) -> String {
    let left = width.saturating_sub(text.chars().count()) / 2;
    fit(&format!("{}{text}", " ".repeat(left)), width, false)
}

fn layers(state: &State, token: &OpBatch, sites: &[OpSite], palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(NAME + 1);
    let height = usize::from(area.height);
    let rows = waterfall::rows(token, sites, window(state, token), width);
    let first = state.timeline.first_row.min(rows.len().saturating_sub(height));
    for (at, row) in rows.iter().skip(first).take(height).enumerate() {
        let mut line = line(row, palette);
        let hidden = rows.len().saturating_sub(first + height);
        if at + 1 == height && hidden > 0 {
            line = Line::styled(format!(" … {} more rows: j", hidden + 1), palette.dim());
        }
        put(line, at, area, buf);
    }
}

fn line(row: &Row, palette: Palette) -> Line<'static> {
    let mut spans = vec![
        Span::raw(fit(&format!(" {}", row.name), 10, false)),
        Span::styled(fit(&display::duration(row.ns), NAME - 11, true) + " ", palette.dim()),
    ];
    for cell in &row.cells {
        spans.push(match cell {
            Some(part) => {
                let (style, filling) = palette.part(*part);
                Span::styled(filling, style)
            }
            None => Span::styled("·", palette.dim()),
        });
    }
    Line::from(spans)
}

/// Colours and names of the parts that the plan has.
fn legend(sites: &[OpSite], palette: Palette, width: usize) -> Line<'static> {
    let parts = (0..PARTS).filter(|&part| sites.iter().any(|site| part_of(site) == part)).map(|part| {
        let (style, filling) = palette.part(part);
        vec![Span::styled(filling, style), Span::raw(format!(" {}", part_name(part)))]
    });
    pieces(std::iter::once(vec![Span::raw("")]).chain(parts), " ", width)
}

/// The longest ops of a token.
fn longest(
    token: &OpBatch,
    sites: &[OpSite],
    mark: Option<&Mark>,
    palette: Palette,
    area: Rect,
    buf: &mut Buffer,
) {
    let mut rest = area;
    let title = mark.map_or_else(
        || "longest calls".to_owned(),
        |mark| {
            let marked = waterfall::placed(token, sites).filter(|(site, ..)| mark.is(site));
            let ns: u64 = marked.map(|(_, from, to)| to - from).sum();
            let share = ns as f64 / wall_ns(token).max(1) as f64;
            let (time, share) = (display::duration(ns), display::share(share));
            format!("longest calls; {}, which is marked, takes {time}, {share}", mark.name)
        },
    );
    heading(&title, palette, &mut rest, buf);
    let mut ops: Vec<_> = waterfall::placed(token, sites).map(|(site, from, to)| (to - from, site)).collect();
    ops.sort_by_key(|&(ns, _)| std::cmp::Reverse(ns));
    for (row, (ns, site)) in ops.into_iter().take(LONGEST).enumerate() {
        let share = ns as f64 / wall_ns(token).max(1) as f64;
        let text = format!(" {:>8}  {:>7}  {}", display::duration(ns), display::share(share), place(site));
        put(Line::from(text), row, rest, buf);
    }
}

/// The ops that differ most between two tokens.
fn differences(
    base: &OpBatch,
    token: &OpBatch,
    sites: &[OpSite],
    palette: Palette,
    area: Rect,
    buf: &mut Buffer,
) {
    let mut rest = area;
    let change = signed(i128::from(wall_ns(token)) - i128::from(wall_ns(base)));
    heading(&format!("{change} against {}: calls that differ most", name(base)), palette, &mut rest, buf);
    let mut changes = vec![0_i128; sites.len()];
    for (tokens, sign) in [(token, 1), (base, -1)] {
        for (site, from, to) in waterfall::placed(tokens, sites) {
            if let Some(change) = changes.get_mut(usize::from(site.id)) {
                *change += sign * i128::from(to - from);
            }
        }
    }
    let mut changes: Vec<_> = changes.into_iter().zip(sites).collect();
    changes.sort_by_key(|&(change, _)| std::cmp::Reverse(change.unsigned_abs()));
    for (row, (change, site)) in
        changes.into_iter().filter(|&(change, _)| change != 0).take(LONGEST).enumerate()
    {
        put(Line::styled(format!(" {:>9}  {}", signed(change), place(site)), Style::new()), row, rest, buf);
    }
}

fn place(site: &OpSite) -> String {
    site.layer.map_or_else(|| site.name.clone(), |layer| format!("{} in layer {layer}", site.name))
}

fn signed(ns: i128) -> String {
    let sign = if ns < 0 { "-" } else { "+" };
    format!("{sign}{}", display::duration(u64::try_from(ns.unsigned_abs()).unwrap_or(u64::MAX)))
}
