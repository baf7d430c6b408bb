//! The report of a run as text, for a terminal or a file.

mod conditions;
mod lanes;
mod ops;
mod roofs;

use std::fmt::Write;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::rate::per_second;
use slmscope_profiles::result::{Grade, ModelSource, PhaseBooks, RunResult, RunStatus};
use slmscope_profiles::stats::Estimate;
use slmscope_profiles::totals::saturating_sum;

use crate::style::Style;
use crate::table::{Align, Table};

/// The whole report.
pub fn render(result: &RunResult, style: Style) -> String {
    let mut text = String::new();
    identity(&mut text, result, style);
    if let Some(generated) = &result.text {
        section(&mut text, "generated text", style);
        for line in generated.lines() {
            let _ = writeln!(text, "  {}", printable(line));
        }
    }
    summary(&mut text, result, style);
    phases(&mut text, result, style);
    lanes::render(&mut text, result, style);
    ops::modules(&mut text, result, style);
    ops::ops(&mut text, result, style);
    roofs::render(&mut text, result, style);
    memory(&mut text, result, style);
    energy(&mut text, result, style);
    conditions::render(&mut text, result, style);
    overhead(&mut text, result, style);
    findings(&mut text, result, style);
    text
}

fn section(text: &mut String, title: &str, style: Style) {
    let _ = writeln!(text, "\n{}", style.bold(title));
}

/// Text from a model or a file, without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn identity(text: &mut String, result: &RunResult, style: Style) {
    let model = &result.model;
    let source = match model.source {
        ModelSource::Synthetic => "synthetic weights (real shapes, meaningless text)",
        ModelSource::Gguf => "weights from a GGUF file",
        ModelSource::Hf => "weights from a Hugging Face directory",
    };
    let _ = writeln!(text, "{} — {source}", style.bold(&printable(&model.id)));
    match result.status {
        RunStatus::Complete => {}
        RunStatus::Cancelled => {
            let _ = writeln!(text, "  {}", style.warn("cancelled: these figures were measured before that"));
        }
        RunStatus::Failed => {
            let error = printable(result.error.as_deref().unwrap_or("unknown"));
            let _ = writeln!(text, "  {}", style.bad(&format!("failed: {error}")));
        }
    }
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {} {value}", style.dim(&format!("{name:<9}")));
    };
    if let Some(params) = model.params {
        let format = or_absent(model.format, |format| format.to_string());
        let weights = or_absent(model.weight_bytes, display::bytes);
        line(
            "model",
            format!(
                "{} parameters, {} multiplied per token, {format}, {weights}",
                params.unique, params.multiplied
            ),
        );
    }
    if !model.not_in_format.is_empty() {
        line(
            "",
            format!(
                "{} tensors in f16, because blocks of the format do not divide their rows",
                model.not_in_format.len()
            ),
        );
    }
    if let Some(hash) = &model.hash {
        line("hash", hash.chars().take(16).collect());
    }
    let engine = &result.engine;
    let threads = or_absent(engine.threads, |threads| display::plural(u64::from(threads), "thread"));
    let isa = engine.isa.as_deref().unwrap_or(ABSENT);
    line("engine", format!("{} on {threads}, {isa}", engine.executor));
    let workload = &result.workload;
    let prompt = if workload.has_text() {
        let kind = if workload.chat.is_some() { "chat" } else { "text" };
        format!("{kind} prompt of {} tokens", result.prompt_ids.len())
    } else {
        format!("prompt {}", workload.prompt)
    };
    line("workload", format!("{prompt}, generate {}, depth {}", workload.generate, workload.depth));
    if let Some(host) = &result.host {
        let cpu = host.cpu_model.as_deref().unwrap_or(ABSENT);
        let memory = or_absent(host.memory_bytes, display::bytes);
        line("machine", format!("{cpu}, {} CPUs, {memory}", host.logical_cpus));
    }
    match result.hygiene.clean {
        Some(true) => line("hygiene", "clean".to_owned()),
        Some(false) => {
            let grade = result.hygiene.grade.map_or("dirty", Grade::as_str);
            line("hygiene", style.warn(&format!("{grade}: {}", result.hygiene.reasons.join("; "))));
        }
        None => line("hygiene", format!("{ABSENT} (the run ended before it was assessed)")),
    }
}

