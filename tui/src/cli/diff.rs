//! `slmscope diff`: two recordings beside each other, with a verdict.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use slmscope_exports::session::{Run, Session};
use slmscope_profiles::compare::{
    Comparison, Grouping, Obstacle, Options, Part, PartDifference, Verdict, compare, obstacles,
};
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;

use super::number;
use crate::connect::Target;
use crate::failure::{Failure, print, print_json};
use crate::session_source::SessionSource;
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m -r 20 --record before.mcap
  slmscope run smollm2-135m -r 20 --record after.mcap
  slmscope diff before.mcap after.mcap

\"Same\" is shown by an equivalence test: the 90 % interval of the difference lies within the margin. Runs that were
measured one after the other also differ by what the machine did meanwhile; compare two runs of the same thing first.

Exit codes: 0 same, faster or cannot tell, 1 error, 2 wrong flags, 3 not comparable, 4 slower.")]
pub struct DiffArgs {
    /// The recording to compare with
    #[arg(value_name = "A")]
    a: SessionSource,
    /// The recording to judge
    #[arg(value_name = "B")]
    b: SessionSource,
    /// Difference below which they are called the same, such as 2% or 0.02
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = margin)]
    margin: f64,
    /// Show ops by kind of work, by module, or by name
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = By::Kind)]
    by: By,
    /// Compare what is not comparable all the same
    #[arg(long)]
    force: bool,
    /// Refuse runs on a machine that was not fit to measure on
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    shown: Shown,
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
    a: Side,
    b: Side,
    /// What is not the same in both; empty if they are comparable.
    obstacles: Vec<Obstacle>,
    phases: Vec<PhaseDiff>,
}

/// One of the two recordings.
#[derive(Debug, Serialize)]
struct Side {
    file: String,
    model: String,
    run_id: Option<String>,
    /// Whether the machine was fit to measure on; null if that is not known.
    clean: Option<bool>,
    hygiene: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PhaseDiff {
    phase: Phase,
    /// Repetitions of A and of B.
    repetitions: [usize; 2],
    #[serde(flatten)]
    comparison: Comparison,
}

/// Compares the recordings.
///
/// # Errors
/// If one cannot be read; with exit code 3 if they are not comparable, 4 if B is slower.
pub fn run(args: &DiffArgs, target: &Target) -> Result<ExitCode, Failure> {
    let (a, b) = (args.a.read(target)?, args.b.read(target)?);
    let (run_a, run_b) = (run_of(&a, &args.a)?, run_of(&b, &args.b)?);
    let (result_a, result_b) = (result_of(run_a, &args.a)?, result_of(run_b, &args.b)?);
    let obstacles = obstacles(result_a, result_b);
    if !obstacles.is_empty() && !args.force {
        return Err(refused(&obstacles));
    }
    let sides = [Side::of(&args.a, result_a), Side::of(&args.b, result_b)];
    if args.strict && sides.iter().any(|side| side.clean != Some(true)) {
        let problem =
            "the machine was not fit to measure on: `slmscope sessions info` and the report say why";
        return Err(Failure { message: Some(format!("--strict: {problem}")), code: ExitCode::from(3) });
    }
    let options = Options { margin: args.margin, floor: None, grouping: args.by.grouping() };
    let phases: Vec<PhaseDiff> = [Phase::Prefill, Phase::Decode]
        .into_iter()
        .filter_map(|phase| {
            let (of_a, of_b) = (run_a.repetitions(phase), run_b.repetitions(phase));
            let comparison = compare(&of_a, &of_b, options)?;
            Some(PhaseDiff { phase, repetitions: [of_a.len(), of_b.len()], comparison })
        })
        .collect();
    if phases.is_empty() {
        return Err(Failure::error("no phase has op events in both recordings: nothing to compare"));
    }
    let is_slower = phases.iter().any(|phase| phase.comparison.verdict == Verdict::Slower);
    let [a, b] = sides;
    let diff = Diff { schema: "slmscope.diff/1", a, b, obstacles, phases };
    if args.shown.json {
        print_json(&diff)?;
    } else if args.shown.markdown {
        print(&markdown(&diff))?;
    } else {
        print(&render(&diff, Style::of_stdout()))?;
    }
    if is_slower { Err(Failure::silent(4)) } else { Ok(ExitCode::SUCCESS) }
}

fn run_of<'s>(session: &'s Session, source: &SessionSource) -> Result<&'s Run, Failure> {
    session.last_run().ok_or_else(|| source.failed(&"no job is in it"))
}

