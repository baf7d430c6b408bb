//! Charts of chosen channels over one axis of time, with the speed and the phases of the run, and what throttled.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::display;
use slmscope_profiles::op::Phase;

use crate::dashboard::channels::Track;
use crate::dashboard::course::Stretch;
use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::{chart, heading, put, take_top};

/// Width of the names, and of the range at the right.
const NAME: usize = 18;
const RANGE: usize = 24;
/// The time that the charts cover: that for which readings are kept, ns.
const SPAN_NS: u64 = 60_000_000_000;

/// Rows that the charts take: a heading, speed, phases, throttling and each chosen channel.
pub(super) fn height(state: &State) -> u16 {
    if state.hardware.charted.is_empty() { 0 } else { 4 + state.hardware.charted.len() as u16 }
}

/// An axis of time in columns.
struct Axis {
    begin_ns: u64,
    columns: usize,
}

impl Axis {
    /// The column of a moment; `None` before its begin.
    fn column(&self, t_ns: u64) -> Option<usize> {
        let after = t_ns.checked_sub(self.begin_ns)?;
        Some((u128::from(after) * self.columns as u128 / u128::from(SPAN_NS)) as usize)
            .map(|column| column.min(self.columns.saturating_sub(1)))
    }

    /// The means of what falls into each column; `None` where nothing does.
    fn means(&self, points: impl Iterator<Item = (u64, f64)>) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0_u32); self.columns];
        for (t_ns, value) in points {
            if let Some(sum) = self.column(t_ns).and_then(|column| sums.get_mut(column)) {
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
        sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect()
    }
}

/// Draws them.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let mut rest = area;
    heading("the last minute, newest right", palette, &mut rest, buf);
    let columns = usize::from(rest.width).saturating_sub(NAME + RANGE + 3);
    if columns == 0 {
        return;
    }
    let axis = Axis { begin_ns: state.now_ns.saturating_sub(SPAN_NS), columns };
    let mut line = |line: Line<'static>| put(line, 0, take_top(&mut rest, 1), buf);
    line(speed(data, &axis, palette));
    line(phases(data, &axis, palette));
    line(throttling(data, &axis, palette));
    for id in &state.hardware.charted {
        if let Some(track) = data.channels.by_id(id) {
            line(channel(data, track, &axis, palette));
        }
    }
}

fn row(name: &str, chart: Span<'static>, range: &str, palette: Palette) -> Line<'static> {
    Line::from(vec![
        Span::raw(fit(&format!(" {name}"), NAME + 1, false)),
        chart,
        Span::styled(format!(" {}", fit(range, RANGE, false)), palette.dim()),
    ])
}

/// `low to high` of the values that are drawn.
fn range(values: &[Option<f64>], show: impl Fn(f64) -> String) -> String {
    let known = || values.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    if low <= high {
        format!("{} to {}", show(low), show(high))
    } else {
        "no reading in this time".to_owned()
    }
}

fn channel(data: &Data, track: &Track, axis: &Axis, palette: Palette) -> Line<'static> {
    let values = axis.means(track.readings_since(axis.begin_ns));
    let factor = data.channels.factor(&track.channel);
    let range = range(&values, |value| display::value(value * factor, track.channel.unit));
    let count = values.len();
    row(&track.channel.id, chart::sparkline(values.into_iter(), count, None, palette), &range, palette)
}

/// Decode steps in a second.
fn speed(data: &Data, axis: &Axis, palette: Palette) -> Line<'static> {
    let decode = data.course.stretches().filter(|stretch| stretch.phase == Phase::Decode);
    let values = axis.means(decode.filter_map(|stretch| Some((stretch.end_ns, stretch.rate?))));
    let range = range(&values, |rate| format!("{} tok/s", display::significant(rate)));
    let count = values.len();
    row("decode", chart::sparkline(values.into_iter(), count, Some(top(data)), palette), &range, palette)
}

/// The highest speed that is kept, for a scale from 0.
fn top(data: &Data) -> f64 {
    let rates = data.course.stretches().filter(|stretch| stretch.phase == Phase::Decode);
    rates.filter_map(|stretch| stretch.rate).fold(f64::MIN_POSITIVE, f64::max)
}

/// `P` where a prompt was computed, `d` in decode.
fn phases(data: &Data, axis: &Axis, palette: Palette) -> Line<'static> {
    let mut letters = vec![' '; axis.columns];
    for &Stretch { begin_ns, end_ns, phase, .. } in data.course.stretches() {
        let Some(last) = axis.column(end_ns) else { continue };
        let letter = if phase == Phase::Prefill { 'P' } else { 'd' };
        for slot in &mut letters[axis.column(begin_ns).unwrap_or(0).min(last)..=last] {
            *slot = if *slot == 'P' { 'P' } else { letter };
        }
    }
    let text = Span::styled(letters.into_iter().collect::<String>(), palette.dim());
    row("phases", text, "P prefill, d decode", palette)
}

/// `!` where something throttled.
fn throttling(data: &Data, axis: &Axis, palette: Palette) -> Line<'static> {
    let mut marks = vec![' '; axis.columns];
    for t_ns in data.channels.throttled_since(axis.begin_ns) {
        if let Some(mark) = axis.column(t_ns).and_then(|column| marks.get_mut(column)) {
            *mark = '!';
        }
    }
    let said = match (data.channels.reports_throttling(), marks.contains(&'!')) {
        (_, true) => "! something throttled",
        (true, false) => "nothing throttled",
        (false, false) => "not reported here",
    };
    row("throttled", Span::styled(marks.into_iter().collect::<String>(), palette.bad()), said, palette)
}
