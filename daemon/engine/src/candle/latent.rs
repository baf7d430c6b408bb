//! The two products of latent attention that map queries to the latent space, and values from it.

use candle_core::{Result, Tensor};
use slmscope_profiles::plan::op::LatentShape;

use super::by_row;

/// `[heads, rows, nope_dim + rope_dim]` queries as `[heads, rows, kv_rank + rope_dim]`.
pub(super) fn query(matrix: &Tensor, shape: &LatentShape, q: &Tensor) -> Result<Tensor> {
    let nope = shape.nope_dim as usize;
    let keys = by_heads(matrix, shape)?.narrow(1, 0, nope)?.contiguous()?;
    let latent = q.narrow(2, 0, nope)?.contiguous()?.matmul(&keys)?;
    let turned = q.narrow(2, nope, shape.rope_dim as usize)?;
    Tensor::cat(&[&latent, &turned], 2)?.contiguous()
}

/// `[heads, rows, kv_rank]` results as `[rows, heads * value_dim]`.
pub(super) fn value(matrix: &Tensor, shape: &LatentShape, mixed: &Tensor) -> Result<Tensor> {
    let values = by_heads(matrix, shape)?.narrow(1, shape.nope_dim as usize, shape.value_dim as usize)?;
    by_row(&mixed.matmul(&values.transpose(1, 2)?.contiguous()?)?)
}

/// The matrix as `[heads, nope_dim + value_dim, kv_rank]`.
fn by_heads(matrix: &Tensor, shape: &LatentShape) -> Result<Tensor> {
    let rows = (shape.nope_dim + shape.value_dim) as usize;
    matrix.reshape((shape.heads as usize, rows, shape.kv_rank as usize))
}
