//! The sections of the page that say in text and tables what the result says.

use slmscope_profiles::channel::Unit;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::Module;
use slmscope_profiles::result::{ModelSource, RunResult, RunStatus};
use slmscope_profiles::stats::Estimate;
use slmscope_profiles::totals::{GroupTotals, saturating_sum};

use super::html::{Html, escaped};
use super::roofline;

/// The phases that a result is about.
const MEASURED: [Phase; 2] = [Phase::Prefill, Phase::Decode];

/// Ops of each phase that are listed, those with the most time.
const MAX_OPS: usize = 20;

fn giga(rate: Option<f64>) -> String {
    or_absent(rate, |rate| display::significant(rate / 1e9))
}

/// Model, headline, and the figures that people quote.
pub(super) fn top(html: &mut Html, result: &RunResult, headline: &str) {
    let source = match result.model.source {
        ModelSource::Synthetic => "synthetic weights: real shapes, meaningless text",
        ModelSource::Gguf => "weights from a GGUF file",
        ModelSource::Hf => "weights from a Hugging Face directory",
    };
    let id = escaped(&result.model.id);
    html.raw(format_args!("<header><h1>{id} — {}</h1>\n", escaped(source)));
    html.raw(format_args!("<p class=\"headline\">{}</p></header>\n<main>\n", escaped(headline)));
    match result.status {
        RunStatus::Complete => {}
        RunStatus::Cancelled => html.paragraph("warn", "Cancelled: these figures were measured before that."),
        RunStatus::Failed => {
            let why = result.error.as_deref().unwrap_or("no reason is known");
            html.paragraph("warn", &format!("Failed: {why}"));
        }
    }
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
    let figures = [
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
    ];
    html.raw("<dl class=\"figures\">\n");
    for (name, value, note) in figures {
        let (value, note) = (escaped(&value), escaped(&note));
        html.raw(format_args!("<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n"));
    }
    html.raw("</dl>\n");
}

fn load_note(result: &RunResult) -> String {
    match (result.summary.load_ns, &result.worker.reason) {
        (Some(_), _) => "from opening to the first step ready".to_owned(),
        (None, reason) => reason.clone().unwrap_or_else(|| "the run ended before".to_owned()),
    }
}

/// What stands out, with advice and the figures behind it; and whether the machine was fit.
pub(super) fn findings(html: &mut Html, result: &RunResult) {
    html.section("findings", "Findings");
    if result.findings.is_empty() {
        html.paragraph("", "None.");
    } else {
        html.raw("<ul>\n");
        for finding in &result.findings {
            let figures: Vec<String> = finding
                .evidence
                .iter()
                .map(|figure| {
                    format!("{} {} {}", figure.name, display::significant(figure.value), figure.unit)
                })
                .collect();
            let figures = if figures.is_empty() {
                String::new()
            } else {
                format!("<br><span class=\"note\">{}</span>", escaped(&figures.join("; ")))
            };
            let (reason, advice) = (escaped(&finding.reason), escaped(&finding.advice));
            html.raw(format_args!("<li><strong>{reason}.</strong> {advice}{figures}</li>\n"));
        }
        html.raw("</ul>\n");
    }
    let hygiene = &result.hygiene;
    match hygiene.clean {
        Some(true) => html.paragraph("note", "The machine was fit to measure on."),
        Some(false) => {
            html.paragraph(
                "warn",
                &format!("The machine was not fit to measure on: {}.", hygiene.reasons.join("; ")),
            );
        }
        None => html.paragraph(
            "note",
            "Whether the machine was fit to measure on is not known: the run ended before.",
        ),
    }
}

