//! Checks that all weights are finite before they are computed with.
//!
//! One NaN in a weight makes every logit NaN, and no step shows where it came from. So the numbers of plain tensors
//! and the scales of blocks are checked while loading reads their pages anyway. The quants of a block are integers:
//! with finite scales every weight is finite.

use half::{bf16, f16};
use rayon::prelude::*;
use slmscope_profiles::format::WeightFormat;

/// Bytes that one thread checks at a time, about.
const STRETCH: usize = 256 << 10;

/// As [`first_not_finite`], by all threads.
pub(crate) fn first_not_finite_in_parallel(format: WeightFormat, bytes: &[u8]) -> Option<(usize, f32)> {
    let block = format.block_bytes() as usize;
    let stretch = STRETCH / block * block;
    bytes.par_chunks(stretch).enumerate().find_map_first(|(index, bytes)| {
        first_not_finite(format, bytes).map(|(offset, number)| (index * stretch + offset, number))
    })
}

/// The first number in `bytes`, whole blocks of `format`, that is infinite or NaN, and its offset.
pub(crate) fn first_not_finite(format: WeightFormat, bytes: &[u8]) -> Option<(usize, f32)> {
    match format {
        WeightFormat::F32 => {
            let wild = |bytes: [u8; 4]| u32::from_le_bytes(bytes) & 0x7f80_0000 == 0x7f80_0000;
            plain(bytes, wild).map(|(at, bytes)| (at, f32::from_le_bytes(bytes)))
        }
        WeightFormat::F16 => {
            plain(bytes, wild_f16).map(|(at, bytes)| (at, f16::from_le_bytes(bytes).to_f32()))
        }
        WeightFormat::Bf16 => {
            let wild = |bytes: [u8; 2]| u16::from_le_bytes(bytes) & 0x7f80 == 0x7f80;
            plain(bytes, wild).map(|(at, bytes)| (at, bf16::from_le_bytes(bytes).to_f32()))
        }
        WeightFormat::Q4_0 => scales::<18, 1>(bytes, [0]),
        WeightFormat::Q4_1 => scales::<20, 2>(bytes, [0, 2]),
        WeightFormat::Q5_0 => scales::<22, 1>(bytes, [0]),
        WeightFormat::Q5_1 => scales::<24, 2>(bytes, [0, 2]),
        WeightFormat::Q8_0 => scales::<34, 1>(bytes, [0]),
        WeightFormat::Q2K => scales::<84, 2>(bytes, [80, 82]),
        WeightFormat::Q3K => scales::<110, 1>(bytes, [108]),
        WeightFormat::Q4K => scales::<144, 2>(bytes, [0, 2]),
        WeightFormat::Q5K => scales::<176, 2>(bytes, [0, 2]),
        WeightFormat::Q6K => scales::<210, 1>(bytes, [208]),
    }
}

/// Whether the f16 of these bytes is infinite or NaN: all bits of its exponent are set.
fn wild_f16(bytes: [u8; 2]) -> bool {
    u16::from_le_bytes(bytes) & 0x7c00 == 0x7c00
}

/// The first of the numbers in `bytes` that is not finite, and its offset.
fn plain<const N: usize>(bytes: &[u8], wild: impl Fn([u8; N]) -> bool) -> Option<(usize, [u8; N])> {
    /// Numbers that are checked without a branch.
    const RUN: usize = 256;
    let (numbers, _) = bytes.as_chunks::<N>();
    let run = numbers.chunks(RUN).position(|run| run.iter().fold(false, |any, &bytes| any | wild(bytes)))?;
    let index = run * RUN + numbers.get(run * RUN..)?.iter().position(|&bytes| wild(bytes))?;
    Some((index * N, *numbers.get(index)?))
}

/// The first f16 that is infinite or NaN among those at the offsets `at` in each block.
fn scales<const BLOCK: usize, const N: usize>(bytes: &[u8], at: [usize; N]) -> Option<(usize, f32)> {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    blocks.iter().enumerate().find_map(|(index, block)| {
        let scale = |at: usize| [block[at], block[at + 1]];
        let at = at.into_iter().find(|&at| wild_f16(scale(at)))?;
        Some((index * BLOCK + at, f16::from_le_bytes(scale(at)).to_f32()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place at which a block of the format has an f16, f32 or bf16.
    fn places(format: WeightFormat) -> Vec<usize> {
        match format {
            WeightFormat::Q2K => vec![80, 82],
            WeightFormat::Q3K => vec![108],
            WeightFormat::Q6K => vec![208],
            WeightFormat::Q4_1 | WeightFormat::Q5_1 | WeightFormat::Q4K | WeightFormat::Q5K => vec![0, 2],
            _ => vec![0],
        }
    }

    fn infinity(format: WeightFormat) -> Vec<u8> {
        match format {
            WeightFormat::F32 => f32::NEG_INFINITY.to_le_bytes().to_vec(),
            WeightFormat::Bf16 => bf16::NEG_INFINITY.to_le_bytes().to_vec(),
            _ => f16::NEG_INFINITY.to_le_bytes().to_vec(),
        }
    }

    #[test]
    fn every_scale_of_every_format_is_seen_wherever_its_block_lies() {
        for format in WeightFormat::ALL {
            let block = format.block_bytes() as usize;
            let blocks = 3 * STRETCH / block;
            let clean = vec![0; blocks * block];
            assert_eq!(first_not_finite_in_parallel(format, &clean), None);
            for index in [0, 1, blocks / 2, blocks - 1] {
                for place in places(format) {
                    let (mut bytes, at) = (clean.clone(), index * block + place);
                    let infinity = infinity(format);
                    bytes[at..at + infinity.len()].copy_from_slice(&infinity);
                    let found = first_not_finite_in_parallel(format, &bytes);
                    assert_eq!(found, Some((at, f32::NEG_INFINITY)), "{format}");
                }
            }
        }
    }

    #[test]
    fn the_first_one_counts_and_quants_do_not() {
        let mut bytes = vec![0xff; 18 * 4];
        for block in bytes.chunks_exact_mut(18) {
            block[..2].copy_from_slice(&f16::ONE.to_le_bytes());
        }
        assert_eq!(first_not_finite(WeightFormat::Q4_0, &bytes), None);
        for block in [2, 3] {
            bytes[block * 18..][..2].copy_from_slice(&f16::NAN.to_le_bytes());
        }
        let (at, number) = first_not_finite(WeightFormat::Q4_0, &bytes).unwrap();
        assert!(at == 36 && number.is_nan());
    }
}
