use half::f16;

use super::*;

/// A generator of numbers between -1 and 1.
fn numbers(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

/// Keys and values position by position, and the same in the cache's layout with junk where nothing is.
struct Head {
    key_dim: usize,
    value_dim: usize,
    plain: Vec<(Vec<f32>, Vec<f32>)>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Head {
    fn new(positions: usize, key_dim: usize, value_dim: usize) -> Self {
        let mut number = numbers(positions as u32 + 7);
        // As f16 has them, so that both caches hold the same.
        let mut row = |width| (0..width).map(|_| f16::from_f32(number()).to_f32()).collect::<Vec<f32>>();
        let plain: Vec<_> = (0..positions).map(|_| (row(key_dim), row(value_dim))).collect();
        let stride = value_dim.next_multiple_of(BLOCK);
        let mut keys = vec![f32::NAN; positions.next_multiple_of(BLOCK) * key_dim];
        let mut values = vec![0.0; positions * stride];
        for (position, (key, value)) in plain.iter().enumerate() {
            for (element, key) in key.iter().enumerate() {
                keys[(position / BLOCK * key_dim + element) * BLOCK + position % BLOCK] = *key;
            }
            values[position * stride..][..value_dim].copy_from_slice(value);
        }
        Self { key_dim, value_dim, plain, keys, values }
    }

    fn expected(&self, query: &Query, q: &[f32], softcap: Option<f32>) -> Vec<f32> {
        let seen = query.first as usize..=query.position as usize;
        let score = |position: usize| {
            let dot: f64 =
                self.plain[position].0.iter().zip(q).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum();
            let score = dot * f64::from(query.scale);
            let score = softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh());
            score - f64::from(query.slope) * (query.position as usize - position) as f64
        };
        let scores: Vec<f64> = seen.clone().map(score).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mix = |element: usize| {
            let values = seen.clone().map(|position| f64::from(self.plain[position].1[element]));
            (values.zip(&weights).map(|(value, weight)| value * weight).sum::<f64>() / sum) as f32
        };
        (0..self.value_dim).map(mix).collect()
    }

    /// Runs `queries` over stretches that end at `cuts`, and merges.
    fn found<E: Element>(
        &self,
        simd: Simd,
        (queries, q): (&[Query], &[f32]),
        softcap: Option<f32>,
        cuts: &[u32],
        store: impl Fn(f32) -> E,
    ) -> Vec<Vec<f32>> {
        let keys: Vec<E> = self.keys.iter().map(|value| store(*value)).collect();
        let values: Vec<E> = self.values.iter().map(|value| store(*value)).collect();
        let (key_dim, value_dim) = (self.key_dim, self.value_dim);
        let cache = HeadCache { keys: &keys, values: &values, key_dim, value_dim };
        let (rows, stride) = (queries.len(), cache.value_stride());
        let mut scores = vec![f32::NAN; ROWS * TILE];
        let mut start = 0;
        let parts: Vec<_> = cuts
            .iter()
            .map(|&stop| {
                let (mut values, mut most, mut sum) =
                    (vec![f32::NAN; rows * stride], [0.0; ROWS], [0.0; ROWS]);
                let mut mixed = Mixed { values: &mut values, most: &mut most, sum: &mut sum };
                let job = Job { queries, q, stride: key_dim, start, stop, softcap };
                attend(simd, &job, &cache, &mut scores, &mut mixed);
                start = stop;
                (values, most, sum)
            })
            .collect();
        let row = |row: usize| {
            let mut out = vec![f32::NAN; value_dim];
            if let [(values, _, sum)] = &parts[..] {
                finish(&values[row * stride..], sum[row], &mut out);
            } else {
                let part = |(values, most, sum): &'_ (Vec<f32>, [f32; ROWS], [f32; ROWS])| {
                    (most[row], sum[row], values[row * stride..][..value_dim].to_vec())
                };
                let parts: Vec<_> = parts.iter().map(part).collect();
                merge(parts.iter().map(|(most, sum, values)| (*most, *sum, &values[..])), &mut out);
            }
            out
        };
        (0..rows).map(row).collect()
    }
}

#[test]
fn every_version_is_the_slow_formula() {
    let mut cases = 0;
    for (positions, key_dim, value_dim) in [
        (1, 4, 4),
        (5, 64, 64),
        (16, 8, 24),
        (17, 80, 80),
        (130, 12, 20),
        (200, 33, 16),
        (300, 64, 64),
        (70, 256, 256),
    ] {
        let head = Head::new(positions, key_dim, value_dim);
        for rows in 1..=ROWS {
            for (window, softcap, slope) in
                [(None, None, 0.0), (Some(3), None, 0.0), (Some(90), Some(2.0), 0.0), (None, None, 0.05)]
            {
                let mut number = numbers(rows as u32);
                let q: Vec<f32> = (0..rows * key_dim).map(|_| 3.0 * number()).collect();
                // Neighbouring positions, the last row at the end.
                let query = |row: usize| {
                    let position = (positions - 1).saturating_sub(rows - 1 - row) as u32;
                    let first = window.map_or(0, |window: u32| (position + 1).saturating_sub(window));
                    Query { first, position, scale: 0.3, slope: slope * (row + 1) as f32 }
                };
                let queries: Vec<_> = (0..rows).map(query).collect();
                let expected: Vec<_> = queries
                    .iter()
                    .zip(q.chunks(key_dim))
                    .map(|(query, q)| head.expected(query, q, softcap))
                    .collect();
                let end = positions as u32;
                for simd in Simd::available() {
                    for cuts in [&[end][..], &[end / 3 / 16 * 16, end / 2, end]] {
                        let queries = (&queries[..], &q[..]);
                        let f32s = head.found(simd, queries, softcap, cuts, |value| value);
                        let f16s = head.found(simd, queries, softcap, cuts, f16::from_f32);
                        for found in [f32s, f16s] {
                            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                                assert!(
                                    (found - expected).abs() < 1e-5,
                                    "{simd:?} {positions} {key_dim} {rows} {window:?} {cuts:?}: {found} {expected}"
                                );
                            }
                        }
                        cases += 1;
                    }
                }
            }
        }
    }
    assert!(cases >= 8 * 6 * 4 * 2);
}

#[test]
fn large_scores_do_not_overflow() {
    let head = Head::new(40, 16, 16);
    let q = [1e4; 16];
    let query = Query { first: 0, position: 39, scale: 1.0, slope: 0.0 };
    for simd in Simd::available() {
        let found = head.found(simd, (&[query], &q), None, &[40], |value| value).remove(0);
        for (found, expected) in found.iter().zip(head.expected(&query, &q, None)) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