/// Rates and books of the phases.
pub(super) fn phases(html: &mut Html, result: &RunResult) {
    html.section("phases", "Phases");
    let mut rates = Vec::new();
    let mut books = Vec::new();
    for phase in MEASURED {
        let of_phase: Vec<_> = result.phases.iter().filter(|books| books.phase == phase).collect();
        if of_phase.is_empty() {
            continue;
        }
        let sum = |part: fn(&slmscope_profiles::result::PhaseBooks) -> u64| {
            saturating_sum(of_phase.iter().map(|books| part(books)))
        };
        let (tokens, wall) = (sum(|books| books.tokens), sum(|books| books.wall_ns));
        let traffic = result.bandwidth.iter().find(|traffic| traffic.phase == phase);
        rates.push(vec![
            phase.as_str().to_owned(),
            of_phase.len().to_string(),
            tokens.to_string(),
            display::duration(wall),
            or_absent(slmscope_profiles::rate::per_second(tokens, wall), display::significant),
            giga(traffic.and_then(|traffic| traffic.derived_wall_bytes_per_s)),
            giga(traffic.and_then(|traffic| traffic.derived_wall_flops_per_s)),
        ]);
        let recorded = sum(|books| books.recorded_wall_ns);
        let share = |ns: u64| {
            if recorded > 0 { display::share(ns as f64 / recorded as f64) } else { ABSENT.to_owned() }
        };
        books.push(vec![
            phase.as_str().to_owned(),
            display::duration(recorded),
            share(sum(|books| books.ops_ns)),
            share(sum(|books| books.gap_ns)),
            share(saturating_sum(of_phase.iter().flat_map(|books| books.other.iter().map(|span| span.ns)))),
            share(sum(|books| books.unattributed_ns)),
        ]);
    }
    let columns = [
        ("phase", true),
        ("repetitions", false),
        ("tokens", false),
        ("time", false),
        ("tokens/s", false),
        ("GB/s", false),
        ("GFLOP/s", false),
    ];
    html.table(
        "All tokens divided by all time; GB/s and GFLOP/s are derived from the plan",
        &columns,
        &rates,
    );
    let columns = [
        ("phase", true),
        ("recorded", false),
        ("ops", false),
        ("gap", false),
        ("other", false),
        ("unattributed", false),
    ];
    html.table("Where the recorded time went (measured): the shares add up to all of it", &columns, &books);
}

/// Shares of modules and ops, prefill and decode beside each other.
pub(super) fn time(html: &mut Html, result: &RunResult) {
    html.section("time", "Where the time goes");
    modules(html, result);
    for phase in MEASURED.into_iter().rev() {
        ops(html, result, phase);
    }
}

/// Sums of the ops of a phase that have the same name, with their share.
struct Row<'a> {
    name: &'a str,
    module: Module,
    group: GroupTotals,
    share: f64,
}

