//! The threads, what they compute with, and the scratch memory of each.

use std::ops::Range;

use slmscope_profiles::plan::{Op, Plan};

use super::arena::{Arena, Buffer, room};
use super::cache::Dims;
use super::products::Inputs;
use crate::kernels::{Form, Kernels, Scratch, TILE as TILE_ROWS};
use crate::ops::Simd;
use crate::ops::attention::{ROWS, TILE};
use crate::pool::{Parts, Pool};

/// A step with fewer elements is computed by one thread: waking another takes about as long as computing them.
const MIN_SHARED: usize = 16 << 10;

/// The threads and the instruction set that they use.
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
    /// Parts of the input of products.
    pub(super) groups: Inputs,
    /// Scores of a tile of attention.
    pub(super) scores: Buffer<f32>,
    /// Values that attention mixes.
    pub(super) mixed: Buffer<f32>,
    /// Rows of a matrix as f32 values, or parts of rows of activations.
    pub(super) row: Buffer<f32>,
}

/// Sizes of a lane.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneSize {
    /// Rows of the longest pass.
    rows: usize,
    /// Columns of the widest matrix with plain and with quantized weights.
    columns: [usize; 2],
    /// Likewise of those that multiply parts of their input.
    grouped: [usize; 2],
    mixed: usize,
    row: usize,
}

impl LaneSize {
    /// Of passes of up to `rows` rows.
    pub(super) fn of(plan: &Plan, rows: usize) -> Self {
        let mut size = Self { rows, ..Self::default() };
        for step in &plan.steps {
            match &step.op {
                Op::MatMul { parts, .. } => {
                    for part in parts {
                        widen(&mut size.columns, plan, part.weight);
                    }
                }
                Op::AddPositions { table, .. } => {
                    size.row = size.row.max(plan.tensors[*table as usize].0.columns as usize);
                }
                Op::LatentQuery { shape, .. } => {
                    size.row = size.row.max((shape.nope_dim * shape.kv_rank) as usize);
                }
                Op::LatentValue { weight, .. } => widen(&mut size.grouped, plan, *weight),
                Op::BlockMatMul { parts, .. } => {
                    for part in parts {
                        widen(&mut size.grouped, plan, part.weight);
                    }
                }
                _ => {}
            }
        }
        size.row = size.row.max(TILE_ROWS * size.grouped[0].max(size.grouped[1]));
        size.columns = std::array::from_fn(|form| size.columns[form].max(size.grouped[form]));
        let strides = Dims::of(plan, 1).into_iter().map(|dims| dims.mixed());
        size.mixed = ROWS * strides.max().unwrap_or(0);
        size
    }

    /// Bytes in the arena.
    pub(super) fn bytes(&self) -> usize {
        room::<f32>(ROWS * TILE) + room::<f32>(self.mixed) + room::<f32>(self.row)
    }

    /// Bytes of the kernels' own buffers, which are outside the arena.
    pub(super) fn kernel_bytes(&self) -> usize {
        self.panels().memory() + self.groups().memory()
    }

    pub(super) fn lane(&self, arena: &mut Arena) -> Lane {
        Lane {
            panels: self.panels(),
            groups: self.groups(),
            scores: arena.cut(ROWS * TILE),
            mixed: arena.cut(self.mixed),
            row: arena.cut(self.row),
        }
    }

    fn panels(&self) -> Scratch {
        let [plain, quantized] = self.columns;
        Scratch::new(quantized, plain)
    }

    fn groups(&self) -> Inputs {
        let [plain, quantized] = self.grouped;
        Inputs::new(self.rows, plain, quantized)
    }
}

fn widen(columns: &mut [usize; 2], plan: &Plan, tensor: u32) {
    let (tensor, format) = &plan.tensors[tensor as usize];
    let form = usize::from(Form::of(*format) == Form::Quantized);
    columns[form] = columns[form].max(tensor.columns as usize);
}

impl Workers {
    /// Computes `task(rows, lane)` over stretches of `rows` rows of `width` elements: on all threads if there
    /// are enough elements, else on the calling one.
    pub(super) fn rows(&mut self, rows: usize, width: usize, task: impl Fn(Range<usize>, &mut Lane) + Sync) {
        if rows * width < MIN_SHARED || rows == 1 {
            return task(0..rows, &mut self.lanes[0]);
        }
        let size = (MIN_SHARED / 2 / width.max(1)).max(1);
        let lanes = Parts::new(&mut self.lanes);
        self.pool.stretches(rows, size, |range, lane| {
            #[expect(unsafe_code, reason = "threads have lanes of their own")]
            // SAFETY: no two chunks that run at once have the same lane.
            let lane = unsafe { lanes.part(lane..lane + 1) };
            task(range, &mut lane[0]);
        });
    }
}
