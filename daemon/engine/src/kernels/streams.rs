//! In which order the rows of a matrix are read when one row of activations passes by.

/// How many rows are read at once.
pub(super) const STREAMS: usize = 4;
/// How far ahead of what is multiplied memory is asked for, bytes. On a Zen 4 VM twice that cost Q4_0 a quarter
/// of its speed, and asking for every line instead of one a step as much.
pub(super) const AHEAD: usize = 1024;

/// Multiplies all `rows`: four at a time, from four stretches as far from each other as can be. A core keeps
/// more of its memory's speed busy with several long streams than with one.
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