fn rows(result: &RunResult, phase: Phase) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for op in result.ops.iter().filter(|op| op.phase == phase && op.lane == 0) {
        let at = rows.iter().position(|row| row.name == op.name && row.module == op.module);
        let at = at.unwrap_or_else(|| {
            rows.push(Row { name: &op.name, module: op.module, group: GroupTotals::default(), share: 0.0 });
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(at) {
            row.group.add(&op.totals());
            row.share += op.share;
        }
    }
    rows.sort_by(|a, b| b.share.total_cmp(&a.share));
    rows
}

fn modules(html: &mut Html, result: &RunResult) {
    let share_of = |phase: Phase, module: Module| {
        let ops = result.ops.iter().filter(|op| op.phase == phase && op.lane == 0 && op.module == module);
        ops.map(|op| op.share).sum::<f64>()
    };
    let mut table = Vec::new();
    let mut bars = String::new();
    let all = Module::ALL.into_iter().chain([Module::Other]);
    let used: Vec<Module> =
        all.filter(|&module| MEASURED.iter().any(|&phase| share_of(phase, module) > 0.0)).collect();
    for &module in &used {
        let cells = MEASURED.map(|phase| display::share(share_of(phase, module)));
        table.push([vec![module.as_str().to_owned()], cells.to_vec()].concat());
    }
    if used.is_empty() {
        html.paragraph("note", "— no op was recorded.");
        return;
    }
    for (row, phase) in MEASURED.into_iter().enumerate() {
        let y = 20 * row + 2;
        bars.push_str(&format!("<text x=\"0\" y=\"{}\">{}</text>", y + 13, phase.as_str()));
        let mut x = 70.0;
        for (at, &module) in used.iter().enumerate() {
            let share = share_of(phase, module);
            let width = 600.0 * share.clamp(0.0, 1.0);
            let what =
                escaped(&format!("{}: {}, {}", phase.as_str(), module.as_str(), display::share(share)));
            bars.push_str(&format!(
                "<rect class=\"k{}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\"><title>{what}</title></rect>\n",
                at % 8
            ));
            x += width;
        }
    }
    let mut x = 70;
    for (at, module) in used.iter().enumerate() {
        let name = module.as_str();
        bars.push_str(&format!(
            "<rect class=\"k{}\" x=\"{x}\" y=\"48\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"59\">{name}</text>\n",
            at % 8,
            x + 16
        ));
        x += 110;
    }
    html.raw(format_args!(
        "<svg viewBox=\"0 0 680 66\" width=\"680\" height=\"66\" role=\"img\" aria-label=\"Shares of modules; the numbers are in the table below\">\n{bars}</svg>\n"
    ));
    let columns = [("module", true), ("prefill", false), ("decode", false)];
    html.table("Share of the phase's wall time by part of the model (measured)", &columns, &table);
}

fn ops(html: &mut Html, result: &RunResult, phase: Phase) {
    let rows = rows(result, phase);
    if rows.is_empty() {
        return;
    }
    let table: Vec<Vec<String>> = rows
        .iter()
        .take(MAX_OPS)
        .map(|row| {
            let totals = row.group.totals;
            let roof = row.group.roof();
            vec![
                row.name.to_owned(),
                row.module.as_str().to_owned(),
                totals.count.to_string(),
                display::duration(totals.time_ns),
                display::share(row.share),
                giga(totals.bytes_per_second()),
                giga(totals.flops_per_second()),
                or_absent(roof, |(share, _)| display::rough_share(share)),
                or_absent(roof, |(_, bound)| bound.as_str().to_owned()),
            ]
        })
        .collect();
    let columns = [
        ("op", true),
        ("module", true),
        ("events", false),
        ("time", false),
        ("share", false),
        ("GB/s", false),
        ("GFLOP/s", false),
        ("of roof", false),
        ("bound by", true),
    ];
    let more = rows.len().saturating_sub(MAX_OPS);
    let more = if more > 0 { format!("; {more} more in `slmscope report --full`") } else { String::new() };
    html.table(&format!("Ops of {}, all layers together{more}", phase.as_str()), &columns, &table);
    html.paragraph(
        "note",
        "— in the last columns: the plan counts no bytes and FLOPs for the op, or no roof was measured.",
    );
}

/// Roofs, with the ops below them.
pub(super) fn roofs(html: &mut Html, result: &RunResult) {
    html.section("roofs", "What the machine can do");
    let roofs = &result.roofs;
    if let Some(reason) = &roofs.reason {
        html.paragraph("note", &format!("— {reason}"));
        return;
    }
    let row = |name: &str, roof: Option<Estimate>, show: fn(f64) -> String| {
        vec![
            name.to_owned(),
            or_absent(roof, |roof| show(roof.median)),
            or_absent(roof, |roof| show(roof.low)),
            or_absent(roof, |roof| show(roof.high)),
        ]
    };
    let rows = [
        row("reading memory", roofs.read_bytes_per_s, display::bytes_per_second),
        row("f32 arithmetic", roofs.f32_flops_per_s, display::flops_per_second),
        row("int8 arithmetic", roofs.int8_ops_per_s, display::ops_per_second),
    ];
    let columns = [("roof", true), ("median", false), ("lowest", false), ("highest", false)];
    html.table("Measured right before and after the run, with its threads and kernels", &columns, &rows);
    roofline::draw(html, result);
    let traffic: Vec<Vec<String>> = result
        .bandwidth
        .iter()
        .map(|traffic| {
            let peak = roofs.read_bytes_per_s.map(|roof| roof.median).filter(|&roof| roof > 0.0);
            let derived = traffic.derived_wall_bytes_per_s;
            let share = derived.zip(peak).map(|(derived, peak)| derived / peak);
            let measured = match &traffic.reason {
                Some(reason) => format!("{ABSENT} ({reason})"),
                None => {
                    or_absent(traffic.measured_bytes_per_s, |rate| display::value(rate, Unit::BytesPerSecond))
                }
            };
            vec![
                traffic.phase.as_str().to_owned(),
                or_absent(derived, |rate| display::value(rate, Unit::BytesPerSecond)),
                or_absent(share, display::share),
                measured,
            ]
        })
        .collect();
    let columns =
        [("phase", true), ("derived", false), ("of the roof", false), ("counted by the machine", true)];
    html.table("Memory traffic of the phases, bytes divided by wall time", &columns, &traffic);
}

/// Where the worker's memory went.
pub(super) fn memory(html: &mut Html, result: &RunResult) {
    html.section("memory", "Memory");
    let memory = &result.memory;
    let show = |bytes: Option<u64>| or_absent(bytes, display::bytes);
    let unexplained = memory.unexplained.map(|bytes| {
        let sign = if bytes < 0 { "-" } else { "" };
        format!("{sign}{}", display::bytes(bytes.unsigned_abs()))
    });
    let rows: Vec<Vec<String>> = [
        ("weights", show(memory.weights), "in the worker's own memory"),
        ("packed weights", show(memory.packed), "laid out a second time"),
        ("KV cache", show(memory.kv), "keys and values"),
        ("scratch", show(memory.scratch), "activations and tables"),
        ("tokenizer", show(memory.tokenizer), "— without text"),
        ("program", show(memory.runtime), "before anything was loaded"),
        ("unexplained", unexplained.unwrap_or_else(|| ABSENT.to_owned()), "resident beyond these"),
        ("resident", show(memory.rss), "RSS at the end of the measured runs"),
        ("resident at most", show(memory.rss_peak), "peak RSS"),
        ("proportional", show(memory.pss), "PSS: shared pages divided among those who share them"),
        ("mapped files", show(memory.mapped), "among the resident pages"),
        ("left", show(memory.available), "for programs, at the end"),
    ]
    .into_iter()
    .map(|(name, bytes, what)| vec![name.to_owned(), bytes, what.to_owned()])
    .collect();
    let columns = [("part", true), ("size", false), ("what it is", true)];
    html.table("Memory of the run's own process (measured; — is not known)", &columns, &rows);
    let (weights, kv) = (result.model.weight_bytes, memory.kv);
    let paper = weights.zip(kv).map(|(weights, kv)| display::bytes(weights.saturating_add(kv)));
    html.paragraph(
        "note",
        &format!(
            "Weights as they are stored, and keys and values, which is how papers count: {}.",
            paper.unwrap_or_else(|| format!("{ABSENT} (the run ended before it was known)"))
        ),
    );
}

/// Energy, or why there is none.
pub(super) fn energy(html: &mut Html, result: &RunResult) {
    html.section("energy", "Energy");
    if result.energy.phases.is_empty() {
        html.paragraph("note", "— nothing was measured.");
        return;
    }
    let rows: Vec<Vec<String>> = result
        .energy
        .phases
        .iter()
        .map(|energy| {
            let watts = |watts: f64| format!("{} W", display::significant(watts));
            let source = match (&energy.joules, &energy.reason) {
                (None, Some(reason)) => format!("{ABSENT} {reason}"),
                _ => or_absent(energy.source.as_deref(), str::to_owned),
            };
            vec![
                energy.phase.as_str().to_owned(),
                or_absent(energy.joules, |joules| format!("{} J", display::significant(joules))),
                or_absent(energy.low.zip(energy.high), |(low, high)| {
                    format!("{} to {}", display::significant(low), display::significant(high))
                }),
                or_absent(energy.joules_per_token, |joules| {
                    format!("{} mJ", display::significant(joules * 1e3))
                }),
                or_absent(energy.baseline_watts, watts),
                source,
            ]
        })
        .collect();
    let columns = [
        ("phase", true),
        ("energy", false),
        ("interval", false),
        ("a token", false),
        ("idle power", false),
        ("source, or why there is none", true),
    ];
    html.table("Energy of all repetitions (measured)", &columns, &rows);
}

/// What ran, and where.
pub(super) fn identity(html: &mut Html, result: &RunResult) {
    html.section("identity", "What ran");
    let model = &result.model;
    let engine = &result.engine;
    let mut rows = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        rows.push(vec![name.to_owned(), value.unwrap_or_else(|| ABSENT.to_owned())]);
    };
    add("model", Some(model.id.clone()));
    add("identity of the weights", model.hash.clone());
    add("format", model.format.map(|format| format.to_string()));
    add("size of the weights", model.weight_bytes.map(display::bytes));
    add("engine", Some(engine.executor.clone()));
    add("threads", engine.threads.map(|threads| threads.to_string()));
    add("instruction set", engine.isa.clone());
    if let Some(host) = &result.host {
        add("machine", host.name.clone());
        add("processor", host.cpu_model.clone());
        add("CPUs", Some(host.logical_cpus.to_string()));
        add("memory", host.memory_bytes.map(display::bytes));
        add("system", host.os.clone());
        add("kernel", host.kernel.clone());
        add(
            "virtual machine",
            Some(host.virtualised.clone().unwrap_or_else(|| "none is reported".to_owned())),
        );
    }
    add("date", result.date.clone());
    add("run", result.run_id.clone());
    add("slmscope", Some(result.slmscope.clone()));
    html.table("Identity of the run", &[("what", true), ("value", true)], &rows);
}