fn result_of<'s>(run: &'s Run, source: &SessionSource) -> Result<&'s RunResult, Failure> {
    let problem = "it ends before the job's result, which says what ran; record it again";
    run.result.as_deref().ok_or_else(|| source.failed(&problem))
}

fn refused(obstacles: &[Obstacle]) -> Failure {
    let show = |value: &Option<String>| display::printable(value.as_deref().unwrap_or(ABSENT)).into_owned();
    let both = |Obstacle { what, a, b }: &Obstacle| {
        let [a, b] = told_apart(&show(a), &show(b));
        format!("{what} ({a} and {b})")
    };
    let named: Vec<String> = obstacles.iter().map(both).collect();
    let message = format!("not comparable, other {}; --force compares them all the same", named.join(", "));
    Failure { message: Some(message), code: ExitCode::from(3) }
}

/// Letters of a hash that are enough where they differ.
const HASH_LETTERS: usize = 8;

/// Two values as far as it takes to tell them apart: hashes at their beginning, all else whole.
fn told_apart(a: &str, b: &str) -> [String; 2] {
    let is_hash =
        |text: &str| text.len() > 2 * HASH_LETTERS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let shown = HASH_LETTERS.max(same + 1);
    [a, b].map(|text| match text.get(..shown).filter(|_| is_hash(text)) {
        Some(beginning) => format!("{beginning}…"),
        None => text.to_owned(),
    })
}

impl Side {
    fn of(source: &SessionSource, result: &RunResult) -> Self {
        Self {
            file: source.to_string(),
            model: result.model.id.clone(),
            run_id: result.run_id.clone(),
            clean: result.hygiene.clean,
            hygiene: result.hygiene.reasons.clone(),
        }
    }
}

/// `4.21 ms to 4.34 ms a token, slower by 3.1 % (95 %: 1.2 to 5.0 %)`.
fn sentence(phase: &PhaseDiff) -> String {
    let Comparison { verdict, total, margin, .. } = &phase.comparison;
    let change = |ns: f64| display::share(ns / total.a_ns);
    let interval = match (total.low_ns, total.high_ns) {
        (Some(low), Some(high)) => format!("95 % interval {} to {}", change(low), change(high)),
        _ => "a single repetition has no interval".to_owned(),
    };
    let verdict = match verdict {
        Verdict::Same => format!("same within {}", display::share(*margin)),
        Verdict::Faster => format!("faster by {}", change(-total.delta_ns)),
        Verdict::Slower => format!("slower by {}", change(total.delta_ns)),
        Verdict::CannotTell => "cannot tell".to_owned(),
    };
    let times = format!(
        "{} ms to {} ms a token",
        display::milliseconds(total.a_ns),
        display::milliseconds(total.b_ns)
    );
    format!("{}: {verdict}: {times}, {interval}", phase.phase.as_str())
}

/// What it would take to tell, if the comparison cannot.
fn precision(phase: &PhaseDiff) -> Option<String> {
    let Comparison { verdict, detectable, repetitions_needed, margin, .. } = &phase.comparison;
    (*verdict == Verdict::CannotTell).then_some(())?;
    let Some(detectable) = detectable else {
        return Some("measure at least 2 repetitions of each, better 6 and more".to_owned());
    };
    let [a, b] = phase.repetitions;
    let seen =
        format!("with {a} and {b} repetitions a difference of {} is found", display::share(*detectable));
    Some(match repetitions_needed {
        Some(needed) => format!("{seen}; {} takes about {needed} of each", display::share(*margin)),
        None => format!("{seen}; the machine is too restless for {}", display::share(*margin)),
    })
}

