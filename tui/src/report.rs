//! The report of a run as text, for a terminal or a file.
//!
//! | form | what it holds |
//! |---|---|
//! | short | at most 24 lines: a sentence, the first findings, phases, the ops that matter, memory, energy, the run |
//! | full | all tables |
//!
//! Both fit 80 columns where there is no terminal that says how wide it is.

mod conditions;
mod energy;
mod full;
mod lanes;
mod ops;
mod phases;
mod roofs;
mod sentence;
mod short;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use slmscope_profiles::display::{self, or_absent};
use slmscope_profiles::result::{Grade, ModelSource, RunResult, RunStatus};
use slmscope_profiles::stats::Estimate;

use crate::style::Style;

/// How much of a result is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What matters, on one screen.
    Short,
    /// Everything.
    Full,
}

/// The report. The text that the model generated is not part of it: see [`generated_text`].
pub fn render(result: &RunResult, form: Form, style: Style) -> String {
    let style = style.or_columns(80);
    match form {
        Form::Short => short::render(result, style),
        Form::Full => full::render(result, style),
    }
}

/// The result in a sentence.
pub fn headline(result: &RunResult) -> String {
    sentence::of(result)
}

/// The text that the model generated, without control characters; `None` if there is none.
fn generated_text(result: &RunResult) -> Option<String> {
    let lines = result.text.as_deref()?.lines().map(|line| printable(line) + "\n");
    Some(lines.collect())
}

/// The generated text, if there is any, and below it the report.
pub fn with_text(result: &RunResult, form: Form, style: Style) -> String {
    let generated = generated_text(result).map(|text| text + "\n").unwrap_or_default();
    format!("{generated}{}", render(result, form, style))
}

fn section(text: &mut String, title: &str, style: Style) {
    let _ = writeln!(text, "\n{}", style.bold(&style.wrap_words(title, 0)));
}

/// A remark below a table.
fn note(text: &mut String, remark: &str, style: Style) {
    let _ = writeln!(text, "  {}", style.dim(&style.wrap_words(remark, 2)));
}

/// `name   value`, the value broken into lines below each other.
fn line(text: &mut String, name: &str, value: &str, style: Style) {
    let name = format!("{name:<LABEL$}");
    let _ = writeln!(text, "{} {}", style.dim(&name), style.wrap_words(value, LABEL + 1));
}

/// Columns of the names in front of [`line()`]s.
const LABEL: usize = 8;

/// Text from a model or a file, without control characters.
fn printable(text: &str) -> String {
    display::printable(text).into_owned()
}

/// A rate in units of 10⁹ per second, for columns headed `GB/s` or `GFLOP/s`.
fn giga(rate: Option<f64>) -> String {
    or_absent(rate, |rate| display::significant(rate / 1e9))
}

/// How precise a rate is: `± 2.1 % within this run`.
fn spread(value: Option<Estimate>) -> String {
    or_absent(value, |value| value.spread(display::significant))
}

/// Where the weights are from.
fn source(source: ModelSource) -> &'static str {
    match source {
        ModelSource::Synthetic => "synthetic weights (real shapes, meaningless text)",
        ModelSource::Gguf => "weights from a GGUF file",
        ModelSource::Hf => "weights from a Hugging Face directory",
    }
}

/// What ended the run early; nothing for a complete one.
fn status(text: &mut String, result: &RunResult, style: Style) {
    match result.status {
        RunStatus::Complete => {}
        RunStatus::Cancelled => {
            let _ = writeln!(text, "{}", style.warn("cancelled: these figures were measured before that"));
        }
        RunStatus::Failed => {
            let error = printable(result.error.as_deref().unwrap_or("no reason is known"));
            let _ = writeln!(text, "{}", style.bad(&style.wrap_words(&format!("failed: {error}"), 2)));
        }
    }
}

/// Whether the machine was fit to measure on.
fn hygiene(result: &RunResult, style: Style) -> String {
    let hygiene = &result.hygiene;
    match hygiene.clean {
        Some(true) => "clean".to_owned(),
        Some(false) => {
            let grade = hygiene.grade.map_or("dirty", Grade::as_str);
            style.warn(&format!("{grade}: {}", printable(&hygiene.reasons.join("; "))))
        }
        None => "not assessed, since the run ended before".to_owned(),
    }
}
