//! The full form: every table.

use std::fmt::Write;

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::{Outlier, RunResult};

use super::{
    conditions, energy, hygiene, lanes, line, ops, phases, printable, roofs, section, sentence, short,
    source, status,
};
use crate::style::Style;
use crate::table::{Align, Table};

pub(super) fn render(result: &RunResult, style: Style) -> String {
    let mut text = String::new();
    status(&mut text, result, style);
    let _ = writeln!(text, "{}", style.wrap_words(&sentence::of(result), 0));
    findings(&mut text, result, style);
    identity(&mut text, result, style);
    summary(&mut text, result, style);
    phases::full(&mut text, result, style);
    lanes::render(&mut text, result, style);
    ops::modules(&mut text, result, style);
    ops::ops(&mut text, result, style);
    roofs::render(&mut text, result, style);
    memory(&mut text, result, style);
    energy::full(&mut text, result, style);
    conditions::render(&mut text, result, style);
    overhead(&mut text, result, style);
    text
}

fn findings(text: &mut String, result: &RunResult, style: Style) {
    section(text, "findings", style);
    if result.findings.is_empty() {
        text.push_str("  none\n");
    }
    for finding in &result.findings {
        text.push_str(&short::finding(finding, style));
    }
}

fn identity(text: &mut String, result: &RunResult, style: Style) {
    section(text, "run", style);
    let absent = || ABSENT.to_owned();
    line(text, "date", &result.date.clone().unwrap_or_else(absent), style);
    line(text, "command", &result.command.as_deref().map_or_else(absent, printable), style);
    line(text, "version", &format!("slmscope {}", printable(&result.slmscope)), style);
    model(text, result, style);
    let engine = &result.engine;
    let threads = or_absent(engine.threads, |threads| display::plural(u64::from(threads), "thread"));
    let isa = engine.isa.as_deref().unwrap_or(ABSENT);
    let cores = result.workload.cores.map_or_else(String::new, |cores| format!(" on CPUs {cores}"));
    line(text, "engine", &format!("{} on {threads}{cores}, {isa}", engine.executor), style);
    if let Some(why) = &engine.note {
        line(text, "", why, style);
    }
    let workload = &result.workload;
    let prompt = if workload.has_text() {
        let kind = if workload.chat.is_some() { "chat" } else { "text" };
        format!("{kind} prompt of {} tokens", result.prompt_ids.len())
    } else {
        format!("prompt {}", workload.prompt)
    };
    let sizes = format!("{prompt}, generate {}, depth {}", workload.generate, workload.depth);
    line(text, "workload", &sizes, style);
    if let Some(host) = &result.host {
        let name = host.name.as_deref().map_or_else(String::new, |name| format!("{name}: "));
        let cpu = host.cpu_model.as_deref().unwrap_or(ABSENT);
        let memory = or_absent(host.memory_bytes, display::bytes);
        let system = host.os.as_deref().unwrap_or(ABSENT);
        let machine = format!("{name}{cpu}, {} CPUs, {memory}; {system}", host.logical_cpus);
        line(text, "machine", &printable(&machine), style);
    }
    line(text, "hygiene", &hygiene(result, style), style);
}

fn model(text: &mut String, result: &RunResult, style: Style) {
    let model = &result.model;
    line(text, "model", &format!("{}, {}", printable(&model.id), source(model.source)), style);
    if let Some(params) = model.params {
        let format = or_absent(model.format, |format| format.to_string());
        let weights = or_absent(model.weight_bytes, display::bytes);
        let counts = format!("{} parameters, {} multiplied per token", params.unique, params.multiplied);
        line(text, "", &format!("{counts}, {format}, {weights}"), style);
    }
    if !model.not_in_format.is_empty() {
        let count = model.not_in_format.len();
        let why = "tensors in f16, because blocks of the format do not divide their rows";
        line(text, "", &format!("{count} {why}"), style);
    }
    if let Some(hash) = &model.hash {
        line(text, "hash", &hash.chars().take(16).collect::<String>(), style);
    }
}

fn summary(text: &mut String, result: &RunResult, style: Style) {
    section(text, "summary (medians of the repetitions)", style);
    let figures = &result.summary;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("median", Align::Right),
        ("spread", Align::Left),
        ("", Align::Left),
    ]);
    let rates = [
        ("prefill tokens/s", figures.prefill_tokens_per_s, "prompt tokens"),
        ("decode tokens/s", figures.decode_tokens_per_s, "sampling included"),
        ("forward tokens/s", figures.forward_tokens_per_s, "sampling left out"),
    ];
    for (name, rate, what) in rates {
        let median = or_absent(rate, |rate| display::significant(rate.median));
        table.row([name.to_owned(), median, super::spread(rate), what.to_owned()]);
    }
    let first = or_absent(figures.ttft_ns, display::duration);
    let why = phases::why_no_first_token(result).unwrap_or("from the prompt on");
    table.row(["time to first token".to_owned(), first, String::new(), why.to_owned()]);
    let (load, how) = load(result);
    table.row(["load".to_owned(), load, String::new(), how]);
    text.push_str(&table.render(style));
    if let Some(times) = figures.token_ns {
        let intervals = figures.token_ns_intervals;
        let one = |ns: u64, interval: Option<[u64; 2]>| {
            let ms = |ns: u64| display::milliseconds(ns as f64);
            interval.map_or_else(|| ms(ns), |[low, high]| format!("{} ({} to {})", ms(ns), ms(low), ms(high)))
        };
        let line = format!(
            "ms per token: p50 {}, p95 {}, p99 {}",
            one(times.median, intervals.map(|all| all.median)),
            one(times.p95, intervals.map(|all| all.p95)),
            one(times.p99, intervals.map(|all| all.p99)),
        );
        let _ = writeln!(text, "  {}", style.wrap_words(&line, 4));
    }
    for Outlier { phase, repetition, tokens_per_s } in &figures.outliers {
        let line = format!(
            "far from the others, and counted: {} of repetition {}, {} tokens/s",
            phase.as_str(),
            repetition + 1,
            display::significant(*tokens_per_s)
        );
        let _ = writeln!(text, "  {}", style.wrap_words(&line, 4));
    }
}

