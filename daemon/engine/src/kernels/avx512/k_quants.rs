//! One row of activations times rows in formats with blocks of 256.
//!
//! Quants of a block come out of its bytes as four registers of two groups of 32 each. Which groups share a
//! register depends on where a format puts them, and the activations are arranged alike. Scales are made for
//! all groups (or halves of groups) at once and spread to their lanes for each register.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtsi64_si128, _mm_cvtss_f32,
    _mm_set_epi64x, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_set1_epi16, _mm512_and_si512,
    _mm512_broadcast_i64x4, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_inserti64x4, _mm512_mul_ps, _mm512_or_si512,
    _mm512_permutexvar_ps, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i64x2,
    _mm512_slli_epi16, _mm512_sllv_epi16, _mm512_srli_epi16, _mm512_srli_epi32, _mm512_srlv_epi16,
    _mm512_sub_epi32, _mm512_zextps256_ps512,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, load, load_floats, load_half, load_some_floats};
use crate::kernels::activations::Tile;
use crate::kernels::k_quants::{six_bit_pairs, three_bit_scales};
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// Groups 0 and 2, 1 and 3, 4 and 6, 5 and 7.
const BY_TWO: u8 = 0;
/// Groups 0 and 4, 1 and 5, 2 and 6, 3 and 7.
const BY_FOUR: u8 = 1;
/// Groups 0 and 1, 2 and 3, 4 and 5, 6 and 7.
const IN_ORDER: u8 = 2;

/// A block of weights.
struct Unpacked {
    /// Unsigned quants, two groups a register.
    quants: [__m512i; 4],
    /// Of eight groups, or of sixteen halves of groups.
    scales: __m512,
    /// What is added, likewise.
    mins: __m512,
}

/// 256 activations.
struct InputBlocks {
    quants: [__m512i; 4],
    /// Of eight groups, or twice each for their halves.
    scales: __m512,
    /// Sums of the values of groups or halves.
    totals: __m512,
}

/// One row of activations times rows of weights.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) fn gemv(format: WeightFormat, rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    match format {
        WeightFormat::Q2K => {
            gemv_blocks::<84, BY_FOUR, true>(rows, row_bytes, input, out, |block| q2_k(block));
        }
        WeightFormat::Q3K => {
            gemv_blocks::<110, BY_FOUR, true>(rows, row_bytes, input, out, |block| q3_k(block));
        }
        WeightFormat::Q4K => {
            gemv_blocks::<144, BY_TWO, false>(rows, row_bytes, input, out, |block| q4_k(block));
        }
        WeightFormat::Q5K => {
            gemv_blocks::<176, BY_TWO, false>(rows, row_bytes, input, out, |block| q5_k(block));
        }
        WeightFormat::Q6K => {
            gemv_blocks::<210, IN_ORDER, true>(rows, row_bytes, input, out, |block| q6_k(block));
        }
        _ => unreachable!("formats with blocks of 256"),
    }
}

/// `BYTES` a block; `HALVES` if halves of groups have scales of their own.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn gemv_blocks<const BYTES: usize, const ORDER: u8, const HALVES: bool>(
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
    unpack: impl Fn(&[u8; BYTES]) -> Unpacked,
) {
    by_streams(
        rows,
        row_bytes,
        out,
        |rows| dots::<STREAMS, BYTES, ORDER, HALVES>(rows, input, &unpack),
        |row| dots::<1, BYTES, ORDER, HALVES>([row], input, &unpack)[0],
    );
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dots<const N: usize, const BYTES: usize, const ORDER: u8, const HALVES: bool>(
    rows: [&[u8]; N],
    input: &Tile,
    unpack: &impl Fn(&[u8; BYTES]) -> Unpacked,
) -> [f32; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    let blocks = rows.map(|row| row.as_chunks::<BYTES>().0);
    let lanes = const { lanes(ORDER, HALVES) };
    for index in 0..rows[0].len() / BYTES {
        for row in rows {
            prefetch(row, index * BYTES);
        }
        let shared = share::<ORDER, HALVES>(input, index * 8);
        for (sum, blocks) in sums.iter_mut().zip(&blocks) {
            let weights = unpack(&blocks[index]);
            let scales = _mm512_mul_ps(weights.scales, shared.scales);
            for ((weights, quants), lanes) in weights.quants.into_iter().zip(shared.quants).zip(&lanes) {
                let dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, quants);
                let scales = _mm512_permutexvar_ps(load(lanes), scales);
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scales, *sum);
            }
            *sum = _mm512_fmadd_ps(weights.mins, shared.totals, *sum);
        }
    }
    sums.map(|sum| _mm512_reduce_add_ps(sum))
}

