//! Products of parts of the input: block diagonals of recurrent layers, heads of latent attention.

use slmscope_profiles::plan::op::LatentShape;
use slmscope_profiles::plan::{Projection, SlotId};

use super::slots::{Shape, Slots};
use super::weight::{Weights, widened};
use super::workers::{Lane, Workers};
use crate::kernels::{Form, Matrix, Output};
use crate::ops::elementwise::{add, combine};
use crate::pool::Parts;

/// `Op::BlockMatMul`
pub(super) fn block_matmul(
    workers: &mut Workers,
    weights: &Weights,
    slots: &mut Slots,
    blocks: usize,
    input: SlotId,
    projections: &[Projection],
) {
    let shape = slots.shape(input);
    let length = shape.width / blocks;
    for part in projections {
        let mut buffer = slots.take(part.out);
        let output = Output::new(&mut buffer[..shape.rows * shape.width], shape.width);
        let groups = Groups {
            matrix: weights.matrix(part.weight),
            count: blocks,
            input: slots.read(input),
            rows: shape.rows,
            bias: part.bias.map(|bias| weights.small(bias)),
        };
        groups.multiply(workers, output, length, |block| block * length);
        slots.put(part.out, buffer, shape);
    }
}

/// `Op::LatentQuery`
pub(super) fn latent_query(
    workers: &mut Workers,
    weights: &Weights,
    slots: &mut Slots,
    weight: u32,
    shape: &LatentShape,
    (q, out): (SlotId, SlotId),
) {
    let [heads, rank, nope, turned, value] =
        [shape.heads, shape.kv_rank, shape.nope_dim, shape.rope_dim, shape.value_dim].map(|dim| dim as usize);
    let matrix = weights.matrix(weight);
    let (rows, width) = (slots.shape(q).rows, heads * (rank + turned));
    let mut buffer = slots.take(out);
    let output = Output::new(&mut buffer[..rows * width], width);
    let queries = slots.read(q);
    let (simd, kernels) = (workers.simd, workers.kernels);
    let lanes = Parts::new(&mut workers.lanes);
    workers.pool.run(heads, |head, lane| {
        let start = head * (rank + turned);
        #[expect(unsafe_code, reason = "chunks write columns of their own, threads have lanes of their own")]
        // SAFETY: heads do not overlap, and no two chunks that run at once have the same lane.
        let (mut out, lane) =
            unsafe { (output.columns(start..start + rank + turned), lanes.part(lane..lane + 1)) };
        let factors = &mut lane[0].row[..nope * rank];
        widened(kernels, matrix, head * (nope + value), factors);
        for token in 0..rows {
            let query = &queries[(token * heads + head) * (nope + turned)..][..nope + turned];
            let (latent, rest) = out.row_mut(token).split_at_mut(rank);
            combine(simd, &query[..nope], factors, latent);
            rest.copy_from_slice(&query[nope..]);
        }
    });
    slots.put(out, buffer, Shape { rows, width });
}

/// `Op::LatentValue`
pub(super) fn latent_value(
    workers: &mut Workers,
    weights: &Weights,
    slots: &mut Slots,
    weight: u32,
    shape: &LatentShape,
    (mixed, out): (SlotId, SlotId),
) {
    let [heads, nope, value] = [shape.heads, shape.nope_dim, shape.value_dim].map(|dim| dim as usize);
    let (rows, width) = (slots.shape(mixed).rows, heads * value);
    let mut buffer = slots.take(out);
    let output = Output::new(&mut buffer[..rows * width], width);
    let groups =
        Groups { matrix: weights.matrix(weight), count: heads, input: slots.read(mixed), rows, bias: None };
    groups.multiply(workers, output, value, |head| head * (nope + value) + nope);
    slots.put(out, buffer, Shape { rows, width });
}

/// Products of parts of the input, each with rows of the matrix of its own.
struct Groups<'a> {
    matrix: Matrix<'a>,
    /// How many parts an input row has, one after the other, each as wide as the matrix.
    count: usize,
    input: &'a [f32],
    rows: usize,
    bias: Option<&'a [f32]>,
}

impl Groups<'_> {
    /// Multiplies part `g` with the `width` rows of the matrix from `first(g)` on, into columns `g * width` and
    /// on.
    fn multiply(
        &self,
        workers: &mut Workers,
        output: Output<'_>,
        width: usize,
        first: impl Fn(usize) -> usize + Sync,
    ) {
        let &Self { matrix, count, input, rows, bias } = self;
        let length = matrix.columns;
        let (simd, kernels) = (workers.simd, workers.kernels);
        let lanes = Parts::new(&mut workers.lanes);
        workers.pool.run(count, |group, lane| {
            let columns = group * width..(group + 1) * width;
            #[expect(
                unsafe_code,
                reason = "chunks write columns of their own, threads have lanes of their own"
            )]
            // SAFETY: groups do not overlap, and no two chunks that run at once have the same lane.
            let (mut out, lane) = unsafe { (output.columns(columns.clone()), lanes.part(lane..lane + 1)) };
            let Lane { panels, row, groups, .. } = &mut lane[0];
            let activations = groups.of_mut(Form::of(matrix.format));
            activations.reshape(rows, length, [matrix.format]);
            let height = activations.tile_rows();
            for (number, tile) in activations.tiles_mut().iter_mut().enumerate() {
                let gathered = &mut row[..tile.rows() * length];
                for (row, gathered) in gathered.chunks_exact_mut(length).enumerate() {
                    let start = ((number * height + row) * count + group) * length;
                    gathered.copy_from_slice(&input[start..start + length]);
                }
                tile.fill(kernels, gathered);
            }
            let start = first(group);
            kernels.matmul(matrix, start..start + width, activations, &mut out, panels);
            if let Some(bias) = bias {
                (0..rows).for_each(|row| add(simd, out.row_mut(row), &bias[columns.clone()]));
            }
        });
    }
}
