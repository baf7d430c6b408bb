//! The table of a model as it is written. [`Row::spec`] makes a spec of it.
//!
//! A field of the kind `every` selects the layers `every - 1`, `2 every - 1` and so on.

use serde::{Deserialize, Serialize};

use crate::spec::{Activation, LearnedPositions, NormKind, Residual, RopePairing, RopeScaling};

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name in commands.
    pub id: String,
    /// Models of one family share their architecture, and a file.
    pub family: String,
    /// Repository with the original weights.
    pub hugging_face: String,
    /// Year and month.
    pub released: String,
    /// Where the survey (arXiv 2409.15790) has it; empty for models it does not have.
    #[serde(default)]
    pub survey: Vec<SurveyList>,
    /// Parameters as checkpoint or authors give them: a count, or after `~` a rounded size. A tied head counts
    /// once.
    pub published: String,
    /// Blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Rows of the embedding table.
    pub vocab: u32,
    /// Longest context, tokens.
    pub max_context: u32,
    /// All norms, those of queries and keys included.
    pub norm: NormRow,
    /// From ids to the residual stream.
    #[serde(default)]
    pub embedding: EmbeddingRow,
    /// The order of norms, branches and sums.
    #[serde(default)]
    pub residual: ResidualRow,
    /// The token mixer, or that of some layers if [`recurrent`](Self::recurrent) is there.
    pub attention: AttentionRow,
    /// Rotary positions; `None` where the model has others.
    #[serde(default)]
    pub rope: Option<RopeRow>,
    /// Positions enter the scores by ALiBi.
    #[serde(default)]
    pub alibi: bool,
    /// The token mixer of the layers without attention.
    #[serde(default)]
    pub recurrent: Option<RecurrentRow>,
    /// The channel mixer.
    pub ffn: FfnRow,
    /// From the residual stream to logits.
    pub head: HeadRow,
    /// Where the figures were read.
    pub facts_from: String,
    /// A remark for readers.
    #[serde(default)]
    pub remark: Option<String>,
    /// Which of the figures are not certain, and why.
    #[serde(default)]
    pub uncertain: Option<String>,
    /// Where the survey's table or figures differ from the real configuration, which is used here.
    #[serde(default)]
    pub paper_differs: Option<String>,
}

/// The parts of the survey that name models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SurveyList {
    /// The table of the first edition, 59 models.
    V1Table,
    /// The table of the third edition.
    V3Table,
    /// The authors' leaderboard.
    Leaderboard,
    /// Figure 1, the timeline.
    Fig1,
}

impl SurveyList {
    /// As spelled in files and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Table => "v1-table",
            Self::V3Table => "v3-table",
            Self::Leaderboard => "leaderboard",
            Self::Fig1 => "fig1",
        }
    }
}

/// A figure of each layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerLayer {
    /// The same in all.
    Same(u32),
    /// One a layer (OpenELM).
    Each(Vec<u32>),
}

impl PerLayer {
    /// The figure of a layer; 0, which no valid spec has, for one beyond the list.
    pub fn at(&self, layer: u32) -> u32 {
        match self {
            Self::Same(figure) => *figure,
            Self::Each(figures) => figures.get(layer as usize).copied().unwrap_or(0),
        }
    }

    /// The smallest and the largest of all layers.
    pub fn range(&self) -> (u32, u32) {
        match self {
            Self::Same(figure) => (*figure, *figure),
            Self::Each(figures) => {
                (figures.iter().copied().min().unwrap_or(0), figures.iter().copied().max().unwrap_or(0))
            }
        }
    }
}

/// See [`Norm`](crate::spec::Norm).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormRow {
    /// What is divided out.
    pub kind: NormKind,
    /// Added to the mean square or variance.
    pub eps: f32,
    /// There are learned factors.
    #[serde(default = "yes")]
    pub gain: bool,
    /// There are learned summands; norms of queries and keys have none.
    #[serde(default)]
    pub bias: bool,
}

fn yes() -> bool {
    true
}

/// See [`Embedding`](crate::spec::Embedding).
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingRow {
    /// Width of the table; `None` for that of the stream.
    pub width: Option<u32>,
    /// Factor on embedded tokens.
    pub scale: Option<f32>,
    /// Learned positions that are added.
    pub positions: Option<LearnedPositions>,
    /// There is a norm on the sum.
    pub norm: bool,
}

/// See [`Residual`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResidualRow {
    /// The form.
    pub form: Residual,
    /// Factor on branches.
    pub scale: Option<f32>,
    /// Branches have norms behind them as well.
    pub post_norms: bool,
}

