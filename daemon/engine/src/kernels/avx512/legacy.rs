//! One row of activations times rows in formats with blocks of 32, Q4_0 apart.
//!
//! Four blocks of a row are taken at once. Their quants are arranged as the nibbles lie: sixteen bytes of
//! first halves of each block in one register, of second halves in another, so that each of the four 16-byte
//! lanes belongs to a block and one conversion and multiplication serves both.

use std::arch::x86_64::{
    __m512, __m512i, _mm_cvtsi128_si64, _mm_extract_epi64, _mm512_and_si512, _mm512_castsi512_si128,
    _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_mask_add_epi8, _mm512_mask_mov_epi8, _mm512_mul_ps, _mm512_permutex2var_epi8,
    _mm512_permutex2var_epi16, _mm512_permutexvar_ps, _mm512_reduce_add_ps, _mm512_set1_epi8,
    _mm512_setr_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_srli_epi16,
    _mm512_sub_epi32, _mm512_xor_si512,
};

use slmscope_profiles::format::WeightFormat;

use super::{at, load, load_from, load_some_floats};
use crate::kernels::activations::{BLOCK, Tile};
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

/// The bytes of four blocks: the first 64, the next 64 if there are as many, and the last 64.
struct Bytes {
    first: __m512i,
    middle: __m512i,
    last: __m512i,
}

/// Four blocks of weights, each in its lane.
struct Quad {
    /// Quants of first halves, unsigned.
    left: __m512i,
    /// Quants of second halves, unsigned.
    right: __m512i,
    scales: __m512,
    /// Of formats that have minimums.
    mins: __m512,
}

/// Four blocks of activations, each in its lane.
struct InputBlocks {
    left: __m512i,
    right: __m512i,
    scales: __m512,
    /// What a dot product starts with: 0 or what the bias of the weights adds, negated.
    start: __m512i,
    /// Values summed up, for formats that have minimums.
    totals: __m512,
}

/// One row of activations times rows of weights.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(in crate::kernels) fn gemv(
    format: WeightFormat,
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
) {
    let none = _mm512_setzero_ps();
    match format {
        WeightFormat::Q4_1 => gemv_quads::<80, 0>(rows, row_bytes, input, out, |bytes| {
            let (left, right) = nibbles::<20>(&bytes);
            Quad { left, right, scales: spread::<20, 0>(&bytes), mins: spread::<20, 2>(&bytes) }
        }),
        WeightFormat::Q5_0 => gemv_quads::<88, 16>(rows, row_bytes, input, out, |bytes| {
            let (left, right) = fifth_bits::<22>(&bytes);
            Quad { left, right, scales: spread::<22, 0>(&bytes), mins: none }
        }),
        WeightFormat::Q5_1 => gemv_quads::<96, 0>(rows, row_bytes, input, out, |bytes| {
            let (left, right) = fifth_bits::<24>(&bytes);
            Quad { left, right, scales: spread::<24, 0>(&bytes), mins: spread::<24, 2>(&bytes) }
        }),
        WeightFormat::Q8_0 => gemv_quads::<136, -128>(rows, row_bytes, input, out, |bytes| {
            let (left, right) = whole_bytes(&bytes);
            Quad { left, right, scales: spread::<34, 0>(&bytes), mins: none }
        }),
        _ => unreachable!("formats with blocks of 32 but Q4_0"),
    }
}

/// `QUAD` bytes are four blocks, `BIAS` is what is to be taken from their quants; 0 means minimums.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn gemv_quads<const QUAD: usize, const BIAS: i8>(
    rows: &[u8],
    row_bytes: usize,
    input: &Tile,
    out: &mut [f32],
    quad: impl Fn(Bytes) -> Quad,
) {
    let blocks = row_bytes / (QUAD / 4);
    let (quants, scales) = (input.quants[..blocks].as_flattened(), &input.scales[..blocks]);
    by_streams(
        rows,
        row_bytes,
        out,
        |rows| dots::<STREAMS, QUAD, BIAS>(rows, quants, scales, &quad),
        |row| dots::<1, QUAD, BIAS>([row], quants, scales, &quad)[0],
    );
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dots<const N: usize, const QUAD: usize, const BIAS: i8>(
    rows: [&[u8]; N],
    quants: &[i8],
    scales: &[f32],
    quad: &impl Fn(Bytes) -> Quad,
) -> [f32; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    let (quants, last_quants) = quants.as_chunks::<{ 4 * BLOCK }>();
    let (scales, last_scales) = scales.as_chunks::<4>();
    let quads = rows.map(|row| row.as_chunks::<QUAD>());
    for (index, (quants, scales)) in quants.iter().zip(scales).enumerate() {
        for row in rows {
            prefetch(row, index * QUAD);
        }
        let (first, last) = (load(at::<64, _>(quants, 0)), load(at::<64, _>(quants, 64)));
        let shared = share::<BIAS>(first, last, load_some_floats(scales));
        for (sum, (quads, _)) in sums.iter_mut().zip(&quads) {
            let bytes = &quads[index];
            let middle = if QUAD > 128 { load(at::<64, _>(bytes, 64)) } else { _mm512_setzero_si512() };
            let bytes = Bytes {
                first: load(at::<64, _>(bytes, 0)),
                middle,
                last: load(at::<64, _>(bytes, QUAD - 64)),
            };
            *sum = add::<BIAS>(*sum, &shared, &quad(bytes));
        }
    }
    if !last_quants.is_empty() {
        let (first, last) = (load_from(last_quants, 0), load_from(last_quants, 64));
        let shared = share::<BIAS>(first, last, load_some_floats(last_scales));
        for (sum, (_, bytes)) in sums.iter_mut().zip(&quads) {
            let middle = if QUAD > 128 { load_from(bytes, 64) } else { _mm512_setzero_si512() };
            let bytes = Bytes { first: load_from(bytes, 0), middle, last: load_from(bytes, QUAD - 64) };
            *sum = add::<BIAS>(*sum, &shared, &quad(bytes));
        }
    }
    sums.map(|sum| _mm512_reduce_add_ps(sum))
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn share<const BIAS: i8>(first: __m512i, last: __m512i, scales: __m512) -> InputBlocks {
    // Lanes: halves of blocks 0 and 1, of blocks 2 and 3.
    let left = _mm512_shuffle_i64x2::<0b10_00_10_00>(first, last);
    let right = _mm512_shuffle_i64x2::<0b11_01_11_01>(first, last);
    let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    let scales = _mm512_permutexvar_ps(lanes, scales);
    let weight = _mm512_set1_epi8(if BIAS == 0 { 1 } else { BIAS });
    let zero = _mm512_setzero_si512();
    let totals = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, weight, left), weight, right);
    let start = if BIAS == 0 { zero } else { _mm512_sub_epi32(zero, totals) };
    InputBlocks { left, right, scales, start, totals: _mm512_mul_ps(_mm512_cvtepi32_ps(totals), scales) }
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn add<const BIAS: i8>(sum: __m512, shared: &InputBlocks, quad: &Quad) -> __m512 {
    let dots = _mm512_dpbusd_epi32(shared.start, quad.left, shared.left);
    let dots = _mm512_dpbusd_epi32(dots, quad.right, shared.right);
    let scales = _mm512_mul_ps(quad.scales, shared.scales);
    let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scales, sum);
    if BIAS == 0 { _mm512_fmadd_ps(quad.mins, shared.totals, sum) } else { sum }
}

