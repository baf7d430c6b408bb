//! Sessions beside each other as one page: verdicts where there are two sides, figures, where the time goes, tokens over
//! time, and what the runs differ in.

use std::io::Write;

use slmscope_profiles::compare::{Comparison, Part, PartDifference};
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;

use super::bars::{self, Bar, Segment};
use super::charts::{self, Charts, Line};
use super::findings::sentence;
use super::html::{self, Html, escaped};
use super::time::{parts, per_token};
use super::{Collector, MEASURED, PageError, identity, top};

/// Parts whose change is drawn, those that changed most.
const MAX_DELTAS: usize = 12;

/// One of the sessions.
#[derive(Debug)]
pub struct Compared {
    /// What it is called on the page.
    pub name: String,
    /// All of its entries.
    pub collector: Collector,
}

/// What two sides come to in a phase.
#[derive(Debug, Clone)]
pub struct PhaseVerdict {
    /// Which phase.
    pub phase: Phase,
    /// The verdict in a sentence.
    pub sentence: String,
    /// What else is to be known of it.
    pub remarks: Vec<String>,
    /// The figures.
    pub comparison: Comparison,
}

/// What a page says of its sessions.
#[derive(Debug, Clone)]
pub struct Words {
    /// What it comes to.
    pub headline: String,
    /// What else is to be known, such as what makes it doubtful.
    pub remarks: Vec<String>,
    /// By phase, where the sessions are two sides.
    pub verdicts: Vec<PhaseVerdict>,
    /// The commands that measure them again.
    pub recipe: String,
}

/// Writes a page about `sessions`.
///
/// # Errors
/// If a session has no result, or `out` takes no more.
pub fn compare(sessions: &mut [Compared], words: &Words, out: &mut impl Write) -> Result<(), PageError> {
    for session in sessions.iter_mut() {
        session.collector.session.close();
    }
    let runs: Vec<Side<'_>> = sessions.iter().map(Side::of).collect::<Result<_, _>>()?;
    let names: Vec<&str> = runs.iter().map(|side| side.name).collect();
    let mut html = Html::default();
    html.raw(format_args!("<h1>{}</h1>\n", escaped(&names.join(" and "))));
    html.raw(format_args!("<p class=\"headline\">{}</p>\n", escaped(&words.headline)));
    html.end_of_header();
    for remark in &words.remarks {
        html.paragraph("note", remark);
    }
    for verdict in &words.verdicts {
        of_phase(&mut html, verdict);
    }
    figures(&mut html, &runs);
    time(&mut html, &runs);
    let charts = tokens(&mut html, &runs);
    findings(&mut html, &runs);
    identities(&mut html, &runs);
    html.section("method", "How to measure it again");
    html.raw(format_args!("<pre><code>{}</code></pre>\n", escaped(&words.recipe)));
    html::page(out, &names.join(", "), &html, &charts)?;
    Ok(())
}

/// A session's run.
struct Side<'a> {
    name: &'a str,
    collector: &'a Collector,
    result: &'a RunResult,
}

impl<'a> Side<'a> {
    fn of(session: &'a Compared) -> Result<Self, PageError> {
        let (_, result) = session.collector.run()?;
        Ok(Self { name: &session.name, collector: &session.collector, result })
    }
}

/// A column of names, and one for each session.
fn headings<'a>(first: &'a str, runs: &[Side<'a>], is_text: bool) -> Vec<(&'a str, bool)> {
    std::iter::once((first, true)).chain(runs.iter().map(|side| (side.name, is_text))).collect()
}

fn of_phase(html: &mut Html, verdict: &PhaseVerdict) {
    let (id, title) = match verdict.phase {
        Phase::Prefill => ("prefill", "Prefill"),
        _ => ("decode", "Decode"),
    };
    html.section(id, title);
    html.raw(format_args!("<p><strong>{}</strong></p>\n", escaped(&verdict.sentence)));
    verdict.remarks.iter().for_each(|remark| html.paragraph("note", remark));
    deltas(html, &verdict.comparison);
    let micros = |ns: f64| display::significant(ns / 1e3);
    let row = |part: &PartDifference| {
        let difference = &part.difference;
        let sign = if difference.delta_ns > 0.0 { "+" } else { "" };
        vec![
            name_of(&part.part).to_owned(),
            micros(difference.a_ns),
            micros(difference.b_ns),
            format!("{sign}{}", micros(difference.delta_ns)),
            difference.change().map_or_else(|| "new".to_owned(), display::share),
            if part.is_named { "changed for certain" } else { "may be chance" }.to_owned(),
        ]
    };
    let rows: Vec<_> = verdict.comparison.parts.iter().map(row).collect();
    let columns =
        [("part", true), ("A", false), ("B", false), ("B − A", false), ("change", false), ("how sure", true)];
    html.table("Time of each part, µs a token; the differences add up to that of the whole", &columns, &rows);
}

fn name_of(part: &Part) -> &str {
    match part {
        Part::Ops(name) => name,
        Part::Gap => "gap between ops",
        Part::Span(name) => name.as_str(),
        Part::Unattributed => "unattributed",
    }
}

