//! NEON, which every aarch64 has.

use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32, vld1_u16, vld1q_f32, vst1q_f32};

use half::f16;

use super::Vector;
use crate::kernels::widen_f16;

#[expect(unsafe_code, reason = "intrinsics and raw pointers in the inner loops of attention")]
// SAFETY of each block: the baseline has the instructions; the caller promises the pointer's elements.
impl Vector for float32x4_t {
    const LANES: usize = 4;
    // With six rows of queries 24 sums, and 7 of the other registers for operands.
    const WIDE: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as above.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: as above.
        widen_f16(unsafe { vld1_u16(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { vst1q_f32(to, self) };
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: as above.
        unsafe { vfmaq_f32(summand, self, factor) }
    }
}
