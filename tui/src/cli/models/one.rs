//! `slmscope model`: one model in full.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::catalogue::{self, PaperMemory, Row};
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::plan::Plan;
use slmscope_profiles::plan::site::{Module, OpSite, SiteWeight};
use slmscope_profiles::spec::DecoderSpec;

use super::json::Which;
use super::{files, json, words};
use crate::cli::number;
use crate::embedded;
use crate::failure::{Failure, json_line, print};
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
    /// Weight format to show the plan for; a GGUF file has its own [default: q4_0; for files, as stored]
    #[arg(long, value_name = "FORMAT")]
    format: Option<WeightFormat>,
    /// Tokens in the context before the token whose ops are shown
    #[arg(short = 'd', long, value_name = "TOKENS", default_value_t = 0, value_parser = number::count)]
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
    print(&answer(args, Style::of_stdout().or_columns(80))?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed.
pub(in crate::cli) fn answer(args: &ModelArgs, style: Style) -> Result<String, Failure> {
    let chosen = model_source::choose(Some(&args.model))?;
    if let (ModelSource::Gguf, Some(format)) = (chosen.model.source(), args.format) {
        let file = chosen.model.name();
        return Err(Failure::usage(format!(
            "--format: {file} keeps the formats that its weights are stored in: leave --format {format} out"
        )));
    }
    if let ModelRef::Catalogue(id) = &chosen.model {
        let row = catalogue::find(id).map_err(|near| unknown(id, &near, ""))?;
        return of_row(args, row, style);
    }
    let name = chosen.model.name().to_owned();
    let (spec, plan, notes) = embedded::inspect(chosen, args.format)?;
    let remark = (!notes.is_empty()).then(|| notes.join("; "));
    let remark = remark.as_deref();
    if args.json {
        return json_line(&json::one(Which::Files(&name, remark), &spec, &plan, args.format, args.depth));
    }
    let stored = args.format.map_or(Stored::AsInFile, Stored::In);
    let facts = files::facts(&name, &spec, &plan, remark, style);
    let memory = memory(&plan, stored, None, style);
    Ok([facts, memory, modules(&plan, args.depth, stored, style), ops(&plan, args.depth, style)].concat())
}

fn of_row(args: &ModelArgs, row: &Row, style: Style) -> Result<String, Failure> {
    let (spec, format) = (row.spec(), args.format.unwrap_or(WeightFormat::Q4_0));
    let plan = Plan::compile(&spec, KvFormat::F16, |tensor| tensor.format_in(format));
    if args.json {
        return json_line(&json::one(Which::Row(row), &spec, &plan, Some(format), args.depth));
    }
    let stored = Stored::In(format);
    let memory = memory(&plan, stored, Some(row.paper_memory()), style);
    Ok([facts(row, style), memory, modules(&plan, args.depth, stored, style), ops(&plan, args.depth, style)]
        .concat())
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
    line("parameters", &words::parameters(&params));
    line("published", &row.published);
    let size = |&format: &WeightFormat| {
        let mark = if spec.f16_bytes(format) > 0 { '*' } else { ' ' };
        format!("{:<4}{:>9}{mark}", format.name(), display::bytes(spec.weight_bytes(format)))
    };
    for (row, formats) in WeightFormat::ALL.chunks(4).enumerate() {
        let sizes: Vec<_> = formats.iter().map(size).collect();
        line(if row == 0 { "bytes" } else { "" }, sizes.join("  ").trim_end());
    }
    if let Some(note) = in_f16(&spec) {
        line("* of it f16", &note);
    }
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

/// What of the bytes in a format is f16 after all; `None` if nothing is.
fn in_f16(spec: &DecoderSpec) -> Option<String> {
    let held = WeightFormat::ALL.map(|format| (format, spec.f16_bytes(format)));
    let alike = |a: &(WeightFormat, u64), b: &(WeightFormat, u64)| {
        (a.1, a.0.block_elements()) == (b.1, b.0.block_elements())
    };
    let mut held: Vec<_> = held.into_iter().filter(|&(_, bytes)| bytes > 0).collect();
    held.sort_by_key(|&(format, bytes)| (format.block_elements(), bytes));
    let groups = held.chunk_by(alike).map(|group| {
        let names: Vec<_> = group.iter().map(|(format, _)| format.name()).collect();
        let (bytes, block) = (display::bytes(group[0].1), group[0].0.block_elements());
        format!("{bytes} in {}, whose blocks of {block} do not divide all rows", names.join(" "))
    });
    Some(groups.collect::<Vec<_>>().join("; ")).filter(|note| !note.is_empty())
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
        line("recurrent state", None, Some(state), "f32; the survey has no row for it".to_owned());
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
        ("bytes", Align::Right),
        ("FLOPs", Align::Right),
        ("weights", Align::Left),
    ]);
    for site in plan.sites.iter().filter(|site| site.layer.is_none() || shown.contains(&site.layer)) {
        let same = |a: &SiteWeight, b: &SiteWeight| (a.shape[1], &a.format) == (b.shape[1], &b.format);
        let weights = site.weights.chunk_by(same).map(|alike| {
            let rows: Vec<_> = alike.iter().map(|weight| weight.shape[0].to_string()).collect();
            format!("{}x{} {}", rows.join("+"), alike[0].shape[1], alike[0].format.name())
        });
        table.row([
            site.layer.map_or_else(|| ABSENT.to_owned(), |layer| layer.to_string()),
            site.name.clone(),
            site.kind.as_str().to_owned(),
            display::traffic(site.cost.bytes(1, depth) as f64),
            display::count(site.cost.flops(1, depth)),
            weights.collect::<Vec<_>>().join(", "),
        ]);
    }
    table.fit(style, &["kind", "layer"]);
    let title = "ops of the first layer of each kind, and those outside the layers (—)";
    format!("\n{}\n{}", style.bold(title), table.render(style))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width::columns;

    fn shown(row: &Row, format: Option<WeightFormat>, depth: u32) -> String {
        let args = ModelArgs { model: row.id.clone(), format, depth, json: false };
        of_row(&args, row, Style::narrow(80)).unwrap()
    }

    #[test]
    fn every_model_fits_80_columns() {
        for row in catalogue::rows() {
            let text = shown(row, None, 0);
            let wide = text.lines().find(|line| columns(line) > 80);
            assert_eq!(wide, None, "{}", row.id);
        }
    }

    #[test]
    fn outputs_are_pinned_at_80_columns() {
        let shown = |id| shown(catalogue::find(id).unwrap(), None, 64);
        crate::pinned::check("model.txt", &shown("smollm2-135m"));
        crate::pinned::check("model-recurrent.txt", &shown("recurrentgemma-2b"));
    }

    #[test]
    fn what_of_a_format_is_f16_is_told() {
        let row = catalogue::find("smollm2-135m").unwrap();
        let text = shown(row, None, 0);
        assert!(text.contains("q2_k  214 MiB*\n") && text.contains("q4_0 72.3 MiB   q4_k"), "{text}");
        assert!(text.contains("* of it f16 ") && text.contains("blocks of 256 do not"), "{text}");
        assert!(!shown(catalogue::find("smollm2-1.7b").unwrap(), None, 0).contains("* of it f16"));
    }
}
