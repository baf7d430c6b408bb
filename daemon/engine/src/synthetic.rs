//! Synthetic weights: the right shapes and formats, random content, no download.
//!
//! The blocks of every format are generated directly (`blocks`), so that a weight has mean 0 and standard deviation
//! `1 / sqrt(columns)`. A product of such a matrix with a row of variance 1 has variance 1, so activations neither grow
//! nor vanish through the layers. Gains are near 1, biases small.
//!
//! A tensor is cut into stretches of whole blocks; each has a generator of its own, seeded from (seed, tensor
//! name, number of the stretch). So the bytes depend on the seed alone, however many threads fill them. A
//! stretch fits the first cache of a core: random words and scales are written there, and memory is written once.

mod blocks;

use rayon::prelude::*;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::tensors::{Role, TensorSpec};

use crate::error::LoadError;
use crate::weights::{AlignedBytes, Loading, PIECE};
use blocks::fill;

/// Changes whenever the same seed gives other bytes; part of a synthetic model's identity.
pub const GENERATOR_VERSION: u32 = 2;

/// Bytes that one generator fills, about; a part of the contract of [`GENERATOR_VERSION`].
const STRETCH: usize = 16 << 10;
/// Standard deviation of gains, whose mean is 1 as a norm applies them.
const GAIN_SCALE: f32 = 0.1;
/// Standard deviation of biases.
const BIAS_SCALE: f32 = 0.02;
/// Mean of decays: a state then loses some 1 to 10 % a token, as trained ones do.
const DECAY_MEAN: f32 = -5.0;

/// Generates `tensor` in `format`.
///
/// # Errors
/// [`LoadError::Memory`] and [`LoadError::Cancelled`].
pub fn generate(
    tensor: &TensorSpec,
    format: WeightFormat,
    seed: u64,
    loading: &mut Loading<'_>,
) -> Result<AlignedBytes, LoadError> {
    let generator = Generator::new(tensor, format, seed);
    let mut bytes = AlignedBytes::zeroed(generator.bytes, &tensor.name)?;
    let piece = generator.piece();
    for (index, bytes) in bytes.as_mut_slice().chunks_mut(piece).enumerate() {
        generator.fill(index * piece, bytes);
        loading.advance(bytes.len())?;
    }
    Ok(bytes)
}

/// Makes the bytes of one tensor, in pieces if need be.
pub struct Generator {
    format: WeightFormat,
    /// All of its bytes.
    bytes: usize,
    /// Bytes that one random sequence fills: whole blocks.
    stretch: usize,
    seed: u64,
    /// Standard deviation of the weights.
    deviation: f32,
    /// Added to the values of small tensors, which are f32.
    mean: f32,
}

impl Generator {
    /// A generator of `tensor` in `format`.
    pub fn new(tensor: &TensorSpec, format: WeightFormat, seed: u64) -> Self {
        let block = format.block_bytes() as usize;
        let (mean, deviation) = match tensor.role {
            Role::Gain => (1.0, GAIN_SCALE),
            Role::GainLessOne => (0.0, GAIN_SCALE),
            Role::Bias => (0.0, BIAS_SCALE),
            Role::Decay => (DECAY_MEAN, 1.0),
            _ => (0.0, 1.0 / (tensor.columns as f32).sqrt()),
        };
        Self {
            format,
            bytes: tensor.bytes(format) as usize,
            stretch: (STRETCH / block).max(1) * block,
            seed: mix(seed ^ fnv(tensor.name.as_bytes())),
            deviation,
            mean,
        }
    }

    /// Bytes of the whole tensor.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of a piece that threads share: about 16 MiB.
    pub fn piece(&self) -> usize {
        (PIECE / self.stretch).max(1) * self.stretch
    }

    /// Fills `bytes` with the tensor's bytes from `offset` on, a multiple of [`Generator::piece`].
    pub fn fill(&self, offset: usize, bytes: &mut [u8]) {
        let first = offset / self.stretch;
        bytes.par_chunks_mut(self.stretch).enumerate().for_each(|(number, bytes)| {
            fill(bytes, self.format, self.deviation, mix(self.seed.wrapping_add((first + number) as u64)));
            if self.mean != 0.0 {
                shift(bytes, self.mean);
            }
        });
    }
}

