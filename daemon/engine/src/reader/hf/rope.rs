//! Rotary embeddings: `rope_parameters` in current configurations, `rope_theta`, `rope_scaling`,
//! `partial_rotary_factor`, `rotary_pct` and similar keys in older ones.

use slmscope_profiles::spec::{Rope, RopePairing, RopeScaling};

use super::config::Config;
use super::keys;
use crate::error::LoadError;
use crate::reader::gguf::long_rope_magnitude;
use crate::sanitize::sanitize;

/// What a family assumes where its configuration is silent.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) theta: f32,
    /// Share of a head that turns.
    pub(super) share: f32,
}

impl Config<'_> {
    /// The rotary embedding of heads of `head_dim`; `kind` names the layers' part where configurations have
    /// one for each type of layer.
    pub(super) fn rope(
        &self,
        head_dim: u32,
        context: u32,
        kind: Option<&'static str>,
        defaults: Defaults,
    ) -> Result<Rope, LoadError> {
        let today = self.part(&["rope_parameters"])?;
        let today = match (today, kind) {
            (Some(all), Some(kind)) => all.part(&[kind])?.or(Some(all)),
            (today, _) => today,
        };
        let sources = [today, Some(*self)];
        let float = |keys: &[&'static str]| -> Result<Option<f32>, LoadError> {
            for source in sources.iter().flatten() {
                if let Some(found) = source.float(keys)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        };
        let theta = float(keys::THETA)?.unwrap_or(defaults.theta);
        let share = float(keys::TURNED_SHARE)?.unwrap_or(defaults.share);
        if !(share > 0.0 && share <= 1.0) {
            return Err(
                self.problem(format!("partial_rotary_factor is {share}, more than 0 to 1 is expected"))
            );
        }
        let scaling = match (today, self.part(&["rope_scaling"])?) {
            (Some(today), _) => self.scaling(today, context)?,
            (None, Some(scaling)) => self.scaling(scaling, context)?,
            (None, None) => RopeScaling::None,
        };
        Ok(Rope { theta, dim: (head_dim as f32 * share) as u32, pairing: RopePairing::Halves, scaling })
    }

    /// Whether scaling "dynamic" leaves all positions of the longest context as they are: the base of a longer
    /// sequence of `n` tokens grows by `(factor * n / limit - (factor - 1))^(dim / (dim - 2))`, which is 1 up to
    /// the limit, and no run is longer (transformers, `modeling_rope_utils.py`). Some families have another
    /// limit than the longest context, or a factor for all lengths (`alpha`).
    fn is_plain_within(&self, part: Config<'_>, context: u32) -> Result<bool, LoadError> {
        let key = "original_max_position_embeddings";
        let limit = part.number(&[key])?.or(self.number(&[key])?);
        Ok(limit.is_none_or(|limit| limit >= context) && part.find(&["alpha"]).is_none())
    }

    /// The scaling that `part` describes. The original context may be in the whole configuration instead.
    fn scaling(&self, part: Config<'_>, context: u32) -> Result<RopeScaling, LoadError> {
        let need = |key: &'static str| -> Result<f32, LoadError> {
            part.float(&[key])?.ok_or_else(|| self.problem(format!("rope scaling has no {key}")))
        };
        let original = || -> Result<u32, LoadError> {
            let key = "original_max_position_embeddings";
            let inner = part.number(&[key])?;
            Ok(inner.or(self.number(&[key])?).unwrap_or(context))
        };
        match part.text(&["rope_type", "type"])?.unwrap_or("default") {
            "default" => Ok(RopeScaling::None),
            "dynamic" if self.is_plain_within(part, context)? => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: need("factor")? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: need("factor")?,
                low: need("low_freq_factor")?,
                high: need("high_freq_factor")?,
                original_context: original()?,
            }),
            "longrope" | "su" => {
                let list = |key: &'static str| {
                    part.floats(&[key])?.ok_or_else(|| self.problem(format!("rope scaling has no {key}")))
                };
                let original_context = original()?;
                // How far the context grew is taken from the context if it is stated, else from the factor.
                let grown = part.float(&["factor"])?.filter(|_| context <= original_context);
                let grown = grown.map_or(context, |factor| (original_context as f32 * factor) as u32);
                let stated = part.float(&["attention_factor"])?;
                Ok(RopeScaling::LongRope {
                    short: list("short_factor")?,
                    long: list("long_factor")?,
                    original_context,
                    magnitude: stated.unwrap_or_else(|| long_rope_magnitude(grown, original_context)),
                })
            }
            other => {
                Err(self
                    .unsupported(format!("rope scaling {}", sanitize(other)), "choose a model without it"))
            }
        }
    }
}
