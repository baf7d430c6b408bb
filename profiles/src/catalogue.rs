//! The models that slmscope knows by name: real shapes, so that synthetic weights cost what real ones cost.
//!
//! Each file under `profiles/models/` describes one family as a list of `[[model]]` tables; [`Row`] documents
//! the fields. Unknown fields are refused when the files are read, which a test does for all of them.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, Layer, Mixer, Norm, Positions, QkNorm,
    Residual, Rope, RopePairing, RopeScaling,
};

/// The model that runs when none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m";

const FILES: [&str; 15] = [
    include_str!("../models/amd-llama.toml"),
    include_str!("../models/danube2.toml"),
    include_str!("../models/danube3.toml"),
    include_str!("../models/fox.toml"),
    include_str!("../models/gemma3.toml"),
    include_str!("../models/llama3.toml"),
    include_str!("../models/minima.toml"),
    include_str!("../models/mobilellama.toml"),
    include_str!("../models/mobilellm.toml"),
    include_str!("../models/qwen1.5.toml"),
    include_str!("../models/qwen2.toml"),
    include_str!("../models/sheared-llama.toml"),
    include_str!("../models/smollm.toml"),
    include_str!("../models/smollm2.toml"),
    include_str!("../models/tinyllama.toml"),
];

/// One model, as its file describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name in commands.
    pub id: String,
    /// Models of one family share their architecture.
    pub family: String,
    /// Repository with the original weights.
    pub hugging_face: String,
    /// Year and month.
    pub released: String,
    /// Where the survey (arXiv 2409.15790) has it: `v1-table` for the 59 of its first edition, `v3-table`,
    /// `leaderboard`, `fig1`; `None` for models it does not have.
    #[serde(default)]
    pub survey: Option<String>,
    /// Blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub q_heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Feed-forward width.
    pub ffn: u32,
    /// Feed-forward function.
    pub activation: Activation,
    /// Epsilon of all norms.
    pub norm_eps: f32,
    /// Rotary base.
    pub rope_theta: f32,
    /// Rotary scaling as Llama 3.1 defines it.
    #[serde(default)]
    pub rope_llama3: Option<Llama3Rope>,
    /// What makes a block a Gemma 3 block.
    #[serde(default)]
    pub gemma3: Option<Gemma3>,
    /// Longest context, tokens.
    pub max_context: u32,
    /// Rows of the embedding table.
    pub vocab: u32,
    /// The LM head is the embedding table.
    pub tied_head: bool,
    /// Biases on query, key and value projections.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Where the shape was read.
    pub facts_from: String,
    /// What a reader should know; says so where a fact is uncertain.
    #[serde(default)]
    pub remark: Option<String>,
    /// Where the survey's table or figures give another figure than the real configuration.
    #[serde(default)]
    pub paper_differs: Option<String>,
}

/// Parameters of [`RopeScaling::Llama3`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at RopeScaling::Llama3")]
pub struct Llama3Rope {
    pub factor: f32,
    pub low: f32,
    pub high: f32,
    pub original_context: u32,
}

/// Gemma 3 (arXiv 2503.19786): norms on both sides of each branch, normalised heads, scaled embeddings, and
/// windowed layers between full ones.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gemma3 {
    /// Tokens that a windowed layer sees.
    pub window: u32,
    /// Every so many layers one sees all tokens.
    pub global_every: u32,
    /// Rotary base of windowed layers.
    pub local_rope_theta: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    model: Vec<Row>,
}

/// All models, by family and size.
pub fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let parse = |text| toml::from_str::<Family>(text).expect("a test reads all embedded files").model;
        FILES.into_iter().flat_map(parse).collect()
    })
}

/// The model of that name. A name without one: the nearest ids, best first.
///
/// # Errors
/// Up to three ids that the caller may have meant; empty if none is near.
pub fn find(id: &str) -> Result<&'static Row, Vec<&'static str>> {
    let wanted = id.to_ascii_lowercase();
    if let Some(row) = rows().iter().find(|row| row.id == wanted) {
        return Ok(row);
    }
    let mut near: Vec<(usize, &str)> = rows()
        .iter()
        .map(|row| {
            let distance = edit_distance(&wanted, &row.id);
            // Part of a name is a better hint than a few equal letters.
            (if wanted.len() > 2 && row.id.contains(&wanted) { 0 } else { distance }, row.id.as_str())
        })
        .filter(|&(distance, _)| distance <= wanted.chars().count().max(4) / 2)
        .collect();
    near.sort_unstable();
    Err(near.into_iter().take(3).map(|(_, id)| id).collect())
}

