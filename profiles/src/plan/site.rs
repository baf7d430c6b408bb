//! Op sites: what a step is called, what it touches, and the rules for its bytes and FLOPs.

use serde::{Deserialize, Serialize};

use super::{Rows, SiteId};
use crate::format::WeightFormat;

/// The part of a model that a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// Token lookup.
    Embedding,
    /// Norm, projections, positions, cache and attention proper, up to the residual addition.
    Attention,
    /// Norm, projections, convolution and recurrence, up to the residual addition.
    Recurrent,
    /// Norm, projections and activation, up to the residual addition.
    Ffn,
    /// Final norm and logits.
    LmHead,
    /// Another one, of a newer build.
    #[serde(other)]
    Other,
}

impl Module {
    /// All modules that this build knows, in the order of the computation.
    pub const ALL: [Self; 5] = [Self::Embedding, Self::Attention, Self::Recurrent, Self::Ffn, Self::LmHead];

    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Recurrent => "recurrent",
            Self::Ffn => "ffn",
            Self::LmHead => "lm_head",
            Self::Other => "other",
        }
    }
}

/// The kind of work a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the field's own words")]
pub enum OpKind {
    Embed,
    Norm,
    Matmul,
    Rope,
    KvAppend,
    Attention,
    Activation,
    Elementwise,
    Conv1d,
    Scan,
    Softcap,
    /// Another one, of a newer build.
    #[serde(other)]
    Other,
}

impl OpKind {
    /// All kinds that this build knows.
    pub const ALL: [Self; 11] = [
        Self::Embed,
        Self::Norm,
        Self::Matmul,
        Self::Rope,
        Self::KvAppend,
        Self::Attention,
        Self::Activation,
        Self::Elementwise,
        Self::Conv1d,
        Self::Scan,
        Self::Softcap,
    ];

    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Norm => "norm",
            Self::Matmul => "matmul",
            Self::Rope => "rope",
            Self::KvAppend => "kv_append",
            Self::Attention => "attention",
            Self::Activation => "activation",
            Self::Elementwise => "elementwise",
            Self::Conv1d => "conv1d",
            Self::Scan => "scan",
            Self::Softcap => "softcap",
            Self::Other => "other",
        }
    }
}

/// How a weight is stored, for those who read a plan: a format that this build computes with, or the word that a newer
/// build has for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SiteFormat {
    /// One of our own.
    Known(WeightFormat),
    /// A word that this build does not know, as it was read.
    Other(Box<str>),
}

impl SiteFormat {
    /// As spelled in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(format) => format.name(),
            Self::Other(word) => word,
        }
    }

    /// Whether these are floating-point numbers without blocks; `None` where it is not known.
    pub fn is_plain(&self) -> Option<bool> {
        match self {
            Self::Known(format) => {
                Some(matches!(format, WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16))
            }
            Self::Other(_) => None,
        }
    }
}

impl From<WeightFormat> for SiteFormat {
    fn from(format: WeightFormat) -> Self {
        Self::Known(format)
    }
}

/// A weight that a site reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteWeight {
    /// Name as in the file.
    pub tensor: String,
    /// How it is stored.
    pub format: SiteFormat,
    /// Outputs and inputs.
    pub shape: [u32; 2],
}

/// One step of the plan, named. Sent once per plan; events refer to it by `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpSite {
    /// Index within the plan.
    pub id: SiteId,
    /// Block it belongs to; `None` before the first and after the last.
    pub layer: Option<u32>,
    /// Part of the model.
    pub module: Module,
    /// Stable name, the same in every layer: `attn.qkv_proj`.
    pub name: String,
    /// Kind of work.
    pub kind: OpKind,
    /// Weights that are read.
    pub weights: Vec<SiteWeight>,
    /// What else the step does that other engines do in steps of their own.
    pub fuses: Vec<String>,
    /// Its bytes and FLOPs.
    pub cost: Cost,
}

