//! What a spec must satisfy before anything is computed from it.

use super::{
    Attention, DecoderSpec, Gain, LatentAttention, Layer, Mixer, Norm, Positions, QkNorm, Recurrent,
    Residual, Rope, RopeScaling,
};

/// A contradiction inside a spec: the reader's source describes no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecError {
    /// The figure at fault, as the spec's fields are named.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl SpecError {
    /// The figure at fault, within its layer if it is one of a layer: `attention.head_dim`.
    pub fn field_of_layer(&self) -> &str {
        let of_layer = self.field.strip_prefix("layers[").and_then(|rest| rest.split_once("]."));
        of_layer.map_or(&self.field, |(_, within)| within)
    }
}

/// Layers beyond any model of this size class; a reader that builds a spec from a header stops here.
pub const MAX_LAYERS: u32 = 1024;

// The largest figures that any model of this size class comes near to; what lies beyond is a damaged file.
const MAX_VOCAB: u32 = 4 << 20;
const MAX_WIDTH: u32 = 1 << 17;
const MAX_FFN: u32 = 1 << 20;
const MAX_HEADS: u32 = 1024;
const MAX_HEAD_DIM: u32 = 4096;
const MAX_CONTEXT: u32 = 1 << 28;
const MAX_CONV: u32 = 64;

type Checked = Result<(), SpecError>;

/// The place in the spec that is being checked.
#[derive(Clone, Copy)]
struct At<'a>(&'a str);

impl At<'_> {
    fn fail(self, field: &str, problem: String) -> Checked {
        let dot = if self.0.is_empty() || field.is_empty() { "" } else { "." };
        Err(SpecError { field: format!("{}{dot}{field}", self.0), problem })
    }

    fn within(self, field: &str, found: u32, most: u32) -> Checked {
        if (1..=most).contains(&found) {
            return Ok(());
        }
        self.fail(field, format!("{found} is outside 1 to {most}"))
    }

    fn positive(self, field: &str, found: Option<f32>) -> Checked {
        match found.filter(|found| !(found.is_finite() && *found > 0.0)) {
            Some(found) => self.fail(field, format!("{found} is no number above 0")),
            None => Ok(()),
        }
    }

    fn finite(self, field: &str, found: Option<f32>) -> Checked {
        match found.filter(|found| !(found.is_finite() && *found != 0.0)) {
            Some(found) => self.fail(field, format!("{found} is no usable factor")),
            None => Ok(()),
        }
    }

    fn norm(self, field: &str, norm: Norm) -> Checked {
        if !(norm.eps.is_finite() && norm.eps >= 0.0) {
            return self.fail(field, format!("epsilon {}", norm.eps));
        }
        if norm.bias && norm.gain == Gain::Absent {
            return self.fail(field, "has biases but no gains".to_owned());
        }
        Ok(())
    }

    fn rope(self, rope: &Rope, head_dim: u32) -> Checked {
        if rope.dim == 0 || rope.dim > head_dim || rope.dim % 2 == 1 {
            return self
                .fail("rope.dim", format!("{} of {head_dim} elements cannot turn in pairs", rope.dim));
        }
        self.positive("rope.theta", Some(rope.theta))?;
        let divisors = |field, divisors: &[f32]| {
            let usable = |divisor: &f32| divisor.is_normal() && *divisor > 0.0;
            if divisors.len() == rope.dim as usize / 2 && divisors.iter().all(usable) {
                return Ok(());
            }
            self.fail(field, format!("needs {} divisors above 0, one a pair", rope.dim / 2))
        };
        match &rope.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => self.positive("rope.scaling.factor", Some(*factor)),
            RopeScaling::Factors(factors) => divisors("rope.scaling", factors),
            RopeScaling::LongRope { short, long, original_context, magnitude } => {
                divisors("rope.scaling.short", short)?;
                divisors("rope.scaling.long", long)?;
                self.positive("rope.scaling.magnitude", Some(*magnitude))?;
                self.within("rope.scaling.original_context", *original_context, MAX_CONTEXT)
            }
            RopeScaling::Llama3 { factor, low, high, original_context } => {
                self.positive("rope.scaling.factor", Some(*factor))?;
                self.within("rope.scaling.original_context", *original_context, MAX_CONTEXT)?;
                if low.is_finite() && high.is_finite() && low < high && *low > 0.0 {
                    return Ok(());
                }
                self.fail("rope.scaling", format!("no ramp leads from {low} to {high}"))
            }
            RopeScaling::DynamicNtk { trained_context } => {
                self.within("rope.scaling.trained_context", *trained_context, MAX_CONTEXT)?;
                if rope.dim > 2 {
                    return Ok(());
                }
                self.fail("rope.scaling", "needs more than one pair".to_owned())
            }
        }
    }

    fn attention(self, attention: &Attention) -> Checked {
        let Attention { q_heads, kv_heads, head_dim, .. } = *attention;
        if kv_heads == 0 || q_heads == 0 || q_heads > MAX_HEADS || !q_heads.is_multiple_of(kv_heads) {
            let problem = format!("{q_heads} query heads cannot share {kv_heads} key/value heads");
            return self.fail("", problem);
        }
        self.within("head_dim", head_dim, MAX_HEAD_DIM)?;
        if let Positions::Rope(rope) = &attention.positions {
            self.rope(rope, head_dim)?;
        }
        if let Some(QkNorm::Head(norm) | QkNorm::All(norm)) = &attention.qk_norm {
            self.norm("qk_norm", *norm)?;
            if norm.gain == Gain::Absent {
                return self.fail("qk_norm", "has no gains".to_owned());
            }
        }
        self.positive("clip", attention.clip)?;
        self.positive("softcap", attention.softcap)?;
        self.finite("scale", Some(attention.scale))?;
        if attention.window == Some(0) {
            return self.fail("window", "0 tokens".to_owned());
        }
        match attention.log_n {
            Some(context) if context < 2 => {
                self.fail("log_n", format!("a context of {context} has no scale"))
            }
            _ => Ok(()),
        }
    }

    fn latent(self, latent: &LatentAttention) -> Checked {
        self.within("heads", latent.heads, MAX_HEADS)?;
        self.within("q_rank", latent.q_rank, MAX_WIDTH)?;
        self.within("kv_rank", latent.kv_rank, MAX_HEAD_DIM)?;
        self.within("nope_dim", latent.nope_dim, MAX_HEAD_DIM)?;
        self.within("rope_dim", latent.rope_dim, MAX_HEAD_DIM)?;
        self.within("value_dim", latent.value_dim, MAX_HEAD_DIM)?;
        self.norm("norm", latent.norm)?;
        self.finite("scale", Some(latent.scale))?;
        if latent.rope.dim != latent.rope_dim {
            let problem = format!("{} elements turn, not all {}", latent.rope.dim, latent.rope_dim);
            return self.fail("rope.dim", problem);
        }
        self.rope(&latent.rope, latent.rope_dim)
    }

    fn recurrent(self, recurrent: &Recurrent) -> Checked {
        self.within("width", recurrent.width, MAX_WIDTH)?;
        self.within("conv", recurrent.conv, MAX_CONV)?;
        self.within("blocks", recurrent.blocks, recurrent.width)?;
        if recurrent.width.is_multiple_of(recurrent.blocks) {
            return Ok(());
        }
        self.fail("blocks", format!("{} elements are not {} blocks", recurrent.width, recurrent.blocks))
    }
}

