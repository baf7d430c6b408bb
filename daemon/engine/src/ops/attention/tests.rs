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
    dims: HeadDims,
    plain: Vec<(Vec<f32>, Vec<f32>)>,
    /// Whole numbers, to be multiplied with scales.
    keys: Vec<i8>,
    values: Vec<i8>,
    key_scales: Vec<f16>,
    value_scales: Vec<f16>,
}

impl Head {
    fn new(positions: usize, dims: HeadDims) -> Self {
        let mut number = numbers(positions as u32 + 7);
        let HeadDims { key, value, latent } = dims;
        let (stride, key_groups, value_groups) = (dims.stride(), dims.key_groups(), dims.value_groups());
        let blocks = positions.div_ceil(BLOCK);
        let mut head = Self {
            dims,
            plain: Vec::new(),
            keys: vec![127; if latent { 0 } else { blocks * BLOCK * key }],
            values: vec![0; positions * stride],
            key_scales: vec![f16::NAN; blocks * BLOCK * key_groups],
            value_scales: vec![f16::NAN; positions * value_groups],
        };
        // Products of small whole numbers and powers of two, so that all caches hold the same.
        let mut row = |width: usize| {
            let quants: Vec<i8> = (0..width).map(|_| (number() * 127.0) as i8).collect();
            let scales: Vec<f16> = (0..width.div_ceil(GROUP))
                .map(|_| f16::from_f32(if number() > 0.0 { 1.0 / 128.0 } else { 1.0 / 256.0 }))
                .collect();
            (quants, scales)
        };
        let widen = |(quants, scales): &(Vec<i8>, Vec<f16>)| -> Vec<f32> {
            let scale = |index: usize| scales[index / GROUP].to_f32();
            quants.iter().enumerate().map(|(index, quant)| f32::from(*quant) * scale(index)).collect()
        };
        for position in 0..positions {
            let (block, lane) = (position / BLOCK, position % BLOCK);
            let keys = row(key);
            if !latent {
                for (element, quant) in keys.0.iter().enumerate() {
                    head.keys[(block * key + element) * BLOCK + lane] = *quant;
                }
                for (group, scale) in keys.1.iter().enumerate() {
                    head.key_scales[(block * key_groups + group) * BLOCK + lane] = *scale;
                }
            }
            let values = if latent { keys.clone() } else { row(value) };
            head.values[position * stride..][..values.0.len()].copy_from_slice(&values.0);
            head.value_scales[position * value_groups..][..value_groups].copy_from_slice(&values.1);
            head.plain.push((widen(&keys), widen(&values)[..value].to_vec()));
        }
        head
    }

    /// Keys and values with their scales multiplied in.
    fn widened(&self) -> (Vec<f32>, Vec<f32>) {
        let HeadDims { key, .. } = self.dims;
        let (key_groups, value_groups, stride) =
            (self.dims.key_groups(), self.dims.value_groups(), self.dims.stride());
        let key_scale = |index: usize| {
            let (block, element, lane) = (index / BLOCK / key, index / BLOCK % key, index % BLOCK);
            self.key_scales[(block * key_groups + element / GROUP) * BLOCK + lane].to_f32()
        };
        let value_scale =
            |index: usize| self.value_scales[index / stride * value_groups + index % stride / GROUP].to_f32();
        let keys = self.keys.iter().enumerate().map(|(index, key)| f32::from(*key) * key_scale(index));
        let values = self.values.iter().enumerate().map(|(index, v)| f32::from(*v) * value_scale(index));
        (keys.collect(), values.collect())
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
        (0..self.dims.value).map(mix).collect()
    }

    /// Runs `queries` over stretches that end at `cuts`, and merges.
    fn found<E: Element>(
        &self,
        simd: Simd,
        (queries, q): (&[Query], &[f32]),
        softcap: Option<f32>,
        cuts: &[u32],
        (keys, values): (&[E], &[E]),
    ) -> Vec<Vec<f32>> {
        let (key_scales, value_scales) = (&self.key_scales[..], &self.value_scales[..]);
        let cache = HeadCache { keys, values, key_scales, value_scales, dims: self.dims };
        let (rows, stride, value_dim) = (queries.len(), self.dims.mixed(), self.dims.value);
        let mut scores = vec![f32::NAN; ROWS * TILE];
        let mut start = 0;
        let parts: Vec<_> = cuts
            .iter()
            .map(|&stop| {
                let (mut values, mut most, mut sum) =
                    (vec![f32::NAN; rows * stride], [0.0; ROWS], [0.0; ROWS]);
                let mut mixed = Mixed { values: &mut values, most: &mut most, sum: &mut sum };
                let job = Job { queries, q, stride: self.dims.key, start, stop, softcap };
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
    for (positions, key_dim, value, latent) in [
        (1, 4, 4, false),
        (5, 64, 64, false),
        (16, 8, 24, false),
        (17, 80, 80, false),
        (130, 12, 20, false),
        (200, 33, 16, false),
        (300, 64, 64, false),
        (70, 256, 256, false),
        (1, 7, 5, true),
        (131, 75, 40, true),
        (150, 96, 64, true),
    ] {
        let head = Head::new(positions, HeadDims { key: key_dim, value, latent });
        let (keys, values) = head.widened();
        let half = |values: &[f32]| values.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>();
        let (half_keys, half_values) = (half(&keys), half(&values));
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
                        let f32s = head.found(simd, queries, softcap, cuts, (&keys, &values));
                        let f16s = head.found(simd, queries, softcap, cuts, (&half_keys, &half_values));
                        let bytes = head.found(simd, queries, softcap, cuts, (&head.keys, &head.values));
                        for found in [f32s, f16s, bytes] {
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
    assert!(cases >= 11 * 6 * 4 * 2);
}

#[test]
fn large_scores_do_not_overflow() {
    let head = Head::new(40, HeadDims { key: 16, value: 16, latent: false });
    let (keys, values) = head.widened();
    let q = [1e4; 16];
    let query = Query { first: 0, position: 39, scale: 1.0, slope: 0.0 };
    for simd in Simd::available() {
        let found = head.found(simd, (&[query], &q), None, &[40], (&keys, &values)).remove(0);
        for (found, expected) in found.iter().zip(head.expected(&query, &q, None)) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
