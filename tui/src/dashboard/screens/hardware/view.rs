//! The Hardware screen: every channel with its value and source, or the reason why it has none.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::channel::{Class, Kind, Quantity, Scope, Unit};
use slmscope_profiles::display::{self, ABSENT, or_absent};

use super::state::View;
use super::{charts, summary};
use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::{self, Column, fit};
use crate::dashboard::view::text::wrap;
use crate::dashboard::view::{chart, heading, put, take_bottom, take_top};

const COLUMNS: [Column; 5] = [
    Column { title: "channel", width: 24, right: false },
    Column { title: "value", width: 11, right: true },
    Column { title: "class", width: 11, right: false },
    Column { title: "scope", width: 11, right: false },
    Column { title: "age", width: 8, right: true },
];

/// Columns of a sparkline on a wide screen.
const SPARK: usize = 24;

/// Height from which on the summary is there.
const MIN_FOR_SUMMARY: u16 = 18;

/// The rows in groups with their headings: all channels of the view, or all but raw counters.
pub fn groups(state: &State) -> Vec<(String, Vec<&Track>)> {
    let families = state.shown().channels.grouped(&state.hardware.list.filter);
    let is_shown =
        |track: &&Track| state.hardware.raw_counters || !matches!(track.channel.kind, Kind::Counter { .. });
    let mut groups: Vec<(String, Vec<&Track>)> = Vec::new();
    let mut place = |heading: String, track| match groups.iter_mut().find(|(known, _)| *known == heading) {
        Some((_, tracks)) => tracks.push(track),
        None => groups.push((heading, vec![track])),
    };
    for (quantity, tracks) in families {
        for track in tracks.into_iter().filter(is_shown) {
            if let Some(heading) = heading_of(state.hardware.view, quantity, track) {
                place(heading, track);
            }
        }
    }
    groups
}

/// The group of a channel in a view; `None` if it is not in it.
fn heading_of(view: View, quantity: Quantity, track: &Track) -> Option<String> {
    let channel = &track.channel;
    match view {
        View::Families => Some(quantity.title().to_owned()),
        View::Cores => match channel.scope {
            Scope::CpuN(cpu) => Some(format!("cpu{cpu}")),
            _ => None,
        },
        View::Threads => channel.id.starts_with("cpu.worker").then(|| "threads of the worker".to_owned()),
        View::Rails => {
            matches!(quantity, Quantity::Power | Quantity::Energy).then(|| channel.scope.to_string())
        }
    }
}

/// A line of the list.
enum Item<'a> {
    Heading(String),
    Channel(&'a Track),
}

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    let hardware = &state.hardware;
    if area.height >= MIN_FOR_SUMMARY && hardware.list.filter.is_empty() && hardware.view == View::Families {
        for line in summary::lines(state, palette, area.width) {
            put(line, 0, take_top(&mut rest, 1), buf);
        }
    } else {
        let view = format!(" {}; v changes the view", hardware.view.as_str());
        put(Line::styled(view, palette.dim()), 0, take_top(&mut rest, 1), buf);
    }
    let charts = charts::height(state).min(rest.height / 2);
    if charts > 0 {
        charts::draw(state, palette, take_top(&mut rest, charts), buf);
    }
    let mut items = Vec::new();
    for (heading, tracks) in groups(state) {
        items.push(Item::Heading(heading));
        items.extend(tracks.into_iter().map(Item::Channel));
    }
    let is_selected = |item: &Item| {
        matches!(item, Item::Channel(track)
        if hardware.list.selected.as_ref().is_some_and(|key| *key == track.channel.id))
    };
    let first = || items.iter().position(|item| matches!(item, Item::Channel(_)));
    let Some(selected) = items.iter().position(is_selected).or_else(first) else {
        let text = match hardware.list.filter.as_str() {
            "" if hardware.view == View::Families => " no channels yet".to_owned(),
            "" => " this machine has no such channel".to_owned(),
            filter => format!(" no channel matches `{filter}`"),
        };
        put(Line::styled(text, palette.dim()), 1, rest, buf);
        return;
    };
    let mut titles = table::titles(&COLUMNS, Palette::strong());
    let spark = usize::from(rest.width).saturating_sub(COLUMNS.iter().map(|c| c.width + 1).sum()).min(SPARK);
    titles.push_span(Span::styled(fit("recent", spark, false) + " source", Palette::strong()));
    put(titles, 0, take_top(&mut rest, 1), buf);
    if rest.height > 8
        && let Some(Item::Channel(track)) = items.get(selected)
    {
        details(track, state, palette, take_bottom(&mut rest, 4), buf);
    }
    let selected_id = match items.get(selected) {
        Some(Item::Channel(track)) => track.channel.id.clone(),
        _ => String::new(),
    };
    table::scroll(&items, selected, rest, buf, |item| match item {
        Item::Heading(heading) => Line::styled(heading.clone(), Palette::strong()),
        Item::Channel(track) => line(track, state, palette, spark, track.channel.id == selected_id),
    });
}