impl DecoderSpec {
    /// Checks that the shapes fit each other, so that arithmetic on them cannot overflow or divide by zero.
    ///
    /// # Errors
    /// Names the first figure that cannot be.
    pub fn validate(&self) -> Result<(), SpecError> {
        let top = At("");
        top.within("vocab", self.vocab, MAX_VOCAB)?;
        top.within("hidden", self.hidden, MAX_WIDTH)?;
        top.within("layers", u32::try_from(self.layers.len()).unwrap_or(u32::MAX), MAX_LAYERS)?;
        top.within("max_context", self.max_context, MAX_CONTEXT)?;
        top.within("embedding.width", self.embedding.width, MAX_WIDTH)?;
        top.finite("embedding.scale", self.embedding.scale)?;
        if let Some(positions) = self.embedding.positions {
            let needed = u64::from(self.max_context) + u64::from(positions.offset);
            if u64::from(positions.rows) < needed {
                let rows = positions.rows;
                let problem = format!("{rows} rows are too few for {needed} positions");
                return top.fail("embedding.positions", problem);
            }
        }
        for norm in [self.embedding.norm, self.final_norm].into_iter().flatten() {
            top.norm("norm", norm)?;
        }
        top.finite("head.scale", self.head.scale)?;
        top.positive("head.softcap", self.head.softcap)?;
        for (index, layer) in self.layers.iter().enumerate() {
            self.validate_layer(index, layer)?;
        }
        Ok(())
    }

    fn validate_layer(&self, index: usize, layer: &Layer) -> Checked {
        let name = format!("layers[{index}]");
        let at = At(&name);
        at.finite("residual_scale", layer.residual_scale)?;
        at.norm("attn_norm", layer.attn_norm)?;
        let others = [layer.ffn_norm, layer.attn_post_norm, layer.ffn_post_norm];
        others.into_iter().flatten().try_for_each(|norm| at.norm("norm", norm))?;
        if layer.ffn_norm.is_none() != (layer.residual == Residual::ParallelSharedNorm) {
            return at.fail("ffn_norm", format!("does not fit residual {:?}", layer.residual));
        }
        let post = layer.attn_post_norm.is_some() || layer.ffn_post_norm.is_some();
        if post && layer.residual != Residual::PreNorm {
            return at.fail("residual", "branches with norms behind them are added one by one".to_owned());
        }
        match &layer.mixer {
            Mixer::Attention(attention) => At(&format!("{name}.attention")).attention(attention)?,
            Mixer::Latent(latent) => At(&format!("{name}.latent")).latent(latent)?,
            Mixer::Recurrent(recurrent) => At(&format!("{name}.recurrent")).recurrent(recurrent)?,
        }
        at.within("ffn.dim", layer.ffn.dim, MAX_FFN)?;
        let Some(shared) = layer.ffn.shared_with else { return Ok(()) };
        let like = |other: &Layer| {
            let (ours, theirs) = (&layer.ffn, &other.ffn);
            theirs.shared_with.is_none()
                && (ours.dim, ours.gated, ours.bias) == (theirs.dim, theirs.gated, theirs.bias)
        };
        if (shared as usize) < index && like(&self.layers[shared as usize]) {
            return Ok(());
        }
        at.fail("ffn.shared_with", format!("layer {shared} has no feed-forward of this shape before it"))
    }
}
