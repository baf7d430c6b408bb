//! The comparison as text and as Markdown.

use slmscope_exports::page::{PhaseVerdict, Words};
use slmscope_profiles::compare::{Comparison, Obstacle, Part, PartDifference, Unit, Verdict, interleaved};
use slmscope_profiles::display;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::stats::FENCE;

use super::recording::Side;
use super::{Diff, PhaseDiff};
use crate::style::Style;
use crate::table::{Align, Table};

/// What the times of a phase are of.
fn step(phase: Phase) -> &'static str {
    if phase == Phase::Prefill { "prompt token" } else { "token" }
}

/// `decode: slower by 3.1 %: 4.21 ms to 4.34 ms a token, 95 % interval 1.2 % to 5.0 %`.
fn sentence(phase: &PhaseDiff) -> String {
    let Comparison { verdict, total, margin, unit, values, .. } = &phase.comparison;
    let change = |ns: f64| display::share(ns / total.a_ns);
    let interval = match (total.low_ns, total.high_ns) {
        (Some(low), Some(high)) => format!("95 % interval {} to {}", change(low), change(high)),
        _ if *unit == Unit::Run => "a single run on a side has no interval".to_owned(),
        _ => "a single repetition has no interval".to_owned(),
    };
    let verdict = match verdict {
        Verdict::Same => format!("same within {}", display::share(*margin)),
        Verdict::Faster => format!("faster by {}", change(-total.delta_ns)),
        Verdict::Slower => format!("slower by {}", change(total.delta_ns)),
        Verdict::CannotTell => "cannot tell".to_owned(),
    };
    let times = format!(
        "{} ms to {} ms a {}",
        display::milliseconds(total.a_ns),
        display::milliseconds(total.b_ns),
        step(phase.phase)
    );
    let of = format!("{} and {} {}", values[0], values[1], unit_word(*unit));
    format!("{}: {verdict}: {times}, {interval} ({of})", phase.phase.as_str())
}

fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Repetition => "repetitions",
        Unit::Run => "runs",
    }
}

/// Whether by how much runs of the same thing differ is counted in.
fn counts_runs(comparison: &Comparison) -> bool {
    comparison.unit == Unit::Run || comparison.floor.is_some()
}

/// What stands below the verdict: what it would take to tell, all tokens beside the typical ones, the floor, outliers.
fn remarks(phase: &PhaseDiff) -> Vec<String> {
    let Comparison { all_tokens, outliers, .. } = &phase.comparison;
    let mut remarks: Vec<String> = precision(&phase.comparison).into_iter().collect();
    if phase.phase == Phase::Decode {
        let change = |ns: f64| display::share(ns / all_tokens.a_ns);
        let interval = all_tokens.low_ns.zip(all_tokens.high_ns);
        let interval = interval.map_or_else(String::new, |(low, high)| {
            format!(", 95 % interval {} to {}", change(low), change(high))
        });
        remarks.push(format!(
            "all tokens, slow ones too: {} ms to {} ms, {}{interval}",
            display::milliseconds(all_tokens.a_ns),
            display::milliseconds(all_tokens.b_ns),
            change(all_tokens.delta_ns),
        ));
    }
    match &phase.floor {
        Some(floor) => remarks.push(format!("floor: {}", super::floors::describe(floor))),
        None if !counts_runs(&phase.comparison) => remarks.push(ONE_RUN_EACH.to_owned()),
        None => {}
    }
    for (side, places) in ["A", "B"].into_iter().zip(outliers) {
        if !places.is_empty() {
            let numbers: Vec<String> = places.iter().map(|at| (at + 1).to_string()).collect();
            let units = unit_word(phase.comparison.unit);
            let unit = if numbers.len() == 1 { units.trim_end_matches('s') } else { units };
            remarks.push(format!(
                "far from the others, and counted: {side} {unit} {} (beyond {FENCE} interquartile ranges)",
                numbers.join(", ")
            ));
        }
    }
    remarks
}

