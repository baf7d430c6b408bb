//! `models --json` and `model --json`.

use serde::Serialize;
use slmscope_profiles::catalogue::{AttentionKind, PaperMemory, PerLayer, Row, SurveyList};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::plan::site::{Module, OpSite};
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::ParamCounts;

use super::files::Figures;
use super::words;

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    /// This and the next four come from the catalogue; a file does not have them.
    family: Option<&'a str>,
    survey: &'a [SurveyList],
    hugging_face: Option<&'a str>,
    released: Option<&'a str>,
    published: Option<&'a str>,
    params: ParamCounts,
    layers: u32,
    hidden: u32,
    /// This and the next three are null where layers differ; then `per_layer` has them.
    q_heads: Option<u32>,
    kv_heads: Option<u32>,
    head_dim: Option<u32>,
    ffn: Option<u32>,
    per_layer: Option<Layers>,
    vocab: u32,
    max_context: u32,
    tied_head: bool,
    attention: AttentionKind,
    facts_from: Option<&'a str>,
    remark: Option<&'a str>,
    uncertain: Option<&'a str>,
    paper_differs: Option<&'a str>,
}

#[derive(Serialize)]
struct Layers {
    q_heads: Vec<u32>,
    kv_heads: Vec<u32>,
    ffn: Vec<u32>,
}

/// Where a description comes from.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// The catalogue.
    Row(&'a Row),
    /// Files: the model's name and a remark on how they are read.
    Files(&'a str, Option<&'a str>),
}

/// `models --json`.
#[derive(Serialize)]
pub struct Models<'a> {
    schema: &'static str,
    models: Vec<Model<'a>>,
}

/// `model --json`.
#[derive(Serialize)]
pub struct One<'a> {
    schema: &'static str,
    #[serde(flatten)]
    model: Model<'a>,
    formats: Vec<InFormat>,
    kv_bytes_per_token: Kv,
    state_bytes: u64,
    contexts: Vec<Context>,
    /// Null for files.
    paper_memory: Option<PaperMemory>,
    /// Format of the plan; null for files, whose tensors keep their formats.
    format: Option<WeightFormat>,
    weight_bytes: u64,
    depth: u32,
    modules: Vec<ModuleCost>,
    plan: Vec<PlanStep<'a>>,
}

#[derive(Serialize)]
struct InFormat {
    format: WeightFormat,
    weight_bytes: u64,
    /// What of these is f16, since the format's blocks do not divide its rows.
    f16_bytes: u64,
}

#[derive(Serialize)]
struct Kv {
    f16: u64,
    f32: u64,
}

#[derive(Serialize)]
struct Context {
    tokens: u64,
    kv_bytes_f16: u64,
    kv_bytes_f32: u64,
}

#[derive(Serialize)]
struct ModuleCost {
    module: Module,
    ops: usize,
    bytes: u64,
    flops: u64,
}

#[derive(Serialize)]
struct PlanStep<'a> {
    id: u16,
    module: Module,
    name: &'a str,
    kind: &'static str,
    layer: Option<u32>,
    bytes: u64,
    flops: u64,
}

/// What `models --json` prints.
pub fn list<'a>(rows: &[&'a Row]) -> Models<'a> {
    Models { schema: "slmscope.models/1", models: rows.iter().map(|row| model(row)).collect() }
}

/// The figure, if all layers have the same one.
fn same(figures: &PerLayer) -> Option<u32> {
    Some(figures.range()).filter(|(least, most)| least == most).map(|(figure, _)| figure)
}

fn model(row: &Row) -> Model<'_> {
    let all = |figures: &PerLayer| (0..row.layers).map(|layer| figures.at(layer)).collect();
    let (q, kv, ffn) = (&row.attention.q_heads, &row.attention.kv_heads, &row.ffn.dim);
    let figures = [q, kv, ffn].map(same);
    let differ = figures.iter().any(Option::is_none);
    Model {
        id: &row.id,
        family: Some(&row.family),
        survey: &row.survey,
        hugging_face: Some(&row.hugging_face),
        released: Some(&row.released),
        published: Some(&row.published),
        params: row.params(),
        layers: row.layers,
        hidden: row.hidden,
        q_heads: figures[0],
        kv_heads: figures[1],
        head_dim: Some(row.attention.head_dim),
        ffn: figures[2],
        per_layer: differ.then(|| Layers { q_heads: all(q), kv_heads: all(kv), ffn: all(ffn) }),
        vocab: row.vocab,
        max_context: row.max_context,
        tied_head: row.head.tied,
        attention: row.attention_kind(),
        facts_from: Some(&row.facts_from),
        remark: row.remark.as_deref(),
        uncertain: row.uncertain.as_deref(),
        paper_differs: row.paper_differs.as_deref(),
    }
}

