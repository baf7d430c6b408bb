//! The roofs of this machine: the most bytes read from memory, f32 multiply-adds and int8 dot products per second.
//!
//! Each roof is measured with the instructions that the kernels of an instruction set use, on a given number of
//! threads at once. An int8 multiplication and its addition count as two operations, as in f32.

use std::sync::Barrier;
use std::time::{Duration, Instant};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::kernels::Isa;
use crate::kernels::Kernels;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The roofs of a machine, of all threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// Bytes read from memory a second.
    pub read_bytes: f64,
    /// f32 operations a second.
    pub f32_flops: f64,
    /// int8 operations a second.
    pub int8_ops: f64,
}

/// Memory that is read between two clock reads, bytes.
const STRETCH: usize = 1 << 20;
/// Rounds of arithmetic between two clock reads.
const ROUNDS: usize = 1 << 14;

/// Memory that is read to find how fast memory is.
#[derive(Debug)]
pub struct Buffer {
    words: Vec<u64>,
}

impl Buffer {
    /// Takes and writes `bytes` of memory. To be larger than the machine's caches by far, or these are
    /// measured.
    pub fn new(bytes: usize) -> Self {
        Self { words: (0..bytes as u64 / 8).collect() }
    }
}

impl Roofs {
    /// Looks at the roofs for `look` in all, most of it at memory, on `threads` threads, the calling one being
    /// one of them.
    pub fn take(kernels: Kernels, threads: usize, buffer: &Buffer, look: Duration) -> Self {
        let share = (buffer.words.len() / threads.max(1)).max(1);
        let parts: Vec<&[u64]> = buffer.words.chunks(share).take(threads.max(1)).collect();
        let read = |thread: usize| {
            let part = parts.get(thread).copied().unwrap_or_default();
            let mut stretches = part.chunks(STRETCH / 8).cycle();
            move || stretches.next().map_or(0, |stretch| read(kernels, stretch))
        };
        Self {
            read_bytes: rate(threads, look * 3 / 5, read),
            f32_flops: rate(threads, look / 5, |_| || multiply_add(kernels)),
            int8_ops: rate(threads, look / 5, |_| || int8_dot(kernels)),
        }
    }
}

/// Units of work a second that `threads` threads do together. `work` makes the work of a thread; a call of it
/// does some and returns how much.
fn rate<W: FnMut() -> usize>(threads: usize, duration: Duration, work: impl Fn(usize) -> W + Sync) -> f64 {
    let start = Barrier::new(threads.max(1));
    let of_thread = |thread: usize| {
        let mut work = work(thread);
        work();
        start.wait();
        let begin = Instant::now();
        let mut done = 0;
        loop {
            done += work();
            let passed = begin.elapsed();
            if passed >= duration {
                return done as f64 / passed.as_secs_f64();
            }
        }
    };
    std::thread::scope(|scope| {
        let of_thread = &of_thread;
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || of_thread(thread))).collect();
        let own = of_thread(0);
        own + others.into_iter().map(|other| other.join().unwrap_or(0.0)).sum::<f64>()
    })
}

/// Reads `words`; gives the bytes read.
fn read(kernels: Kernels, words: &[u64]) -> usize {
    match kernels.isa() {
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: `Kernels` exist for instruction sets of this machine only.
        Isa::Avx512Vnni => unsafe { x86::read_avx512(words) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::read_avx2(words) },
        #[cfg(target_arch = "aarch64")]
        #[expect(unsafe_code, reason = "instructions of the baseline")]
        // SAFETY: NEON is in the baseline of aarch64.
        Isa::Neon | Isa::Dotprod | Isa::I8mm => unsafe { aarch64::read(words) },
        _ => read_plain(words),
    }
    size_of_val(words)
}

/// Operations of f32 multiply-adds done.
fn multiply_add(kernels: Kernels) -> usize {
    match kernels.isa() {
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: `Kernels` exist for instruction sets of this machine only.
        Isa::Avx512Vnni => unsafe { x86::fma_avx512(ROUNDS) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::fma_avx2(ROUNDS) },
        #[cfg(target_arch = "aarch64")]
        #[expect(unsafe_code, reason = "instructions of the baseline")]
        // SAFETY: NEON is in the baseline of aarch64.
        Isa::Neon | Isa::Dotprod | Isa::I8mm => unsafe { aarch64::fma(ROUNDS) },
        _ => multiply_add_plain(ROUNDS),
    }
}

/// Operations of int8 dot products done.
fn int8_dot(kernels: Kernels) -> usize {
    match kernels.isa() {
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: `Kernels` exist for instruction sets of this machine only.
        Isa::Avx512Vnni => unsafe { x86::dot_avx512(ROUNDS) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::dot_avx2(ROUNDS) },
        #[cfg(target_arch = "aarch64")]
        #[expect(unsafe_code, reason = "instructions that were detected")]
        // SAFETY: as above.
        isa @ (Isa::Neon | Isa::Dotprod | Isa::I8mm) => unsafe { aarch64::dot(isa, ROUNDS) },
        _ => int8_dot_plain(ROUNDS),
    }
}

/// Combines all words, on as many lanes as hide the latency of doing so.
fn read_plain(words: &[u64]) {
    let mut sums = [0_u64; 32];
    for words in words.as_chunks::<32>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum ^= word;
        }
    }
    std::hint::black_box(sums);
}

fn multiply_add_plain(rounds: usize) -> usize {
    const LANES: usize = 32;
    let (factor, term) = std::hint::black_box((0.999_f32, 0.001_f32));
    let mut values = [1.0_f32; LANES];
    for _ in 0..rounds {
        for value in &mut values {
            *value = *value * factor + term;
        }
    }
    std::hint::black_box(values);
    2 * LANES * rounds
}

fn int8_dot_plain(rounds: usize) -> usize {
    const LANES: usize = 16;
    let weights = std::hint::black_box([[3_u8; 4]; LANES]);
    let mut quants = std::hint::black_box([1_i8, -2, 3, -4]);
    let mut sums = [0_i32; LANES];
    for _ in 0..rounds {
        quants = std::hint::black_box(quants);
        for (sum, weights) in sums.iter_mut().zip(&weights) {
            for (&weight, &quant) in weights.iter().zip(&quants) {
                *sum = sum.wrapping_add(i32::from(weight) * i32::from(quant));
            }
        }
    }
    std::hint::black_box(sums);
    2 * 4 * LANES * rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn every_instruction_set_does_some_work() {
        let buffer = Buffer::new(STRETCH + 800);
        for kernels in Isa::ALL.into_iter().filter_map(Kernels::new) {
            for threads in [1, 3] {
                let roofs = Roofs::take(kernels, threads, &buffer, Duration::ZERO);
                let all = [roofs.read_bytes, roofs.f32_flops, roofs.int8_ops];
                assert!(all.iter().all(|rate| *rate > 0.0 && rate.is_finite()), "{roofs:?}");
            }
        }
    }

    #[test]
    fn a_rate_is_of_all_threads() {
        let counts = |_| || 1;
        assert!(rate(2, Duration::ZERO, counts) > 0.0);
        assert!((rate(1, Duration::ZERO, |_| || 0)).abs() < f64::EPSILON);
    }
}
