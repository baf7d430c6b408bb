//! Every kernel against exact sums over the values that the reference decodes from the same bytes.

use half::f16;
use slmscope_profiles::format::WeightFormat;

use super::*;

/// Numbers that look random and are the same every time (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Of [-1, 1).
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Where the f16 scales of a block are.
fn scales_at(format: WeightFormat) -> &'static [usize] {
    match format {
        WeightFormat::Q4_0 | WeightFormat::Q5_0 | WeightFormat::Q8_0 => &[0],
        WeightFormat::Q4_1 | WeightFormat::Q5_1 | WeightFormat::Q4K | WeightFormat::Q5K => &[0, 2],
        WeightFormat::Q2K => &[80, 82],
        WeightFormat::Q3K => &[108],
        WeightFormat::Q6K => &[208],
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => &[],
    }
}

/// Rows of random bits whose scales are of `spread` decades around 0.01.
fn weights(format: WeightFormat, rows: usize, columns: usize, spread: f32, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; format.bytes(rows as u64, columns as u64) as usize];
    bytes.fill_with(|| (random.bits() >> 32) as u8);
    let mut scale = |unit: f32| random.unit() * 0.01 * 10_f32.powf(unit * spread);
    match format {
        WeightFormat::F32 => bytes.chunks_exact_mut(4).for_each(|place| {
            place.copy_from_slice(&scale(0.5).to_le_bytes());
        }),
        WeightFormat::F16 => bytes.chunks_exact_mut(2).for_each(|place| {
            place.copy_from_slice(&f16::from_f32(scale(0.5)).to_le_bytes());
        }),
        WeightFormat::Bf16 => bytes.chunks_exact_mut(2).for_each(|place| {
            place.copy_from_slice(&half::bf16::from_f32(scale(0.5)).to_le_bytes());
        }),
        _ => {
            for (index, block) in bytes.chunks_exact_mut(format.block_bytes() as usize).enumerate() {
                for &at in scales_at(format) {
                    let value = scale((index % 5) as f32 / 2.0 - 1.0);
                    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
                }
            }
        }
    }
    bytes
}

/// Activations of which every third block is much larger.
fn inputs(rows: usize, columns: usize, random: &mut Random) -> Vec<f32> {
    let scale = |index: usize| if (index / 32).is_multiple_of(3) { 50.0 } else { 0.5 };
    (0..rows * columns).map(|index| random.unit() * scale(index) + 0.1).collect()
}

/// What the kernels see of the input: the values that its form keeps.
fn kept(input: &Activations) -> Vec<f64> {
    let mut values = vec![0.0; input.rows() * input.columns()];
    for (number, tile) in input.tiles().iter().enumerate() {
        for row in 0..tile.rows {
            for column in 0..input.columns() {
                let at = column / 32 * tile.rows + row;
                values[(number * input.tile_rows() + row) * input.columns() + column] = match input.form() {
                    Form::Plain => f64::from(tile.values[column * tile.rows + row]),
                    Form::Quantized => f64::from(tile.scales[at]) * f64::from(tile.quants[at][column % 32]),
                };
            }
        }
    }
    values
}

/// Products in f64, and the sum of the sizes of what they add up.
fn exact(weights: &[(f32, f32)], input: &[f64], columns: usize) -> Vec<(f64, f64)> {
    let mut products = Vec::new();
    for input in input.chunks_exact(columns) {
        for weights in weights.chunks_exact(columns) {
            let terms = || weights.iter().zip(input);
            let product = terms().map(|((weight, _), value)| f64::from(*weight) * value).sum();
            products.push((product, terms().map(|((_, size), value)| f64::from(*size) * value.abs()).sum()));
        }
    }
    products
}

fn filled(kernels: Kernels, format: WeightFormat, input: &[f32], columns: usize) -> Activations {
    let rows = input.len() / columns;
    let mut activations = Activations::new(Form::of(format), rows, columns);
    activations.reshape(rows, columns, [format]);
    activations.fill(kernels, input);
    activations
}

