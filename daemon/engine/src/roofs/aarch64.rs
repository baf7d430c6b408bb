//! The roofs' instructions on aarch64.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vdupq_n_f32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u64, veorq_u64, vfmaq_f32,
    vget_low_s8, vld1q_u64, vmlal_high_s8, vmull_s8, vpadalq_s16,
};
use std::arch::asm;
use std::hint::black_box;

use crate::kernels::Isa;

/// Chains of additions: units × latency on the widest cores.
const CHAINS: usize = 16;

/// Stretches that are read at once: a core keeps more of its memory's speed busy with several than with one.
const STREAMS: usize = 8;
/// Distance from the read bytes to the prefetched ones, bytes.
const AHEAD: usize = 2048;
/// Words of a cache line.
const LINE: usize = 8;

#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "loads, and hints that std has no stable way to give")]
pub(super) fn read(words: &[u64]) {
    let length = words.len() / STREAMS / LINE;
    let streams: [&[[u64; LINE]]; STREAMS] =
        std::array::from_fn(|stream| &words[stream * length * LINE..].as_chunks().0[..length]);
    let mut sums = [vdupq_n_u64(0); STREAMS];
    for index in 0..length {
        for (sum, words) in sums.iter_mut().zip(streams) {
            let words = &words[index];
            let ahead = words.as_ptr().cast::<u8>().wrapping_add(AHEAD);
            // SAFETY: a hint, which reads nothing and faults nowhere.
            unsafe {
                asm!("prfm pldl2keep, [{}]", in(reg) ahead, options(nostack, preserves_flags, readonly));
            };
            for words in words.as_chunks::<2>().0 {
                // SAFETY: as many bytes as are read.
                *sum = veorq_u64(*sum, unsafe { vld1q_u64(words.as_ptr()) });
            }
        }
    }
    black_box(sums);
}

#[target_feature(enable = "neon")]
pub(super) fn fma(rounds: usize) -> usize {
    let (factor, term) = (vdupq_n_f32(black_box(0.999)), vdupq_n_f32(black_box(0.001)));
    let mut sums = [term; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = vfmaq_f32(term, *sum, factor);
        }
    }
    black_box(sums);
    2 * 4 * CHAINS * rounds
}

/// With the best instruction of `isa`.
///
/// # Safety
/// The CPU has `isa`.
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "instructions that were detected")]
pub(super) unsafe fn dot(isa: Isa, rounds: usize) -> usize {
    match isa {
        // SAFETY: the caller's promise.
        Isa::I8mm => chains(rounds, 32, |sum, weights, quants| unsafe {
            asm!(
                ".arch_extension i8mm",
                "smmla {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) *sum,
                in(vreg) weights,
                in(vreg) quants,
                options(pure, nomem, nostack, preserves_flags)
            );
        }),
        // SAFETY: the caller's promise.
        Isa::Dotprod => chains(rounds, 16, |sum, weights, quants| unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) *sum,
                in(vreg) weights,
                in(vreg) quants,
                options(pure, nomem, nostack, preserves_flags)
            );
        }),
        // Without a dot product: products in 16 bits, pairs of these to 32.
        _ => chains(rounds, 16, |sum, weights, quants| {
            let pairs = vmull_s8(vget_low_s8(weights), vget_low_s8(quants));
            *sum = vpadalq_s16(*sum, vmlal_high_s8(pairs, weights, quants));
        }),
    }
}

/// Calls `add`, which does `products` multiplications.
#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "hides a value from the optimizer in its register")]
fn chains(rounds: usize, products: usize, add: impl Fn(&mut int32x4_t, int8x16_t, int8x16_t)) -> usize {
    let (weights, mut quants) = (vdupq_n_s8(black_box(3)), vdupq_n_s8(black_box(-5)));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // SAFETY: no instruction at all. What comes out may be another value, as far as the optimizer
            // knows, so that products cannot be taken out of the loop.
            unsafe {
                asm!("/* {0:v} */", inout(vreg) quants, options(nomem, nostack, preserves_flags));
            };
            add(sum, weights, quants);
        }
    }
    black_box(sums);
    2 * products * CHAINS * rounds
}
