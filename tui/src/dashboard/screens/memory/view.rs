//! The Memory screen: parts of the worker's memory, growth with the context, and memory now.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::channel::Quantity;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::{Memory, RunResult};

use crate::dashboard::channels::Track;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::{Data, State};
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::{pieces, wrap};
use crate::dashboard::view::{chart, heading, put, take_top};

/// Width of names and of figures.
const NAME: usize = 17;
const FIGURE: usize = 10;
/// Longest bar and longest curve.
const BAR: usize = 60;

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let mut rest = area;
    if let Some(result) = data.result.as_deref().filter(|result| result.memory != Memory::default()) {
        run(result, palette, &mut rest, buf);
    } else {
        let text = if data.job.is_some() {
            " parts of the worker's memory are known when its run has ended"
        } else {
            " nothing ran yet"
        };
        put(Line::styled(text, palette.dim()), 0, take_top(&mut rest, 2), buf);
    }
    now(state, data, palette, rest, buf);
}

/// What is known of a run's memory.
fn run(result: &RunResult, palette: Palette, rest: &mut Rect, buf: &mut Buffer) {
    let memory = &result.memory;
    heading("the worker's memory at the end of the last run", palette, rest, buf);
    let whole = memory.rss.max(memory.rss_peak).unwrap_or(0);
    let parts = [
        ("weights", memory.weights),
        ("packed weights", memory.packed),
        ("keys and values", memory.kv),
        ("scratch", memory.scratch),
        ("tokenizer", memory.tokenizer),
        ("program", memory.runtime),
        ("unexplained", memory.unexplained.and_then(|bytes| u64::try_from(bytes).ok())),
    ];
    for (index, (name, bytes)) in parts.into_iter().enumerate().filter(|(_, (_, bytes))| bytes.is_some()) {
        put(part(name, bytes, whole, index, palette, rest.width), 0, take_top(rest, 1), buf);
    }
    let figure = |name: &str, bytes: Option<u64>| {
        vec![
            Span::raw(format!(" {name} ")),
            Span::styled(or_absent(bytes, display::bytes), Palette::strong()),
        ]
    };
    let whole = [
        figure("resident", memory.rss),
        figure("peak", memory.rss_peak),
        figure("PSS", memory.pss),
        figure("mapped", memory.mapped),
        figure("free then", memory.available),
    ];
    put(pieces(whole, " ·", usize::from(rest.width)), 0, take_top(rest, 1), buf);
    let width = usize::from(rest.width).saturating_sub(2);
    for line in wrap(&growth(result), width, 3) {
        put(Line::from(format!(" {line}")), 0, take_top(rest, 1), buf);
    }
}

fn part(
    name: &str,
    bytes: Option<u64>,
    whole: u64,
    index: usize,
    palette: Palette,
    width: u16,
) -> Line<'static> {
    let room = usize::from(width).saturating_sub(NAME + FIGURE + 4).min(BAR);
    let share = bytes.filter(|_| whole > 0).map(|bytes| bytes as f64 / whole as f64);
    let full = (share.unwrap_or(0.0).clamp(0.0, 1.0) * room as f64).round() as usize;
    let (style, filling) = palette.part(index);
    Line::from(vec![
        Span::raw(fit(&format!(" {name}"), NAME, false)),
        Span::styled(fit(&or_absent(bytes, display::bytes), FIGURE, true), Palette::strong()),
        Span::raw("  "),
        Span::styled(filling.repeat(full), style),
    ])
}

/// How memory grows with the context, and where it ends.
fn growth(result: &RunResult) -> String {
    let workload = &result.workload;
    let context = u64::from(workload.context(workload.prompt));
    let known = result.memory.kv.filter(|&kv| kv > 0 && context > 0 && !workload.has_text());
    let Some(kv) = known else {
        return "how memory grows with the context is known after a run with a prompt of a given length"
            .to_owned();
    };
    let each = kv.div_ceil(context);
    let text = format!(
        "keys and values take {} for each token of context ({} for {context})",
        display::bytes(each),
        display::bytes(kv)
    );
    let Some(free) = result.memory.available else { return text };
    let end = context.saturating_add(free / each);
    format!("{text}; with {} free, memory ends at a context of {}", display::bytes(free), display::count(end))
}

/// Memory of the machine and of the processes now, with its recent course.
fn now(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("now, and in the last minute", palette, &mut rest, buf);
    let tracks = data.channels.grouped("");
    let memory = tracks.into_iter().filter(|(quantity, _)| *quantity == Quantity::Memory);
    for track in memory.flat_map(|(_, tracks)| tracks) {
        if rest.is_empty() {
            return;
        }
        if track.value().is_some() {
            put(line(state, track, palette, rest.width), 0, take_top(&mut rest, 1), buf);
        }
    }
}

fn line(state: &State, track: &Track, palette: Palette, width: u16) -> Line<'static> {
    let value =
        track.value().map_or_else(|| ABSENT.to_owned(), |value| display::value(value, track.channel.unit));
    let style = if track.is_stale(state.now_ns) { palette.warning() } else { Palette::strong() };
    let room = usize::from(width).saturating_sub(NAME + 8 + FIGURE + 4).min(BAR);
    Line::from(vec![
        Span::raw(fit(&format!(" {}", track.channel.id), NAME + 8, false)),
        Span::styled(fit(&value, FIGURE, true), style),
        Span::raw("  "),
        chart::sparkline(track.values(), room, None, palette),
    ])
}