/// The quants of 4 bits that end each of four blocks of `BYTES`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn nibbles<const BYTES: usize>(bytes: &Bytes) -> (__m512i, __m512i) {
    let index = const { byte_index(BYTES, BYTES - 16) };
    let both = _mm512_permutex2var_epi8(bytes.first, load(&index), bytes.last);
    let low = _mm512_set1_epi8(0x0f);
    (_mm512_and_si512(both, low), _mm512_and_si512(_mm512_srli_epi16::<4>(both), low))
}

/// Adds the fifth bits, which lie before the others.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn fifth_bits<const BYTES: usize>(bytes: &Bytes) -> (__m512i, __m512i) {
    let (left, right) = nibbles::<BYTES>(bytes);
    let index = const { bits_index(BYTES, BYTES - 20) };
    let bits = _mm512_permutex2var_epi16(bytes.first, load(&index), bytes.last);
    let bits = _mm512_castsi512_si128(bits);
    let (left_bits, right_bits) = (_mm_cvtsi128_si64(bits) as u64, _mm_extract_epi64::<1>(bits) as u64);
    let fifth = _mm512_set1_epi8(16);
    (
        _mm512_mask_add_epi8(left, left_bits, left, fifth),
        _mm512_mask_add_epi8(right, right_bits, right, fifth),
    )
}

/// The quants of 8 bits of four blocks, with the top bit turned: biased by 128 instead of signed.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn whole_bytes(bytes: &Bytes) -> (__m512i, __m512i) {
    const BYTES: usize = 34;
    // Of 136 bytes the last eight are not in the first two registers; in the third one the second half of the
    // last block lies where it is needed.
    let (left_index, right_index) = const { (byte_index(BYTES, 2), byte_index(BYTES, 18)) };
    let left = _mm512_permutex2var_epi8(bytes.first, load(&left_index), bytes.middle);
    let right = _mm512_permutex2var_epi8(bytes.first, load(&right_index), bytes.middle);
    let right = _mm512_mask_mov_epi8(right, 0xffff << 48, bytes.last);
    let top = _mm512_set1_epi8(-128);
    (_mm512_xor_si512(left, top), _mm512_xor_si512(right, top))
}

/// The f16 at `AT` of each of four blocks of `BYTES`, in the block's lane.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn spread<const BYTES: usize, const AT: usize>(bytes: &Bytes) -> __m512 {
    let index = const { word_index(BYTES, AT) };
    let second = if 4 * BYTES > 128 { bytes.middle } else { bytes.last };
    let words = _mm512_permutex2var_epi16(bytes.first, load(&index), second);
    _mm512_cvtph_ps(_mm512_castsi512_si256(words))
}

/// Where byte `at` of four blocks of `block` bytes is in two registers: the first 64 bytes, and the last 64
/// or, if there are more than 128, the next 64. What is in neither is anywhere.
const fn place(block: usize, at: usize) -> u8 {
    let second = if 4 * block > 128 { 64 } else { 4 * block - 64 };
    (if at < 64 { at } else { (at - second) % 64 + 64 }) as u8
}

/// Sixteen bytes from `at` on of each block.
const fn byte_index(block: usize, at: usize) -> [u8; 64] {
    let mut index = [0; 64];
    let mut to = 0;
    while to < 64 {
        index[to] = place(block, to / 16 * block + at + to % 16);
        to += 1;
    }
    index
}

/// The two bytes at `at` of each block, four times each. Indices count 16-bit words.
const fn word_index(block: usize, at: usize) -> [u8; 64] {
    let mut index = [0; 64];
    let mut to = 0;
    while to < 16 {
        index[2 * to] = place(block, to / 4 * block + at) / 2;
        to += 1;
    }
    index
}

/// The first two bytes at `at` of each block, then the two after these. Indices count 16-bit words.
const fn bits_index(block: usize, at: usize) -> [u8; 64] {
    let mut index = [0; 64];
    let mut to = 0;
    while to < 8 {
        index[2 * to] = place(block, to % 4 * block + at + to / 4 * 2) / 2;
        to += 1;
    }
    index
}