/// Arranges eight blocks of activations from `first` on.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn share<const ORDER: u8, const HALVES: bool>(input: &Tile, first: usize) -> InputBlocks {
    let quants = at::<8, _>(&input.quants, first).as_flattened();
    let [a, b, c, d] = [0, 1, 2, 3].map(|pair| load(at::<64, _>(quants, 64 * pair)));
    let both =
        |a, b| (_mm512_shuffle_i64x2::<0b01_00_01_00>(a, b), _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b));
    let quants = match ORDER {
        BY_TWO => {
            let ((a, b), (c, d)) = (both(a, b), both(c, d));
            [a, b, c, d]
        }
        BY_FOUR => {
            let ((a, b), (c, d)) = (both(a, c), both(b, d));
            [a, b, c, d]
        }
        _ => [a, b, c, d],
    };
    let scales = load_some_floats(at::<8, _>(&input.scales, first));
    if HALVES {
        let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        let totals = load_floats(at(at::<8, _>(&input.halves, first).as_flattened(), 0));
        InputBlocks { quants, scales: _mm512_permutexvar_ps(twice, scales), totals }
    } else {
        InputBlocks { quants, scales, totals: load_some_floats(at::<8, _>(&input.sums, first)) }
    }
}

/// For each register: the numbers of the scales of its sixteen 4-byte lanes, as 32-bit words.
const fn lanes(order: u8, halves: bool) -> [[u8; 64]; 4] {
    let mut lanes = [[0; 64]; 4];
    let mut register = 0;
    while register < 4 {
        let (first, second) = match order {
            BY_TWO => (register / 2 * 4 + register % 2, register / 2 * 4 + register % 2 + 2),
            BY_FOUR => (register, register + 4),
            _ => (2 * register, 2 * register + 1),
        };
        let mut lane = 0;
        while lane < 16 {
            let group = if lane < 8 { first } else { second };
            let scale = if halves { 2 * group + lane % 8 / 4 } else { group };
            lanes[register][4 * lane] = scale as u8;
            lane += 1;
        }
        register += 1;
    }
    lanes
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn q2_k(block: &[u8; 84]) -> Unpacked {
    let bytes = load(at::<64, _>(block, 16));
    let pairs = load_16(at(block, 0));
    let low = _mm512_set1_epi8(0x03);
    let quants = [
        _mm512_and_si512(bytes, low),
        _mm512_and_si512(_mm512_srli_epi16::<2>(bytes), low),
        _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low),
        _mm512_and_si512(_mm512_srli_epi16::<6>(bytes), low),
    ];
    let pairs = _mm512_cvtepu8_epi32(pairs);
    let scales = _mm512_and_si512(pairs, _mm512_set1_epi32(0x0f));
    let mins = _mm512_srli_epi32::<4>(pairs);
    Unpacked {
        quants,
        scales: _mm512_mul_ps(_mm512_cvtepi32_ps(scales), _mm512_set1_ps(f16(block, 80))),
        mins: _mm512_mul_ps(_mm512_cvtepi32_ps(mins), _mm512_set1_ps(-f16(block, 82))),
    }
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn q3_k(block: &[u8; 110]) -> Unpacked {
    let bytes = load(at::<64, _>(block, 32));
    let high = _mm512_broadcast_i64x4(load_half(at(block, 0)));
    // Bits of groups 0–3 for the first, of 4–7 for the second half: both from bit 0 on.
    let high = _mm512_srlv_epi16(high, shifts(0, 4));
    let (low, third) = (_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x04));
    let quants = [
        either(bytes, low, _mm512_slli_epi16::<2>(high), third),
        either(_mm512_srli_epi16::<2>(bytes), low, _mm512_slli_epi16::<1>(high), third),
        either(_mm512_srli_epi16::<4>(bytes), low, high, third),
        either(_mm512_srli_epi16::<6>(bytes), low, _mm512_srli_epi16::<1>(high), third),
    ];
    let [first, last] = three_bit_scales(&block[96..108]);
    let biased = _mm512_cvtepi8_epi32(_mm_set_epi64x(last as i64, first as i64));
    let scales = _mm512_cvtepi32_ps(_mm512_sub_epi32(biased, _mm512_set1_epi32(32)));
    let scales = _mm512_mul_ps(scales, _mm512_set1_ps(f16(block, 108)));
    Unpacked { quants, scales, mins: _mm512_mul_ps(scales, _mm512_set1_ps(-4.0)) }
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn q4_k(block: &[u8; 144]) -> Unpacked {
    let (first, second) = (load(at::<64, _>(block, 16)), load(at::<64, _>(block, 80)));
    let low = _mm512_set1_epi8(0x0f);
    let quants = [
        _mm512_and_si512(first, low),
        _mm512_and_si512(_mm512_srli_epi16::<4>(first), low),
        _mm512_and_si512(second, low),
        _mm512_and_si512(_mm512_srli_epi16::<4>(second), low),
    ];
    let (scales, mins) = six_bits(block);
    Unpacked { quants, scales, mins }
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn q5_k(block: &[u8; 176]) -> Unpacked {
    let (first, second) = (load(at::<64, _>(block, 48)), load(at::<64, _>(block, 112)));
    // Bits of groups 0, 1, 4 and 5 for the first, of 2, 3, 6 and 7 for the second half.
    let high = _mm512_broadcast_i64x4(load_half(at(block, 16)));
    let high = _mm512_srlv_epi16(high, shifts(0, 2));
    let (low, fifth) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0x10));
    let quants = [
        either(first, low, _mm512_slli_epi16::<4>(high), fifth),
        either(_mm512_srli_epi16::<4>(first), low, _mm512_slli_epi16::<3>(high), fifth),
        either(second, low, high, fifth),
        either(_mm512_srli_epi16::<4>(second), low, _mm512_srli_epi16::<1>(high), fifth),
    ];
    let (scales, mins) = six_bits(block);
    Unpacked { quants, scales, mins }
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn q6_k(block: &[u8; 210]) -> Unpacked {
    let (low, upper) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0x30));
    let half = |half: usize| {
        let bytes = load(at::<64, _>(block, 64 * half));
        let high = _mm512_broadcast_i64x4(load_half(at(block, 128 + 32 * half)));
        [
            either(bytes, low, _mm512_sllv_epi16(high, shifts(4, 2)), upper),
            either(_mm512_srli_epi16::<4>(bytes), low, _mm512_srlv_epi16(high, shifts(0, 2)), upper),
        ]
    };
    let ([a, b], [c, d]) = (half(0), half(1));
    let scales = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(at(block, 192))));
    let scales = _mm512_mul_ps(scales, _mm512_set1_ps(f16(block, 208)));
    Unpacked { quants: [a, b, c, d], scales, mins: _mm512_mul_ps(scales, _mm512_set1_ps(-32.0)) }
}

