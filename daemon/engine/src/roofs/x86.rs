//! The roofs' instructions on x86-64.

use std::arch::x86_64::{
    _MM_HINT_T1, _mm_prefetch, _mm256_add_epi32, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_si256,
    _mm256_xor_si256, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_set1_epi8,
    _mm512_set1_ps, _mm512_setzero_si512, _mm512_xor_si512,
};
use std::hint::black_box;

/// Chains of additions: more than units × latency on any x86 that has the instructions.
const CHAINS: usize = 12;

/// Stretches that are read at once: a core keeps more of its memory's speed busy with several than with one.
const STREAMS: usize = 8;
/// Distance from the read bytes to the prefetched ones, bytes.
const AHEAD: usize = 4096;

#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "loads")]
pub(super) fn read_avx512(words: &[u64]) {
    let mut sums = [_mm512_setzero_si512(); STREAMS];
    by_streams::<16>(words, |stream, words| {
        prefetch(words);
        prefetch(&words[8..]);
        for words in words.as_chunks::<8>().0 {
            // SAFETY: as many bytes as are read; no alignment is needed.
            let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
            sums[stream] = _mm512_xor_si512(sums[stream], words);
        }
    });
    black_box(sums);
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loads")]
pub(super) fn read_avx2(words: &[u64]) {
    let mut sums = [_mm256_setzero_si256(); STREAMS];
    by_streams::<8>(words, |stream, words| {
        prefetch(words);
        for words in words.as_chunks::<4>().0 {
            // SAFETY: as many bytes as are read; no alignment is needed.
            let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
            sums[stream] = _mm256_xor_si256(sums[stream], words);
        }
    });
    black_box(sums);
}

/// Calls `read` with the words of each stream in turn, `N` at a time.
#[inline]
fn by_streams<const N: usize>(words: &[u64], mut read: impl FnMut(usize, &[u64; N])) {
    let length = words.len() / STREAMS / N;
    let streams: [&[[u64; N]]; STREAMS] =
        std::array::from_fn(|stream| &words[stream * length * N..].as_chunks().0[..length]);
    for index in 0..length {
        for (stream, words) in streams.iter().enumerate() {
            read(stream, &words[index]);
        }
    }
}

#[inline]
#[target_feature(enable = "sse")]
fn prefetch(words: &[u64]) {
    _mm_prefetch::<_MM_HINT_T1>(words.as_ptr().cast::<i8>().wrapping_add(AHEAD));
}

#[target_feature(enable = "avx512f")]
pub(super) fn fma_avx512(rounds: usize) -> usize {
    let (factor, term) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    let mut sums = [term; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, term);
        }
    }
    black_box(sums);
    2 * 16 * CHAINS * rounds
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn fma_avx2(rounds: usize) -> usize {
    let (factor, term) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    let mut sums = [term; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, term);
        }
    }
    black_box(sums);
    2 * 8 * CHAINS * rounds
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn dot_avx512(rounds: usize) -> usize {
    let (weights, quants) = (_mm512_set1_epi8(black_box(3)), _mm512_set1_epi8(black_box(-5)));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, weights, quants);
        }
    }
    black_box(sums);
    2 * 64 * CHAINS * rounds
}

/// Without a dot product: pairs to 16 bits, pairs of these to 32, addition.
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "hides a value from the optimizer in its register")]
pub(super) fn dot_avx2(rounds: usize) -> usize {
    let mut quants = _mm256_set1_epi8(black_box(-5));
    let (weights, ones) = (_mm256_set1_epi8(black_box(3)), _mm256_set1_epi16(black_box(1)));
    let mut sums = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // SAFETY: no instruction at all. What comes out may be another value, as far as the optimizer
            // knows, so that the products cannot be taken out of the loop.
            unsafe {
                std::arch::asm!("/* {0} */", inout(ymm_reg) quants, options(nomem, nostack, preserves_flags));
            };
            let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(weights, quants), ones);
            *sum = _mm256_add_epi32(*sum, pairs);
        }
    }
    black_box(sums);
    2 * 32 * CHAINS * rounds
}
