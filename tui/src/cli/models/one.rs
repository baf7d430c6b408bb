//! `slmscope model`: one model in full.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::catalogue::{self, Row};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::plan::site::{Module, OpSite};

use super::{json, words};
use crate::failure::{Failure, print, print_json};
use crate::format::{self, ABSENT};
use crate::report::Style;
use crate::source::unknown;
use crate::table::{Align, Table};

/// Rows of a prefill chunk that scratch memory is shown for, as many as in the survey's runs.
const ROWS: u64 = 512;
/// Context of the survey's runs.
const CONTEXT: u64 = 2048;

/// Which model, and how.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A catalogue id
    model: String,
    /// Weight format that the plan is shown for
    #[arg(long, default_value = "q4_0")]
    format: WeightFormat,
    /// Tokens in the context before the token that is shown
    #[arg(long, default_value_t = 0)]
    depth: u32,
    /// Print the model as one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows one model.
///
/// # Errors
/// If there is none of that name.
pub fn show(args: &ModelArgs) -> Result<ExitCode, Failure> {
    let row = catalogue::find(&args.model).map_err(|near| unknown(&args.model, &near, ""))?;
    let plan = Plan::compile(&row.spec(), KvFormat::F16, |tensor| tensor.format_in(args.format));
    if args.json {
        print_json(&json::one(row, &plan, args.format, args.depth))?;
    } else {
        let style = Style::of_stdout();
        let mut text = facts(row, style);
        text.push_str(&memory(row, &plan, args.format, style));
        text.push_str(&modules(&plan, args, style));
        text.push_str(&ops(&plan, u64::from(args.depth), style));
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn facts(row: &Row, style: Style) -> String {
    let (spec, params) = (row.spec(), row.params());
    let mut text = format!("{} ({}, {})\n", style.bold(&row.id), row.family, row.released);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {value}", style.dim(&format!("{name:<12}")));
    };
    line("weights of", &row.hugging_face);
    line("shape", &format!("{} layers, hidden {}, context {}", row.layers, row.hidden, row.max_context));
    line("attention", &words::attention(row));
    line("positions", &words::positions(row));
    line("FFN", &words::ffn(row));
    line("norms", &words::norms(row));
    line("vocabulary", &words::vocabulary(row));
    let (stored, unique, multiplied) = (params.stored, params.unique, params.multiplied);
    line("parameters", &format!("stored {stored}, unique {unique}, multiplied per token {multiplied}"));
    line("published", &row.published);
    let size = |format: WeightFormat| format!("{format} {}", format::bytes(spec.weight_bytes(format)));
    let (plain, quantized) = WeightFormat::ALL.split_at(6);
    line("bytes", &plain.iter().map(|&format| size(format)).collect::<Vec<_>>().join(", "));
    line("", &quantized.iter().map(|&format| size(format)).collect::<Vec<_>>().join(", "));
    let per_token = spec.kv_elements_per_token() * KvFormat::F16.bytes();
    line("KV cache f16", &words::caches(row, per_token));
    if spec.state_bytes() > 0 {
        line("state", &format!("{} in f32, whatever the context", format::bytes(spec.state_bytes())));
    }
    line("facts from", &row.facts_from);
    let survey: Vec<_> = row.survey.iter().map(|list| list.as_str()).collect();
    if !survey.is_empty() {
        line("survey", &survey.join(", "));
    }
    for (name, note) in
        [("differs", &row.paper_differs), ("remark", &row.remark), ("uncertain", &row.uncertain)]
    {
        if let Some(note) = note {
            line(name, note);
        }
    }
    text
}

/// The survey's definition of memory beside ours. Both are arithmetic, not measurements.
fn memory(row: &Row, plan: &Plan, format: WeightFormat, style: Style) -> String {
    let paper = row.paper_memory();
    let (kv, state, scratch) = (plan.kv_bytes(CONTEXT), plan.state_bytes(), plan.scratch_bytes(ROWS));
    let mut table = Table::new(&[
        ("part", Align::Left),
        ("the survey's", Align::Right),
        ("ours", Align::Right),
        ("", Align::Left),
    ]);
    let mut line = |part: &str, theirs: Option<u64>, ours: Option<u64>, note: String| {
        let [theirs, ours] = [theirs, ours].map(|bytes| format::or_absent(bytes, format::bytes));
        table.row([part.to_owned(), theirs, ours, note]);
    };
    line("weights", Some(paper.weights), Some(plan.weight_bytes()), format!("Q4_K_M; {format}"));
    line("KV cache", Some(paper.kv_cache), Some(kv), "f16".to_owned());
    if state > 0 {
        line("recurrent state", None, Some(state), "f32".to_owned());
    }
    let note = format!("logits of {ROWS} rows and scores held; logits of one row, no scores");
    line("activations", Some(paper.compute_buffer), Some(scratch), note);
    line("second table", Some(paper.second_table), Some(0), "a tied embedding, loaded twice".to_owned());
    line("all", Some(paper.total()), Some(plan.weight_bytes() + kv + state + scratch), String::new());
    let title =
        format!("memory at {CONTEXT} tokens of context, in chunks of {ROWS} (arithmetic, not measured)");
    format!("\n{}\n{}", style.bold(&title), table.render(style))
}

fn modules(plan: &Plan, args: &ModelArgs, style: Style) -> String {
    let depth = u64::from(args.depth);
    let mut table = Table::new(&[
        ("module", Align::Left),
        ("ops", Align::Right),
        ("bytes", Align::Right),
        ("FLOPs", Align::Right),
    ]);
    let mut line = |name: &str, sites: &[&OpSite]| {
        let bytes: u64 = sites.iter().map(|site| site.cost.bytes(1, depth)).sum();
        let flops: u64 = sites.iter().map(|site| site.cost.flops(1, depth)).sum();
        table.row([
            name.to_owned(),
            sites.len().to_string(),
            format::traffic(bytes as f64),
            format::count(flops),
        ]);
    };
    for module in Module::ALL {
        let sites: Vec<_> = plan.sites.iter().filter(|site| site.module == module).collect();
        if !sites.is_empty() {
            line(module.as_str(), &sites);
        }
    }
    line("all", &plan.sites.iter().collect::<Vec<_>>());
    let title = format!("one token after {depth}, weights in {}", args.format);
    format!("\n{}\n{}", style.bold(&title), table.render(style))
}

/// The ops of the first layer of each kind, and those outside of layers.
fn ops(plan: &Plan, depth: u64, style: Style) -> String {
    let first = |module| plan.sites.iter().find(|site| site.module == module).and_then(|site| site.layer);
    let shown = [first(Module::Attention), first(Module::Recurrent)];
    let mut table = Table::new(&[
        ("layer", Align::Right),
        ("op", Align::Left),
        ("kind", Align::Left),
        ("weights", Align::Left),
        ("bytes", Align::Right),
        ("FLOPs", Align::Right),
    ]);
    for site in plan.sites.iter().filter(|site| site.layer.is_none() || shown.contains(&site.layer)) {
        let weights: Vec<_> = site
            .weights
            .iter()
            .map(|weight| format!("{}x{} {}", weight.shape[0], weight.shape[1], weight.format))
            .collect();
        table.row([
            site.layer.map_or_else(|| ABSENT.to_owned(), |layer| layer.to_string()),
            site.name.clone(),
            site.kind.as_str().to_owned(),
            weights.join(", "),
            format::traffic(site.cost.bytes(1, depth) as f64),
            format::count(site.cost.flops(1, depth)),
        ]);
    }
    let title = "ops of the first layer of each kind, and those outside of layers";
    format!("\n{}\n{}", style.bold(title), table.render(style))
}