fn name(part: &Part) -> &str {
    match part {
        Part::Ops(name) => name,
        Part::Gap => "gap between ops",
        Part::Span(name) => name.as_str(),
        Part::Unattributed => "unattributed",
    }
}

fn cells(part: &PartDifference) -> [String; 5] {
    let difference = &part.difference;
    let micros = |ns: f64| display::significant(ns / 1e3);
    let signed = |ns: f64| format!("{}{}", if ns > 0.0 { "+" } else { "" }, micros(ns));
    [
        format!("{}{}", display::printable(name(&part.part)), if part.is_named { " *" } else { "" }),
        micros(difference.a_ns),
        micros(difference.b_ns),
        signed(difference.delta_ns),
        difference.change().map_or_else(|| "new".to_owned(), display::share),
    ]
}

const COLUMNS: [&str; 5] = ["part", "A us/token", "B us/token", "B - A", "change"];

const NAMED: &str = "* changed for certain: at most 1 of 100 comparisons of equal runs names any part";

fn render(diff: &Diff, style: Style) -> String {
    let mut text = String::new();
    for (name, side) in [("A", &diff.a), ("B", &diff.b)] {
        text.push_str(&format!("{name}  {}  {}\n", side.file, display::printable(&side.model)));
        if side.clean == Some(false) {
            text.push_str(&format!("   {}\n", style.warn(&style.wrap_words(&side.hygiene.join("; "), 3))));
        }
    }
    for obstacle in &diff.obstacles {
        text.push_str(&format!("{}\n", style.warn(&format!("not the same {}", obstacle.what))));
    }
    for phase in &diff.phases {
        text.push_str(&format!("\n{}\n", style.bold(&style.wrap_words(&sentence(phase), 2))));
        if let Some(precision) = precision(phase) {
            text.push_str(&format!("  {}\n", style.wrap_words(&precision, 2)));
        }
        let mut table = Table::new(&[
            (COLUMNS[0], Align::Left),
            (COLUMNS[1], Align::Right),
            (COLUMNS[2], Align::Right),
            (COLUMNS[3], Align::Right),
            (COLUMNS[4], Align::Right),
        ]);
        phase.comparison.parts.iter().for_each(|part| table.row(cells(part)));
        text.push_str(&table.render(style));
    }
    if diff.phases.iter().any(|phase| phase.comparison.parts.iter().any(|part| part.is_named)) {
        text.push_str(&format!("{NAMED}\n"));
    }
    text
}

fn markdown(diff: &Diff) -> String {
    let mut text = String::new();
    for phase in &diff.phases {
        text.push_str(&format!("**{}**\n\n", sentence(phase)));
        if let Some(precision) = precision(phase) {
            text.push_str(&format!("{precision}\n\n"));
        }
        text.push_str(&format!("| {} |\n|---|--:|--:|--:|--:|\n", COLUMNS.join(" | ")));
        for part in &phase.comparison.parts {
            text.push_str(&format!("| {} |\n", cells(part).join(" | ")));
        }
        text.push('\n');
    }
    let (a, b) = (&diff.a.file, &diff.b.file);
    text.push_str(&format!("`slmscope diff {a} {b}`; {NAMED}.\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of 64 digits were printed.
    #[test]
    fn hashes_are_shown_as_far_as_they_differ() {
        let (a, b) = ("0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4));
        let obstacle = Obstacle { what: "model", a: Some(a.clone()), b: Some(b) };
        let told = refused(&[obstacle]).message.unwrap_or_default();
        assert!(told.starts_with("not comparable, other model (01234567… and fedcba98…); --force"), "{told}");
        let alike = format!("{}ffff", &a[..60]);
        assert_eq!(told_apart(&a, &alike)[0], format!("{}…", &a[..61]));
        assert_eq!(told_apart("q4_0", "q8_0"), ["q4_0", "q8_0"]);
        assert_eq!(told_apart(ABSENT, &a), [ABSENT, "01234567…"]);
    }
}
