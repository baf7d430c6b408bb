//! The Live screen: what is running, how fast, where its time goes, and the state of the machine.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::PlanRecord;

use super::parts::parts;
use super::{findings, machine};
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::ops::rows::{Level, rows};
use crate::dashboard::screens::ops::state::OpsTable;
use crate::dashboard::screens::ops::view::{self as ops, UNATTRIBUTED_LIMIT};
use crate::dashboard::state::{Data, Link, State};
use crate::dashboard::totals::PhaseSum;
use crate::dashboard::view::table::fit;
use crate::dashboard::view::{chart, heading, put, take_bottom, take_top};

/// Rows below which the curve is left out.
const MIN_CURVE: u16 = 3;
/// Most rows of the curve; further rows go to a list of ops.
const MAX_CURVE: u16 = 14;
/// Rows below which that list is left out, headings included.
const MIN_HOTTEST: u16 = 5;
/// Rows of the bars with their legends, heading included.
const TIME: u16 = 6;
/// Width of the phases' names there.
const LABEL: u16 = 9;
/// Width of the curve's scale.
const SCALE: u16 = 8;

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let mut rest = area;
    let problem = problem(data);
    head(state, data, palette, take_top(&mut rest, 2), buf);
    if let Some(problem) = problem {
        put(Line::styled(format!(" {problem}"), palette.bad()), 0, take_top(&mut rest, 1), buf);
    }
    let height = findings::height(&data.findings, area);
    findings::draw(&data.findings, palette, take_top(&mut rest, height), buf);
    figures(data, palette, take_top(&mut rest, 3), buf);
    let machine_height = machine::height(data.channels.cores().len(), area);
    let spare = rest.height.saturating_sub(machine_height + TIME);
    if spare > MIN_CURVE {
        let hottest = spare.saturating_sub(MAX_CURVE);
        let hottest = if hottest < MIN_HOTTEST { 0 } else { hottest };
        curve(data, palette, take_top(&mut rest, spare - hottest), buf);
    }
    time(data, palette, take_top(&mut rest, TIME), buf);
    let machine = take_bottom(&mut rest, machine_height);
    if !rest.is_empty() {
        hottest(data, palette, rest, buf);
    }
    machine::draw(state, data, palette, machine, buf);
}

/// Model and stage.
fn head(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    put(model(data, palette), 0, area, buf);
    put(stage(state, data, palette), 1, area, buf);
}

/// Losses, or why the job failed.
fn problem(data: &Data) -> Option<String> {
    let lost = [
        (data.lost, "tokens lost before the daemon read them"),
        (data.dropped, "tokens dropped: this dashboard was too slow"),
    ];
    let lost: Vec<_> = lost.iter().filter(|loss| loss.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if lost.is_empty() { data.job.as_ref().and_then(|job| job.error.clone()) } else { Some(lost.join("; ")) }
}

fn model(data: &Data, palette: Palette) -> Line<'static> {
    let Some(job) = &data.job else { return Line::styled(" no job", palette.dim()) };
    let mut spans = vec![Span::raw(" "), Span::styled(job.model.clone(), Palette::strong())];
    if job.source == ModelSource::Synthetic {
        spans.push(Span::styled(" (synthetic weights)", palette.warning()));
    }
    let mut facts = Vec::new();
    facts.extend(job.format.map(|format| format.name().to_owned()));
    if let Some(plan) = &data.plan {
        facts.push(display::plural(u64::from(plan.threads), "thread"));
        facts.push(plan.path.clone());
    }
    facts.push(format!("job {}", job.job));
    spans.push(Span::styled(format!(" · {}", facts.join(" · ")), palette.dim()));
    Line::from(spans)
}

