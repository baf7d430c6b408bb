//! The Live screen: what stands out, how fast it is, where its time goes, and the state of the machine.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use slmscope_profiles::display;
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;

use super::{curve, idle, machine, remarks, speed, time};
use crate::dashboard::data::Data;
use crate::dashboard::palette::Palette;
use crate::dashboard::screens::ops::row::Level;
use crate::dashboard::screens::ops::rows::rows;
use crate::dashboard::screens::ops::state::OpsTable;
use crate::dashboard::screens::ops::view as ops;
use crate::dashboard::state::{Link, State};
use crate::dashboard::view::text::pieces;
use crate::dashboard::view::{chart, heading, put, take_bottom, take_top};

/// Rows below which the curve is left out.
const MIN_CURVE: u16 = 5;
/// Most rows of the curve; further rows go to a list of ops.
const MAX_CURVE: u16 = 16;
/// Rows below which that list is left out, headings included.
const MIN_HOTTEST: u16 = 5;
/// Heights of the screen, and the rows that remarks may take from there on.
const REMARKS: [(u16, usize); 5] = [(52, 12), (34, 8), (26, 6), (20, 4), (0, 1)];

/// Draws the screen.
pub fn draw(state: &State, palette: Palette, area: Rect, buf: &mut Buffer) {
    let data = state.shown();
    let width = usize::from(area.width);
    let mut rest = area;
    head(state, data, palette, take_top(&mut rest, 2), buf);
    if data.job.is_none() && data.totals.last_phase.is_none() {
        return idle::draw(state, data, palette, rest, buf);
    }
    let most = REMARKS.iter().find(|(height, _)| area.height >= *height).map_or(1, |&(_, most)| most);
    for line in remarks::lines(state, data, palette, width, most) {
        put(line, 0, take_top(&mut rest, 1), buf);
    }
    speed::draw(data, palette, take_top(&mut rest, speed::HEIGHT), buf);
    let time_height = time::height(state, data);
    let hidden = hidden(time_height, rest.height);
    if !hidden.is_empty() {
        let foot = take_bottom(&mut rest, 1);
        let text = format!("hidden: {hidden}");
        put(pieces([vec![Span::styled(format!(" {text}"), palette.dim())]], "", width), 0, foot, buf);
    }
    time::draw(state, data, palette, take_top(&mut rest, time_height), buf);
    let machine_height = machine::height(data, area.width).min(rest.height);
    let machine = take_bottom(&mut rest, machine_height);
    if rest.height >= MIN_CURVE {
        let ops = rest.height.saturating_sub(MAX_CURVE);
        let ops = if ops < MIN_HOTTEST { 0 } else { ops };
        let height = rest.height - ops;
        curve::draw(data, palette, take_top(&mut rest, height), buf);
        if ops > 0 {
            hottest(data, palette, rest, buf);
        }
    }
    machine::draw(state, data, palette, machine, buf);
}

/// What a screen with so many rows left does not show.
fn hidden(time_height: u16, left: u16) -> &'static str {
    match left {
        _ if left > time_height => "",
        left if left == time_height => "machine",
        0 => "where the time goes, machine",
        _ => "parts of the time, machine",
    }
}

/// Model and stage.
fn head(state: &State, data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    put(model(data, palette, width), 0, area, buf);
    put(stage(state, data, palette, width), 1, area, buf);
}

fn model(data: &Data, palette: Palette, width: usize) -> Line<'static> {
    let Some(job) = &data.job else { return Line::styled(" no job", palette.dim()) };
    let mut name = vec![Span::raw(" "), Span::styled(job.model.clone(), Palette::strong())];
    if job.source == ModelSource::Synthetic {
        name.push(Span::styled(" (synthetic weights)", palette.warning()));
    }
    let mut facts = Vec::new();
    facts.extend(job.format.map(|format| format.name().to_owned()));
    if let Some(plan) = &data.plan {
        facts.push(display::plural(u64::from(plan.threads), "thread"));
        facts.push(plan.path.clone());
    }
    facts.push(format!("job {}", job.job));
    let facts = facts.into_iter().map(|fact| vec![Span::styled(fact, palette.dim())]);
    // A name that is longer than the screen is cut, and stands alone.
    let wide: usize = name.iter().map(Span::width).sum();
    if wide > width {
        return Line::from(name);
    }
    pieces(std::iter::once(name).chain(facts), " · ", width)
}

fn stage(state: &State, data: &Data, palette: Palette, width: usize) -> Line<'static> {
    let may_submit = matches!(state.link, Link::Up { may_submit: true, .. });
    let hint = if may_submit { "press r to run a model" } else { "waiting for a job" };
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
    let mut parts = vec![vec![Span::styled(format!(" {}", job.state.as_str()), style)]];
    parts.extend(facts(state, data, job, hint).into_iter().map(|fact| vec![Span::raw(fact)]));
    if !job.state.is_final() {
        parts.extend(progress(data, palette));
    }
    pieces(parts, " · ", width)
}

/// Where a job is.
fn facts(state: &State, data: &Data, job: &Job, hint: &str) -> Vec<String> {
    let mut facts = Vec::new();
    let looped = job.workload.looped;
    if looped {
        facts.push(format!("turn {} of a loop", job.turns.saturating_add(1)));
    }
    // Each turn of most loops is one repetition.
    if let Some(repetition) = job.repetition.filter(|_| !(looped && job.workload.repetitions == Some(1))) {
        let of = job.workload.repetitions.map_or_else(String::new, |all| format!(" of {all}"));
        facts.push(format!("repetition {}{of}", repetition.saturating_add(1)));
    }
    if job.ahead > 0 {
        facts.push(display::plural(u64::from(job.ahead), "job") + " ahead");
    }
    if job.state.is_final() {
        facts.extend(state.replay.is_none().then(|| format!("nothing runs: {hint}")));
        return facts;
    }
    if let Some(phase) = data.totals.last_phase {
        facts.push(phase.as_str().to_owned());
    }
    if let Some(context) = data.totals.context {
        facts.push(format!("context {context}{}", context_size(job)));
    }
    facts
}

/// How far loading or a phase is.
fn progress(data: &Data, palette: Palette) -> Option<Vec<Span<'static>>> {
    let progress = data.progress.as_ref()?;
    let mut spans = vec![Span::raw(format!("{} ", progress.phase.as_str()))];
    let show = |amount| {
        if progress.phase == Phase::Load { display::bytes(amount) } else { display::count(amount) }
    };
    if let Some(total) = progress.total.filter(|&total| total > 0) {
        let share = progress.done as f64 / total as f64;
        spans.extend(chart::gauge(Some(share), 10, palette.curve(), palette));
        spans.push(Span::raw(format!(" {} of {}", show(progress.done), show(total))));
    } else {
        spans.push(Span::raw(show(progress.done)));
    }
    Some(spans)
}

/// Size of the job's context, if the prompt's length is known.
fn context_size(job: &Job) -> String {
    let workload = &job.workload;
    let fits = !workload.has_text() && workload.validate().is_ok();
    if fits { format!(" of {}", workload.context(workload.prompt)) } else { String::new() }
}

/// The ops that take most of decode's time.
fn hottest(data: &Data, palette: Palette, area: Rect, buf: &mut Buffer) {
    let mut rest = area;
    heading("ops of decode that take longest", palette, &mut rest, buf);
    let mut rows = rows(data, &OpsTable::default());
    rows.retain(|row| row.level == Level::Op);
    ops::List { rows: &rows, selected: None, table: None, mark: None }.draw(palette, rest, buf);
}
