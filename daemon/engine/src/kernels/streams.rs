//! The order in which the rows of a matrix are read for one row of activations.

/// How many rows are read at once.
pub(super) const STREAMS: usize = 4;
/// Distance from the multiplied bytes to the prefetched ones, bytes. On a Zen 4 VM twice that cost Q4_0 a quarter
/// of its speed, and asking for every line instead of one a step as much.
const AHEAD: usize = 1024;
/// Bytes of a cache line.
const LINE: usize = 64;

/// Multiplies all `rows`: four at a time, from four stretches as far from each other as can be. A core keeps
/// more of its memory's speed busy with several long streams than with one. `one` and `several` [`prefetch`].
#[inline(always)]
pub(super) fn by_streams(
    rows: &[u8],
    row_bytes: usize,
    out: &mut [f32],
    several: impl Fn([&[u8]; STREAMS]) -> [f32; STREAMS],
    one: impl Fn(&[u8]) -> f32,
) {
    let length = out.len() / STREAMS;
    let (streams, rest) = out.split_at_mut(length * STREAMS);
    let row = |number: usize| &rows[number * row_bytes..][..row_bytes];
    // Of what comes before the first that these ask for, all lines at once, not one waiting for the other.
    let ahead = AHEAD.min(length * row_bytes);
    for stream in 0..STREAMS {
        (0..ahead).step_by(LINE).for_each(|line| ask(rows, stream * length * row_bytes + line));
    }
    for index in 0..length {
        let products = several(std::array::from_fn(|stream| row(stream * length + index)));
        for (stream, product) in products.into_iter().enumerate() {
            streams[stream * length + index] = product;
        }
    }
    for (index, out) in rest.iter_mut().enumerate() {
        *out = one(row(length * STREAMS + index));
    }
}

/// Prefetches the cache line that is needed soon after the byte at `at`. It may lie outside of `bytes`.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8], at: usize) {
    ask(bytes, at + AHEAD);
}

/// Asks for a cache line, into the second-level cache: a core can wait for more lines there than in the first.
#[inline(always)]
#[cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(unsafe_code, reason = "an instruction")
)]
fn ask(bytes: &[u8], at: usize) {
    let place = bytes.as_ptr().wrapping_add(at);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint of every x86-64 CPU, which reads nothing and faults nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(place.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the same of every aarch64 CPU. The standard library has no stable way to give it.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}
