//! Rotary embedding of the positions of a chunk.

use slmscope_profiles::plan::{Plan, RopePart};
use slmscope_profiles::spec::{Lengths, Rope, RopePairing};

use super::arena::{Arena, Buffer, room};
use super::rows::each_row;
use super::slots::Slots;
use super::workers::Workers;
use crate::ops::rope::{Turned, angles, turn};

/// Cosines and sines of the positions of one chunk. They are computed by the first step of a pass that needs
/// them: a table for a whole context would be larger and slower to read.
pub(super) struct Table {
    frequencies: Vec<f32>,
    magnitude: f32,
    pairing: RopePairing,
    /// `[rows][pairs]` each.
    cos: Buffer<f32>,
    sin: Buffer<f32>,
    /// Context and rows that they are for.
    filled: Option<(u32, usize)>,
}

impl Table {
    /// Bytes of all tables of `plan`.
    pub(super) fn bytes(plan: &Plan, rows: usize) -> usize {
        plan.ropes.iter().map(|rope| 2 * room::<f32>(rows * rope.dim as usize / 2)).sum()
    }

    pub(super) fn new(rope: &Rope, lengths: Lengths, rows: usize, arena: &mut Arena) -> Self {
        let elements = rows * rope.dim as usize / 2;
        Self {
            frequencies: rope.frequencies(lengths),
            magnitude: rope.magnitude(),
            pairing: rope.pairing,
            cos: arena.cut(elements),
            sin: arena.cut(elements),
            filled: None,
        }
    }

    fn fill(&mut self, context: u32, rows: usize) {
        if self.filled == Some((context, rows)) {
            return;
        }
        let pairs = self.frequencies.len();
        for (row, (cos, sin)) in
            self.cos.chunks_exact_mut(pairs).zip(self.sin.chunks_exact_mut(pairs)).take(rows).enumerate()
        {
            angles(&self.frequencies, self.magnitude, context + row as u32, cos, sin);
        }
        self.filled = Some((context, rows));
    }

    /// `Op::Rope`
    pub(super) fn turn(
        &mut self,
        workers: &mut Workers,
        slots: &mut Slots,
        context: u32,
        parts: &[RopePart],
    ) {
        let pairs = self.frequencies.len();
        for part in parts {
            let shape = slots.shape(part.slot);
            self.fill(context, shape.rows);
            let turned = Turned {
                heads: part.heads as usize,
                head_dim: part.head_dim as usize,
                offset: part.offset as usize,
                pairing: self.pairing,
            };
            let (simd, cos, sin) = (workers.simd, &self.cos, &self.sin);
            each_row(workers, slots.change(part.slot), shape.width, |row, values, _| {
                let angles = row * pairs..(row + 1) * pairs;
                turn(simd, turned, values, &cos[angles.clone()], &sin[angles]);
            });
        }
    }
}
