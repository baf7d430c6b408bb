//! Sums of int8 products in 32 bits, with the instructions that a CPU has for them.

use std::arch::aarch64::{
    int8x16_t, int16x8_t, int32x4_t, uint8x16_t, vaddq_s32, vdupq_laneq_s32, vdupq_n_s32, vget_low_s8,
    vld1q_u8, vmlal_high_s8, vmlal_s8, vmull_high_s8, vmull_s8, vpadalq_s16, vpaddlq_s16, vpaddq_s32,
    vreinterpretq_s8_s32, vreinterpretq_s8_u8, vreinterpretq_s32_s8,
};
use std::arch::asm;

use super::at;
use crate::kernels::panel::PANEL;

/// Four groups of a [`Record`](crate::kernels::panel::Record): sixteen columns of sixteen rows.
pub(super) type Groups = [[u8; 4 * PANEL]; 4];

/// A way to add up int8 products. A value of it is proof that the CPU has the instructions.
pub(super) trait Dot: Copy {
    /// Adds the products of sixteen weights to the lanes of `sums`, four to each; which ones is left open.
    fn add(self, sums: int32x4_t, weights: int8x16_t, quants: int8x16_t) -> int32x4_t;

    /// Adds the products of sixteen columns of `ROWS` rows of activations with eight rows of weights from
    /// `lane` on; a lane of `sums` for each of these. `WIDE` if weights have 8 bits instead of up to 6.
    fn outputs<const ROWS: usize, const WIDE: bool>(
        self,
        sums: [[int32x4_t; 2]; ROWS],
        weights: &Groups,
        lane: usize,
        quants: [int8x16_t; ROWS],
    ) -> [[int32x4_t; 2]; ROWS];
}

/// With the baseline's instructions: products are added up in 16 bits as far as they fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widening;

/// With the dot product of ARMv8.2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sdot(());

impl Sdot {
    /// # Safety
    /// The CPU has the dot product.
    #[expect(unsafe_code, reason = "a promise about the CPU")]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

#[expect(unsafe_code, reason = "methods of a trait cannot ask for instructions by attribute")]
// SAFETY of each block: NEON is in the baseline of aarch64.
impl Dot for Widening {
    #[inline(always)]
    fn add(self, sums: int32x4_t, weights: int8x16_t, quants: int8x16_t) -> int32x4_t {
        // SAFETY: as above. Two products of at most 128 × 127 fit into 16 bits.
        unsafe {
            let pairs = vmull_s8(vget_low_s8(weights), vget_low_s8(quants));
            vpadalq_s16(sums, vmlal_high_s8(pairs, weights, quants))
        }
    }