fn stage(state: &State, data: &Data, palette: Palette) -> Line<'static> {
    let may_submit = matches!(state.link, Link::Up { may_submit: true, .. });
    let hint = if may_submit { "press r to run the default workload" } else { "waiting for a job" };
    let Some(job) = &data.job else {
        let (what, hint) = match &state.replay {
            Some(_) => (" nothing ran yet", "space plays the recording"),
            None => (" nothing runs", hint),
        };
        return Line::from(vec![
            Span::styled(what, Palette::strong()),
            Span::styled(format!(": {hint}"), palette.dim()),
        ]);
    };
    let style = match job.state {
        JobState::Failed => palette.bad(),
        JobState::Done | JobState::Cancelled => palette.dim(),
        _ => palette.good(),
    };
    let mut spans = vec![Span::styled(format!(" {}", job.state.as_str()), style)];
    let mut facts = Vec::new();
    if let Some(repetition) = job.repetition {
        let of = job.workload.repetitions.map_or_else(String::new, |all| format!(" of {all}"));
        facts.push(format!("repetition {}{of}", repetition.saturating_add(1)));
    }
    if job.workload.looped {
        facts.push(format!("turn {}", job.turns.saturating_add(1)));
    }
    if job.ahead > 0 {
        facts.push(format!("{} jobs ahead", job.ahead));
    }
    if job.state.is_final() {
        if state.replay.is_none() {
            facts.push(format!("nothing runs: {hint}"));
        }
    } else {
        if let Some(phase) = data.totals.last_phase {
            facts.push(phase.as_str().to_owned());
        }
        if let Some(context) = data.totals.context {
            facts.push(format!("context {context}{}", context_size(job)));
        }
    }
    if !facts.is_empty() {
        spans.push(Span::raw(format!(" · {}", facts.join(" · "))));
    }
    if let Some(progress) = data.progress.as_ref().filter(|_| !job.state.is_final()) {
        spans.push(Span::raw(format!(" · {} ", progress.phase.as_str())));
        let show = |amount| {
            if progress.phase == Phase::Load { display::bytes(amount) } else { display::count(amount) }
        };
        if let Some(total) = progress.total.filter(|&total| total > 0) {
            spans.extend(chart::gauge(
                Some(progress.done as f64 / total as f64),
                10,
                palette.curve(),
                palette,
            ));
            spans.push(Span::raw(format!(" {} of {}", show(progress.done), show(total))));
        } else {
            spans.push(Span::raw(show(progress.done)));
        }
    }
    Line::from(spans)
}

/// Size of the job's context, if the prompt's length is known.
fn context_size(job: &Job) -> String {
    let workload = &job.workload;
    let fits = !workload.has_text() && workload.validate().is_ok();
    if fits { format!(" of {}", workload.context(workload.prompt)) } else { String::new() }
}

fn figures(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    for (row, phase) in [Phase::Prefill, Phase::Decode].into_iter().enumerate() {
        let sum = data.totals.phase(phase);
        put(rates(phase, sum, data.totals.last_phase == Some(phase), palette), row, area, buf);
    }
    put(token_times(data, palette), 2, area, buf);
}

fn rates(phase: Phase, sum: Option<&PhaseSum>, running: bool, palette: Palette) -> Line<'static> {
    let (now, whole) = (sum.map(PhaseSum::recent), sum.map(PhaseSum::whole));
    let number = |value: Option<f64>| or_absent(value, display::significant);
    let style = if running { Palette::strong() } else { palette.dim() };
    let rate = number(now.and_then(|work| work.rows_per_second()));
    let mean = number(whole.and_then(|work| work.rows_per_second()));
    let bytes = or_absent(now.and_then(|work| work.bytes_per_second()), display::bytes_per_second);
    let flops = or_absent(now.and_then(|work| work.flops_per_second()), display::flops_per_second);
    Line::from(vec![
        Span::styled(format!(" {:<8}", phase.as_str()), style),
        Span::styled(fit(&rate, 7, true), Palette::strong()),
        Span::styled(" tok/s", palette.dim()),
        Span::styled(format!("  mean {}", fit(&mean, 7, false)), palette.dim()),
        Span::raw(fit(&bytes, 10, true)),
        Span::raw(fit(&flops, 15, true)),
        Span::styled("  rates derived", palette.dim()),
    ])
}

fn token_times(data: &Data, palette: Palette) -> Line<'static> {
    let found = data.totals.percentiles();
    let mut spans = vec![Span::styled(" ms/token", Palette::strong())];
    for (at, name) in ["p50", "p95", "p99"].into_iter().enumerate() {
        let value = or_absent(found, |(values, _)| display::milliseconds(values[at] as f64));
        spans.push(Span::styled(format!("  {name} "), palette.dim()));
        spans.push(Span::styled(fit(&value, 6, false), Palette::strong()));
    }
    let count = or_absent(found, |(_, count)| format!("last {count} steps"));
    let note = if count == ABSENT { "  measured".to_owned() } else { format!("  measured, {count}") };
    spans.push(Span::styled(note, palette.dim()));
    Line::from(spans)
}

