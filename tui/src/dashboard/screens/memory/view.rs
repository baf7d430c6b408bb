//! The Memory screen: parts of the worker's memory, growth with the context, and memory now.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::catalogue;
use slmscope_profiles::channel::Quantity;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::{Memory, RunResult};

use crate::dashboard::channels::Track;
use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::state::State;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::text::{pieces, wrap};
use crate::dashboard::view::{chart, heading, put, take_top};

/// Width of names and of figures.
const NAME: usize = 17;
const FIGURE: usize = 10;
/// Most rows of growth before the one where memory ends.
const GROWTH_ROWS: usize = 7;
/// Rows that are left where growth is drawn.
const MIN_FOR_GROWTH: u16 = 18;
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
    let result = data.result.as_deref();
    // What is now comes first where there is not room for both.
    if let Some(result) = result.filter(|_| rest.height >= MIN_FOR_GROWTH) {
        growth_bars(result, palette, &mut rest, buf);
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

/// What a token of context takes, and how much memory there is.
struct Growth {
    /// Context of the run, and what its keys and values took.
    context: u64,
    kv: u64,
    /// Bytes for each token.
    each: u64,
    /// Resident without keys and values.
    fixed: u64,
    /// What was free then; `None` where that is not known.
    free: Option<u64>,
}

impl Growth {
    /// `None` after a run whose prompt was a text: its length is not known.
    fn of(result: &RunResult) -> Option<Self> {
        let workload = &result.workload;
        let context = u64::from(workload.context(workload.prompt));
        let known = result.memory.kv.filter(|&kv| kv > 0 && context > 0 && !workload.has_text());
        let kv = known?;
        let fixed = result.memory.rss.unwrap_or(0).saturating_sub(kv);
        Some(Self { context, kv, each: kv.div_ceil(context), fixed, free: result.memory.available })
    }

    /// The context at which memory ends.
    fn end(&self) -> Option<u64> {
        Some(self.context.saturating_add(self.free? / self.each))
    }

    fn bytes(&self, context: u64) -> u64 {
        self.fixed.saturating_add(self.each.saturating_mul(context))
    }

    /// Contexts to show: that of the run, four times as many again and again, and the end.
    fn steps(&self) -> Vec<u64> {
        let Some(end) = self.end() else { return Vec::new() };
        let mut steps: Vec<u64> = std::iter::successors(Some(self.context), |context| context.checked_mul(4))
            .take_while(|&context| context < end)
            .take(GROWTH_ROWS)
            .collect();
        steps.push(end);
        steps
    }
}

/// How memory grows with the context, and where it ends, in words.
fn growth(result: &RunResult) -> String {
    let Some(growth) = Growth::of(result) else {
        return "how memory grows with the context is known after a run with a prompt of a given length"
            .to_owned();
    };
    let text = format!(
        "keys and values take {} for each token of context ({} for {})",
        display::bytes(growth.each),
        display::bytes(growth.kv),
        growth.context
    );
    let (Some(free), Some(end)) = (growth.free, growth.end()) else { return text };
    let longest = catalogue::find(&result.model.id).ok().map(|row| u64::from(row.max_context));
    let longest = longest.map_or_else(String::new, |longest| {
        format!("; the model's longest context is {}", display::count(longest))
    });
    let (free, end) = (display::bytes(free), display::count(end));
    format!("{text}; with {free} free, memory ends at a context of {end}{longest}")
}

/// The same as bars: what is resident at longer and longer contexts, up to all that there is.
fn growth_bars(result: &RunResult, palette: Palette, rest: &mut Rect, buf: &mut Buffer) {
    let Some(growth) = Growth::of(result) else { return };
    let steps = growth.steps();
    let Some(most) = steps.last().map(|&end| growth.bytes(end)).filter(|&most| most > 0) else { return };
    heading("growth with the context, modelled by keys and values alone", palette, rest, buf);
    let room = usize::from(rest.width).saturating_sub(NAME + FIGURE + 4).min(BAR);
    for (at, &context) in steps.iter().enumerate() {
        let bytes = growth.bytes(context);
        let full = (bytes as f64 / most as f64 * room as f64).round() as usize;
        let note = match at {
            0 => " the last run",
            at if at + 1 == steps.len() => " memory ends",
            _ => "",
        };
        let line = Line::from(vec![
            Span::raw(fit(&format!(" {} tokens", display::count(context)), NAME, false)),
            Span::styled(fit(&display::bytes(bytes), FIGURE, true), Palette::strong()),
            Span::raw("  "),
            Span::styled("█".repeat(full.min(room.saturating_sub(note.len()))), palette.curve()),
            Span::styled(note, palette.dim()),
        ]);
        put(line, 0, take_top(rest, 1), buf);
    }
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
