//! The threads, what they compute with, and the scratch memory of each.

use std::ops::Range;

use slmscope_profiles::plan::{Op, Plan};

use super::arena::{Arena, Buffer, room};
use super::cache::Dims;
use crate::kernels::{Form, Kernels, Scratch};
use crate::ops::Simd;
use crate::ops::attention::{ROWS, TILE};
use crate::pool::{Parts, Pool};

/// A step with fewer elements is not worth waking anybody: about as long as handing it over takes.
const WORTH_SHARING: usize = 16 << 10;

/// Who computes, and how.
pub(super) struct Workers {
    pub(super) pool: Pool,
    pub(super) kernels: Kernels,
    pub(super) simd: Simd,
    pub(super) lanes: Vec<Lane>,
}

/// Scratch memory of one thread.
pub(super) struct Lane {
    /// Re-laid weights of a matrix product.
    pub(super) panels: Scratch,
    /// Scores of a tile of attention.
    pub(super) scores: Buffer<f32>,
    /// Values that attention mixes.
    pub(super) mixed: Buffer<f32>,
    /// A row of a matrix as f32 values.
    pub(super) row: Buffer<f32>,
}

/// Sizes of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneSize {
    quantized: usize,
    plain: usize,
    mixed: usize,
    row: usize,
}

impl LaneSize {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut size = Self { quantized: 0, plain: 0, mixed: 0, row: 0 };
        for step in &plan.steps {
            match &step.op {
                Op::MatMul { parts, .. } => {
                    for part in parts {
                        let (tensor, format) = &plan.tensors[part.weight as usize];
                        let most = match Form::of(*format) {
                            Form::Quantized => &mut size.quantized,
                            Form::Plain => &mut size.plain,
                        };
                        *most = (*most).max(tensor.columns as usize);
                    }
                }
                Op::AddPositions { table, .. } => size.widest_row(plan, *table),
                Op::LatentQuery { weight, .. } | Op::LatentValue { weight, .. } => {
                    size.widest_row(plan, *weight);
                }
                Op::BlockMatMul { parts, .. } => {
                    for part in parts {
                        size.widest_row(plan, part.weight);
                    }
                }
                _ => {}
            }
        }
        let strides = Dims::of(plan, 1).into_iter().map(|dims| dims.mixed());
        size.mixed = ROWS * strides.max().unwrap_or(0);
        size
    }

    fn widest_row(&mut self, plan: &Plan, tensor: u32) {
        self.row = self.row.max(plan.tensors[tensor as usize].0.columns as usize);
    }

    /// Bytes in the arena.
    pub(super) fn bytes(&self) -> usize {
        room::<f32>(ROWS * TILE) + room::<f32>(self.mixed) + room::<f32>(self.row)
    }

    pub(super) fn lane(&self, arena: &mut Arena) -> Lane {
        Lane {
            panels: self.panels(),
            scores: arena.cut(ROWS * TILE),
            mixed: arena.cut(self.mixed),
            row: arena.cut(self.row),
        }
    }

    /// The kernels' own scratch.
    pub(super) fn panels(&self) -> Scratch {
        Scratch::new(self.quantized, self.plain)
    }
}

impl Workers {
    /// Computes `task(rows, lane)` over stretches of `rows` rows of `width` elements: on all threads if that
    /// is worth it, else here.
    pub(super) fn rows(&mut self, rows: usize, width: usize, task: impl Fn(Range<usize>, &mut Lane) + Sync) {
        if rows * width < WORTH_SHARING || rows == 1 {
            return task(0..rows, &mut self.lanes[0]);
        }
        let size = (WORTH_SHARING / 2 / width.max(1)).max(1);
        let lanes = Parts::new(&mut self.lanes);
        self.pool.stretches(rows, size, |range, lane| {
            #[expect(unsafe_code, reason = "threads have lanes of their own")]
            // SAFETY: no two chunks that run at once have the same lane.
            let lane = unsafe { lanes.part(lane..lane + 1) };
            task(range, &mut lane[0]);
        });
    }
}
