//! The short form: what matters, in at most 24 lines of 80 columns.

use std::fmt::Write;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::finding::Finding;
use slmscope_profiles::op::Granularity;
use slmscope_profiles::result::RunResult;

use super::ops::{self, Part};
use super::{energy, hygiene, line, phases, printable, sentence, status};
use crate::style::Style;

/// Lines that the whole takes at most, unless names are very long.
const MAX_LINES: usize = 24;
/// Findings that are shown at most.
const MAX_FINDINGS: usize = 3;
/// Lines of date and command that are shown at most.
const MAX_COMMAND: usize = 3;

pub(super) fn render(result: &RunResult, style: Style) -> String {
    let mut head = String::new();
    status(&mut head, result, style);
    let _ = writeln!(head, "{}", style.wrap_words(&sentence::of(result), 0));
    let mut body = String::new();
    phases::short(&mut body, result, style);
    if let Some(part) = Part::main(result) {
        ops::short(&mut body, &part, style);
    } else if result.engine.granularity == Granularity::Token {
        body.push_str("  the engine reports tokens alone, no ops\n");
    }
    facts(&mut body, result, style);
    let used = head.lines().count() + body.lines().count();
    format!("{head}{}{body}", findings(result, MAX_LINES.saturating_sub(used), style))
}

/// As many findings as fit `room` lines, each with what to do about it; then a line that says how many more there are.
/// If not even the first fits, its reason stands there, and where the advice is.
fn findings(result: &RunResult, room: usize, style: Style) -> String {
    let (mut text, mut shown) = (String::new(), 0);
    for found in result.findings.iter().take(MAX_FINDINGS) {
        let mut one = finding(found, style);
        if text.lines().count() + one.lines().count() + 1 > room {
            if shown > 0 {
                break;
            }
            one = bullet(&format!("{} (what to do: --full)", found.reason), style);
        }
        text.push_str(&one);
        shown += 1;
    }
    let more = result.findings.len() - shown;
    let more = if more > 0 { style.dim(&format!("  {more} more with --full")) } else { String::new() };
    format!("{text}{more}\n")
}

/// What was found and what to do about it.
pub(super) fn finding(finding: &Finding, style: Style) -> String {
    bullet(&format!("{}: {}", finding.reason, finding.advice), style)
}

fn bullet(sentence: &str, style: Style) -> String {
    format!("{} {}\n", style.warn("•"), style.wrap_words(&printable(sentence), 2))
}

fn facts(text: &mut String, result: &RunResult, style: Style) {
    line(text, "memory", &memory(result), style);
    line(text, "energy", &printable(&energy::short(result)), style);
    if let Some(why) = &result.engine.note {
        line(text, "engine", &printable(why), style);
    }
    line(text, "machine", &format!("{}; {}", machine(result), conditions(result, style)), style);
    let date = result.date.as_deref().unwrap_or(ABSENT);
    let command = result.command.as_deref().unwrap_or(ABSENT);
    let wrapped = style.wrap_words(&printable(&format!("{date}: {command}")), super::LABEL + 1);
    let lines: Vec<_> = wrapped.lines().collect();
    let name = style.dim(&format!("{:<1$}", "run", super::LABEL));
    if lines.len() <= MAX_COMMAND {
        let _ = writeln!(text, "{name} {wrapped}");
    } else {
        let shown = lines.get(..MAX_COMMAND - 1).unwrap_or(&lines).join("\n");
        let _ = writeln!(text, "{name} {shown}\n{:1$}… (whole with --full)", "", super::LABEL + 1);
    }
}

/// Whether the machine was fit to measure on, in a few words: the findings say more.
fn conditions(result: &RunResult, style: Style) -> String {
    let found = &result.hygiene;
    let Some(grade) = found.grade.filter(|_| found.clean == Some(false) && !found.issues.is_empty()) else {
        return hygiene(result, style);
    };
    let mut names: Vec<&str> = found.issues.iter().map(|issue| issue.code.name()).collect();
    names.dedup();
    style.warn(&format!("{}: {}", grade.as_str(), names.join(", ")))
}

/// What the worker took, of what there is, and its largest parts.
fn memory(result: &RunResult) -> String {
    let memory = &result.memory;
    let there = result.host.as_ref().and_then(|host| host.memory_bytes);
    let of = there.map_or_else(String::new, |bytes| format!(" of {}", display::bytes(bytes)));
    let parts = [("weights", memory.weights), ("KV cache", memory.kv)];
    let parts: Vec<_> = parts
        .into_iter()
        .filter_map(|(name, bytes)| Some(format!("{name} {}", display::bytes(bytes?))))
        .collect();
    let left = memory.available.map_or_else(String::new, |left| format!(", {} left", display::bytes(left)));
    match memory.rss {
        Some(rss) => format!("{}{of}{left}; {}", display::bytes(rss), parts.join(", ")),
        None if parts.is_empty() => format!("{ABSENT} (the run ended before it was read)"),
        None => parts.join(", "),
    }
}

fn machine(result: &RunResult) -> String {
    let engine = &result.engine;
    let threads = or_absent(engine.threads, |threads| display::plural(u64::from(threads), "thread"));
    let how = format!("{} on {threads}, {}", engine.executor, engine.isa.as_deref().unwrap_or(ABSENT));
    let Some(host) = &result.host else { return how };
    let name = host.name.as_deref().map_or_else(String::new, |name| format!("{name}: "));
    let cpu = host.cpu_model.as_deref().unwrap_or("a CPU without a name");
    printable(&format!("{name}{cpu}, {} CPUs; {how}", host.logical_cpus))
}
