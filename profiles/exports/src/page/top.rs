//! The top of the page: model, machine, the result in a sentence, and the figures that people quote.

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::{ModelSource, RunResult, RunStatus};
use slmscope_profiles::stats::Estimate;

use super::html::{Html, escaped};

/// Model, headline and figures.
pub(super) fn section(html: &mut Html, result: &RunResult, headline: &str) {
    let source = match result.model.source {
        ModelSource::Synthetic => "synthetic weights: real shapes, meaningless text",
        ModelSource::Gguf => "weights from a GGUF file",
        ModelSource::Hf => "weights from a Hugging Face directory",
    };
    let id = escaped(&result.model.id);
    html.raw(format_args!("<h1>{id} — {}</h1>\n", escaped(source)));
    // A number and its unit stay on a line.
    let headline = escaped(headline).replace(" %", "\u{a0}%");
    html.raw(format_args!("<p class=\"headline\">{headline}</p>\n"));
    html.raw(format_args!("<p class=\"note\">{}</p>\n", escaped(&circumstances(result))));
    html.end_of_header();
    match result.status {
        RunStatus::Complete => {}
        RunStatus::Cancelled => html.paragraph("warn", "Cancelled: these figures were measured before that."),
        RunStatus::Failed => {
            let why = result.error.as_deref().unwrap_or("no reason is known");
            html.paragraph("warn", &format!("Failed: {why}"));
        }
    }
    html.raw("<dl class=\"figures\">\n");
    for Figure { name, value, note } in figures(result) {
        let (value, note) = (escaped(&value), escaped(&note));
        html.raw(format_args!("<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n"));
    }
    html.raw("</dl>\n");
}

/// On what, with what, and when: `AMD EPYC 7763, 2 threads, avx2 kernels; 2026-11-30T17:00:00Z; fit to measure on`.
pub(super) fn circumstances(result: &RunResult) -> String {
    let engine = &result.engine;
    let host = result.host.as_ref();
    let board = host.and_then(|host| host.board.clone());
    let cpu = host.and_then(|host| host.cpu_model.clone());
    let threads = engine.threads.map(|threads| display::plural(u64::from(threads), "thread"));
    let isa = engine.isa.as_ref().map(|isa| format!("{} kernels of {}", isa, engine.executor));
    let machine: Vec<String> = [board, cpu, threads, isa].into_iter().flatten().collect();
    let fit = match result.hygiene.clean {
        Some(true) => "fit to measure on",
        Some(false) => "not fit to measure on: see findings",
        None => "whether it was fit to measure on is not known",
    };
    let date = result.date.clone();
    let parts = [Some(machine.join(", ")).filter(|text| !text.is_empty()), date, Some(fit.to_owned())];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// A figure that people quote.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// How sure it is, or what is in it.
    pub(super) note: String,
}

/// The figures of a run.
pub(super) fn figures(result: &RunResult) -> [Figure; 6] {
    let summary = &result.summary;
    let rate = |value: Option<Estimate>| {
        let number = or_absent(value, |value| format!("{} tok/s", display::significant(value.median)));
        (number, or_absent(value, |value| value.spread(display::significant)))
    };
    let (decode, decode_spread) = rate(summary.decode_tokens_per_s);
    let (prefill, prefill_spread) = rate(summary.prefill_tokens_per_s);
    let times = summary.token_ns.map(|times| {
        let ms = |ns: u64| display::milliseconds(ns as f64);
        (format!("{} ms", ms(times.median)), format!("p95 {}, p99 {}", ms(times.p95), ms(times.p99)))
    });
    let (token, tail) = times.unwrap_or_else(|| (ABSENT.to_owned(), "nothing was decoded".to_owned()));
    let memory = &result.memory;
    [
        ("decode", decode, decode_spread),
        ("prefill", prefill, prefill_spread),
        ("a decode step, median", token, tail),
        (
            "first token",
            or_absent(summary.ttft_ns, display::duration),
            "tokenize, prefill, sample".to_owned(),
        ),
        ("load", or_absent(summary.load_ns, display::duration), load_note(result)),
        (
            "memory at its peak",
            or_absent(memory.rss_peak, display::bytes),
            format!("{} at the end", or_absent(memory.rss, display::bytes)),
        ),
    ]
    .map(|(name, value, note)| Figure { name, value, note })
}

fn load_note(result: &RunResult) -> String {
    match (result.summary.load_ns, &result.worker.reason) {
        (Some(_), _) => "from opening to the first step ready".to_owned(),
        (None, reason) => reason.clone().unwrap_or_else(|| "the run ended before".to_owned()),
    }
}