/// The values, and how large the numbers are that may be added up instead: a bias or minimum is taken into
/// account apart from the quants.
fn sized(format: WeightFormat, bytes: &[u8]) -> Vec<(f32, f32)> {
    let values = values_of(format, bytes);
    let mut sizes = values.clone();
    fn of_blocks<B: blocks::Block>(bytes: &[u8], sizes: &mut [f32]) {
        let mut groups = [blocks::Group::ZERO; 8];
        let blocks = bytes.chunks_exact(B::BYTES).zip(sizes.chunks_exact_mut(B::GROUPS * 32));
        for (block, sizes) in blocks {
            B::decode(block, &mut groups);
            for (index, size) in sizes.iter_mut().enumerate() {
                let (group, half) = (&groups[index / 32], index / 16 % 2);
                let quant = f32::from(group.quants[index % 32].max(B::BIAS));
                *size = group.scales[half].abs() * quant + group.mins[half].abs();
            }
        }
    }
    blocks::with_block!(format, B => of_blocks::<B>(bytes, &mut sizes), plain => ());
    values.into_iter().zip(sizes).map(|(value, size)| (value, size.abs())).collect()
}

fn values_of(format: WeightFormat, bytes: &[u8]) -> Vec<f32> {
    let elements = bytes.len() as u64 / format.block_bytes() * format.block_elements();
    let mut values = vec![0.0; elements as usize];
    dequantize(format, bytes, &mut values);
    values
}

fn product(kernels: Kernels, matrix: Matrix<'_>, ranges: &[usize], input: &Activations) -> Vec<f32> {
    let rows = matrix.bytes.len() / matrix.row_bytes();
    let mut out = vec![f32::NAN; input.rows() * rows];
    let mut scratch = Scratch::new(matrix.columns, matrix.columns);
    let output = Output::new(&mut out, rows);
    for bounds in ranges.windows(2) {
        let range = bounds[0]..bounds[1];
        #[expect(unsafe_code, reason = "as threads do")]
        // SAFETY: one range after the other.
        let mut columns = unsafe { output.columns(range.clone()) };
        kernels.matmul(matrix, range, input, &mut columns, &mut scratch);
    }
    out
}

fn all_kernels() -> Vec<Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::new).collect()
}

fn compare(name: &str, ours: &[f32], exact: &[(f64, f64)]) {
    assert_eq!(ours.len(), exact.len());
    for (index, (ours, (sum, size))) in ours.iter().zip(exact).enumerate() {
        let error = (f64::from(*ours) - sum).abs();
        assert!(
            error <= 3e-6 * size + 1e-30,
            "{name}, element {index}: {ours} for {sum}, sizes add to {size}"
        );
    }
}

fn shapes(format: WeightFormat) -> &'static [usize] {
    match format.block_elements() {
        1 => &[1, 7, 33, 640, 1000],
        32 => &[32, 64, 96, 128, 160, 576, 640],
        _ => &[256, 512, 768, 2048],
    }
}

