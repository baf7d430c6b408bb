//! OpenLM's configurations, as its wrapper for transformers writes them (mlfoundations/open_lm, `open_lm/hf`
//! and `open_lm/model.py`): the fields of its `Params`.

use super::{NormStyle, OTHER};
use crate::error::LoadError;
use crate::reader::hf::config::Config;
use crate::sanitize::sanitize;

/// Feed-forwards are as wide as a multiple of this.
const WIDTHS: u32 = 256;

/// Refuses other parts than those of DCLM, which OpenLM can be put together from as well.
pub(super) fn refuse_features(config: Config<'_>) -> Result<(), LoadError> {
    for (key, known) in [
        ("ffn_type", &["swiglu", "swiglu_torch"][..]),
        // The other kinds turn pairs of neighbours, or heads in place of positions.
        ("positional_embedding_type", &["rotary"]),
    ] {
        if let Some(found) = config.text(&[key])?.filter(|found| !known.contains(found)) {
            return Err(config.unsupported(format!("{key} = {}", sanitize(found)), OTHER));
        }
    }
    Ok(())
}

/// All norms are of one kind.
pub(super) fn norm_style(config: Config<'_>) -> Result<NormStyle, LoadError> {
    match config.text(&["norm_type"])?.unwrap_or("default_layer_norm") {
        "default_layer_norm" | "lp_layer_norm" => Ok(NormStyle::Layer),
        "gain_only_layer_norm" | "gain_only_lp_layer_norm" => Ok(NormStyle::LayerGain),
        "no_wb_layer_norm" => Ok(NormStyle::Bare),
        "rms_norm" => Ok(NormStyle::Rms),
        other => Err(config.unsupported(format!("norm_type = {}", sanitize(other)), OTHER)),
    }
}

/// Two thirds of four times the stream, rounded up.
pub(super) fn ffn_width(hidden: u32) -> u32 {
    let exact = u64::from(hidden) * 8 / 3;
    u32::try_from(exact.next_multiple_of(WIDTHS.into())).unwrap_or(u32::MAX)
}
