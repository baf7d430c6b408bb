//! Rotary embeddings of GGUF files.

use slmscope_profiles::spec::{Rope, RopePairing, RopeScaling};

use super::keys::Keys;
use super::unsupported;
use crate::error::LoadError;
use crate::gguf::GgmlType;

/// Tensors that are read into the spec: divisors of the angles.
pub(super) const FACTORS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];

impl Keys<'_> {
    /// The rotary embedding of heads whose turned part is at most `head_dim` wide.
    pub(super) fn rope(&self, pairing: RopePairing, head_dim: u32) -> Result<Rope, LoadError> {
        Ok(Rope {
            theta: self.float("rope.freq_base")?.unwrap_or(10_000.0),
            dim: self.number("rope.dimension_count")?.unwrap_or(head_dim),
            pairing,
            scaling: self.scaling()?,
        })
    }

    fn scaling(&self) -> Result<RopeScaling, LoadError> {
        let [plain, short, long] = FACTORS.map(|name| self.divisors(name));
        match (plain?, short?, long?) {
            (Some(factors), None, None) => return Ok(RopeScaling::Factors(factors)),
            (None, Some(short), Some(long)) => return self.long_rope(short, long),
            (None, None, None) => {}
            _ => {
                let what = format!("{} together with one of {}, {}", FACTORS[0], FACTORS[1], FACTORS[2]);
                return Err(unsupported(self.gguf, what, "convert the model again"));
            }
        }
        let kind = self.gguf.get_str(&self.key("rope.scaling.type"))?;
        // The name of the key before scaling had types.
        let old = self.float("rope.scale_linear")?;
        let factor = self.float("rope.scaling.factor")?.or(old).unwrap_or(1.0);
        match kind {
            Some("linear") | None if factor > 0.0 && (factor - 1.0).abs() > f32::EPSILON => {
                Ok(RopeScaling::Linear { factor })
            }
            Some("linear" | "none") | None if factor > 0.0 => Ok(RopeScaling::None),
            Some("linear" | "none") | None => {
                Err(self.unsupported("rope.scaling.factor", &factor.to_string(), "the file is damaged"))
            }
            Some(other) => Err(self.unsupported("rope.scaling.type", other, "choose a model without it")),
        }
    }

    fn long_rope(&self, short: Vec<f32>, long: Vec<f32>) -> Result<RopeScaling, LoadError> {
        let context = self.need("context_length")?;
        let original_context = self.number("rope.scaling.original_context_length")?.unwrap_or(context);
        let stated = self.float("rope.scaling.attn_factor")?.filter(|factor| *factor > 0.0);
        let magnitude = stated.unwrap_or_else(|| long_rope_magnitude(context, original_context));
        Ok(RopeScaling::LongRope { short, long, original_context, magnitude })
    }

    fn divisors(&self, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        let Some(tensor) = self.gguf.tensor(name) else { return Ok(None) };
        if tensor.ggml_type() != GgmlType::F32 {
            let what = format!("tensor {name} in {}", tensor.ggml_type());
            return Err(unsupported(self.gguf, what, "convert the model again"));
        }
        let values = self.gguf.data(tensor).chunks_exact(4);
        Ok(Some(values.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()))
    }
}

/// LongRoPE's factor on cosines and sines for a context that grew from `original` to `context`:
/// `sqrt(1 + ln(context / original) / ln(original))` (Ding et al., arXiv 2402.13753).
pub(crate) fn long_rope_magnitude(context: u32, original: u32) -> f32 {
    let (context, original) = (f64::from(context), f64::from(original));
    if context <= original || original < 2.0 {
        return 1.0;
    }
    (1.0 + (context / original).ln() / original.ln()).sqrt() as f32
}
