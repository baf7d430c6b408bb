//! Matrix products: the threads share the rows of the weights.

use std::ops::Range;

use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::plan::{Projection, Rows, SlotId};

use super::arena::Buffer;
use super::slots::{Shape, Slots};
use super::weight::Weights;
use super::workers::Workers;
use crate::kernels::{Activations, Columns, Form, Kernels, Matrix, Output, PANEL};
use crate::ops::Simd;
use crate::ops::elementwise::{add, clip};
use crate::pool::{Parts, Pool};

/// Most matrices that one step multiplies its input with.
pub(super) const MAX_PARTS: usize = 8;
/// Chunks that a thread finds on average: more even out the threads, fewer leave longer stretches of memory to
/// read.
const CHUNKS_PER_THREAD: usize = 3;
/// Into how many the last chunk of each thread is cut, so that all are done at nearly the same time.
const LAST_CUTS: usize = 4;
/// The smallest chunk of weights, bytes: reading it takes about a microsecond.
const LEAST_CHUNK: usize = 12 << 10;

/// The input of products, in each form that weights need.
pub(super) struct Inputs {
    plain: Activations,
    quantized: Activations,
}

/// One matrix of a step, ready to be multiplied.
struct Product<'a> {
    matrix: Matrix<'a>,
    bias: Option<&'a [f32]>,
    out: Output<'a>,
    cut: Cut,
}

/// How rows of weights are cut into chunks: `large` ones of `size` rows first, then ones of `small`.
#[derive(Debug, Clone, Copy)]
struct Cut {
    rows: usize,
    size: usize,
    large: usize,
    small: usize,
}

impl Default for Inputs {
    fn default() -> Self {
        Self::new(0, 0, 0)
    }
}

impl Inputs {
    /// Room for `rows` rows of up to so many columns in each form.
    pub(super) fn new(rows: usize, plain: usize, quantized: usize) -> Self {
        Self {
            plain: Activations::new(Form::Plain, if plain > 0 { rows } else { 0 }, plain),
            quantized: Activations::new(Form::Quantized, if quantized > 0 { rows } else { 0 }, quantized),
        }
    }

    /// Bytes that they keep.
    pub(super) fn memory(&self) -> usize {
        self.plain.memory() + self.quantized.memory()
    }

    fn of(&self, form: Form) -> &Activations {
        match form {
            Form::Plain => &self.plain,
            Form::Quantized => &self.quantized,
        }
    }

    pub(super) fn of_mut(&mut self, form: Form) -> &mut Activations {
        match form {
            Form::Plain => &mut self.plain,
            Form::Quantized => &mut self.quantized,
        }
    }
}

/// Fills all tiles, each on one thread.
fn fill(activations: &mut Activations, pool: &mut Pool, kernels: Kernels, input: &[f32]) {
    let height = activations.tile_rows();
    let stretch = height * activations.columns();
    let count = activations.rows().div_ceil(height);
    let tiles = Parts::new(activations.tiles_mut());
    pool.run(count, |tile, _| {
        let input = &input[tile * stretch..((tile + 1) * stretch).min(input.len())];
        #[expect(unsafe_code, reason = "chunks write parts of their own")]
        // SAFETY: a chunk has a tile to itself.
        let tile = unsafe { tiles.part(tile..tile + 1) };
        tile[0].fill(kernels, input);
    });
}

/// Brings the input of products with weights of these formats into the forms that their kernels read.
fn prepare<F: Iterator<Item = WeightFormat>>(
    inputs: &mut Inputs,
    workers: &mut Workers,
    values: &[f32],
    shape: Shape,
    formats: impl Fn() -> F,
) {
    for form in [Form::Plain, Form::Quantized] {
        if formats().any(|format| Form::of(format) == form) {
            let activations = inputs.of_mut(form);
            activations.reshape(shape.rows, shape.width, formats());
            fill(activations, &mut workers.pool, workers.kernels, values);
        }
    }
}

