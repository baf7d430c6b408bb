//! Matrix products of every format and instruction set against the machine's roofs, which are taken with the
//! same instructions right before and after each: `cargo bench -p slmscope-engine --bench kernels -- [--isa NAME]
//! [--format NAME] [--rows N] [--columns N] [--tokens N] [--seconds S]`. One thread, one line a kernel.
//!
//! Each figure is the best of many short calls, so that what else runs on the machine counts little. The matrix
//! of one-row products is larger than the caches, as a model is; the one of many rows is a layer's.

#![allow(clippy::print_stdout, reason = "a program for developers: it prints figures")]

use std::error::Error;
use std::time::{Duration, Instant};

use slmscope_engine::kernels::{Activations, Columns, Form, Isa, Kernels, Matrix, Scratch, is_available};
use slmscope_engine::roofs::{Buffer, Roofs};
use slmscope_profiles::format::WeightFormat;

/// Bytes of the matrix that one row is multiplied with; more than most last-level caches have.
const MATRIX_BYTES: usize = 192 << 20;
const BUFFER_BYTES: usize = 256 << 20;
/// What one call of these reads.
const PIECE_BYTES: usize = 8 << 20;
/// A matrix that stays in the second-level cache.
const CACHED_BYTES: usize = 256 << 10;
/// At all roofs; three fifths of it at memory.
const LOOK: Duration = Duration::from_millis(5);

struct Options {
    isas: Vec<Isa>,
    format: Option<WeightFormat>,
    rows: usize,
    columns: usize,
    tokens: usize,
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let buffer = Buffer::new(BUFFER_BYTES);
    for kernels in options.isas.iter().copied().filter_map(Kernels::new) {
        for format in WeightFormat::ALL {
            if options.format.is_none_or(|only| only == format) {
                measure(kernels, format, &options, &buffer);
            }
        }
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn Error>> {
    let isas = Isa::ALL.to_vec();
    let mut options = Options { isas, format: None, rows: 256, columns: 2048, tokens: 512, seconds: 0.3 };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let name = name.strip_prefix("--").ok_or_else(|| format!("`{name}` is no option: --NAME VALUE"))?;
        let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
        match name {
            "isa" => {
                let isa: Isa = value.parse()?;
                if !is_available(isa) {
                    return Err(format!("this machine has no {isa}").into());
                }
                options.isas = vec![isa];
            }
            "format" => options.format = Some(value.parse()?),
            "rows" => options.rows = value.parse()?,
            "columns" => options.columns = value.parse()?,
            "tokens" => options.tokens = value.parse()?,
            "seconds" => options.seconds = value.parse()?,
            _ => return Err(format!("unknown option --{name}").into()),
        }
    }
    Ok(options)
}

fn measure(kernels: Kernels, format: WeightFormat, options: &Options, buffer: &Buffer) {
    let columns = options.columns;
    if !format.divides(columns as u64) {
        return;
    }
    let row_bytes = format.bytes(1, columns as u64) as usize;
    let most_rows = (MATRIX_BYTES / row_bytes).max(options.rows);
    let bytes = weights(format, most_rows * row_bytes);
    let matrix = Matrix { format, bytes: &bytes, columns };
    let input: Vec<f32> = (0..options.tokens * columns).map(|i| (i * 7919 % 1013) as f32 - 500.0).collect();

    let before = roofs(kernels, buffer, options.seconds);
    let one = filled(kernels, format, &input[..columns], columns);
    let piece = (PIECE_BYTES / row_bytes).max(1);
    let mut out = vec![0.0; piece.max(options.tokens * options.rows)];
    let mut pieces = (0..most_rows / piece).cycle();
    let gemv = fastest(options.seconds, || {
        let start = pieces.next().unwrap_or(0) * piece;
        kernels.gemv(matrix, start..start + piece, &one, &mut out[..piece]);
    });
    let few = CACHED_BYTES / row_bytes;
    let cached = fastest(options.seconds / 4.0, || kernels.gemv(matrix, 0..few, &one, &mut out[..few]));
    let many = filled(kernels, format, &input, columns);
    let mut scratch = Scratch::new(columns, columns);
    let gemm = fastest(options.seconds, || {
        let mut out = Columns::all(&mut out[..options.tokens * options.rows], options.rows);
        kernels.matmul(matrix, 0..options.rows, &many, &mut out, &mut scratch);
    });
    let after = roofs(kernels, buffer, options.seconds);

    let read = (piece * row_bytes) as f64 / gemv;
    let cached = (few * row_bytes) as f64 / cached;
    let ops = (2 * options.tokens * options.rows * columns) as f64 / gemm;
    let read_roof = before.read_bytes.max(after.read_bytes);
    let (unit, ops_roof) = match Form::of(format) {
        Form::Plain => ("GFLOP/s", before.f32_flops.max(after.f32_flops)),
        Form::Quantized => ("GOP/s", before.int8_ops.max(after.int8_ops)),
    };
    println!(
        "{:12} {format:5} 1 row {:6.2} GB/s of {:5.1} ({:3.0} %), {:5.1} in cache; {} rows {:6.0} {unit} of {:5.0} ({:3.0} %)",
        kernels.isa(),
        read / 1e9,
        read_roof / 1e9,
        100.0 * read / read_roof,
        cached / 1e9,
        options.tokens,
        ops / 1e9,
        ops_roof / 1e9,
        100.0 * ops / ops_roof,
    );
}

/// The best of many short looks: on a machine that others use too, most of these are not interrupted.
fn roofs(kernels: Kernels, buffer: &Buffer, seconds: f64) -> Roofs {
    let begin = Instant::now();
    let mut best = Roofs { read_bytes: 0.0, f32_flops: 0.0, int8_ops: 0.0 };
    while begin.elapsed().as_secs_f64() < seconds {
        let roofs = Roofs::take(kernels, 1, buffer, LOOK);
        best.read_bytes = best.read_bytes.max(roofs.read_bytes);
        best.f32_flops = best.f32_flops.max(roofs.f32_flops);
        best.int8_ops = best.int8_ops.max(roofs.int8_ops);
    }
    best
}

/// Seconds of the fastest of several calls, `seconds` in all and at least three.
fn fastest(seconds: f64, mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let (mut best, mut calls) = (f64::INFINITY, 0);
    while calls < 3 || begin.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        work();
        best = best.min(begin.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}

fn filled(kernels: Kernels, format: WeightFormat, input: &[f32], columns: usize) -> Activations {
    let rows = input.len() / columns;
    let mut activations = Activations::new(Form::of(format), rows, columns);
    activations.reshape(rows, columns, [format]);
    activations.fill(kernels, input);
    activations
}

/// Bytes whose f16 are all small numbers: neither denormal nor infinite.
fn weights(format: WeightFormat, length: usize) -> Vec<u8> {
    let block = format.block_bytes() as usize;
    (0..length)
        .map(|index| match format {
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => 0x31,
            _ if index % block % 2 == 1 => 0x31,
            _ => (index * 37 % 251) as u8,
        })
        .collect()
}
