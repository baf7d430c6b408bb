//! Memory: where the worker's went, and how papers count.

use slmscope_profiles::catalogue;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::result::{Memory, RunResult};

use super::bars::{self, Bar, Segment};
use super::html::Html;

/// Where the worker's memory went.
pub(super) fn section(html: &mut Html, result: &RunResult) {
    html.section("memory", "Memory");
    let memory = &result.memory;
    draw(html, memory);
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
    let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| display::bytes(a.saturating_add(b)));
    let stored = or_absent(sum(result.model.weight_bytes, memory.kv), |sum| sum);
    html.paragraph("note", &format!("Weights as they are stored, and keys and values, alone: {stored}."));
    html.paragraph("note", &paper(&result.model.id));
}

/// What is resident, divided into its parts.
fn draw(html: &mut Html, memory: &Memory) {
    let parts = [
        ("weights", memory.weights),
        ("packed weights", memory.packed),
        ("KV cache", memory.kv),
        ("scratch", memory.scratch),
        ("tokenizer", memory.tokenizer),
        ("program", memory.runtime),
        ("unexplained", memory.unexplained.and_then(|bytes| u64::try_from(bytes).ok())),
    ];
    let segment = |(name, bytes): (&str, Option<u64>)| {
        let bytes = bytes?;
        Some(Segment { name: name.to_owned(), value: bytes as f64, shown: display::bytes(bytes) })
    };
    let segments = parts.into_iter().filter_map(segment).collect();
    let note = memory.rss.map_or_else(String::new, |rss| format!("{} at the end", display::bytes(rss)));
    let bar = Bar { name: "resident".to_owned(), note, segments };
    bars::draw(html, "Parts of the process's memory; the numbers are in the table below", &[bar]);
}

/// Memory of a model of the survey as the survey counts it.
fn paper(model: &str) -> String {
    let Some(row) = catalogue::rows().iter().find(|row| row.id == model) else {
        return "As the survey arXiv 2409.15790 counts: — (it is known for the models of the catalogue alone)."
            .to_owned();
    };
    let memory = row.paper_memory();
    format!(
        "As the survey arXiv 2409.15790 counts, which is no memory of a process: {} = weights in Q4_K_M {}, KV cache of \
         2048 tokens in f16 {}, buffers of 512 rows {}, a tied embedding a second time {} (modelled).",
        display::bytes(memory.total()),
        display::bytes(memory.weights),
        display::bytes(memory.kv_cache),
        display::bytes(memory.compute_buffer),
        display::bytes(memory.second_table)
    )
}