/// `Op::MatMul`
pub(super) fn matmul(
    workers: &mut Workers,
    weights: &Weights,
    inputs: &mut Inputs,
    slots: &mut Slots,
    (input, rows): (SlotId, Rows),
    projections: &[Projection],
    limit: Option<f32>,
) {
    let kernels = workers.kernels;
    let (values, shape) = slots.input(input, rows);
    prepare(inputs, workers, values, shape, || {
        projections.iter().map(|part| weights.matrix(part.weight).format)
    });
    // The results' buffers are taken out of the slots, so that all can be written at the same time.
    let mut buffers: [Buffer<f32>; MAX_PARTS] = std::array::from_fn(|_| Buffer::default());
    for (buffer, part) in buffers.iter_mut().zip(projections) {
        *buffer = slots.take(part.out);
    }
    let threads = workers.pool.threads().get();
    let mut parts: [Option<Product<'_>>; MAX_PARTS] = [const { None }; MAX_PARTS];
    for ((part, buffer), projection) in parts.iter_mut().zip(&mut buffers).zip(projections) {
        let matrix = weights.matrix(projection.weight);
        let count = matrix.bytes.len() / matrix.row_bytes();
        *part = Some(Product {
            matrix,
            bias: projection.bias.map(|bias| weights.small(bias)),
            out: Output::new(&mut buffer[..shape.rows * count], count),
            cut: Cut::new(matrix, count, threads, projections.len()),
        });
    }
    if let Some(last) = parts.iter_mut().flatten().next_back() {
        last.cut.end_in_small_ones(last.matrix, threads);
    }
    let (simd, inputs) = (workers.simd, &*inputs);
    let lanes = Parts::new(&mut workers.lanes);
    let parts = &parts[..projections.len()];
    let chunks = parts.iter().flatten().map(|part| part.cut.chunks()).sum();
    workers.pool.run(chunks, |chunk, lane| {
        let Some((part, chunk)) = find(parts, chunk) else { return };
        let range = part.cut.range(chunk);
        #[expect(unsafe_code, reason = "chunks write columns of their own, threads have lanes of their own")]
        // SAFETY: chunks of a part do not overlap, parts have slots of their own, and no two chunks that run
        // at once have the same lane.
        let (mut out, lane) = unsafe { (part.out.columns(range.clone()), lanes.part(lane..lane + 1)) };
        let input = inputs.of(Form::of(part.matrix.format));
        kernels.matmul(part.matrix, range.clone(), input, &mut out, &mut lane[0].panels);
        let bias = part.bias.map(|bias| &bias[range]);
        adjust(simd, &mut out, shape.rows, bias, limit);
    });
    for (buffer, part) in buffers.iter_mut().zip(projections) {
        let matrix = weights.matrix(part.weight);
        let width = matrix.bytes.len() / matrix.row_bytes();
        slots.put(part.out, std::mem::take(buffer), Shape { rows: shape.rows, width });
    }
}

/// The product that has this chunk of all, and which of its own chunks that is.
#[inline]
fn find<'p, 'a>(parts: &'p [Option<Product<'a>>], mut chunk: usize) -> Option<(&'p Product<'a>, usize)> {
    for part in parts.iter().flatten() {
        if chunk < part.cut.chunks() {
            return Some((part, chunk));
        }
        chunk -= part.cut.chunks();
    }
    None
}

/// Adds the bias to each row of a chunk, and clips it to the limit.
#[inline]
fn adjust(simd: Simd, out: &mut Columns<'_>, rows: usize, bias: Option<&[f32]>, limit: Option<f32>) {
    if bias.is_none() && limit.is_none() {
        return;
    }
    for row in 0..rows {
        let out = out.row_mut(row);
        if let Some(bias) = bias {
            add(simd, out, bias);
        }
        if let Some(limit) = limit {
            clip(simd, out, limit);
        }
    }
}

impl Cut {
    /// Of a matrix of `rows` rows, one of `parts` that are multiplied together; all sizes are multiples of
    /// [`PANEL`].
    fn new(matrix: Matrix<'_>, rows: usize, threads: usize, parts: usize) -> Self {
        let size = Self::at_least_a_chunk(matrix, rows * parts.min(2) / (CHUNKS_PER_THREAD * threads));
        Self { rows, size, large: rows.div_ceil(size), small: size }
    }

    /// `rows`, or the rows of the smallest chunk if that is more.
    fn at_least_a_chunk(matrix: Matrix<'_>, rows: usize) -> usize {
        let least = LEAST_CHUNK / matrix.row_bytes().max(1);
        rows.max(least).max(1).next_multiple_of(PANEL)
    }

    fn end_in_small_ones(&mut self, matrix: Matrix<'_>, threads: usize) {
        self.small = Self::at_least_a_chunk(matrix, self.size / LAST_CUTS);
        self.large = (self.rows / self.size).saturating_sub(threads);
    }

    fn chunks(&self) -> usize {
        self.large + self.rows.saturating_sub(self.large * self.size).div_ceil(self.small)
    }

    fn range(&self, chunk: usize) -> Range<usize> {
        let start = |chunk: usize| match chunk.checked_sub(self.large) {
            None => chunk * self.size,
            Some(small) => (self.large * self.size + small * self.small).min(self.rows),
        };
        start(chunk)..start(chunk + 1).min(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::format::WeightFormat;

    use super::*;

    #[test]
    fn chunks_cover_the_rows() {
        for rows in (0..3000).step_by(7).chain([49_152]) {
            let columns = 576;
            let matrix = Matrix { format: WeightFormat::Q4_0, bytes: &[], columns };
            for (threads, parts) in [(1, 1), (2, 3), (4, 2), (64, 1)] {
                let mut cut = Cut::new(matrix, rows, threads, parts);
                for _ in 0..2 {
                    let mut end = 0;
                    for chunk in 0..cut.chunks() {
                        let range = cut.range(chunk);
                        assert!(range.start == end && range.start.is_multiple_of(PANEL) && !range.is_empty());
                        end = range.end;
                    }
                    assert_eq!(end, rows, "{threads} {parts} {cut:?}");
                    cut.end_in_small_ones(matrix, threads);
                }
            }
        }
    }
}
