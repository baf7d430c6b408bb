//! `slmscope diff`: recordings beside each other, with a verdict.

mod floors;
mod recording;
mod refusal;
#[cfg(test)]
mod tests;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
pub(super) use floors::known as known_floor;
use recording::{Recording, Side};
use serde::Serialize;
use slmscope_profiles::compare::{
    Comparison, DEFAULT_MARGIN, Grouping, KnownFloor, Obstacle, Options, Repetition, Verdict, compare,
    obstacles,
};
use slmscope_profiles::phase::Phase;

use super::comparison_page::PageFile;
use super::number;
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::session_source::SessionSource;
use crate::style::Style;

/// Phases that are compared.
const PHASES: [Phase; 2] = [Phase::Prefill, Phase::Decode];

/// Options of `diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m -r 20         recorded as session 7
  slmscope run smollm2-135m -r 20         recorded as session 8
  slmscope diff 7 8
  slmscope diff before.mcap latest
  slmscope diff 7 8 --html d.html         one page to send on

\"Same\" is shown by an equivalence test: the 90 % interval of the difference lies within the margin. Runs that were
measured one after the other also differ by what the machine did meanwhile. There are two ways to count that in:
  slmscope diff a1.mcap a2.mcap a3.mcap -- b1.mcap b2.mcap b3.mcap
                                       several runs of each, measured in turns
  slmscope diff --floor a1.mcap a2.mcap a3.mcap
                                       keeps by how much runs of the same thing
                                       differ here; later comparisons use it

Decode is compared by its typical token: the mean of the faster half of every 32 in a row, which other work on the
machine disturbs least. The mean of all tokens stands beside it.

Exit codes: 0 same, faster or cannot tell, 1 error, 2 wrong flags, 3 not comparable, 4 slower.")]
pub struct DiffArgs {
    /// The session to compare with and the one to judge, by number, `latest` or file; before `--`, all to compare with
    #[arg(value_name = "SESSION", required = true)]
    before: Vec<SessionSource>,
    /// After `--`: all sessions to judge
    #[arg(value_name = "JUDGED", last = true)]
    after: Vec<SessionSource>,
    /// Difference below which they are called the same, such as 2% or 0.02
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = margin)]
    margin: f64,
    /// Show ops by kind of work, by module, or by name
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = By::Kind)]
    by: By,
    /// Measure and keep by how much these recordings of the same run differ
    #[arg(long, conflicts_with_all = ["after", "margin", "by", "force", "markdown", "no_floor"])]
    floor: bool,
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    shown: Shown,
}

/// What is compared at all.
#[derive(Debug, Clone, Copy, Args)]
struct Conditions {
    /// Compare what is not comparable all the same
    #[arg(long)]
    force: bool,
    /// Refuse runs on a machine that was not fit to measure on
    #[arg(long)]
    strict: bool,
    /// Do not count in by how much runs of the same thing differ on this machine
    #[arg(long)]
    no_floor: bool,
}

/// How the comparison is printed.
#[derive(Debug, Args)]
struct Shown {
    /// Print one JSON object
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown, for a comment on a change
    #[arg(long)]
    markdown: bool,
    /// Write a page for browsers into this new file, and print the verdict
    #[arg(long, value_name = "FILE", conflicts_with = "floor")]
    html: Option<PathBuf>,
}

impl DiffArgs {
    /// Compares a session with the run of the same thing that was made of it, also on another machine.
    pub fn of_rerun(before: SessionSource, again: SessionSource, json: bool) -> Self {
        Self {
            before: vec![before, again],
            after: Vec::new(),
            margin: DEFAULT_MARGIN,
            by: By::Kind,
            floor: false,
            conditions: Conditions { force: true, strict: false, no_floor: false },
            shown: Shown { json, markdown: false, html: None },
        }
    }
}

/// By what ops are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Kind,
    Module,
    Name,
}

impl By {
    fn grouping(self) -> Grouping {
        match self {
            Self::Kind => Grouping::Kind,
            Self::Module => Grouping::Module,
            Self::Name => Grouping::Name,
        }
    }
}

/// A margin is a share above nothing.
#[derive(Debug, thiserror::Error)]
#[error("write a share above 0 and below 100 %, such as 2% or 0.02")]
struct BadMargin;

