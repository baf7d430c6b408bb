//! Random blocks of every format: random words fill them, then the scale fields of each block are set so that a weight has
//! mean 0 and the standard deviation that is asked for.

use half::f16;
use slmscope_profiles::format::WeightFormat;

use super::mix;
#[cfg(target_arch = "x86_64")]
use crate::ops::Simd;

/// Random sequences that run side by side, so that vector instructions make them.
const LANES: usize = 8;

/// Fills whole blocks of `format` with weights of mean 0 and the given standard deviation, in the widest vectors of
/// this machine; the bytes are the same with any.
pub(super) fn fill(bytes: &mut [u8], format: WeightFormat, deviation: f32, seed: u64) {
    #[cfg(target_arch = "x86_64")]
    if Simd::detect() != Simd::Baseline {
        // SAFETY: the CPU has AVX2, as was just found.
        #[expect(unsafe_code, reason = "a function compiled for an instruction set")]
        return unsafe { fill_avx2(bytes, format, deviation, seed) };
    }
    fill_inlined(bytes, format, deviation, seed);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_avx2(bytes: &mut [u8], format: WeightFormat, deviation: f32, seed: u64) {
    fill_inlined(bytes, format, deviation, seed);
}

/// The body of [`fill`], inlined into a function for each instruction set.
///
/// The divisors below are the standard deviations of what a block's random bits mean before its scale. A
/// quant with an even number of levels around 0 has mean -1/2; the sign of the scale, which is random then,
/// takes that mean back over many blocks.
#[inline(always)]
fn fill_inlined(bytes: &mut [u8], format: WeightFormat, deviation: f32, seed: u64) {
    fill_random(bytes, seed);
    match format {
        WeightFormat::F32 => {
            for place in bytes.as_chunks_mut().0 {
                let bits = i32::from_le_bytes(*place);
                *place = (uniform(bits >> 16) * deviation).to_le_bytes();
            }
        }
        WeightFormat::F16 => halves(bytes, deviation, nearest_f16),
        WeightFormat::Bf16 => halves(bytes, deviation, nearest_bf16),
        // d, 32 quants of [-8, 7]
        WeightFormat::Q4_0 => signed_scale(bytes, 18, 0, deviation / 21.5_f32.sqrt()),
        // d, high bits, 32 quants of [-16, 15]
        WeightFormat::Q5_0 => signed_scale(bytes, 22, 0, deviation / 85.5_f32.sqrt()),
        // d, 32 quants of [-128, 127]
        WeightFormat::Q8_0 => signed_scale(bytes, 34, 0, deviation / 5461.5_f32.sqrt()),
        // d, m, 32 quants of [0, 15]: d * q + m
        WeightFormat::Q4_1 => scale_and_middle(bytes, 20, 0, deviation / 21.25_f32.sqrt(), -7.5),
        // d, m, high bits, 32 quants of [0, 31]
        WeightFormat::Q5_1 => scale_and_middle(bytes, 24, 0, deviation / 85.25_f32.sqrt(), -15.5),
        // 16 × (scale and minimum of 4 bits), 256 quants of [0, 3], d, dmin: d * sc * q - dmin * m
        WeightFormat::Q2K => {
            for block in bytes.chunks_exact_mut(84) {
                for pair in &mut block[..16] {
                    *pair = (*pair & 0x0f) * 0x11;
                }
            }
            scale_and_middle(bytes, 84, 80, deviation / (77.5_f32 * 1.25).sqrt(), 1.5);
        }
        // high bits, quants of [-4, 3], 16 scales of [-32, 31], d
        WeightFormat::Q3K => signed_scale(bytes, 110, 108, deviation / (341.5_f32 * 5.5).sqrt()),
        // d, dmin, 8 × (scale and minimum of 6 bits), 256 quants of [0, 15]
        WeightFormat::Q4K => {
            bytes.chunks_exact_mut(144).for_each(|block| equal_minimums(&mut block[4..16]));
            scale_and_middle(bytes, 144, 0, deviation / (1333.5_f32 * 21.25).sqrt(), 7.5);
        }
        // The same with high bits: quants of [0, 31]
        WeightFormat::Q5K => {
            bytes.chunks_exact_mut(176).for_each(|block| equal_minimums(&mut block[4..16]));
            scale_and_middle(bytes, 176, 0, deviation / (1333.5_f32 * 85.25).sqrt(), 15.5);
        }
        // quants of [-32, 31], 16 scales of i8, of which [-16, 15] is used, d
        WeightFormat::Q6K => {
            for block in bytes.chunks_exact_mut(210) {
                for scale in &mut block[192..208] {
                    *scale = ((*scale as i8) >> 3) as u8;
                }
            }
            signed_scale(bytes, 210, 208, deviation / (341.5_f32 * 85.5).sqrt());
        }
    }
}

/// Numbers of 16 bits, each of random bits that are already there.
#[inline(always)]
fn halves(bytes: &mut [u8], deviation: f32, nearest: impl Fn(f32) -> u16) {
    for place in bytes.as_chunks_mut().0 {
        let value = uniform(i32::from(i16::from_le_bytes(*place))) * deviation;
        *place = nearest(value).to_le_bytes();
    }
}

/// The f16 nearest to a number below 65504, ties to even, without a branch: vector instructions round many at once.
#[inline(always)]
fn nearest_f16(value: f32) -> u16 {
    /// The least normal number of f16, 2^-14.
    const LEAST_NORMAL: u32 = 113 << 23;
    let (sign, size) = (value.to_bits() >> 16 & 0x8000, value.to_bits() & 0x7fff_ffff);
    let normal = ((size + 0xfff + (size >> 13 & 1)).wrapping_sub(112 << 23)) >> 13;
    // The last place of 0.5 in f32 is that of f16's subnormal numbers, so an addition rounds to it.
    let subnormal = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    (sign | if size < LEAST_NORMAL { subnormal } else { normal }) as u16
}

/// The upper half of a finite number, rounded to the nearest, ties to even, without a branch.
#[inline(always)]
fn nearest_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Writes the f16 at `at` of each block: `scale`, with the sign that the random bits there had.
#[inline(always)]
fn signed_scale(bytes: &mut [u8], block: usize, at: usize, scale: f32) {
    let bits = f16::from_f32(scale).to_bits();
    for block in bytes.chunks_exact_mut(block) {
        let sign = u16::from(block[at + 1] & 0x80) << 8;
        block[at..at + 2].copy_from_slice(&(bits | sign).to_le_bytes());
    }
}

/// Writes the two f16 at `at` of each block: `scale`, and `middle` times the scale as it was rounded.
#[inline(always)]
fn scale_and_middle(bytes: &mut [u8], block: usize, at: usize, scale: f32, middle: f32) {
    let scale = f16::from_f32(scale);
    let offset = f16::from_f32(scale.to_f32() * middle);
    for block in bytes.chunks_exact_mut(block) {
        block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        block[at + 2..at + 4].copy_from_slice(&offset.to_le_bytes());
    }
}

/// Makes the 6-bit minimums of a K block's 12 scale bytes equal to its scales. Of the 8 pairs the low bits of
/// the first four scales and minimums are bytes 0–3 and 4–7, the upper two bits there and the nibbles of
/// bytes 8–11 belong to the last four.
fn equal_minimums(scales: &mut [u8]) {
    for index in 0..4 {
        scales[index + 4] = scales[index];
        scales[index + 8] = (scales[index + 8] & 0x0f) * 0x11;
    }
}

/// A number of mean 0 and deviation 1 from 16 random bits (a sign-extended `i16`).
#[inline(always)]
pub(super) fn uniform(bits: i32) -> f32 {
    // Uniform over [-1, 1) has deviation 1 / sqrt(3).
    (bits as f32 + 0.5) * (3.0_f32.sqrt() / 32768.0)
}

/// Fills `bytes` from [`LANES`] xorshift sequences (Marsaglia 2003) in turn. They need neither products nor wide
/// registers: every processor generates them faster than memory accepts them.
#[inline(always)]
pub(super) fn fill_random(bytes: &mut [u8], seed: u64) {
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| mix(seed.wrapping_add(lane as u64)).max(1));
    let mut next = || {
        for lane in &mut lanes {
            *lane ^= *lane << 13;
            *lane ^= *lane >> 7;
            *lane ^= *lane << 17;
        }
        lanes
    };
    let (turns, rest) = bytes.as_chunks_mut::<{ 8 * LANES }>();
    for turn in turns {
        for (word, lane) in turn.as_chunks_mut::<8>().0.iter_mut().zip(next()) {
            *word = lane.to_le_bytes();
        }
    }
    for (word, lane) in rest.chunks_mut(8).zip(next()) {
        word.copy_from_slice(&lane.to_le_bytes()[..word.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_sets_make_the_same_bytes() {
        for format in WeightFormat::ALL {
            let [mut any, mut baseline] = [(); 2].map(|()| vec![0; 7 * format.block_bytes() as usize * 32]);
            fill(&mut any, format, 0.1, 9);
            fill_inlined(&mut baseline, format, 0.1, 9);
            assert_eq!(any, baseline, "{format}");
        }
    }

    #[test]
    fn every_f16_and_the_numbers_between_two_are_rounded_like_a_library_does() {
        for bits in 0..f16::MAX.to_bits() {
            let (low, high) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
            let middle = f32::midpoint(low, high);
            for value in [low, middle.next_down(), middle, middle.next_up(), -middle] {
                assert_eq!(nearest_f16(value), f16::from_f32(value).to_bits(), "{value:e}");
            }
        }
    }

    #[test]
    fn random_bytes_are_evenly_spread() {
        let mut bytes = vec![0; 1 << 20];
        fill_random(&mut bytes, 3);
        let mut counts = [0_u32; 256];
        for &byte in &bytes {
            counts[usize::from(byte)] += 1;
        }
        // 4096 of each, six standard deviations of 64 either way.
        assert!(counts.iter().all(|&count| count.abs_diff(4096) < 6 * 64), "{counts:?}");
        let words: std::collections::HashSet<_> = bytes.as_chunks::<8>().0.iter().collect();
        assert_eq!(words.len(), bytes.len() / 8);
    }
}