/// Time of loading, and what it was spent on.
fn load(result: &RunResult) -> (String, String) {
    let figures = &result.summary;
    let Some(load_ns) = figures.load_ns else {
        let why = result.worker.reason.as_deref().unwrap_or("nothing was loaded in this run");
        return (ABSENT.to_owned(), printable(why));
    };
    let mut how = "once".to_owned();
    if let Some(load) = figures.load {
        let (open, weights) = (display::duration(load.open_ns), display::duration(load.weights_ns));
        how = format!("once: opening {open}, weights {weights}");
        if let Some(tokenizer_ns) = load.tokenizer_ns {
            let (all, waited) = (display::duration(tokenizer_ns), display::duration(load.waited_ns));
            let _ = write!(how, ", tokenizer {all}, of which loading waited for {waited}");
        }
    }
    (display::duration(load_ns), how)
}

fn memory(text: &mut String, result: &RunResult, style: Style) {
    section(text, "memory of the worker", style);
    let memory = &result.memory;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let unexplained = or_absent(memory.unexplained, |bytes| {
        format!("{}{}", if bytes < 0 { "-" } else { "" }, display::bytes(bytes.unsigned_abs()))
    });
    let there = result.host.as_ref().and_then(|host| host.memory_bytes);
    let rows = [
        ("weights", or_absent(memory.weights, display::bytes), "as the engine counts it"),
        ("packed", or_absent(memory.packed, display::bytes), "copies of weights in the layout of kernels"),
        ("kv cache", or_absent(memory.kv, display::bytes), "keys and values, room for the whole context"),
        ("scratch", or_absent(memory.scratch, display::bytes), "activations and tables, upper limit"),
        (
            "tokenizer",
            or_absent(memory.tokenizer, display::bytes),
            "growth while it was loaded; none without text",
        ),
        ("runtime", or_absent(memory.runtime, display::bytes), "the process before it loaded anything"),
        ("unexplained", unexplained, "resident minus all of the above"),
        ("resident", or_absent(memory.rss, display::bytes), "measured"),
        ("peak", or_absent(memory.rss_peak, display::bytes), "measured"),
        ("pss", or_absent(memory.pss, display::bytes), "measured; shared pages counted in part"),
        ("mapped files", or_absent(memory.mapped, display::bytes), "part of resident"),
        ("machine", or_absent(there, display::bytes), "what there is"),
        ("left", or_absent(memory.available, display::bytes), "for programs, at the end of the run"),
    ];
    for (name, value, note) in rows {
        table.row([name.to_owned(), value, note.to_owned()]);
    }
    let rendered = table.render(style);
    text.push_str(rendered.split_once('\n').map_or(rendered.as_str(), |(_, rows)| rows));
}

fn overhead(text: &mut String, result: &RunResult, style: Style) {
    section(text, "cost of measuring (share of the measured time)", style);
    let overhead = &result.overhead;
    let share = |value: Option<f64>| or_absent(value, display::fine_share);
    let reason = overhead.reason.as_deref();
    let stolen = overhead
        .stolen
        .map_or_else(|| format!("{ABSENT} (CPU times were not read before and after)"), display::fine_share);
    let parts = match (overhead.recording, reason) {
        // Without the recorder's own cost there is no sum either.
        (None, Some(reason)) => format!("recording {ABSENT} ({}), stolen {stolen}", printable(reason)),
        _ => format!(
            "recording {}, stolen {stolen}, together {} ({} to {}), from {} tokens",
            share(overhead.recording),
            share(overhead.fraction),
            share(overhead.low),
            share(overhead.high),
            overhead.tokens
        ),
    };
    let _ = writeln!(text, "  {}", style.wrap_words(&parts, 2));
    if let Some(recorded) = overhead.recorded.filter(|&recorded| recorded < 1.0) {
        let budget = result.workload.overhead_budget;
        let why = budget
            .map_or_else(String::new, |share| format!(", for a budget of {}", display::fine_share(share)));
        let _ = writeln!(text, "  {} of the tokens were recorded{why}", display::share(recorded));
    }
    if let Some(reason) = reason.filter(|_| overhead.recording.is_some()) {
        super::note(text, reason, style);
    }
}
