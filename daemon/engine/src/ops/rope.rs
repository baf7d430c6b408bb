//! Rotary positions.

use slmscope_profiles::spec::rope::RopePairing;

use super::versions;

/// Where the turning elements of a row lie.
#[derive(Debug, Clone, Copy)]
pub struct Turned {
    /// Heads in a row.
    pub heads: usize,
    /// Elements from one head to the next.
    pub head_dim: usize,
    /// First element of a head that turns.
    pub offset: usize,
    /// Which elements form a pair.
    pub pairing: RopePairing,
}

versions! {
    /// Turns the heads of one row by the angles whose cosines and sines are given, one a pair.
    pub fn turn(turned: Turned, row: &mut [f32], cos: &[f32], sin: &[f32]) = turn_body;
}

#[inline(always)]
fn turn_body(turned: Turned, row: &mut [f32], cos: &[f32], sin: &[f32]) {
    let pairs = cos.len();
    for head in 0..turned.heads {
        let start = head * turned.head_dim + turned.offset;
        let part = &mut row[start..start + 2 * pairs];
        match turned.pairing {
            RopePairing::Halves => {
                let (first, second) = part.split_at_mut(pairs);
                for (((x, y), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                    (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
                }
            }
            RopePairing::Adjacent => {
                for ((pair, cos), sin) in part.chunks_exact_mut(2).zip(cos).zip(sin) {
                    (pair[0], pair[1]) = (pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos);
                }
            }
        }
    }
}

/// Cosines and sines of one position: `frequencies` are radians a position.
pub fn angles(frequencies: &[f32], magnitude: f32, position: u32, cos: &mut [f32], sin: &mut [f32]) {
    for ((frequency, cos), sin) in frequencies.iter().zip(cos).zip(sin) {
        // In f64: at position 100,000 an f32 angle is off by 0.004.
        let (s, c) = (f64::from(position) * f64::from(*frequency)).sin_cos();
        (*cos, *sin) = (c as f32 * magnitude, s as f32 * magnitude);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Simd;

    #[test]
    fn pairs_turn_and_the_rest_stays() {
        let row: Vec<f32> = (0..2 * 22).map(|i| (i % 13) as f32 - 6.0).collect();
        let frequencies: Vec<f32> = (0..8).map(|pair| 0.5_f32.powi(pair)).collect();
        let (mut cos, mut sin) = ([0.0; 8], [0.0; 8]);
        angles(&frequencies, 1.5, 7, &mut cos, &mut sin);
        for simd in Simd::available() {
            for pairing in [RopePairing::Halves, RopePairing::Adjacent] {
                let mut found = row.clone();
                turn(simd, Turned { heads: 2, head_dim: 22, offset: 3, pairing }, &mut found, &cos, &sin);
                let mut expected: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
                for head in 0..2 {
                    for pair in 0..8 {
                        let start = head * 22 + 3;
                        let (a, b) = match pairing {
                            RopePairing::Halves => (start + pair, start + pair + 8),
                            RopePairing::Adjacent => (start + 2 * pair, start + 2 * pair + 1),
                        };
                        let (s, c) = (7.0 * 0.5_f64.powi(pair as i32)).sin_cos();
                        let (x, y) = (f64::from(row[a]), f64::from(row[b]));
                        (expected[a], expected[b]) = (1.5 * (x * c - y * s), 1.5 * (x * s + y * c));
                    }
                }
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((f64::from(*found) - expected).abs() < 1e-5, "{pairing:?}");
                }
            }
        }
    }
}
