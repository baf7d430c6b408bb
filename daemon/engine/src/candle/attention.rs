//! Causal attention of a chunk over a layer's cache, full or windowed.

use candle_core::{Device, Result, Tensor};
use slmscope_profiles::plan::op::AttentionOp;
use slmscope_profiles::spec::alibi_slopes;

use super::cache::LayerCache;
use super::{by_row, softcapped};

/// Where a chunk lies: `rows` tokens after `context` cached ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) context: usize,
    pub(super) rows: usize,
}

impl Span {
    /// First position that any row sees, and how many from there on: with a window the keys before the first
    /// row's window are not read.
    pub(super) fn seen(self, window: Option<u32>) -> (usize, usize) {
        let start = window.map_or(0, |window| (self.context + 1).saturating_sub(window as usize));
        (start, self.context + self.rows - start)
    }
}

/// The masks of one chunk: 0 where a row sees a key, negative infinity elsewhere. Layers with the same window
/// share theirs.
#[derive(Default)]
pub(super) struct Masks {
    made: Vec<(Option<u32>, Tensor)>,
}

impl Masks {
    /// Forgets the masks of the chunk before.
    pub(super) fn clear(&mut self) {
        self.made.clear();
    }

    /// `[rows, keys]`; `None` for a single row, which sees all keys that are read.
    fn get(&mut self, span: Span, window: Option<u32>) -> Result<Option<Tensor>> {
        if span.rows == 1 {
            return Ok(None);
        }
        if let Some((_, mask)) = self.made.iter().find(|(made, _)| *made == window) {
            return Ok(Some(mask.clone()));
        }
        let (start, keys) = span.seen(window);
        let mut mask = vec![f32::NEG_INFINITY; span.rows * keys];
        for (row, line) in mask.chunks_exact_mut(keys).enumerate() {
            let last = span.context + row;
            let first = window.map_or(0, |window| (last + 1).saturating_sub(window as usize));
            line[first - start..=last - start].fill(0.0);
        }
        let mask = Tensor::from_vec(mask, (span.rows, keys), &Device::Cpu)?;
        self.made.push((window, mask.clone()));
        Ok(Some(mask))
    }
}

/// Attention of `[q_heads, rows, key_dim]` queries; gives `[rows, q_heads * value_dim]`.
///
/// The query heads that share a key/value head become rows of one product, so keys and values are read where
/// they are and never repeated.
pub(super) fn attend(
    q: &Tensor,
    cache: &LayerCache,
    op: &AttentionOp,
    span: Span,
    masks: &mut Masks,
) -> Result<Tensor> {
    let (q_heads, rows, key_dim) = q.dims3()?;
    let (start, keys) = span.seen(op.window);
    let (k, v) = cache.read(start, keys, op.value_dim as usize)?;
    let kv_heads = op.kv_heads as usize;
    let grouped = (kv_heads, q_heads / kv_heads * rows, key_dim);
    let q = scaled(q, op, span)?.reshape(grouped)?;
    let mut scores = q.matmul(&k.transpose(1, 2)?)?.reshape((q_heads, rows, keys))?;
    if let Some(cap) = op.softcap {
        scores = softcapped(&scores, cap)?;
    }
    if op.alibi {
        scores = scores.broadcast_add(&slopes_by_distance(op.q_heads, span, start, keys)?)?;
    }
    if let Some(mask) = masks.get(span, op.window)? {
        scores = scores.broadcast_add(&mask)?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?.reshape((grouped.0, grouped.1, keys))?;
    let mixed = weights.matmul(&v)?.reshape((q_heads, rows, op.value_dim as usize))?;
    by_row(&mixed)
}

/// Queries times their factor.
fn scaled(q: &Tensor, op: &AttentionOp, span: Span) -> Result<Tensor> {
    if op.log_n.is_none() {
        return q * f64::from(op.scale);
    }
    let scales = (0..span.rows).map(|row| op.query_scale((span.context + row) as u32)).collect();
    q.broadcast_mul(&Tensor::from_vec(scales, (1, span.rows, 1), &Device::Cpu)?)
}

/// What ALiBi takes off the scores: `[q_heads, rows, keys]`, keys from position `start` on.
fn slopes_by_distance(q_heads: u32, span: Span, start: usize, keys: usize) -> Result<Tensor> {
    let slopes = Tensor::from_vec(alibi_slopes(q_heads), (q_heads as usize, 1, 1), &Device::Cpu)?;
    let distance =
        |row: usize| (start..start + keys).map(move |key| key as f32 - (span.context + row) as f32);
    let distances = (0..span.rows).flat_map(distance).collect();
    slopes.broadcast_mul(&Tensor::from_vec(distances, (1, span.rows, keys), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_each_row_itself_and_its_window() {
        let span = Span { context: 3, rows: 3 };
        let seen = |window| {
            let mask = Masks::default().get(span, window).unwrap().unwrap().to_vec2::<f32>().unwrap();
            let row = |line: &Vec<f32>| line.iter().map(|v| if *v == 0.0 { '1' } else { '0' }).collect();
            mask.iter().map(row).collect::<Vec<String>>()
        };
        assert_eq!(seen(None), ["111100", "111110", "111111"]);
        // Positions 2 to 5 are read.
        assert_eq!(seen(Some(2)), ["1100", "0110", "0011"]);
        assert_eq!(seen(Some(1)), ["100", "010", "001"]);
        assert_eq!(seen(Some(9)), ["111100", "111110", "111111"]);
    }

    #[test]
    fn one_row_needs_no_mask_and_reads_its_window_only() {
        let span = Span { context: 10, rows: 1 };
        assert!(Masks::default().get(span, Some(4)).unwrap().is_none());
        assert_eq!(span.seen(Some(4)), (7, 4));
        assert_eq!(span.seen(None), (0, 11));
    }
}
