//! Norms of rows and of groups within rows.

use candle_core::{D, Result, Tensor};
use slmscope_profiles::plan::{HeadNormPart, NormWeights};
use slmscope_profiles::spec::{Gain, NormKind};

use super::CandleExecutor;

impl CandleExecutor {
    /// Normalises the last dimension of `input`.
    pub(super) fn norm(&self, input: &Tensor, weights: &NormWeights) -> Result<Tensor> {
        let norm = &weights.norm;
        let gain = weights.gain.map(|gain| self.weight(gain).vector());
        if let (NormKind::Rms, Gain::Plain, Some(gain), None) = (norm.kind, norm.gain, gain, weights.bias) {
            return candle_nn::ops::rms_norm(input, gain, norm.eps);
        }
        let centred = match norm.kind {
            NormKind::Rms => input.clone(),
            NormKind::Layer => input.broadcast_sub(&input.mean_keepdim(D::Minus1)?)?,
        };
        let square = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(norm.eps))?;
        let mut normed = centred.broadcast_div(&square.sqrt()?)?;
        if let Some(gain) = gain {
            let gain = if norm.gain == Gain::PlusOne { (gain + 1.0)? } else { gain.clone() };
            normed = normed.broadcast_mul(&gain)?;
        }
        match weights.bias {
            Some(bias) => normed.broadcast_add(self.weight(bias).vector()),
            None => Ok(normed),
        }
    }

    /// Normalises the leading groups of each row of `input`, `[rows, width]`.
    pub(super) fn head_norm(&self, input: &Tensor, part: &HeadNormPart) -> Result<Tensor> {
        let (rows, width) = input.dims2()?;
        let (groups, length) = (part.groups as usize, part.width as usize);
        let leading = input.narrow(1, 0, groups * length)?.contiguous()?;
        let normed = self.norm(&leading.reshape((rows * groups, length))?, &part.weights)?;
        let normed = normed.reshape((rows, groups * length))?;
        if groups * length == width {
            return Ok(normed);
        }
        let rest = input.narrow(1, groups * length, width - groups * length)?;
        Tensor::cat(&[&normed, &rest], 1)
    }
}