/// A model in files.
fn in_files<'a>(name: &'a str, remark: Option<&'a str>, spec: &DecoderSpec) -> Model<'a> {
    let Figures { q_heads, kv_heads, head_dim, ffn } = Figures::of(spec);
    let figures = [&q_heads, &kv_heads, &ffn].map(same);
    let differ = figures.iter().any(Option::is_none);
    let all = |figures: &PerLayer| (0..spec.layers.len() as u32).map(|layer| figures.at(layer)).collect();
    Model {
        id: name,
        family: None,
        survey: &[],
        hugging_face: None,
        released: None,
        published: None,
        params: spec.params(),
        layers: spec.layers.len() as u32,
        hidden: spec.hidden,
        q_heads: figures[0],
        kv_heads: figures[1],
        head_dim: same(&head_dim),
        ffn: figures[2],
        per_layer: differ.then(|| Layers {
            q_heads: all(&q_heads),
            kv_heads: all(&kv_heads),
            ffn: all(&ffn),
        }),
        vocab: spec.vocab,
        max_context: spec.max_context,
        tied_head: spec.head.tied,
        attention: AttentionKind::of(spec),
        facts_from: None,
        remark,
        uncertain: None,
        paper_differs: None,
    }
}

/// What `model --json` prints, the plan for weights in `format` and one token after `depth`.
pub fn one<'a>(
    which: Which<'a>,
    spec: &DecoderSpec,
    plan: &'a Plan,
    format: Option<WeightFormat>,
    depth: u32,
) -> One<'a> {
    let kv = |tokens: u64, format: KvFormat| format.bytes(spec.kv_elements_per_token()) * tokens;
    let context = |tokens| Context {
        tokens,
        kv_bytes_f16: kv(tokens, KvFormat::F16),
        kv_bytes_f32: kv(tokens, KvFormat::F32),
    };
    let weights = |format| InFormat {
        format,
        weight_bytes: spec.weight_bytes(format),
        f16_bytes: spec.f16_bytes(format),
    };
    One {
        schema: "slmscope.model/1",
        model: match which {
            Which::Row(row) => model(row),
            Which::Files(name, remark) => in_files(name, remark, spec),
        },
        formats: WeightFormat::ALL.into_iter().map(weights).collect(),
        kv_bytes_per_token: Kv { f16: kv(1, KvFormat::F16), f32: kv(1, KvFormat::F32) },
        state_bytes: spec.state_bytes(),
        contexts: words::contexts(spec).into_iter().map(context).collect(),
        paper_memory: match which {
            Which::Row(row) => Some(row.paper_memory()),
            Which::Files(..) => None,
        },
        format,
        weight_bytes: plan.weight_bytes(),
        depth,
        modules: Module::ALL.map(|module| module_cost(plan, module, depth)).into_iter().collect(),
        plan: plan.sites.iter().map(|site| step(site, depth)).collect(),
    }
}

fn module_cost(plan: &Plan, module: Module, depth: u32) -> ModuleCost {
    let of = || plan.sites.iter().filter(|site| site.module == module);
    ModuleCost {
        module,
        ops: of().count(),
        bytes: of().map(|site| site.cost.bytes(1, depth.into())).sum(),
        flops: of().map(|site| site.cost.flops(1, depth.into())).sum(),
    }
}

fn step(site: &OpSite, depth: u32) -> PlanStep<'_> {
    PlanStep {
        id: site.id,
        module: site.module,
        name: &site.name,
        kind: site.kind.as_str(),
        layer: site.layer,
        bytes: site.cost.bytes(1, depth.into()),
        flops: site.cost.flops(1, depth.into()),
    }
}