fn margin(text: &str) -> Result<f64, BadMargin> {
    number::share(text).ok().filter(|share| 0.0 < *share && *share < 1.0).ok_or(BadMargin)
}

/// What `diff --json` prints.
#[derive(Debug, Serialize)]
struct Diff {
    schema: &'static str,
    /// The first recording of each side, and all of them.
    a: Side,
    b: Side,
    a_set: Vec<Side>,
    b_set: Vec<Side>,
    /// What is not the same in all; empty if they are comparable.
    obstacles: Vec<Obstacle>,
    /// Whether a run is on both sides: what it is compared with is itself.
    same_run: bool,
    phases: Vec<PhaseDiff>,
}

#[derive(Debug, Serialize)]
struct PhaseDiff {
    phase: Phase,
    /// Repetitions of A and of B, of all their runs together.
    repetitions: [usize; 2],
    /// Where and with what the floor was measured; null without one.
    #[serde(rename = "floor_of")]
    floor: Option<KnownFloor>,
    #[serde(flatten)]
    comparison: Comparison,
}

/// How sessions are compared.
#[derive(Debug, Clone, Copy)]
struct Rules {
    margin: f64,
    grouping: Grouping,
    /// Also what is not comparable.
    force: bool,
    /// Only what was measured on a fit machine.
    strict: bool,
    /// With the floor that was measured for two single runs.
    counts_floor: bool,
}

impl DiffArgs {
    fn rules(&self) -> Rules {
        let Conditions { force, strict, no_floor } = self.conditions;
        Rules { margin: self.margin, grouping: self.by.grouping(), force, strict, counts_floor: !no_floor }
    }

    /// What is compared with what.
    fn sides(&self) -> Result<(&[SessionSource], &[SessionSource]), Failure> {
        match (self.before.as_slice(), self.after.as_slice()) {
            ([a, b], []) => Ok((std::slice::from_ref(a), std::slice::from_ref(b))),
            (_, []) => Err(Failure::usage(
                "name two recordings, or sets of them with `--` between: slmscope diff A1 A2 -- B1 B2",
            )),
            sets => Ok(sets),
        }
    }
}

