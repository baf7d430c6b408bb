//! Matrix products: the threads share the rows of the weights.

use slmscope_profiles::plan::op::LatentShape;
use slmscope_profiles::plan::{Projection, Rows, SlotId};

use super::arena::Buffer;
use super::slots::{Shape, Slots};
use super::weight::{Weights, row};
use super::workers::Workers;
use crate::kernels::{Activations, Form, Kernels, Matrix, Output, PANEL, TILE};
use crate::ops::elementwise::{add, add_scaled, clip, dot};
use crate::pool::{Parts, Pool};

/// Most matrices that one step multiplies its input with.
pub(super) const MOST_PARTS: usize = 8;
/// Chunks that a thread finds on average: more even out the threads, fewer cost less claiming.
const CHUNKS_PER_THREAD: usize = 6;
/// A chunk of weights that is worth claiming, bytes: a microsecond or so of reading.
const LEAST_CHUNK: usize = 12 << 10;

/// The input of products, in each form that weights need.
pub(super) struct Inputs {
    plain: Activations,
    quantized: Activations,
}

/// One matrix of a step, ready to be multiplied.
struct Part<'a> {
    matrix: Matrix<'a>,
    rows: usize,
    bias: Option<&'a [f32]>,
    out: Output<'a>,
    /// Rows of weights in a chunk, and chunks.
    size: usize,
    chunks: usize,
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

    fn fill(&mut self, form: Form, pool: &mut Pool, kernels: Kernels, input: &[f32], shape: Shape) {
        let activations = match form {
            Form::Plain => &mut self.plain,
            Form::Quantized => &mut self.quantized,
        };
        activations.reshape(shape.rows, shape.width);
        let stretch = TILE * shape.width;
        let tiles = Parts::new(activations.tiles_mut());
        pool.run(shape.rows.div_ceil(TILE), |tile, _| {
            let input = &input[tile * stretch..((tile + 1) * stretch).min(input.len())];
            #[expect(unsafe_code, reason = "chunks write parts of their own")]
            // SAFETY: a chunk has a tile to itself.
            let tile = unsafe { tiles.part(tile..tile + 1) };
            tile[0].fill(kernels, input);
        });
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
    for form in [Form::Plain, Form::Quantized] {
        if projections.iter().any(|part| Form::of(weights.matrix(part.weight).format) == form) {
            inputs.fill(form, &mut workers.pool, kernels, values, shape);
        }
    }
    // The results' buffers are taken out of the slots, to be written beside each other.
    let mut buffers: [Buffer<f32>; MOST_PARTS] = std::array::from_fn(|_| Buffer::default());
    for (buffer, part) in buffers.iter_mut().zip(projections) {
        *buffer = slots.take(part.out);
    }
    let threads = workers.pool.threads().get();
    let mut parts: [Option<Part<'_>>; MOST_PARTS] = [const { None }; MOST_PARTS];
    for ((part, buffer), projection) in parts.iter_mut().zip(&mut buffers).zip(projections) {
        let matrix = weights.matrix(projection.weight);
        let count = matrix.bytes.len() / matrix.row_bytes();
        let size = chunk_rows(matrix, count, threads, projections.len());
        *part = Some(Part {
            matrix,
            rows: count,
            bias: projection.bias.map(|bias| weights.small(bias)),
            out: Output::new(&mut buffer[..shape.rows * count], count),
            size,
            chunks: count.div_ceil(size),
        });
    }
    let (simd, inputs) = (workers.simd, &*inputs);
    let lanes = Parts::new(&mut workers.lanes);
    let parts = &parts[..projections.len()];
    let chunks = parts.iter().flatten().map(|part| part.chunks).sum();
    workers.pool.run(chunks, |mut chunk, lane| {
        let mut parts = parts.iter().flatten();
        let part = loop {
            let Some(part) = parts.next() else { return };
            if chunk < part.chunks {
                break part;
            }
            chunk -= part.chunks;
        };
        let range = chunk * part.size..((chunk + 1) * part.size).min(part.rows);
        #[expect(unsafe_code, reason = "chunks write columns of their own, threads have lanes of their own")]
        // SAFETY: chunks of a part do not overlap, parts have slots of their own, and no two chunks that run
        // at once have the same lane.
        let (mut out, lane) = unsafe { (part.out.columns(range.clone()), lanes.part(lane..lane + 1)) };
        let input = inputs.of(Form::of(part.matrix.format));
        kernels.matmul(part.matrix, range.clone(), input, &mut out, &mut lane[0].panels);
        if part.bias.is_some() || limit.is_some() {
            for row in 0..shape.rows {
                let out = out.row_mut(row);
                if let Some(bias) = part.bias {
                    add(simd, out, &bias[range.clone()]);
                }
                if let Some(limit) = limit {
                    clip(simd, out, limit);
                }
            }
        }
    });
    for (buffer, part) in buffers.iter_mut().zip(projections) {
        let matrix = weights.matrix(part.weight);
        let width = matrix.bytes.len() / matrix.row_bytes();
        slots.put(part.out, std::mem::take(buffer), Shape { rows: shape.rows, width });
    }
}

/// Rows of `matrix` that one chunk multiplies: a multiple of [`PANEL`].
fn chunk_rows(matrix: Matrix<'_>, rows: usize, threads: usize, parts: usize) -> usize {
    let fair = rows * parts.min(2) / (CHUNKS_PER_THREAD * threads);
    let least = LEAST_CHUNK / matrix.row_bytes().max(1);
    fair.max(least).max(1).next_multiple_of(PANEL)
}

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
        let matrix = weights.matrix(part.weight);
        let bias = part.bias.map(|bias| weights.small(bias));
        let mut buffer = slots.take(part.out);
        let out = Output::new(&mut buffer[..shape.rows * shape.width], shape.width);
        let values = slots.read(input);
        let simd = workers.simd;
        shared(workers, shape.width, 16, |range, scratch| {
            #[expect(unsafe_code, reason = "chunks write columns of their own")]
            // SAFETY: chunks do not overlap.
            let mut out = unsafe { out.columns(range.clone()) };
            for (column, output) in range.enumerate() {
                row(matrix, output, &mut scratch[..length]);
                let start = output / length * length;
                for token in 0..shape.rows {
                    let place = &mut out.row_mut(token)[column];
                    dot(simd, &values[token * shape.width + start..][..length], &scratch[..length], place);
                    *place += bias.map_or(0.0, |bias| bias[output]);
                }
            }
        });
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
    let simd = workers.simd;
    shared(workers, heads, 1, |range, scratch| {
        for head in range {
            let start = head * (rank + turned);
            #[expect(unsafe_code, reason = "chunks write columns of their own")]
            // SAFETY: heads do not overlap.
            let mut out = unsafe { output.columns(start..start + rank + turned) };
            let query = |token: usize| &queries[(token * heads + head) * (nope + turned)..][..nope + turned];
            for token in 0..rows {
                let (latent, rest) = out.row_mut(token).split_at_mut(rank);
                latent.fill(0.0);
                rest.copy_from_slice(&query(token)[nope..]);
            }
            for index in 0..nope {
                row(matrix, head * (nope + value) + index, &mut scratch[..rank]);
                for token in 0..rows {
                    let latent = &mut out.row_mut(token)[..rank];
                    add_scaled(simd, latent, &scratch[..rank], &[], query(token)[index]);
                }
            }
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
    let [heads, rank, nope, value] =
        [shape.heads, shape.kv_rank, shape.nope_dim, shape.value_dim].map(|dim| dim as usize);
    let matrix = weights.matrix(weight);
    let (rows, width) = (slots.shape(mixed).rows, heads * value);
    let mut buffer = slots.take(out);
    let output = Output::new(&mut buffer[..rows * width], width);
    let latent = slots.read(mixed);
    let simd = workers.simd;
    shared(workers, width, 16, |range, scratch| {
        #[expect(unsafe_code, reason = "chunks write columns of their own")]
        // SAFETY: chunks do not overlap.
        let mut out = unsafe { output.columns(range.clone()) };
        for (column, element) in range.enumerate() {
            let head = element / value;
            row(matrix, head * (nope + value) + nope + element % value, &mut scratch[..rank]);
            for token in 0..rows {
                let latent = &latent[(token * heads + head) * rank..][..rank];
                dot(simd, latent, &scratch[..rank], &mut out.row_mut(token)[column]);
            }
        }
    });
    slots.put(out, buffer, Shape { rows, width });
}

/// Computes `task(stretch, scratch)` over stretches of `0..length` on all threads.
fn shared(
    workers: &mut Workers,
    length: usize,
    size: usize,
    task: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) {
    let lanes = Parts::new(&mut workers.lanes);
    workers.pool.stretches(length, size, |range, lane| {
        #[expect(unsafe_code, reason = "threads have lanes of their own")]
        // SAFETY: no two chunks that run at once have the same lane.
        let lane = unsafe { lanes.part(lane..lane + 1) };
        task(range, &mut lane[0].row);
    });
}