fn estimate(value: Option<Estimate>) -> [String; 2] {
    [
        or_absent(value, |value| display::significant(value.median)),
        or_absent(value, |value| value.spread(display::significant)),
    ]
}

fn summary(text: &mut String, result: &RunResult, style: Style) {
    section(text, "summary (medians over repetitions)", style);
    let figures = &result.summary;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("95 % or range", Align::Right)]);
    let rows = [
        ("prefill tokens/s", estimate(figures.prefill_tokens_per_s)),
        ("decode tokens/s", estimate(figures.decode_tokens_per_s)),
        ("forward tokens/s", estimate(figures.forward_tokens_per_s)),
        ("time to first token", [or_absent(figures.ttft_ns, display::duration), String::new()]),
        ("load", [or_absent(figures.load_ns, display::duration), String::new()]),
    ];
    for (name, cells) in rows {
        table.row(std::iter::once(name.to_owned()).chain(cells));
    }
    text.push_str(&table.render(style));
    if let Some(load) = figures.load {
        let _ = write!(
            text,
            "  load: opening {}, weights {}",
            display::duration(load.open_ns),
            display::duration(load.weights_ns)
        );
        if let Some(tokenizer_ns) = load.tokenizer_ns {
            let (all, waited) = (display::duration(tokenizer_ns), display::duration(load.waited_ns));
            let _ = write!(text, ", tokenizer {all}, of which loading waited for {waited}");
        }
        text.push('\n');
    }
    if let Some(times) = figures.token_ns {
        let _ = writeln!(
            text,
            "  ms per token: p50 {}, p95 {}, p99 {}",
            display::milliseconds(times.median as f64),
            display::milliseconds(times.p95 as f64),
            display::milliseconds(times.p99 as f64)
        );
    }
}

fn phases(text: &mut String, result: &RunResult, style: Style) {
    section(text, "phases (books: ops + gap + other + unattributed = wall)", style);
    let mut table = Table::new(&[
        ("phase", Align::Left),
        ("runs", Align::Right),
        ("tokens", Align::Right),
        ("wall", Align::Right),
        ("tokens/s", Align::Right),
        ("ops", Align::Right),
        ("gap", Align::Right),
        ("other", Align::Right),
        ("unattributed", Align::Right),
        ("GB/s", Align::Right),
        ("GFLOP/s", Align::Right),
    ]);
    for phase in [Phase::Prefill, Phase::Decode] {
        let books: Vec<&PhaseBooks> = result.phases.iter().filter(|books| books.phase == phase).collect();
        if books.is_empty() {
            continue;
        }
        let sum = |part: fn(&PhaseBooks) -> u64| saturating_sum(books.iter().map(|books| part(books)));
        let (tokens, wall, recorded) = (sum(|b| b.tokens), sum(|b| b.wall_ns), sum(|b| b.recorded_wall_ns));
        let share = |ns: u64| {
            if recorded > 0 { display::share(ns as f64 / recorded as f64) } else { ABSENT.to_owned() }
        };
        let traffic = result.bandwidth.iter().find(|traffic| traffic.phase == phase);
        table.row([
            phase.as_str().to_owned(),
            books.len().to_string(),
            tokens.to_string(),
            display::duration(wall),
            or_absent(per_second(tokens, wall), display::significant),
            share(sum(|b| b.ops_ns)),
            share(sum(|b| b.gap_ns)),
            share(sum(|b| saturating_sum(b.other.iter().map(|row| row.ns)))),
            share(sum(|b| b.unattributed_ns)),
            giga(traffic.and_then(|traffic| traffic.derived_wall_bytes_per_s)),
            giga(traffic.and_then(|traffic| traffic.derived_wall_flops_per_s)),
        ]);
    }
    if table.is_empty() {
        let _ = writeln!(text, "  nothing was measured");
    } else {
        text.push_str(&table.render(style));
        let note = "  GB/s and GFLOP/s are derived: the plan's bytes (weights, cache) and FLOPs divided by the phase's wall time";
        let _ = writeln!(text, "{}", style.dim(note));
    }
    if result.engine.granularity == Granularity::Token {
        let note = "  the engine reports tokens alone, no ops: all time outside named spans is unattributed";
        let _ = writeln!(text, "{}", style.dim(note));
    }
}