    #[inline(always)]
    fn outputs<const ROWS: usize, const WIDE: bool>(
        self,
        mut sums: [[int32x4_t; 2]; ROWS],
        weights: &Groups,
        lane: usize,
        quants: [int8x16_t; ROWS],
    ) -> [[int32x4_t; 2]; ROWS] {
        // Four outputs after the other, whose sums in 16 bits stay in registers.
        for side in 0..2 {
            let start = 4 * (lane + 4 * side);
            let (a, b) = (load(at(&weights[0], start)), load(at(&weights[1], start)));
            let (c, d) = (load(at(&weights[2], start)), load(at(&weights[3], start)));
            for (sums, quants) in sums.iter_mut().zip(quants) {
                // SAFETY: as above. Four products of at most 32 × 127 fit into 16 bits, two of 128 × 127.
                unsafe {
                    let quants = vreinterpretq_s32_s8(quants);
                    let first = products(a, vdupq_laneq_s32::<0>(quants));
                    let first = add_products(first, b, vdupq_laneq_s32::<1>(quants));
                    let dots = if WIDE {
                        let second = products(c, vdupq_laneq_s32::<2>(quants));
                        let second = add_products(second, d, vdupq_laneq_s32::<3>(quants));
                        let (low, high) = (vpaddlq_s16(first[0]), vpaddlq_s16(first[1]));
                        vpaddq_s32(vpadalq_s16(low, second[0]), vpadalq_s16(high, second[1]))
                    } else {
                        let all = add_products(first, c, vdupq_laneq_s32::<2>(quants));
                        let all = add_products(all, d, vdupq_laneq_s32::<3>(quants));
                        vpaddq_s32(vpaddlq_s16(all[0]), vpaddlq_s16(all[1]))
                    };
                    sums[side] = vaddq_s32(sums[side], dots);
                }
            }
        }
        sums
    }
}

/// Products of four columns of four rows of weights with the same four quants: of the first two rows, and of
/// the others.
#[inline]
#[target_feature(enable = "neon")]
fn products(weights: int8x16_t, quants: int32x4_t) -> [int16x8_t; 2] {
    let quants = vreinterpretq_s8_s32(quants);
    [vmull_s8(vget_low_s8(weights), vget_low_s8(quants)), vmull_high_s8(weights, quants)]
}

#[inline]
#[target_feature(enable = "neon")]
fn add_products([low, high]: [int16x8_t; 2], weights: int8x16_t, quants: int32x4_t) -> [int16x8_t; 2] {
    let quants = vreinterpretq_s8_s32(quants);
    [vmlal_s8(low, vget_low_s8(weights), vget_low_s8(quants)), vmlal_high_s8(high, weights, quants)]
}

/// Sixteen bytes, to be taken as signed.
#[inline(always)]
#[expect(unsafe_code, reason = "a load")]
fn load(bytes: &[u8; 16]) -> int8x16_t {
    // SAFETY: as many bytes as are read; no alignment is needed. NEON is in the baseline of aarch64.
    unsafe {
        let bytes: uint8x16_t = vld1q_u8(bytes.as_ptr());
        vreinterpretq_s8_u8(bytes)
    }
}

impl Dot for Sdot {
    #[inline(always)]
    #[expect(unsafe_code, reason = "std's function is not stable")]
    fn add(self, mut sums: int32x4_t, weights: int8x16_t, quants: int8x16_t) -> int32x4_t {
        // SAFETY: `self` is proof of the instruction, which works on registers alone.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {weights:v}.16b, {quants:v}.16b",
                sums = inout(vreg) sums,
                weights = in(vreg) weights,
                quants = in(vreg) quants,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }

    #[inline(always)]
    fn outputs<const ROWS: usize, const WIDE: bool>(
        self,
        sums: [[int32x4_t; 2]; ROWS],
        weights: &Groups,
        lane: usize,
        quants: [int8x16_t; ROWS],
    ) -> [[int32x4_t; 2]; ROWS] {
        let sums = self.group::<ROWS, 0>(sums, &weights[0], lane, quants);
        let sums = self.group::<ROWS, 1>(sums, &weights[1], lane, quants);
        let sums = self.group::<ROWS, 2>(sums, &weights[2], lane, quants);
        self.group::<ROWS, 3>(sums, &weights[3], lane, quants)
    }
}

impl Sdot {
    /// The columns of group `GROUP`.
    #[inline(always)]
    fn group<const ROWS: usize, const GROUP: usize>(
        self,
        mut sums: [[int32x4_t; 2]; ROWS],
        weights: &[u8; 4 * PANEL],
        lane: usize,
        quants: [int8x16_t; ROWS],
    ) -> [[int32x4_t; 2]; ROWS] {
        let weights = [load(at(weights, 4 * lane)), load(at(weights, 4 * lane + 16))];
        for (sums, quants) in sums.iter_mut().zip(quants) {
            for (sums, weights) in sums.iter_mut().zip(weights) {
                *sums = self.add_four::<GROUP>(*sums, weights, quants);
            }
        }
        sums
    }

    /// Adds the products of all groups of four weights with group `GROUP` of `quants`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "std's function is not stable")]
    fn add_four<const GROUP: usize>(
        self,
        mut sums: int32x4_t,
        weights: int8x16_t,
        quants: int8x16_t,
    ) -> int32x4_t {
        // SAFETY: `self` is proof of the instruction, which works on registers alone.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {weights:v}.16b, {quants:v}.4b[{group}]",
                sums = inout(vreg) sums,
                weights = in(vreg) weights,
                quants = in(vreg) quants,
                group = const GROUP,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }
}

/// Sums of nothing.
#[inline(always)]
#[expect(unsafe_code, reason = "called where instructions cannot be asked for by attribute")]
pub(super) fn zero() -> int32x4_t {
    // SAFETY: NEON is in the baseline of aarch64.
    unsafe { vdupq_n_s32(0) }
}