/// Scales and minimums of Q4_K and Q5_K.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn six_bits<const BYTES: usize>(block: &[u8; BYTES]) -> (__m512, __m512) {
    let (scales, mins) = six_bit_pairs(block);
    let wide = |bytes: [u8; 8]| {
        let integers = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
        _mm512_zextps256_ps512(_mm256_cvtepi32_ps(integers))
    };
    let (scale, min) = (_mm512_set1_ps(f16(block, 0)), _mm512_set1_ps(-f16(block, 2)));
    (_mm512_mul_ps(wide(scales), scale), _mm512_mul_ps(wide(mins), min))
}

/// `a & a_bits | b & b_bits`, with bits that exclude each other.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn either(a: __m512i, a_bits: __m512i, b: __m512i, b_bits: __m512i) -> __m512i {
    _mm512_or_si512(_mm512_and_si512(a, a_bits), _mm512_and_si512(b, b_bits))
}

/// Counts of shifts for the 16-bit words of the two halves.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn shifts(first: i16, second: i16) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_set1_epi16(first), _mm256_set1_epi16(second))
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn load_16(bytes: &[u8; 16]) -> __m128i {
    let [low, high] = *bytes.as_chunks::<8>().0 else { unreachable!("two words of eight bytes") };
    _mm_set_epi64x(i64::from_le_bytes(high), i64::from_le_bytes(low))
}

/// The f16 at `at`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn f16(block: &[u8], at: usize) -> f32 {
    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}
