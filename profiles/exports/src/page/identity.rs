//! What ran and where, how it was measured, and how to repeat it.

use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::host::Host;
use slmscope_profiles::result::RunResult;

use super::html::{Html, escaped};

/// What ran, and where.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("identity", "What ran");
    let rows: Vec<Vec<String>> = facts(result)
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value.unwrap_or_else(|| ABSENT.to_owned())])
        .collect();
    html.table("Identity of the run", &[("what", true), ("value", true)], &rows);
}

/// What identifies a run, always in the same order; `None` where it is not known.
pub(super) fn facts(result: &RunResult) -> [(&'static str, Option<String>); 19] {
    let (model, engine, workload) = (&result.model, &result.engine, &result.workload);
    let host = result.host.as_ref();
    let of_host = |of: fn(&Host) -> Option<String>| host.and_then(of);
    let lengths = format!(
        "{} prompt tokens, {} to generate, depth {}",
        result.prompt_tokens(),
        workload.generate,
        workload.depth
    );
    let virtual_machine = |host: &Host| host.virtualised.clone().or(Some("none is reported".to_owned()));
    [
        ("model", Some(model.id.clone())),
        ("identity of the weights", model.hash.clone()),
        ("format", model.format.map(|format| format.to_string())),
        ("size of the weights", model.weight_bytes.map(display::bytes)),
        ("workload", Some(lengths)),
        ("engine", Some(engine.executor.clone())),
        ("threads", engine.threads.map(|threads| threads.to_string())),
        ("instruction set", engine.isa.clone()),
        ("machine", of_host(|host| host.name.clone())),
        ("board", of_host(|host| host.board.clone())),
        ("processor", of_host(|host| host.cpu_model.clone())),
        ("CPUs", of_host(|host| Some(host.logical_cpus.to_string()))),
        ("memory", of_host(|host| host.memory_bytes.map(display::bytes))),
        ("system", of_host(|host| host.os.clone())),
        ("kernel", of_host(|host| host.kernel.clone())),
        ("virtual machine", host.and_then(virtual_machine)),
        ("date", result.date.clone()),
        ("run", result.run_id.clone()),
        ("slmscope", Some(result.slmscope.clone())),
    ]
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
    html.paragraph(
        "note",
        "With `-r 20` on both machines, `slmscope diff` says whether two runs are the same, and which ops differ.",
    );
}
