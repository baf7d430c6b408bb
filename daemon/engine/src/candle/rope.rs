//! Rotary tables for the positions of a run, and their application.

use candle_core::{Device, Result, Tensor};
use slmscope_profiles::spec::{Lengths, Rope, RopePairing};

/// Cosines and sines of `[total, dim / 2]` angles. Sized by the run's tokens: tables for a model's
/// maximum would take seconds to fill and more memory than the model.
pub(super) struct RopeTables {
    cos: Tensor,
    sin: Tensor,
    dim: usize,
    pairing: RopePairing,
}

impl RopeTables {
    pub(super) fn new(rope: &Rope, lengths: Lengths) -> Result<Self> {
        let frequencies = rope.frequencies(lengths);
        let shape = (lengths.total as usize, frequencies.len());
        let magnitude = rope.magnitude();
        let table = |function: fn(f32) -> f32| {
            let angle = |position: u32, frequency: f32| position as f32 * frequency;
            let row = |position| {
                frequencies.iter().map(move |frequency| magnitude * function(angle(position, *frequency)))
            };
            Tensor::from_vec((0..lengths.total).flat_map(row).collect(), shape, &Device::Cpu)
        };
        Ok(Self {
            cos: table(f32::cos)?,
            sin: table(f32::sin)?,
            dim: rope.dim as usize,
            pairing: rope.pairing,
        })
    }

    /// Bytes of the tables for `capacity` positions.
    pub(super) fn bytes(rope: &Rope, capacity: u64) -> u64 {
        4 * capacity * u64::from(rope.dim)
    }

    /// Turns elements from `offset` on of `[heads, rows, head_dim]` whose first row is at position `context`.
    pub(super) fn turn(&self, heads: &Tensor, offset: usize, context: usize) -> Result<Tensor> {
        let (_, rows, head_dim) = heads.dims3()?;
        let cos = self.cos.narrow(0, context, rows)?;
        let sin = self.sin.narrow(0, context, rows)?;
        let apply = match self.pairing {
            RopePairing::Halves => candle_nn::rotary_emb::rope,
            RopePairing::Adjacent => candle_nn::rotary_emb::rope_i,
        };
        let turn = |part: &Tensor| apply(&part.unsqueeze(0)?, &cos, &sin)?.squeeze(0);
        if self.dim == head_dim {
            return turn(heads);
        }
        let end = offset + self.dim;
        let turned = turn(&heads.narrow(2, offset, self.dim)?.contiguous()?)?;
        let (before, after) = (heads.narrow(2, 0, offset)?, heads.narrow(2, end, head_dim - end)?);
        Tensor::cat(&[&before, &turned, &after], 2)?.contiguous()
    }
}