/// Adds `mean` to f32 values; gains and decays are stored as such in every format of a model.
fn shift(bytes: &mut [u8], mean: f32) {
    for place in bytes.chunks_exact_mut(4) {
        let value = f32::from_le_bytes([place[0], place[1], place[2], place[3]]);
        place.copy_from_slice(&(value + mean).to_le_bytes());
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use half::{bf16, f16};

    use super::blocks::{fill_random, uniform};
    use super::*;
    use crate::candle::dequantize;

    fn generated(role: Role, format: WeightFormat, rows: u32, columns: u32, seed: u64) -> Vec<u8> {
        let tensor = TensorSpec { name: "blk.0.attn_q.weight".to_owned(), rows, columns, role };
        let cancel = AtomicBool::new(false);
        let bytes = generate(&tensor, format, seed, &mut Loading::new(&cancel, &mut |_, _| ())).unwrap();
        bytes.as_slice().to_vec()
    }

    #[test]
    fn weights_have_mean_0_and_the_deviation_that_keeps_variance() {
        for format in WeightFormat::ALL {
            let (rows, columns) = (512, 1024);
            let bytes = generated(Role::Matrix, format, rows, columns, 1);
            let values = dequantize(format, &bytes).unwrap();
            assert_eq!(values.len(), (rows * columns) as usize);
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
            let deviation = square.sqrt() * f64::from(columns).sqrt();
            assert!((deviation - 1.0).abs() < 0.02, "{format}: deviation {deviation}");
            assert!(mean.abs() * f64::from(columns).sqrt() < 0.01, "{format}: mean {mean}");
        }
    }

    #[test]
    fn bytes_depend_on_the_seed_and_not_on_the_threads() {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let many = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        for format in [WeightFormat::Q4_0, WeightFormat::Q6K, WeightFormat::Bf16] {
            let serial = one.install(|| generated(Role::Matrix, format, 1000, 512, 7));
            assert_eq!(serial, many.install(|| generated(Role::Matrix, format, 1000, 512, 7)));
            assert_ne!(serial, generated(Role::Matrix, format, 1000, 512, 8));
        }
    }

    #[test]
    fn stretches_and_tensors_differ() {
        let bytes = generated(Role::Matrix, WeightFormat::Q8_0, 1000, 512, 7);
        let stretch = STRETCH / 34 * 34;
        assert_ne!(bytes[..stretch], bytes[stretch..2 * stretch]);
        assert_ne!(fnv(b"blk.0.attn_q.weight"), fnv(b"blk.0.attn_k.weight"));
    }

    #[test]
    fn the_first_bytes_of_this_generator_version_stay() {
        let bytes = generated(Role::Matrix, WeightFormat::Q4_0, 1, 32, 1);
        assert_eq!(GENERATOR_VERSION, 2);
        assert_eq!(bytes, PINNED);
    }

    /// `blk.0.attn_q.weight` as one q4_0 block, seed 1.
    const PINNED: [u8; 18] =
        [225, 168, 34, 122, 88, 210, 138, 178, 69, 21, 185, 198, 159, 114, 124, 159, 140, 92];

    #[test]
    fn halves_are_rounded_as_one_by_one() {
        for (format, rows) in [(WeightFormat::F16, 3), (WeightFormat::Bf16, 3)] {
            let wide = generated(Role::Matrix, format, rows, 100, 5);
            let mut random = vec![0; wide.len()];
            let seed = mix(5 ^ fnv(b"blk.0.attn_q.weight"));
            fill_random(&mut random, mix(seed));
            for (place, bits) in wide.chunks_exact(2).zip(random.chunks_exact(2)) {
                let value = uniform(i32::from(i16::from_le_bytes([bits[0], bits[1]]))) * 0.1;
                let expected = match format {
                    WeightFormat::F16 => f16::from_f32(value).to_le_bytes(),
                    _ => bf16::from_f32(value).to_le_bytes(),
                };
                assert_eq!(place, expected, "{format}");
            }
        }
    }

    #[test]
    fn gains_are_near_one_and_biases_small() {
        let values =
            |role| dequantize(WeightFormat::F32, &generated(role, WeightFormat::F32, 1, 64, 1)).unwrap();
        let gains = values(Role::Gain);
        assert!(gains.iter().all(|gain| (gain - 1.0).abs() < 0.2));
        assert!(gains.windows(2).all(|two| two[0].to_bits() != two[1].to_bits()));
        let biases = values(Role::Bias);
        assert!(biases.iter().all(|bias| bias.abs() < 0.04) && biases.iter().any(|bias| *bias != 0.0));
    }
}