/// A rate in units of 10⁹ per second, for columns headed `GB/s` or `GFLOP/s`.
fn giga(rate: Option<f64>) -> String {
    or_absent(rate, |rate| display::significant(rate / 1e9))
}

fn memory(text: &mut String, result: &RunResult, style: Style) {
    section(text, "memory of the worker", style);
    let memory = &result.memory;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let unexplained = or_absent(memory.unexplained, |bytes| {
        format!("{}{}", if bytes < 0 { "-" } else { "" }, display::bytes(bytes.unsigned_abs()))
    });
    let rows = [
        ("weights", or_absent(memory.weights, display::bytes), "as the engine counts it"),
        ("packed", or_absent(memory.packed, display::bytes), "copies of weights in the layout of kernels"),
        ("kv cache", or_absent(memory.kv, display::bytes), ""),
        ("scratch", or_absent(memory.scratch, display::bytes), "activations and tables, upper limit"),
        ("tokenizer", or_absent(memory.tokenizer, display::bytes), "growth while it was loaded"),
        ("runtime", or_absent(memory.runtime, display::bytes), "the process before it loaded anything"),
        ("unexplained", unexplained, "resident minus all of the above"),
        ("resident", or_absent(memory.rss, display::bytes), "measured"),
        ("peak", or_absent(memory.rss_peak, display::bytes), "measured"),
        ("pss", or_absent(memory.pss, display::bytes), "measured; shared pages counted in part"),
        ("mapped files", or_absent(memory.mapped, display::bytes), "part of resident"),
    ];
    for (name, value, note) in rows {
        table.row([name.to_owned(), value, note.to_owned()]);
    }
    let rendered = table.render(style);
    text.push_str(rendered.split_once('\n').map_or(rendered.as_str(), |(_, rows)| rows));
}

fn energy(text: &mut String, result: &RunResult, style: Style) {
    section(text, "energy", style);
    if result.energy.phases.is_empty() {
        let _ = writeln!(text, "  {ABSENT} (nothing was measured)");
    }
    for energy in &result.energy.phases {
        let name = energy.phase.as_str();
        let Some(joules) = energy.joules else {
            let reason = energy.reason.as_deref().unwrap_or("no reason is known");
            let _ = writeln!(text, "  {name}: {ABSENT} ({reason})");
            continue;
        };
        let per_token = or_absent(energy.joules_per_token, display::significant);
        let scope = or_absent(energy.scope.as_ref(), ToString::to_string);
        let _ = writeln!(
            text,
            "  {name}: {} J ({} to {}), {per_token} J/token; {} ({scope}), {} updates; idle {} W",
            display::significant(joules),
            or_absent(energy.low, display::significant),
            or_absent(energy.high, display::significant),
            energy.source.as_deref().unwrap_or(ABSENT),
            energy.updates,
            or_absent(energy.baseline_watts, display::significant),
        );
    }
}

fn overhead(text: &mut String, result: &RunResult, style: Style) {
    section(text, "cost of measuring (share of the measured time)", style);
    let overhead = &result.overhead;
    let _ = writeln!(
        text,
        "  recording {}, stolen {}, together {} ({} to {}), from {} tokens",
        or_absent(overhead.recording, display::fine_share),
        or_absent(overhead.stolen, display::fine_share),
        or_absent(overhead.fraction, display::fine_share),
        or_absent(overhead.low, display::fine_share),
        or_absent(overhead.high, display::fine_share),
        overhead.tokens
    );
    if let Some(recorded) = overhead.recorded.filter(|&recorded| recorded < 1.0) {
        let budget = result.workload.overhead_budget;
        let why = budget
            .map_or_else(String::new, |share| format!(", for a budget of {}", display::fine_share(share)));
        let _ = writeln!(text, "  {} of the tokens were recorded{why}", display::share(recorded));
    }
    if let Some(reason) = &overhead.reason {
        let _ = writeln!(text, "  {}", style.dim(reason));
    }
}

fn findings(text: &mut String, result: &RunResult, style: Style) {
    section(text, "findings", style);
    if result.findings.is_empty() {
        let _ = writeln!(text, "  none");
    }
    for finding in &result.findings {
        let _ = writeln!(text, "  {} {}", style.warn("•"), finding.reason);
        let _ = writeln!(text, "    {}", style.dim(&finding.advice));
    }
}