#[test]
fn every_path_multiplies_every_format() {
    let mut random = Random(1);
    for format in WeightFormat::ALL {
        for &columns in shapes(format) {
            for rows in [1, 3, 16, 37] {
                let bytes = weights(format, rows, columns, 1.5, &mut random);
                let values = sized(format, &bytes);
                let matrix = Matrix { format, bytes: &bytes, columns };
                for tokens in [1, 2, 5, 16, 31] {
                    let input = inputs(tokens, columns, &mut random);
                    for kernels in all_kernels() {
                        let input = filled(kernels, format, &input, columns);
                        let ours = product(kernels, matrix, &[0, rows], &input);
                        let name = format!("{} {format} {rows}×{columns}, {tokens} rows", kernels.isa());
                        compare(&name, &ours, &exact(&values, &kept(&input), columns));
                    }
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_ranges_and_neighbours() {
    let mut random = Random(2);
    for format in WeightFormat::ALL {
        let (rows, columns, tokens) = (150, 768, 37);
        let bytes = weights(format, rows, columns, 1.0, &mut random);
        let matrix = Matrix { format, bytes: &bytes, columns };
        let input = inputs(tokens, columns, &mut random);
        for kernels in all_kernels() {
            let many = filled(kernels, format, &input, columns);
            let whole = product(kernels, matrix, &[0, rows], &many);
            assert_eq!(whole, product(kernels, matrix, &[0, 1, 48, 49, 55, 112, 150], &many));
            // Sixteen rows and 16 of 37 rows are the same rows.
            let some = filled(kernels, format, &input[..19 * columns], columns);
            assert_eq!(whole[..19 * rows], product(kernels, matrix, &[0, rows], &some));
            let one = filled(kernels, format, &input[..columns], columns);
            let whole = product(kernels, matrix, &[0, rows], &one);
            assert_eq!(whole, product(kernels, matrix, &[0, 1, 2, 4, 7, 23, 150], &one));
        }
    }
}

#[test]
fn extreme_quants_and_scales_do_not_overflow() {
    for format in WeightFormat::ALL.into_iter().filter(|format| format.block_elements() > 1) {
        let columns = 2048;
        for (fill, scale) in [(0x00, 1.0), (0xff, 1.0), (0x80, -60000.0), (0x7f, 6e-8), (0x88, 3e-5)] {
            let mut bytes = vec![fill; format.bytes(17, columns as u64) as usize];
            for block in bytes.chunks_exact_mut(format.block_bytes() as usize) {
                for &at in scales_at(format) {
                    block[at..at + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
                }
            }
            let values = sized(format, &bytes);
            let matrix = Matrix { format, bytes: &bytes, columns };
            for size in [1e-30, 1.0, 1e20] {
                let alternating = |index: usize| if index.is_multiple_of(2) { size } else { -size };
                let input: Vec<f32> = std::iter::repeat_n(size, columns)
                    .chain((0..columns).map(alternating))
                    .chain(std::iter::repeat_n(-size, columns))
                    .chain(std::iter::repeat_n(0.0, columns))
                    .collect();
                for kernels in all_kernels() {
                    for input in [&input[..columns], &input] {
                        let input = filled(kernels, format, input, columns);
                        let ours = product(kernels, matrix, &[0, 17], &input);
                        let name = format!("{} {format} of {fill:#x}, {scale}, {size}", kernels.isa());
                        compare(&name, &ours, &exact(&values, &kept(&input), columns));
                    }
                }
            }
        }
    }
}

#[test]
fn rounding_the_input_is_the_same_everywhere() {
    let mut random = Random(3);
    let input = inputs(21, 1024, &mut random);
    let reference = filled(Kernels { isa: Isa::Scalar }, WeightFormat::Q4_0, &input, 1024);
    for kernels in all_kernels() {
        assert_eq!(kept(&filled(kernels, WeightFormat::Q4_0, &input, 1024)), kept(&reference));
    }
}

#[test]
fn what_is_not_finite_reaches_the_result() {
    let mut random = Random(4);
    for format in WeightFormat::ALL {
        let bytes = weights(format, 16, 256, 1.0, &mut random);
        for value in [f32::NAN, f32::INFINITY] {
            let mut input = inputs(2, 256, &mut random);
            input[300] = value;
            for kernels in all_kernels() {
                let matrix = Matrix { format, bytes: &bytes, columns: 256 };
                let input = filled(kernels, format, &input, 256);
                let ours = product(kernels, matrix, &[0, 16], &input);
                assert!(ours[..16].iter().all(|value| value.is_finite()), "{format}");
                assert!(ours[16..].iter().all(|value| !value.is_finite()), "{format}");
            }
        }
    }
}

#[test]
fn blocks_mean_what_candle_says() {
    let mut random = Random(5);
    for format in WeightFormat::ALL {
        let bytes = weights(format, 9, 1024, 2.0, &mut random);
        // Of any bits at all, scales that are not finite included.
        let raw: Vec<u8> = (0..bytes.len()).map(|_| (random.bits() >> 32) as u8).collect();
        for bytes in [bytes, raw] {
            let mut memory = crate::weights::AlignedBytes::zeroed(bytes.len(), "a test").unwrap();
            memory.as_mut_slice().copy_from_slice(&bytes);
            let theirs = crate::candle::dequantize(format, memory.as_slice()).unwrap();
            let ours = values_of(format, &bytes);
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                // Zero has two signs.
                let same = (ours + 0.0).to_bits() == (theirs + 0.0).to_bits();
                assert!(same || ours.is_nan() && theirs.is_nan(), "{format}: {ours}, {theirs}");
            }
        }
    }
}
