//! One row of activations times rows in Q4_0, blocks of 18 bytes: a scale of 16 bits and 32 quants of 4, of
//! which byte `i` holds numbers `i` and `16 + i`.
//!
//! Eight blocks of a row are taken at once, one register for each quarter of their quants, so that a block has
//! two 32-bit places and one conversion and one multiplication by the scales serve all eight. That takes
//! bytes of four blocks from one register: three strides and half of a block's quants, 62 bytes. Blocks of the
//! other formats are too long for it.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_srai_epi32, _mm512_and_si512,
    _mm512_castps256_ps512, _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtepu32_epi64,
    _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_permutex2var_epi8,
    _mm512_permutex2var_epi16, _mm512_permutexvar_ps, _mm512_reduce_add_ps, _mm512_set1_epi8,
    _mm512_setr_epi32, _mm512_setzero_ps, _mm512_srli_epi16,
};

use super::{at, load, load_from};
use crate::kernels::activations::{BLOCK, OCTET, Tile};
use crate::kernels::streams::{STREAMS, by_streams, prefetch};

const BLOCK_BYTES: usize = 18;
/// Blocks that are taken at once.
const BLOCKS: usize = OCTET / BLOCK;
const OCTET_BYTES: usize = BLOCKS * BLOCK_BYTES;
/// Where in eight blocks the registers of [`Bytes`] begin.
const REGISTERS: [usize; 4] = [0, 8, OCTET_BYTES / 2, OCTET_BYTES / 2 + 8];

/// The activations of one row.
struct Input<'a> {
    octets: &'a [[i8; OCTET]],
    /// -128 × sum of the quants of a block.
    offsets: &'a [i32],
    scales: &'a [f32],
}

/// Eight blocks of activations.
struct InputBlocks {
    quarters: [__m512i; 4],
    /// What a dot product starts with: 0, and what the bias of the weights adds, negated.
    start: __m512i,
    /// Each twice.
    scales: __m512,
}

/// Eight blocks of weights: the first 64 bytes of four blocks, 64 from the ninth on, and the same of the other
/// four.
type Bytes = [__m512i; 4];

/// One row of activations times rows of weights.
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub(super) fn gemv(rows: &[u8], row_bytes: usize, input: &Tile, out: &mut [f32]) {
    debug_assert!(input.in_octets, "shaped for Q4_0");
    let blocks = row_bytes / BLOCK_BYTES;
    let input = Input {
        octets: &input.octets[..blocks.div_ceil(BLOCKS)],
        offsets: &input.offsets[..blocks],
        scales: &input.scales[..blocks],
    };
    by_streams(rows, row_bytes, out, |rows| dots::<STREAMS>(rows, &input), |row| dots::<1>([row], &input)[0]);
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dots<const N: usize>(rows: [&[u8]; N], input: &Input<'_>) -> [f32; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    let (offsets, last_offsets) = input.offsets.as_chunks::<BLOCKS>();
    let (scales, last_scales) = input.scales.as_chunks::<BLOCKS>();
    let rows_octets = rows.map(|row| row.as_chunks::<OCTET_BYTES>());
    for (index, ((octet, offsets), scales)) in input.octets.iter().zip(offsets).zip(scales).enumerate() {
        let shared = share(octet, offsets, scales);
        for ((sum, row), (octets, _)) in sums.iter_mut().zip(rows).zip(&rows_octets) {
            prefetch(row, index * OCTET_BYTES);
            prefetch(row, index * OCTET_BYTES + OCTET_BYTES / 2);
            let bytes = &octets[index];
            *sum = add(*sum, &shared, REGISTERS.map(|start| load(at::<64, _>(bytes, start))));
        }
    }
    if let (Some(octet), false) = (input.octets.last(), last_scales.is_empty()) {
        let shared = share(octet, &filled(last_offsets), &filled(last_scales));
        for (sum, (_, bytes)) in sums.iter_mut().zip(&rows_octets) {
            *sum = add(*sum, &shared, REGISTERS.map(|start| load_from(bytes, start)));
        }
    }
    sums.map(|sum| _mm512_reduce_add_ps(sum))
}

/// With zeroes behind.
fn filled<T: Copy + Default>(values: &[T]) -> [T; BLOCKS] {
    std::array::from_fn(|index| values.get(index).copied().unwrap_or_default())
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
#[expect(unsafe_code, reason = "loads")]
fn share(octet: &[i8; OCTET], offsets: &[i32; BLOCKS], scales: &[f32; BLOCKS]) -> InputBlocks {
    // SAFETY: as many values as are read; no alignment is needed.
    let (offsets, scales) =
        unsafe { (_mm256_loadu_si256(offsets.as_ptr().cast()), _mm256_loadu_ps(scales.as_ptr())) };
    let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    InputBlocks {
        quarters: [0, 64, 128, 192].map(|start| load(at::<64, _>(octet, start))),
        // The weights' bias is 8, a sixteenth of 128.
        start: _mm512_cvtepu32_epi64(_mm256_srai_epi32::<4>(offsets)),
        scales: _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(scales)),
    }
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn add(sum: __m512, shared: &InputBlocks, [near, near_end, far, far_end]: Bytes) -> __m512 {
    let (quants, scales) = const { (quants_index(), scales_index()) };
    let (quants, low) = (load(&quants), _mm512_set1_epi8(0x0f));
    let first = _mm512_permutex2var_epi8(near, quants, far);
    let second = _mm512_permutex2var_epi8(near_end, quants, far_end);
    let [quarter0, quarter1, quarter2, quarter3] = shared.quarters;
    let dots = _mm512_dpbusd_epi32(shared.start, _mm512_and_si512(first, low), quarter0);
    let dots = _mm512_dpbusd_epi32(dots, _mm512_and_si512(second, low), quarter1);
    let (first, second) = (_mm512_srli_epi16::<4>(first), _mm512_srli_epi16::<4>(second));
    let dots = _mm512_dpbusd_epi32(dots, _mm512_and_si512(first, low), quarter2);
    let dots = _mm512_dpbusd_epi32(dots, _mm512_and_si512(second, low), quarter3);
    let words = _mm512_permutex2var_epi16(near, load(&scales), far);
    let scales = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_castsi512_si256(words)), shared.scales);
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scales, sum)
}

/// Where byte `at` of each block is in two registers of four blocks.
const fn place(block: usize, at: usize) -> usize {
    block / 4 * 64 + block % 4 * BLOCK_BYTES + at
}

/// Eight bytes of quants of each block.
const fn quants_index() -> [u8; 64] {
    let mut index = [0; 64];
    let mut to = 0;
    while to < 64 {
        index[to] = place(to / 8, 2 + to % 8) as u8;
        to += 1;
    }
    index
}

/// The scale of each block, twice. Indices count 16-bit words.
const fn scales_index() -> [u8; 64] {
    let mut index = [0; 64];
    let mut to = 0;
    while to < 16 {
        index[2 * to] = (place(to / 2, 0) / 2) as u8;
        to += 1;
    }
    index
}
