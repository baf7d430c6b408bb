//! Steps that work row by row: lookups, norms, activations, sums.

use slmscope_profiles::plan::{HeadNormPart, NormWeights, Rows, SlotId, TensorId};
use slmscope_profiles::spec::Activation;

use super::slots::{Shape, Slots};
use super::weight::{Weights, widened};
use super::workers::Workers;
use crate::ops::{activation, elementwise, norm};
use crate::pool::Parts;

/// What the steps of a pass work with.
pub(super) struct Stage<'a> {
    pub(super) workers: &'a mut Workers,
    pub(super) weights: &'a Weights,
    pub(super) slots: &'a mut Slots,
}

impl Stage<'_> {
    /// `Op::Embed`
    pub(super) fn embed(&mut self, ids: &[u32], table: TensorId, scale: Option<f32>, out: SlotId) {
        let matrix = self.weights.matrix(table);
        let shape = Shape { rows: ids.len(), width: matrix.columns };
        let (simd, kernels) = (self.workers.simd, self.workers.kernels);
        let values = self.slots.write(out, shape);
        each_row(self.workers, values, shape.width, |index, values, _| {
            widened(kernels, matrix, ids[index] as usize, values);
            if let Some(scale) = scale {
                elementwise::scale(simd, values, scale);
            }
        });
    }

    /// `Op::AddPositions`
    pub(super) fn add_positions(&mut self, first: usize, table: TensorId, slot: SlotId) {
        let matrix = self.weights.matrix(table);
        let (simd, kernels) = (self.workers.simd, self.workers.kernels);
        let values = self.slots.change(slot);
        each_row(self.workers, values, matrix.columns, |index, values, scratch| {
            widened(kernels, matrix, first + index, &mut scratch[..matrix.columns]);
            elementwise::add(simd, values, &scratch[..matrix.columns]);
        });
    }

    /// `Op::Norm`
    pub(super) fn norm(&mut self, weights: &NormWeights, rows: Rows, input: SlotId, out: SlotId) {
        let rule = self.weights.norm(weights);
        let simd = self.workers.simd;
        if input == out && rows == Rows::All {
            let width = self.slots.shape(input).width;
            let values = self.slots.change(input);
            return each_row(self.workers, values, width, |_, values, _| {
                norm::norm_in_place(simd, &rule, width, values);
            });
        }
        let mut buffer = self.slots.take(out);
        if input == out {
            // The last row of a slot into its first.
            let shape = self.slots.shape(input);
            buffer.copy_within((shape.rows - 1) * shape.width..shape.rows * shape.width, 0);
            norm::norm_in_place(simd, &rule, shape.width, &mut buffer[..shape.width]);
            return self.slots.put(out, buffer, Shape { rows: 1, width: shape.width });
        }
        let (input, shape) = self.slots.input(input, rows);
        let width = shape.width;
        each_row(self.workers, &mut buffer[..shape.rows * width], width, |index, out, _| {
            norm::norm(simd, &rule, width, &input[index * width..][..width], out);
        });
        self.slots.put(out, buffer, shape);
    }

    /// `Op::HeadNorm`
    pub(super) fn head_norm(&mut self, parts: &[HeadNormPart]) {
        let simd = self.workers.simd;
        for part in parts {
            let rule = self.weights.norm(&part.weights);
            let (width, normed) = (self.slots.shape(part.slot).width, part.groups * part.width);
            let values = self.slots.change(part.slot);
            each_row(self.workers, values, width, |_, row, _| {
                norm::norm_in_place(simd, &rule, part.width as usize, &mut row[..normed as usize]);
            });
        }
    }

    /// `Op::Gate`
    pub(super) fn gate(&mut self, activation: Activation, gate: SlotId, up: Option<SlotId>, out: SlotId) {
        let simd = self.workers.simd;
        let shape = self.slots.shape(gate);
        let width = shape.width;
        let mut buffer = self.slots.take(out);
        let values = &mut buffer[..shape.rows * width];
        match up {
            Some(up) if out == up => {
                let gate = self.slots.read(gate);
                each_row(self.workers, values, width, |index, values, _| {
                    activation::gate_other(simd, activation, values, &gate[index * width..][..width]);
                });
            }
            up => {
                if out != gate {
                    values.copy_from_slice(self.slots.read(gate));
                }
                let up = up.map(|up| self.slots.read(up));
                each_row(self.workers, values, width, |index, values, _| match up {
                    Some(up) => activation::gate(simd, activation, values, &up[index * width..][..width]),
                    None => activation::activate(simd, activation, values),
                });
            }
        }
        self.slots.put(out, buffer, shape);
    }

    /// `Op::Add`
    pub(super) fn add(
        &mut self,
        stream: SlotId,
        branches: &[SlotId],
        norm: Option<&NormWeights>,
        scale: Option<f32>,
    ) {
        let simd = self.workers.simd;
        let Shape { rows, width } = self.slots.shape(stream);
        let [first, rest @ ..] = branches else { return };
        if let Some(norm) = norm {
            let rule = self.weights.norm(norm);
            let mut sum = self.slots.take(*first);
            for branch in rest {
                elementwise::add(simd, &mut sum[..rows * width], self.slots.read(*branch));
            }
            let mut buffer = self.slots.take(stream);
            let sums = Parts::new(&mut sum[..rows * width]);
            each_row(self.workers, &mut buffer[..rows * width], width, |index, stream, _| {
                #[expect(unsafe_code, reason = "chunks write parts of their own")]
                // SAFETY: rows do not overlap.
                let sum = unsafe { sums.part(index * width..(index + 1) * width) };
                norm::norm_in_place(simd, &rule, width, sum);
                match scale {
                    Some(scale) => elementwise::add_scaled(simd, stream, sum, &[], scale),
                    None => elementwise::add(simd, stream, sum),
                }
            });
            self.slots.put(*first, sum, Shape { rows, width });
            return self.slots.put(stream, buffer, Shape { rows, width });
        }
        let mut buffer = self.slots.take(stream);
        let first = self.slots.read(*first);
        let second = rest.first().map(|second| self.slots.read(*second));
        each_row(self.workers, &mut buffer[..rows * width], width, |index, stream, _| {
            let row = index * width..(index + 1) * width;
            let first = &first[row.clone()];
            match (second, scale) {
                (None, None) => elementwise::add(simd, stream, first),
                (second, scale) => {
                    let second = second.map_or(&[][..], |second| &second[row]);
                    elementwise::add_scaled(simd, stream, first, second, scale.unwrap_or(1.0));
                }
            }
        });
        self.slots.put(stream, buffer, Shape { rows, width });
    }

    /// `Op::ScaleLogits`
    pub(super) fn scale_logits(&mut self, slot: SlotId, scale: Option<f32>, softcap: Option<f32>) {
        let simd = self.workers.simd;
        let values = self.slots.change(slot);
        let factor = scale.unwrap_or(1.0);
        match softcap {
            Some(cap) => elementwise::softcap(simd, values, factor, cap),
            None => elementwise::scale(simd, values, factor),
        }
    }
}

/// Computes `task(index, row, scratch)` for every row of `values`.
pub(super) fn each_row(
    workers: &mut Workers,
    values: &mut [f32],
    width: usize,
    task: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let rows = values.len() / width.max(1);
    let parts = Parts::new(values);
    workers.rows(rows, width, |range, lane| {
        for index in range {
            #[expect(unsafe_code, reason = "chunks write parts of their own")]
            // SAFETY: rows do not overlap, and a row is in one chunk.
            let row = unsafe { parts.part(index * width..(index + 1) * width) };
            task(index, row, &mut lane.row);
        }
    });
}
