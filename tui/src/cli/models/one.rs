//! `slmscope model`: one model in full.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::catalogue::{self, PaperMemory, Row};
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::plan::Plan;
use slmscope_profiles::plan::site::{Module, OpSite, SiteWeight};

use super::json::Which;
use super::{files, json, words};
use crate::embedded;
use crate::failure::{Failure, print, print_json};
use crate::model_source::{self, unknown};
use crate::style::Style;
use crate::table::{Align, Table};

/// Rows of the prefill chunk that scratch memory is computed for, as in the survey.
const ROWS: u64 = 512;
/// Context length that memory is computed for, as in the survey.
const CONTEXT: u64 = 2048;

/// Options of `model`.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A catalogue id, a .gguf file, a directory with config.json and safetensors, hf:org/name or hf:org/name:file
    model: String,
    /// Weight format to show the plan for [default: q4_0; for files, as stored]
    #[arg(long)]
    format: Option<WeightFormat>,
    /// Tokens in the context before the token whose ops are shown
    #[arg(long, default_value_t = 0)]
    depth: u32,
    /// Print the model as one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows one model.
///
/// # Errors
/// If there is no such model, or its files cannot be read.
pub fn show(args: &ModelArgs) -> Result<ExitCode, Failure> {
    let chosen = model_source::choose(Some(&args.model))?;
    let style = Style::of_stdout();
    if let ModelRef::Catalogue(id) = &chosen.model {
        let row = catalogue::find(id).map_err(|near| unknown(id, &near, ""))?;
        let (spec, format) = (row.spec(), args.format.unwrap_or(WeightFormat::Q4_0));
        let plan = Plan::compile(&spec, KvFormat::F16, |tensor| tensor.format_in(format));
        if args.json {
            print_json(&json::one(Which::Row(row), &spec, &plan, Some(format), args.depth))?;
        } else {
            let stored = Stored::In(format);
            let memory = memory(&plan, stored, Some(row.paper_memory()), style);
            let parts = [
                facts(row, style),
                memory,
                modules(&plan, args.depth, stored, style),
                ops(&plan, args.depth, style),
            ];
            print(&parts.concat())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = chosen.model.name().to_owned();
    let (spec, plan, notes) = embedded::inspect(chosen, args.format)?;
    let remark = (!notes.is_empty()).then(|| notes.join("; "));
    let remark = remark.as_deref();
    if args.json {
        print_json(&json::one(Which::Files(&name, remark), &spec, &plan, args.format, args.depth))?;
    } else {
        let stored = args.format.map_or(Stored::AsInFile, Stored::In);
        let memory = memory(&plan, stored, None, style);
        let facts = files::facts(&name, &spec, &plan, remark, style);
        print(
            &[facts, memory, modules(&plan, args.depth, stored, style), ops(&plan, args.depth, style)]
                .concat(),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How weights are stored in memory.
#[derive(Clone, Copy)]
enum Stored {
    /// Each tensor in the format of its file.
    AsInFile,
    /// All in this format, where a tensor's shape allows it.
    In(WeightFormat),
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AsInFile => f.write_str("as stored"),
            Self::In(format) => write!(f, "{format}"),
        }
    }
}

fn facts(row: &Row, style: Style) -> String {
    let (spec, params) = (row.spec(), row.params());
    let mut text = format!("{} ({}, {})\n", style.bold(&row.id), row.family, row.released);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {}", style.dim(&format!("{name:<12}")), style.wrap(value, 15));
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
    let size = |format: WeightFormat| format!("{format} {}", display::bytes(spec.weight_bytes(format)));
    let (plain, quantized) = WeightFormat::ALL.split_at(6);
    line("bytes", &plain.iter().map(|&format| size(format)).collect::<Vec<_>>().join(", "));
    line("", &quantized.iter().map(|&format| size(format)).collect::<Vec<_>>().join(", "));
    let per_token = KvFormat::F16.bytes(spec.kv_elements_per_token());
    line("KV cache f16", &words::caches(&spec, per_token));
    if spec.state_bytes() > 0 {
        line("state", &format!("{} in f32, whatever the context", display::bytes(spec.state_bytes())));
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

/// Memory by the plan, beside the survey's figures where there are some. Both are computed, not measured.
fn memory(plan: &Plan, stored: Stored, paper: Option<PaperMemory>, style: Style) -> String {
    let theirs = |part: fn(&PaperMemory) -> u64| paper.as_ref().map(part);
    let (kv, state, scratch) = (plan.kv_bytes(CONTEXT), plan.state_bytes(), plan.scratch_bytes(ROWS));
    let mut table = Table::new(&[
        ("part", Align::Left),
        ("the survey's", Align::Right),
        ("ours", Align::Right),
        ("", Align::Left),
    ]);
    let mut line = |part: &str, theirs: Option<u64>, ours: Option<u64>, note: String| {
        let [theirs, ours] = [theirs, ours].map(|bytes| display::or_absent(bytes, display::bytes));
        table.row([part.to_owned(), theirs, ours, note]);
    };
    let weights = if paper.is_some() { format!("Q4_K_M; {stored}") } else { stored.to_string() };
    line("weights", theirs(|paper| paper.weights), Some(plan.weight_bytes()), weights);
    line("KV cache", theirs(|paper| paper.kv_cache), Some(kv), "f16".to_owned());
    if state > 0 {
        line("recurrent state", None, Some(state), "f32".to_owned());
    }
    let note = "ours: one row of logits, no scores".to_owned();
    line("activations", theirs(|paper| paper.compute_buffer), Some(scratch), note);
    if paper.is_some() {
        let note = "a tied embedding, loaded twice".to_owned();
        line("second table", theirs(|paper| paper.second_table), Some(0), note);
    }
    let all = plan.weight_bytes() + kv + state + scratch;
    line("all", theirs(PaperMemory::total), Some(all), String::new());
    if paper.is_none() {
        table.remove_column("the survey's");
    }
    let title =
        format!("memory at {CONTEXT} tokens of context, in chunks of {ROWS} (computed, not measured)");
    format!("\n{}\n{}", style.bold(&title), table.render(style))
}

fn modules(plan: &Plan, depth: u32, stored: Stored, style: Style) -> String {
    let depth = u64::from(depth);
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
            display::traffic(bytes as f64),
            display::count(flops),
        ]);
    };
    for module in Module::ALL {
        let sites: Vec<_> = plan.sites.iter().filter(|site| site.module == module).collect();
        if !sites.is_empty() {
            line(module.as_str(), &sites);
        }
    }
    line("all", &plan.sites.iter().collect::<Vec<_>>());
    let weights = match stored {
        Stored::AsInFile => stored.to_string(),
        Stored::In(format) => format!("in {format}"),
    };
    let title = format!("one token after {depth}, weights {weights}");
    format!("\n{}\n{}", style.bold(&title), table.render(style))
}

/// The ops of the first layer of each kind, and those outside the layers.
fn ops(plan: &Plan, depth: u32, style: Style) -> String {
    let depth = u64::from(depth);
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
        let same = |a: &SiteWeight, b: &SiteWeight| (a.shape[1], a.format) == (b.shape[1], b.format);
        let weights = site.weights.chunk_by(same).map(|alike| {
            let rows: Vec<_> = alike.iter().map(|weight| weight.shape[0].to_string()).collect();
            format!("{}x{} {}", rows.join("+"), alike[0].shape[1], alike[0].format)
        });
        table.row([
            site.layer.map_or_else(|| ABSENT.to_owned(), |layer| layer.to_string()),
            site.name.clone(),
            site.kind.as_str().to_owned(),
            weights.collect::<Vec<_>>().join(", "),
            display::traffic(site.cost.bytes(1, depth) as f64),
            display::count(site.cost.flops(1, depth)),
        ]);
    }
    table.fit(style, &["kind", "layer"]);
    let title = "ops of the first layer of each kind, and those outside the layers";
    format!("\n{}\n{}", style.bold(title), table.render(style))
}