/// How it was measured, what that cost, and how to repeat it.
pub(super) fn method(html: &mut Html, result: &RunResult) {
    html.section("method", "Method and own cost");
    let overhead = &result.overhead;
    match overhead.fraction {
        Some(fraction) => html.paragraph(
            "",
            &format!(
                "Measuring cost {} of the time ({} to {}): the recorder {}, the rest of the tool {}.",
                display::fine_share(fraction),
                or_absent(overhead.low, display::fine_share),
                or_absent(overhead.high, display::fine_share),
                or_absent(overhead.recording, display::fine_share),
                or_absent(overhead.stolen, display::fine_share),
            ),
        ),
        None => html.paragraph(
            "",
            &format!(
                "What measuring cost: — ({}).",
                overhead.reason.as_deref().unwrap_or("no reason is known")
            ),
        ),
    }
    html.paragraph(
        "",
        "Every step of the model is timed by the thread that computes it, on CLOCK_MONOTONIC. Bytes and FLOPs are those \
         that the model's shapes require (derived). The time of a token that no step explains is a row of its own. \
         Rates are medians over repetitions, with 95 % intervals by order statistics from 6 repetitions on, otherwise \
         with their range.",
    );
    html.raw("<h3>To repeat it</h3>\n");
    let command = result.command.as_deref().unwrap_or(ABSENT);
    html.raw(format_args!("<pre><code>{}</code></pre>\n", escaped(command)));
}
