//! `slmscope models` and `slmscope model`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use slmscope_profiles::catalogue::{self, Row};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::plan::site::{Module, OpSite};
use slmscope_profiles::spec::tensors::ParamCounts;

use crate::cli::run::unknown;
use crate::failure::{Failure, print, print_json};
use crate::format;
use crate::report::Style;
use crate::table::{Align, Table};

/// Options of the list.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only models of this family
    #[arg(long)]
    family: Option<String>,
    /// Print the list as one JSON object
    #[arg(long)]
    json: bool,
}

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

/// A model for machines.
#[derive(Serialize)]
struct ModelJson<'a> {
    id: &'a str,
    family: &'a str,
    survey: Option<&'a str>,
    hugging_face: &'a str,
    released: &'a str,
    params: ParamCounts,
    layers: u32,
    hidden: u32,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    ffn: u32,
    vocab: u32,
    max_context: u32,
    tied_head: bool,
    attention: &'static str,
    facts_from: &'a str,
    remark: Option<&'a str>,
    paper_differs: Option<&'a str>,
}

#[derive(Serialize)]
struct ModelsJson<'a> {
    schema: &'static str,
    models: Vec<ModelJson<'a>>,
}

#[derive(Serialize)]
struct OneJson<'a> {
    schema: &'static str,
    #[serde(flatten)]
    model: ModelJson<'a>,
    formats: Vec<FormatJson>,
    kv_bytes_per_token: KvJson,
    plan: Vec<StepJson<'a>>,
}

#[derive(Serialize)]
struct FormatJson {
    format: WeightFormat,
    weight_bytes: u64,
}

#[derive(Serialize)]
struct KvJson {
    f16: u64,
    f32: u64,
}

#[derive(Serialize)]
struct StepJson<'a> {
    id: u16,
    module: &'static str,
    name: &'a str,
    kind: &'static str,
    layer: Option<u32>,
    bytes: u64,
    flops: u64,
}

fn json(row: &Row) -> ModelJson<'_> {
    ModelJson {
        id: &row.id,
        family: &row.family,
        survey: row.survey.as_deref(),
        hugging_face: &row.hugging_face,
        released: &row.released,
        params: row.spec().params(),
        layers: row.layers,
        hidden: row.hidden,
        q_heads: row.q_heads,
        kv_heads: row.kv_heads,
        head_dim: row.head_dim,
        ffn: row.ffn,
        vocab: row.vocab,
        max_context: row.max_context,
        tied_head: row.tied_head,
        attention: row.attention_kind(),
        facts_from: &row.facts_from,
        remark: row.remark.as_deref(),
        paper_differs: row.paper_differs.as_deref(),
    }
}

/// Lists the catalogue.
///
/// # Errors
/// If a family is asked for that does not exist.
pub fn list(args: &ModelsArgs) -> Result<ExitCode, Failure> {
    let rows: Vec<_> = catalogue::rows()
        .iter()
        .filter(|row| args.family.as_ref().is_none_or(|family| *family == row.family))
        .collect();
    if rows.is_empty() {
        let mut families: Vec<_> = catalogue::rows().iter().map(|row| row.family.as_str()).collect();
        families.dedup();
        return Err(Failure::error(format!("there is no such family; there are {}", families.join(", "))));
    }
    if args.json {
        let models = rows.into_iter().map(json).collect();
        print_json(&ModelsJson { schema: "slmscope.models/1", models })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("family", Align::Left),
        ("parameters", Align::Right),
        ("layers", Align::Right),
        ("hidden", Align::Right),
        ("attention", Align::Left),
        ("context", Align::Right),
        ("q4_0", Align::Right),
        ("KV/token f16", Align::Right),
    ]);
    for row in rows {
        let spec = row.spec();
        table.row([
            row.id.clone(),
            row.family.clone(),
            format::count(spec.params().unique),
            row.layers.to_string(),
            row.hidden.to_string(),
            format!("{} {}/{}", row.attention_kind(), row.q_heads, row.kv_heads),
            row.max_context.to_string(),
            format::bytes(spec.weight_bytes(WeightFormat::Q4_0)),
            format::bytes(spec.kv_elements_per_token() * KvFormat::F16.bytes()),
        ]);
    }
    print(&table.render(Style::of_stdout()))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows one model.