/// What it would take to tell, if the comparison cannot.
fn precision(comparison: &Comparison) -> Option<String> {
    let Comparison { verdict, detectable, repetitions_needed, margin, unit, values: [a, b], .. } = comparison;
    (*verdict == Verdict::CannotTell).then_some(())?;
    let unit = unit_word(*unit);
    let Some(detectable) = detectable else {
        return Some(format!("measure at least 2 {unit} of each, better 6 and more"));
    };
    let seen = format!(
        "with {a} and {b} {unit} a difference of {} is found in 9 of 10 cases",
        display::share(*detectable)
    );
    Some(match repetitions_needed {
        Some(needed) => format!("{seen}; {} takes about {needed} of each", display::share(*margin)),
        None => format!("{seen}; runs of the same thing differ too much for {}", display::share(*margin)),
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

/// Heads of the table of a phase.
fn columns(phase: Phase) -> [&'static str; 5] {
    let [a, b] = match phase {
        Phase::Prefill => ["A µs/prompt token", "B µs/prompt token"],
        _ => ["A µs/token", "B µs/token"],
    };
    ["part", a, b, "B - A", "change"]
}

const ONE_RUN_EACH: &str = "the interval is of these two runs alone and leaves out by how much runs of the same thing \
                            differ: compare several runs of each, or measure that with --floor";

const SAME_RUN: &str = "a run is on both sides: it is compared with itself";

const NAMED: &str = "* changed for certain: at most 1 of 100 comparisons of equal runs names any part";

const NAMED_OF_TWO: &str =
    "* differs between these two runs beyond doubt; runs of the same thing may differ as much";

const TYPICAL: &str =
    "decode is compared by its typical token: the mean of the faster half of every 32 in a row";

pub(super) fn render(diff: &Diff, style: Style) -> String {
    let mut text = String::new();
    for (name, sides) in [("A", &diff.a_set), ("B", &diff.b_set)] {
        for side in sides {
            text.push_str(&format!(
                "{name}  {}  {}\n",
                display::printable(&side.file),
                display::printable(&side.model)
            ));
            if let Some(doubt) = doubt(side) {
                text.push_str(&format!("   {}\n", style.warn(&style.wrap_words(&doubt, 3))));
            }
        }
    }
    for obstacle in &diff.obstacles {
        text.push_str(&format!("{}\n", style.warn(&other(obstacle))));
    }
    if diff.same_run {
        text.push_str(&format!("{}\n", style.warn(SAME_RUN)));
    }
    for phase in &diff.phases {
        text.push_str(&format!("\n{}\n", style.bold(&style.wrap_words(&sentence(phase), 2))));
        for remark in remarks(phase) {
            text.push_str(&format!("  {}\n", style.wrap_words(&remark, 2)));
        }
        let [part, a, b, delta, change] = columns(phase.phase);
        let mut table = Table::new(&[
            (part, Align::Left),
            (a, Align::Right),
            (b, Align::Right),
            (delta, Align::Right),
            (change, Align::Right),
        ]);
        phase.comparison.parts.iter().for_each(|part| table.row(cells(part)));
        text.push_str(&table.render(style));
    }
    for note in notes(diff) {
        text.push_str(&format!("{}\n", style.wrap_words(note, 2)));
    }
    text
}

fn notes(diff: &Diff) -> Vec<&'static str> {
    let is_named = |phase: &&PhaseDiff| phase.comparison.parts.iter().any(|part| part.is_named);
    let named = || diff.phases.iter().filter(is_named);
    let has_decode = diff.phases.iter().any(|phase| phase.phase == Phase::Decode);
    [
        (named().any(|phase| counts_runs(&phase.comparison)), NAMED),
        (named().any(|phase| !counts_runs(&phase.comparison)), NAMED_OF_TWO),
        (has_decode, TYPICAL),
    ]
    .into_iter()
    .filter_map(|(holds, note)| holds.then_some(note))
    .collect()
}

/// Why figures of a side are doubtful; `None` if its machine was fit to measure on.
fn doubt(side: &Side) -> Option<String> {
    match side.clean {
        Some(true) => None,
        Some(false) => Some(format!("the machine was not fit to measure on: {}", side.hygiene.join("; "))),
        None => Some("whether the machine was fit to measure on is not known".to_owned()),
    }
}

/// `not the same threads (1 and 2)`.
fn other(obstacle: &Obstacle) -> String {
    format!("not the same {}", super::refusal::both(obstacle))
}

pub(super) fn markdown(diff: &Diff) -> String {
    let mut text = sides(diff);
    for phase in &diff.phases {
        text.push_str(&format!("**{}**\n\n", sentence(phase)));
        for remark in remarks(phase) {
            text.push_str(&format!("- {remark}\n"));
        }
        text.push_str(&format!("\n| {} |\n|---|--:|--:|--:|--:|\n", columns(phase.phase).join(" | ")));
        for part in &phase.comparison.parts {
            text.push_str(&format!("| {} |\n", cells(part).join(" | ").replace('*', "\\*")));
        }
        text.push('\n');
    }
    for note in notes(diff) {
        text.push_str(&format!("{}.\n", note.replace('*', "\\*")));
    }
    text.push_str(&recipe(diff));
    text
}

/// What is compared with what, in Markdown, and all that makes it doubtful.
fn sides(diff: &Diff) -> String {
    let code = |text: &str| format!("`{}`", display::printable(text).replace('`', "'"));
    let mut text = String::new();
    for (name, sides) in [("A", &diff.a_set), ("B", &diff.b_set)] {
        let files: Vec<String> = sides.iter().map(|side| code(&side.file)).collect();
        let model = sides.first().map_or_else(String::new, |side| code(&side.model));
        text.push_str(&format!("- {name}: {model}, {}\n", files.join(", ")));
        for side in sides {
            if let Some(doubt) = doubt(side) {
                text.push_str(&format!("- {name}, {}: {}\n", code(&side.file), display::printable(&doubt)));
            }
        }
    }
    for obstacle in &diff.obstacles {
        text.push_str(&format!("- {}\n", other(obstacle)));
    }
    if diff.same_run {
        text.push_str(&format!("- {SAME_RUN}\n"));
    }
    text.push('\n');
    text
}

/// What a page says of it.
pub(super) fn words(diff: &Diff) -> Words {
    let verdict = |phase: &PhaseDiff| PhaseVerdict {
        phase: phase.phase,
        sentence: sentence(phase),
        remarks: remarks(phase),
        comparison: phase.comparison.clone(),
    };
    let headline = diff.phases.iter().map(sentence).collect::<Vec<_>>().join("; ");
    let doubts = [("A", &diff.a_set), ("B", &diff.b_set)].into_iter().flat_map(|(name, sides)| {
        sides.iter().filter_map(move |side| Some(format!("{name}, {}: {}", side.file, doubt(side)?)))
    });
    let mut remarks: Vec<String> = diff.obstacles.iter().map(other).chain(doubts).collect();
    remarks.extend(diff.same_run.then(|| SAME_RUN.to_owned()));
    remarks.extend(notes(diff).into_iter().map(str::to_owned));
    Words { headline, remarks, verdicts: diff.phases.iter().map(verdict).collect(), recipe: commands(diff) }
}

/// How to measure it again, in Markdown.
fn recipe(diff: &Diff) -> String {
    format!(
        "\nTo measure it again, A and B in turns (each with its own build of slmscope or model):\n\n```sh\n{}```\n",
        commands(diff)
    )
}

/// The commands that measure it again: runs of A and B in turns, so that a drift of the machine meets both alike.
fn commands(diff: &Diff) -> String {
    const ROUNDS: usize = 3;
    let command = |sides: &[Side]| {
        let command = sides.first().and_then(|side| side.command.clone());
        command.unwrap_or_else(|| "slmscope run MODEL".to_owned())
    };
    let commands = [command(&diff.a_set), command(&diff.b_set)];
    let mut text = String::new();
    let mut taken = [0; 2];
    for thing in interleaved(2, ROUNDS.max(diff.a_set.len()).max(diff.b_set.len())) {
        taken[thing] += 1;
        text.push_str(&format!("{} --record {}{}.mcap\n", commands[thing], ["a", "b"][thing], taken[thing]));
    }
    let files = |name: &str, count: i32| {
        (1..=count).map(|at| format!("{name}{at}.mcap")).collect::<Vec<_>>().join(" ")
    };
    text.push_str(&format!("slmscope diff {} -- {}\n", files("a", taken[0]), files("b", taken[1])));
    text
}
