//! `slmscope model` of a file or directory, from its header.

use std::fmt::Write;

use slmscope_profiles::catalogue::{AttentionKind, PerLayer};
use slmscope_profiles::display;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::{DecoderSpec, Mixer};

use super::words;
use crate::style::Style;

/// Figures that may differ between layers; heads are those of the layers with attention.
pub struct Figures {
    pub q_heads: PerLayer,
    pub kv_heads: PerLayer,
    pub head_dim: PerLayer,
    pub ffn: PerLayer,
}

impl Figures {
    /// Those of `spec`.
    pub fn of(spec: &DecoderSpec) -> Self {
        let heads = |mixer: &Mixer| match mixer {
            Mixer::Attention(attention) => Some([attention.q_heads, attention.kv_heads, attention.head_dim]),
            Mixer::Latent(latent) => Some([latent.heads, latent.heads, latent.query_dim()]),
            Mixer::Recurrent(_) => None,
        };
        let all: Vec<_> = spec.layers.iter().filter_map(|layer| heads(&layer.mixer)).collect();
        let each = |which: usize| PerLayer::Each(all.iter().map(|figures| figures[which]).collect());
        Self {
            q_heads: each(0),
            kv_heads: each(1),
            head_dim: each(2),
            ffn: PerLayer::Each(spec.layers.iter().map(|layer| layer.ffn.dim).collect()),
        }
    }
}

/// The facts about the model called `name`; `remark` says what is special about reading its files.
pub fn facts(name: &str, spec: &DecoderSpec, plan: &Plan, remark: Option<&str>, style: Style) -> String {
    let mut text = format!("{}\n", style.bold(name));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {}", style.dim(&format!("{name:<12}")), style.wrap(value, 15));
    };
    let (params, figures) = (spec.params(), Figures::of(spec));
    let [q_heads, kv_heads, head_dim] =
        [&figures.q_heads, &figures.kv_heads, &figures.head_dim].map(words::range);
    line(
        "shape",
        &format!("{} layers, hidden {}, context {}", spec.layers.len(), spec.hidden, spec.max_context),
    );
    let kind = AttentionKind::of(spec);
    line("attention", &format!("{kind}, {q_heads} query and {kv_heads} key/value heads of {head_dim}"));
    line("FFN", &format!("width {}", words::range(&figures.ffn)));
    let tied = if spec.head.tied { ", tied to the LM head" } else { "" };
    line("vocabulary", &format!("{}{tied}", spec.vocab));
    line("parameters", &words::parameters(&params));
    let of = |format: WeightFormat| {
        let tensors = plan.tensors.iter().filter(|(_, stored)| *stored == format);
        tensors.map(|(tensor, stored)| tensor.bytes(*stored)).sum::<u64>()
    };
    let formats =
        WeightFormat::ALL.into_iter().map(|format| (format, of(format))).filter(|(_, bytes)| *bytes > 0);
    let formats: Vec<_> =
        formats.map(|(format, bytes)| format!("{format} {}", display::bytes(bytes))).collect();
    line("bytes", &format!("{}: {}", display::bytes(plan.weight_bytes()), formats.join(", ")));
    let per_token = KvFormat::F16.bytes(spec.kv_elements_per_token());
    line("KV cache f16", &words::caches(spec, per_token));
    if spec.state_bytes() > 0 {
        line("state", &format!("{} in f32, whatever the context", display::bytes(spec.state_bytes())));
    }
    if let Some(remark) = remark {
        line("remark", remark);
    }
    text
}