fn curve(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("ms per token, newest right", palette, &mut rest, buf);
    let scale = Rect { width: SCALE.min(rest.width), ..rest };
    let plot = Rect { x: rest.x + scale.width, width: rest.width - scale.width, ..rest };
    let tokens = data.totals.tokens();
    let skip = tokens.len().saturating_sub(chart::points(plot.width, palette));
    let points: Vec<_> = tokens.skip(skip).map(|token| token.map(|ns| ns as f64)).collect();
    let top = points.iter().flatten().copied().fold(0.0, f64::max);
    if top <= 0.0 {
        put(Line::styled(" no decode step yet", palette.dim()), 0, rest, buf);
        return;
    }
    let label = |ns: f64| fit(&display::milliseconds(ns), usize::from(SCALE - 1), true);
    put(Line::styled(label(top), palette.dim()), 0, scale, buf);
    put(Line::styled(label(0.0), palette.dim()), usize::from(scale.height.saturating_sub(1)), scale, buf);
    chart::curve(&points, top, palette, plot, buf);
}

/// The ops that take most of decode's time.
fn hottest(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("ops of decode that take longest", palette, &mut rest, buf);
    let mut rows = rows(data, &OpsTable::default());
    rows.retain(|row| row.level == Level::Op);
    ops::list(&rows, None, palette, rest, buf);
}

/// Where the time goes: shares and a bar for each phase.
fn time(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("where the time goes, share of wall time (measured)", palette, &mut rest, buf);
    put(names(data.plan.as_ref(), palette), 0, take_top(&mut rest, 1), buf);
    for phase in [Phase::Decode, Phase::Prefill] {
        let Some(sum) = data.totals.phase(phase) else { continue };
        let parts = parts(data.plan.as_ref(), sum);
        put(shares(phase, &parts, sum.books.wall_ns, palette), 0, take_top(&mut rest, 1), buf);
        let styled = |(index, part): (usize, &(&str, u64))| {
            let (style, filling) = palette.part(index);
            (style, filling, part.1)
        };
        let styled: Vec<_> = parts.iter().enumerate().map(styled).collect();
        let row = take_top(&mut rest, 1);
        let label = LABEL.min(row.width);
        let bar = Rect { x: row.x + label, width: (row.width - label).saturating_sub(2), ..row };
        chart::parts(&styled, bar, buf);
    }
}

/// Names of the parts with their colours, in the order of [`parts`].
fn names(plan: Option<&PlanRecord>, palette: Palette) -> Line<'static> {
    let none = PhaseSum::default();
    let mut spans = vec![Span::raw(" ".repeat(usize::from(LABEL)))];
    for (index, (name, _)) in parts(plan, &none).into_iter().enumerate() {
        let (style, filling) = palette.part(index);
        spans.push(Span::styled(filling, style));
        spans.push(Span::raw(fit(name, part_width(name) - 1, false)));
    }
    Line::from(spans)
}

/// Width of a part: its colour, its name or share, and space.
fn part_width(name: &str) -> usize {
    (name.len() + 3).max(8)
}

fn shares(phase: Phase, parts: &[(&'static str, u64)], wall_ns: u64, palette: Palette) -> Line<'static> {
    let label = fit(&format!(" {}", phase.as_str()), usize::from(LABEL), false);
    let mut spans = vec![Span::styled(label, Palette::strong())];
    for (index, &(name, ns)) in parts.iter().enumerate() {
        let share = (wall_ns > 0).then(|| ns as f64 / wall_ns as f64);
        let is_unattributed = index + 1 == parts.len();
        let broken = is_unattributed && share.is_some_and(|share| share > UNATTRIBUTED_LIMIT);
        let style = if broken { palette.bad() } else { Style::new() };
        spans.push(Span::styled(fit(&or_absent(share, display::share), part_width(name), false), style));
    }
    Line::from(spans)
}