///
/// # Errors
/// If there is none of that name.
pub fn show(args: &ModelArgs) -> Result<ExitCode, Failure> {
    let row = catalogue::find(&args.model).map_err(|near| unknown(&args.model, &near, ""))?;
    let spec = row.spec();
    let plan = Plan::compile(&spec, KvFormat::F16, |tensor| tensor.format_in(args.format));
    if args.json {
        let depth = u64::from(args.depth);
        let step = |site| step_json(site, depth);
        print_json(&OneJson {
            schema: "slmscope.model/1",
            model: json(row),
            formats: WeightFormat::ALL
                .into_iter()
                .map(|format| FormatJson { format, weight_bytes: spec.weight_bytes(format) })
                .collect(),
            kv_bytes_per_token: KvJson {
                f16: spec.kv_elements_per_token() * KvFormat::F16.bytes(),
                f32: spec.kv_elements_per_token() * KvFormat::F32.bytes(),
            },
            plan: plan.sites.iter().map(step).collect(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&describe(row, &plan, args, Style::of_stdout()))?;
    Ok(ExitCode::SUCCESS)
}

fn step_json(site: &OpSite, depth: u64) -> StepJson<'_> {
    StepJson {
        id: site.id,
        module: site.module.as_str(),
        name: &site.name,
        kind: site.kind.as_str(),
        layer: site.layer,
        bytes: site.cost.bytes(1, depth),
        flops: site.cost.flops(1, depth),
    }
}

fn describe(row: &Row, plan: &Plan, args: &ModelArgs, style: Style) -> String {
    let spec = row.spec();
    let params = spec.params();
    let mut text = String::new();
    let _ = writeln!(text, "{} ({}, {})", style.bold(&row.id), row.family, row.released);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {} {value}", style.dim(&format!("{name:<12}")));
    };
    line("weights of", row.hugging_face.clone());
    line("shape", format!("{} layers, hidden {}, FFN {}", row.layers, row.hidden, row.ffn));
    line(
        "attention",
        format!(
            "{}, {} query and {} key/value heads of {}",
            row.attention_kind(),
            row.q_heads,
            row.kv_heads,
            row.head_dim
        ),
    );
    line("vocabulary", format!("{}{}", row.vocab, if row.tied_head { ", tied to the LM head" } else { "" }));
    line(
        "parameters",
        format!(
            "stored {}, unique {}, multiplied per token {}",
            params.stored, params.unique, params.multiplied
        ),
    );
    let sizes = [WeightFormat::F16, WeightFormat::Q8_0, WeightFormat::Q4K, WeightFormat::Q4_0];
    let sizes = sizes.map(|format| format!("{format} {}", format::bytes(spec.weight_bytes(format))));
    line("bytes", sizes.join(", "));
    let kv = |tokens: u64| format::bytes(spec.kv_elements_per_token() * KvFormat::F16.bytes() * tokens);
    let max = u64::from(row.max_context);
    let contexts: Vec<u64> = [2048, 8192].into_iter().filter(|&tokens| tokens < max).chain([max]).collect();
    let at: Vec<_> = contexts.iter().map(|&tokens| format!("{} at {tokens}", kv(tokens))).collect();
    line("KV cache f16", format!("{} per token; {} tokens", kv(1), at.join(", ")));
    line("facts from", row.facts_from.clone());
    if let Some(remark) = &row.remark {
        line("remark", remark.clone());
    }
    if let Some(differs) = &row.paper_differs {
        line("the survey", differs.clone());
    }
    let depth = u64::from(args.depth);
    let _ =
        writeln!(text, "\n{}", style.bold(&format!("one token after {depth}, weights in {}", args.format)));
    let mut table = Table::new(&[
        ("module", Align::Left),
        ("ops", Align::Right),
        ("bytes", Align::Right),
        ("FLOPs", Align::Right),
    ]);
    let mut total = (0, 0, 0);
    for module in Module::ALL {
        let of = || plan.sites.iter().filter(|site| site.module == module);
        let bytes: u64 = of().map(|site| site.cost.bytes(1, depth)).sum();
        let flops: u64 = of().map(|site| site.cost.flops(1, depth)).sum();
        total = (total.0 + of().count(), total.1 + bytes, total.2 + flops);
        table.row([
            module.as_str().to_owned(),
            of().count().to_string(),
            format::traffic(bytes as f64),
            format::count(flops),
        ]);
    }
    table.row([
        "all".to_owned(),
        total.0.to_string(),
        format::traffic(total.1 as f64),
        format::count(total.2),
    ]);
    text.push_str(&table.render(style));
    let _ = writeln!(text, "\n{}", style.bold("ops of the first layer, and those outside of layers"));
    let mut table = Table::new(&[
        ("op", Align::Left),
        ("kind", Align::Left),
        ("weights", Align::Left),
        ("bytes", Align::Right),
        ("FLOPs", Align::Right),
    ]);
    for site in plan.sites.iter().filter(|site| site.layer.is_none_or(|layer| layer == 0)) {
        let weights: Vec<_> = site
            .weights
            .iter()
            .map(|weight| format!("{}x{} {}", weight.shape[0], weight.shape[1], weight.format))
            .collect();
        table.row([
            site.name.clone(),
            site.kind.as_str().to_owned(),
            weights.join(", "),
            format::traffic(site.cost.bytes(1, depth) as f64),
            format::count(site.cost.flops(1, depth)),
        ]);
    }
    text.push_str(&table.render(style));
    text
}