/// Compares the recordings.
///
/// # Errors
/// If one cannot be read; with exit code 3 if they are not comparable, 4 if B is slower.
pub fn run(args: &DiffArgs, target: &Target) -> Result<ExitCode, Failure> {
    let rules = args.rules();
    if args.floor {
        let recordings = read(&args.before, target)?;
        check_strict(rules, &recordings)?;
        floors::measure(&recordings, args.shown.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (before, after) = args.sides()?;
    let diff = match &args.shown.html {
        None => compared(before, after, rules, target)?,
        Some(path) => {
            let page = PageFile::create(path)?;
            let made = compared(before, after, rules, target);
            let (diff, line) = page.fill(named(before, after), target, made, text::words)?;
            note_line!("{line}");
            diff
        }
    };
    if args.shown.json {
        print_json(&diff)?;
    } else if args.shown.markdown {
        print(&text::markdown(&diff))?;
    } else {
        print(&text::render(&diff, Style::of_stdout()))?;
    }
    let is_slower = diff.phases.iter().any(|phase| phase.comparison.verdict == Verdict::Slower);
    if is_slower { Err(Failure::silent(4)) } else { Ok(ExitCode::SUCCESS) }
}

/// The sessions of both sides with what they are called: `A: session 7`, or of several `A1: a1.mcap`.
fn named<'a>(before: &'a [SessionSource], after: &'a [SessionSource]) -> Vec<(String, &'a SessionSource)> {
    let mut sessions = Vec::new();
    for (side, sources) in [("A", before), ("B", after)] {
        for (at, source) in sources.iter().enumerate() {
            let number = if sources.len() > 1 { (at + 1).to_string() } else { String::new() };
            sessions.push((format!("{side}{number}: {source}"), source));
        }
    }
    sessions
}

fn read(sources: &[SessionSource], target: &Target) -> Result<Vec<Recording>, Failure> {
    sources.iter().map(|source| Recording::read(source, target)).collect()
}

/// What `slmscope diff A B` prints.
///
/// # Errors
/// As [`run`], but for a B that is slower.
pub fn text_of(
    a: &SessionSource,
    b: &SessionSource,
    target: &Target,
    style: Style,
) -> Result<String, Failure> {
    let (margin, grouping) = (DEFAULT_MARGIN, Grouping::Kind);
    let rules = Rules { margin, grouping, force: false, strict: false, counts_floor: true };
    let sides = [std::slice::from_ref(a), std::slice::from_ref(b)];
    Ok(text::render(&compared(sides[0], sides[1], rules, target)?, style))
}

/// Reads both sets, and compares them if they are comparable.
fn compared(
    before: &[SessionSource],
    after: &[SessionSource],
    rules: Rules,
    target: &Target,
) -> Result<Diff, Failure> {
    let (a, b) = (read(before, target)?, read(after, target)?);
    let obstacles = obstacles_of(&a, &b);
    if !obstacles.is_empty() && !rules.force {
        return Err(refusal::refused(&obstacles));
    }
    check_strict(rules, &a)?;
    check_strict(rules, &b)?;
    let mut phases = Vec::new();
    for phase in PHASES {
        phases.extend(compare_phase(rules, phase, &a, &b)?);
    }
    if phases.is_empty() {
        return Err(Failure::error("no phase has op events on both sides: nothing to compare"));
    }
    let sides = |set: &[Recording]| set.iter().map(Recording::side).collect::<Vec<_>>();
    let (a_set, b_set) = (sides(&a), sides(&b));
    let (Some(first_a), Some(first_b)) = (a_set.first().cloned(), b_set.first().cloned()) else {
        return Err(Failure::usage("name at least one recording on each side"));
    };
    let is_on_both =
        |side: &Side| side.run_id.is_some() && b_set.iter().any(|other| other.run_id == side.run_id);
    let same_run = a_set.iter().any(is_on_both);
    let schema = "slmscope.diff/1";
    Ok(Diff { schema, a: first_a, b: first_b, a_set, b_set, obstacles, same_run, phases })
}

fn compare_phase(
    rules: Rules,
    phase: Phase,
    a: &[Recording],
    b: &[Recording],
) -> Result<Option<PhaseDiff>, Failure> {
    let runs = |set: &[Recording]| -> Vec<Vec<Repetition>> {
        set.iter().map(|one| one.repetitions(phase).to_vec()).collect()
    };
    let is_single = a.len() == 1 && b.len() == 1 && rules.counts_floor;
    let floor = match a.first().filter(|_| is_single) {
        Some(first) => floors::known(&first.result, phase)?,
        None => None,
    };
    let options = Options {
        margin: rules.margin,
        floor: floor.as_ref().map(|known| known.floor),
        grouping: rules.grouping,
    };
    let (a, b) = (runs(a), runs(b));
    let count = |runs: &[Vec<Repetition>]| runs.iter().map(Vec::len).sum();
    Ok(compare(&a, &b, options).map(|comparison| PhaseDiff {
        phase,
        repetitions: [count(&a), count(&b)],
        floor,
        comparison,
    }))
}

/// What any of the recordings has another of than the first, each once.
fn obstacles_of(a: &[Recording], b: &[Recording]) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = Vec::new();
    let Some(first) = a.first() else { return found };
    for other in a.iter().chain(b) {
        for obstacle in obstacles(&first.result, &other.result) {
            if !found.iter().any(|known| known.what == obstacle.what) {
                found.push(obstacle);
            }
        }
    }
    found
}

/// Refuses recordings of a machine that was not fit to measure on, if that is asked for.
fn check_strict(rules: Rules, recordings: &[Recording]) -> Result<(), Failure> {
    match recordings.iter().find(|one| rules.strict && !one.is_clean()) {
        None => Ok(()),
        Some(one) => {
            let reasons = &one.result.hygiene.reasons;
            let why = if reasons.is_empty() { "it is not known".to_owned() } else { reasons.join("; ") };
            let problem = format!("--strict: {}: the machine was not fit to measure on: {why}", one.name);
            Err(Failure { message: Some(problem), code: ExitCode::from(3) })
        }
    }
}