impl Default for ResidualRow {
    fn default() -> Self {
        Self { form: Residual::PreNorm, scale: None, post_norms: false }
    }
}

/// See [`Attention`](crate::spec::Attention).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionRow {
    /// Query heads.
    pub q_heads: PerLayer,
    /// Key and value heads.
    pub kv_heads: PerLayer,
    /// Elements of a query.
    pub head_dim: u32,
    /// Queries, keys and values have biases.
    #[serde(default)]
    pub qkv_bias: bool,
    /// The output has a bias.
    #[serde(default)]
    pub out_bias: bool,
    /// Queries, keys and values are cut to ± this.
    #[serde(default)]
    pub clip: Option<f32>,
    /// Normalisation of queries and keys.
    #[serde(default)]
    pub qk_norm: Option<QkNormRow>,
    /// A limit on what a token sees.
    #[serde(default)]
    pub window: Option<WindowRow>,
    /// Factor on scores; `None` for `1 / sqrt(head_dim)`.
    #[serde(default)]
    pub scale: Option<f32>,
    /// Cap of scores.
    #[serde(default)]
    pub softcap: Option<f32>,
    /// Trained context beyond which queries grow, tokens.
    #[serde(default)]
    pub log_n: Option<u32>,
    /// GGUF files hold queries, keys and values as one matrix.
    #[serde(default)]
    pub fused_qkv: bool,
    /// Keys and values are kept compressed.
    #[serde(default)]
    pub latent: Option<LatentRow>,
}

/// See [`QkNorm`](crate::spec::QkNorm).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNormRow {
    /// Each head by itself.
    Head,
    /// All heads as one row.
    All,
}

/// Which files hold a tied head as a matrix of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondCopy {
    /// The original checkpoint and what was made of it (Qwen1.5-0.5B).
    Checkpoint,
    /// GGUF files as llama.cpp wrote them in the survey's time (BLOOM).
    Gguf,
}

/// A limit on the tokens that a query sees.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRow {
    /// How many, itself included.
    pub tokens: u32,
    /// Every Nth layer sees all tokens; `None` for no such layer.
    #[serde(default)]
    pub full_every: Option<u32>,
}

/// See [`LatentAttention`](crate::spec::LatentAttention).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentRow {
    /// Width of the latent query.
    pub q_rank: u32,
    /// Width of the latent row of keys and values.
    pub kv_rank: u32,
    /// Elements of a query that are not turned.
    pub nope_dim: u32,
    /// Elements of a query that are.
    pub rope_dim: u32,
    /// Elements of a value.
    pub value_dim: u32,
}

/// See [`Rope`](crate::spec::Rope).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeRow {
    /// Base of the angles.
    pub theta: f32,
    /// Elements of a head that turn; `None` for all.
    #[serde(default)]
    pub dim: Option<u32>,
    /// Which elements form a pair in its GGUF file, or in the original where there is none.
    #[serde(default = "halves")]
    pub pairing: RopePairing,
    /// Change of the angles for longer contexts.
    #[serde(default = "unscaled")]
    pub scaling: RopeScaling,
    /// Base of the angles, unscaled, in layers with a window; `None` for the same as elsewhere.
    #[serde(default)]
    pub windowed_theta: Option<f32>,
    /// Every Nth layer uses no positions.
    #[serde(default)]
    pub skip_every: Option<u32>,
}

fn halves() -> RopePairing {
    RopePairing::Halves
}

fn unscaled() -> RopeScaling {
    RopeScaling::None
}

/// See [`Recurrent`](crate::spec::Recurrent).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecurrentRow {
    /// Elements of the state.
    pub width: u32,
    /// Tokens that the convolution sees.
    pub conv: u32,
    /// Blocks of the gates.
    pub blocks: u32,
    /// Every Nth layer has attention instead.
    pub attention_every: u32,
}

/// See [`Ffn`](crate::spec::Ffn).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FfnRow {
    /// Width between the projections.
    pub dim: PerLayer,
    /// Whether there is a gate.
    pub gated: bool,
    /// The function.
    pub activation: Activation,
    /// Projections have biases.
    #[serde(default)]
    pub bias: bool,
    /// All layers use the first one's weights.
    #[serde(default)]
    pub shared: bool,
}

/// See [`Head`](crate::spec::Head).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRow {
    /// It is the embedding table.
    pub tied: bool,
    /// Tied, but some files hold it a second time.
    #[serde(default)]
    pub second_copy: Option<SecondCopy>,
    /// Logits have biases.
    #[serde(default)]
    pub bias: bool,
    /// Factor on logits.
    #[serde(default)]
    pub scale: Option<f32>,
    /// Cap of logits.
    #[serde(default)]
    pub softcap: Option<f32>,
}