/// Levenshtein distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl Row {
    /// What the model computes. Pairs for rotary positions are those of its GGUF file.
    pub fn spec(&self) -> DecoderSpec {
        let norm = Norm::rms(self.norm_eps);
        let scaling = self.rope_llama3.map_or(RopeScaling::None, |rope| RopeScaling::Llama3 {
            factor: rope.factor,
            low: rope.low,
            high: rope.high,
            original_context: rope.original_context,
        });
        let adjacent = self.gemma3.is_none() && !self.qkv_bias;
        let pairing = if adjacent { RopePairing::Adjacent } else { RopePairing::Halves };
        let layer = |index: u32| {
            let local = self.gemma3.filter(|gemma| !(index + 1).is_multiple_of(gemma.global_every));
            let rope = Rope {
                theta: local.map_or(self.rope_theta, |gemma| gemma.local_rope_theta),
                dim: self.head_dim,
                pairing,
                scaling: scaling.clone(),
            };
            let positions = Positions::Rope(rope);
            Layer {
                residual: Residual::PreNorm,
                residual_scale: None,
                attn_norm: norm,
                mixer: Mixer::Attention(Attention {
                    qkv_bias: self.qkv_bias,
                    qk_norm: self.gemma3.map(|_| QkNorm::Head(norm)),
                    window: local.map(|gemma| gemma.window),
                    ..Attention::plain(self.q_heads, self.kv_heads, self.head_dim, positions)
                }),
                attn_post_norm: self.gemma3.map(|_| norm),
                ffn_norm: Some(norm),
                ffn: Ffn::gated(self.ffn, self.activation),
                ffn_post_norm: self.gemma3.map(|_| norm),
            }
        };
        let scale = self.gemma3.map(|_| (self.hidden as f32).sqrt());
        DecoderSpec {
            vocab: self.vocab,
            hidden: self.hidden,
            max_context: self.max_context,
            embedding: Embedding { scale, ..Embedding::plain(self.hidden) },
            layers: (0..self.layers).map(layer).collect(),
            final_norm: Some(norm),
            head: Head::plain(self.tied_head),
        }
    }

    /// `MHA`, `GQA` or `MQA`.
    pub fn attention_kind(&self) -> &'static str {
        match self.kv_heads {
            1 if self.q_heads > 1 => "MQA",
            kv if kv == self.q_heads => "MHA",
            _ => "GQA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{KvFormat, WeightFormat};
    use crate::plan::Plan;

    #[test]
    fn every_row_is_a_valid_model_with_a_name_of_its_own() {
        let mut ids = std::collections::HashSet::new();
        for row in rows() {
            assert!(ids.insert(&row.id), "{} twice", row.id);
            row.spec().validate().unwrap_or_else(|e| panic!("{}: {e}", row.id));
        }
        assert!(find(DEFAULT_MODEL).is_ok());
    }

    /// Figures of the survey's data: parameters counted by hand from the real configurations, and the sizes
    /// that llama.cpp prints.
    #[test]
    fn arithmetic_agrees_with_published_counts() {
        for (id, unique, multiplied, q4_0_mib, kv_per_token) in [
            ("tinyllama-1.1b", 1_100_048_384, 1_034_420_224, 590.4, 22_528),
            ("qwen1.5-1.8b", 1_836_828_672, 1_525_415_936, 986.2, 196_608),
            ("qwen2-0.5b", 494_032_768, 493_961_216, 265.3, 12_288),
            ("llama-3.2-1b", 1_235_814_400, 1_235_746_816, 663.2, 32_768),
            ("smollm2-135m", 134_515_008, 134_479_872, 72.3, 23_040),
            ("mobilellm-125m", 124_635_456, 124_600_320, 67.0, 23_040),
        ] {
            let spec = find(id).unwrap().spec();
            let params = spec.params();
            assert_eq!((params.unique, params.multiplied), (unique, multiplied), "{id}");
            let mib = spec.weight_bytes(WeightFormat::Q4_0) as f64 / f64::from(1 << 20);
            assert!((mib - q4_0_mib).abs() < 0.06, "{id}: {mib} MiB");
            assert_eq!(spec.kv_elements_per_token() * KvFormat::F16.bytes(), kv_per_token, "{id}");
        }
    }

    #[test]
    fn a_decode_step_reads_the_multiplied_weights_and_the_cache() {
        let spec = find("smollm2-135m").unwrap().spec();
        let plan = Plan::compile(&spec, KvFormat::F16, |t| t.format_in(WeightFormat::Q4_0));
        let context = 100;
        let bytes: u64 = plan.sites.iter().map(|site| site.cost.bytes(1, context)).sum();
        let row = WeightFormat::Q4_0.bytes(1, 576);
        // Weights once, the looked-up row, the cache read with the new token in it, the new token written.
        assert_eq!(bytes, plan.weight_bytes() + row + plan.kv_bytes(context + 1) + plan.kv_bytes(1));
        let flops: u64 = plan.sites.iter().map(|site| site.cost.flops(1, 0)).sum();
        let products = 2 * spec.params().multiplied;
        assert!(flops > products && flops < products + products / 50, "{flops} {products}");
        assert!(plan.steps.len() <= 400, "{}", plan.steps.len());
    }

    #[test]
    fn windowed_layers_alternate_with_full_ones() {
        let spec = find("gemma3-270m").unwrap().spec();
        let full: Vec<_> =
            (0..18).filter(|&i| spec.layers[i].mixer.attention().unwrap().window.is_none()).collect();
        assert_eq!(full, [5, 11, 17]);
        let plan = Plan::compile(&spec, KvFormat::F16, |t| t.format_in(WeightFormat::Q4_0));
        assert_eq!(plan.ropes.len(), 2);
        assert!(plan.steps.len() <= 400);
    }

    #[test]
    fn a_wrong_name_brings_near_ones() {
        assert_eq!(find("smolm2-135m").unwrap_err()[0], "smollm2-135m");
        assert_eq!(find("SmolLM2-135M").unwrap().id, "smollm2-135m");
        assert!(find("tinyllama").unwrap_err().contains(&"tinyllama-1.1b"));
        assert!(find("zzzzzzzzzzzzzzzzzzzz").unwrap_err().is_empty());
    }
}