/// What became slower to the right of a line, what became faster to the left.
fn deltas(html: &mut Html, comparison: &Comparison) {
    let parts = || comparison.parts.iter().take(MAX_DELTAS);
    let most = parts().map(|part| part.difference.delta_ns.abs()).fold(0.0, f64::max);
    if most <= 0.0 || !most.is_finite() {
        return;
    }
    html.raw(
        "<div class=\"deltas\" role=\"img\" aria-label=\"Parts that became slower or faster; the numbers are in the \
         table below\">\n",
    );
    for part in parts() {
        let delta_ns = part.difference.delta_ns;
        let width = delta_ns.abs() / most * 50.0;
        let (class, left) = if delta_ns > 0.0 { ("more", 50.0) } else { ("less", 50.0 - width) };
        let faint = if part.is_named { "" } else { " faint" };
        html.raw(format_args!(
            "<div class=\"name\">{}</div><div class=\"line\"><span class=\"{class}{faint}\" style=\"left:{left:.2}%;width:{width:.2}%\"></span></div>\n",
            escaped(name_of(&part.part))
        ));
    }
    html.raw("</div>\n");
    html.paragraph("note", "Left of the line B is faster, right of it slower; faint bars may be chance.");
}

fn figures(html: &mut Html, runs: &[Side<'_>]) {
    html.section("figures", "Figures");
    let of_runs: Vec<_> = runs.iter().map(|side| top::figures(side.result)).collect();
    let Some(first) = of_runs.first() else { return };
    let rows: Vec<Vec<String>> = (0..first.len())
        .map(|at| {
            let cell = |figures: &[top::Figure; 6]| format!("{} ({})", figures[at].value, figures[at].note);
            std::iter::once(first[at].name.to_owned()).chain(of_runs.iter().map(cell)).collect()
        })
        .collect();
    html.table("Medians over repetitions, with their spread", &headings("figure", runs, true), &rows);
}

/// Bars of the time of a token, to the same scale.
fn time(html: &mut Html, runs: &[Side<'_>]) {
    html.section("time", "Where the time goes");
    for phase in MEASURED.into_iter().rev() {
        let of_run = |side: &Side<'_>| {
            let ns = per_token(side.result, phase)?;
            let segments = parts(side.result, phase).into_iter().map(|part| {
                let value = part.share * ns;
                Segment { name: part.name, value, shown: display::duration(value as u64) }
            });
            let note = format!("{} {}", display::duration(ns as u64), what(phase));
            Some(Bar { name: side.name.to_owned(), note, segments: segments.collect() })
        };
        let bars: Vec<Bar> = runs.iter().filter_map(of_run).collect();
        if bars.is_empty() {
            continue;
        }
        html.raw(format_args!("<h3>{}, {}</h3>\n", phase.as_str(), what(phase)));
        let label = format!("Time of {}, by part; the numbers are in the table below", what(phase));
        bars::draw(html, &label, &bars);
        table(html, runs, phase, &bars);
    }
}

/// What a phase's time is divided by.
fn what(phase: Phase) -> &'static str {
    if phase == Phase::Prefill { "a prompt token" } else { "a token" }
}

fn table(html: &mut Html, runs: &[Side<'_>], phase: Phase, bars: &[Bar]) {
    let mut names: Vec<&str> = Vec::new();
    for segment in bars.iter().flat_map(|bar| &bar.segments) {
        if !names.contains(&segment.name.as_str()) {
            names.push(&segment.name);
        }
    }
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|&name| {
            let cell = |side: &Side<'_>| {
                let bar = bars.iter().find(|bar| bar.name == side.name)?;
                Some(bar.segments.iter().find(|segment| segment.name == name)?.shown.clone())
            };
            let cells = runs.iter().map(|side| cell(side).unwrap_or_else(|| ABSENT.to_owned()));
            std::iter::once(name.to_owned()).chain(cells).collect()
        })
        .collect();
    let caption = format!("Mean time of {} by part (measured); — it has no such part", what(phase));
    html.table(&caption, &headings("part", runs, false), &rows);
}

/// Decode steps over time, each session from its own begin on.
fn tokens(html: &mut Html, runs: &[Side<'_>]) -> Charts {
    html.section("tokens", "Tokens over time");
    let mut charts = Charts::default();
    let mut lines: Vec<Line> = Vec::new();
    for side in runs {
        let Ok((run, _)) = side.collector.run() else { continue };
        let line = charts::step_times(side.name, &run.profile);
        let Some(first_ns) = line.points.first().map(|point| point.0) else { continue };
        lines.push(line.since(first_ns));
    }
    if lines.is_empty() {
        html.paragraph("note", "— nothing was decoded.");
        return charts;
    }
    charts::chart_of_steps(html, &mut charts, &lines, 0, "Time of each decode step");
    charts
}

fn findings(html: &mut Html, runs: &[Side<'_>]) {
    html.section("findings", "Findings");
    for side in runs {
        html.raw(format_args!("<h3>{}</h3>\n<ul>\n", escaped(side.name)));
        for finding in &side.result.findings {
            let (reason, advice) = (escaped(&sentence(&finding.reason)), escaped(&finding.advice));
            html.raw(format_args!("<li><strong>{reason}.</strong> {advice}</li>\n"));
        }
        html.raw(format_args!("<li>{}</li>\n</ul>\n", escaped(&top::circumstances(side.result))));
    }
}

fn identities(html: &mut Html, runs: &[Side<'_>]) {
    html.section("identity", "What ran");
    let of_runs: Vec<_> = runs.iter().map(|side| identity::facts(side.result)).collect();
    let Some(first) = of_runs.first() else { return };
    let rows: Vec<Vec<String>> = (0..first.len())
        .map(|at| {
            let values = || of_runs.iter().map(|facts| &facts[at].1);
            let is_same = values().all(|value| *value == first[at].1);
            let cells = values().map(|value| value.clone().unwrap_or_else(|| ABSENT.to_owned()));
            let name = std::iter::once(first[at].0.to_owned());
            name.chain(cells).chain([if is_same { "yes" } else { "no" }.to_owned()]).collect()
        })
        .collect();
    let mut columns = headings("what", runs, true);
    columns.push(("the same", true));
    html.table("Identity of the runs", &columns, &rows);
}