/// Whether the rows of all matrices that `sites` multiply with are whole blocks of `format`; `None` if there are none.
pub fn divides_all(sites: &[OpSite], format: WeightFormat) -> Option<bool> {
    let products = sites.iter().filter(|site| site.kind == OpKind::Matmul);
    // A vector of weights is a bias.
    let matrices = products.flat_map(|site| &site.weights).filter(|weight| weight.shape[0] > 1);
    matrices.map(|weight| format.divides(weight.shape[1].into())).reduce(|all, one| all && one)
}

/// Bytes and FLOPs of a step as a rule of chunk length and context. A multiplication with an addition is 2
/// FLOPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes read or written once per chunk: weights and recurrent state.
    pub bytes: u64,
    /// Bytes read or written for each row.
    pub bytes_per_row: u64,
    /// Bytes read for each cached token that the chunk attends to, counted once for all its rows.
    pub bytes_per_cached: u64,
    /// FLOPs for each row.
    pub flops_per_row: u64,
    /// FLOPs for each pair of a row and a token that it attends to.
    pub flops_per_attended: u64,
    /// Tokens that a row attends to at most; `None` for all.
    pub window: Option<u32>,
    /// Rows that are computed.
    pub rows: Rows,
}

impl Cost {
    /// Bytes for a chunk of `rows` rows after `context` tokens.
    pub fn bytes(&self, rows: u64, context: u64) -> u64 {
        let rows = self.computed(rows);
        let seen = match self.window {
            // The first row sees `window` tokens back, the last one sees itself.
            Some(window) => context.saturating_add(rows).min(u64::from(window).saturating_sub(1) + rows),
            None => context.saturating_add(rows),
        };
        let per_row = self.bytes_per_row.saturating_mul(rows);
        self.bytes.saturating_add(per_row).saturating_add(self.bytes_per_cached.saturating_mul(seen))
    }

    /// FLOPs for a chunk of `rows` rows after `context` tokens.
    pub fn flops(&self, rows: u64, context: u64) -> u64 {
        let per_row = self.flops_per_row.saturating_mul(self.computed(rows));
        let attended = attended(rows, context, self.window);
        per_row.saturating_add(self.flops_per_attended.saturating_mul(attended))
    }

    fn computed(&self, rows: u64) -> u64 {
        match self.rows {
            Rows::All => rows,
            Rows::Last => rows.min(1),
        }
    }
}

/// Sum over the rows of a chunk of the tokens that each attends to, itself included: row `i` after
/// `context` tokens sees `context + i + 1`, or `window` if that is less.
pub fn attended(rows: u64, context: u64, window: Option<u32>) -> u64 {
    // The rows from the first that would see more than the window on are cut to it.
    let uncut = window.map_or(rows, |window| u64::from(window).saturating_sub(context).min(rows));
    let cut = (rows - uncut).saturating_mul(window.map_or(0, u64::from));
    let triangle = uncut.saturating_mul(uncut.saturating_add(1)) / 2;
    uncut.saturating_mul(context).saturating_add(triangle).saturating_add(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::format::KvFormat;
    use crate::plan::Plan;

    #[test]
    fn attended_counts_what_a_loop_counts() {
        for rows in 0..12 {
            for context in 0..12 {
                for window in [None, Some(1), Some(3), Some(7), Some(100)] {
                    let slow: u64 = (0..rows)
                        .map(|row| (context + row + 1).min(window.map_or(u64::MAX, u64::from)))
                        .sum();
                    assert_eq!(attended(rows, context, window), slow, "{rows} {context} {window:?}");
                }
            }
        }
    }
    #[test]
    fn the_plan_says_whether_k_quants_hold_its_matrices() {
        for row in catalogue::rows() {
            let spec = row.spec();
            let plan = Plan::compile(&spec, KvFormat::F16, |tensor| tensor.format_in(WeightFormat::Q4_0));
            let holds = divides_all(&plan.sites, WeightFormat::Q4K);
            assert_eq!(holds, Some(spec.f16_bytes(WeightFormat::Q4K) == 0), "{}", row.id);
            assert_eq!(divides_all(&plan.sites, WeightFormat::F16), Some(true), "{}", row.id);
        }
        assert_eq!(divides_all(&[], WeightFormat::Q4K), None);
    }
}