fn line(track: &Track, state: &State, palette: Palette, spark: usize, selected: bool) -> Line<'static> {
    let channel = &track.channel;
    let mark = if state.hardware.charted.contains(&channel.id) { "~" } else { " " };
    let name = format!("{mark}{}", channel.id);
    let factor = state.shown().channels.factor(channel);
    let value = or_absent(track.value(), |value| display::value(value * factor, channel.unit));
    let age = or_absent(track.age_ns(state.now_ns), display::duration);
    let stale = track.is_stale(state.now_ns);
    let absent = channel.class == Class::Unavailable;
    // The age of a fresh value changes with every frame and is of no interest.
    let age = if stale || absent { age.as_str() } else { "" };
    let mut style = match () {
        () if absent => palette.dim(),
        () if stale => palette.warning(),
        () => ratatui::style::Style::new(),
    };
    if selected {
        style = style.patch(Palette::selected());
    }
    let mut line = Line::default();
    if absent {
        let wide = [COLUMNS[0], COLUMNS[1]];
        line.extend(table::cells(&wide, &[&name, ABSENT], style));
        line.push_span(Span::styled(reason(track), style));
        return line;
    }
    let scope = channel.scope.to_string();
    line.extend(table::cells(&COLUMNS, &[&name, &value, channel.class.as_str(), &scope, age], style));
    let top = (channel.unit == Unit::Ratio).then_some(1.0);
    if matches!(channel.kind, Kind::Counter { .. }) {
        // The curve of a running total tells nothing; its rate is a channel of its own.
        line.push_span(Span::raw(" ".repeat(spark)));
    } else {
        line.push_span(chart::sparkline(track.values(), spark, top, palette));
    }
    line.push_span(Span::styled(format!(" {}", channel.source), palette.dim()));
    line
}

/// Why there is no value.
fn reason(track: &Track) -> String {
    match (&track.channel.reason, track.absent) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(code)) => code.to_string(),
        (None, None) => String::new(),
    }
}

/// Everything known about the selected channel.
fn details(track: &Track, state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let channel = &track.channel;
    let mut rest = area;
    heading(&channel.id, palette, &mut rest, buf);
    let period = or_absent(channel.period_ns, display::duration);
    let age =
        or_absent(track.age_ns(state.now_ns).filter(|_| track.is_stale(state.now_ns)), display::duration);
    let kind = match channel.kind {
        Kind::Gauge => "gauge",
        Kind::Counter { .. } => "counter",
        Kind::Rate { .. } => "rate of a counter",
        Kind::Sum { .. } => "sum of channels",
    };
    let scope = &channel.scope;
    let mut facts = format!("{}, {kind}, scope {scope}, period {period}", channel.class.as_str());
    if let Some(update_ns) = track.channel.update_ns {
        facts = format!("{facts}, new every {}", display::duration(update_ns));
    }
    if let Some(cost_ns) = track.cost_ns {
        facts = format!("{facts}, a reading costs {}", display::duration(cost_ns));
    }
    if age != ABSENT {
        facts = format!("{facts}, stale for {age}");
    }
    let facts = wrap(&facts, usize::from(rest.width).saturating_sub(2), 1).pop().unwrap_or_default();
    put(Line::from(format!(" {facts}")), 0, rest, buf);
    let reason = reason(track);
    let source = if channel.source.is_empty() { ABSENT } else { &channel.source };
    let second = if reason.is_empty() { format!(" source {source}") } else { format!(" {ABSENT} {reason}") };
    put(Line::from(second), 1, rest, buf);
    if let Some(remedy) = &channel.remedy {
        put(Line::styled(format!(" remedy: {remedy}"), palette.good()), 2, rest, buf);
    }
}
