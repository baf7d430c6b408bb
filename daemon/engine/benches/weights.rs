//! The speed of making, quantizing and checking weights, in bytes of the format a second, by hand:
//! `cargo bench -p slmscope-engine --bench weights -- THREADS`.
//!
//! `fill` is what the machine gives: fresh memory as weights get it, written once by all threads. `refill` is the
//! same memory written again, without the system's part.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rayon::prelude::*;
use slmscope_engine::setup::{self, ExecutorKind, Setup};
use slmscope_engine::weights::{AlignedBytes, Loading};
use slmscope_engine::{quantize, synthetic, threads};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::tensors::{Role, TensorSpec};

const ROUNDS: usize = 5;
/// Of every measured piece of memory: no cache holds it, and the allocator keeps none of it.
const BYTES: usize = 256 << 20;
const COLUMNS: u32 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let default = threads::default_count(ExecutorKind::Cpu);
    let threads: NonZeroUsize = arguments.next().map_or(Ok(default), |count| count.parse())?;
    threads::configure(&Setup { threads, ..setup::native() })?;
    fill()?;
    for format in WeightFormat::ALL {
        generate(format)?;
    }
    for format in WeightFormat::ALL {
        store(format)?;
    }
    Ok(())
}

/// The best of the rounds, GB/s.
fn best(bytes: usize, mut round: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        round();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    bytes as f64 / best / 1e9
}

fn fill() -> Result<(), Box<dyn Error>> {
    let write = |memory: &mut AlignedBytes| {
        memory.as_mut_slice().par_chunks_mut(1 << 20).for_each(|piece| piece.fill(7));
        std::hint::black_box(memory.as_slice());
    };
    let mut memory = AlignedBytes::zeroed(BYTES, "the bench")?;
    let fresh = best(BYTES, || {
        memory = AlignedBytes::zeroed(BYTES, "the bench").expect("256 MiB of memory");
        write(&mut memory);
    });
    let again = best(BYTES, || write(&mut memory));
    eprintln!("fill {fresh:.2} GB/s, refill {again:.2} GB/s");
    Ok(())
}

fn generate(format: WeightFormat) -> Result<(), Box<dyn Error>> {
    let rows = (BYTES as u64 / format.bytes(1, COLUMNS.into())) as u32;
    let tensor = TensorSpec { name: "t".to_owned(), rows, columns: COLUMNS, role: Role::Matrix };
    let (cancel, mut error) = (AtomicBool::new(false), None);
    let rate = best(tensor.bytes(format) as usize, || {
        let mut report = |_, _| ();
        match synthetic::generate(&tensor, format, 1, &mut Loading::new(&cancel, &mut report)) {
            Ok(bytes) => drop(std::hint::black_box(bytes)),
            Err(found) => error = Some(found),
        }
    });
    eprintln!("generate {format:5} {rate:.2} GB/s ({} MB)", tensor.bytes(format) / 1_000_000);
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Quantizes rows that are there already.
fn store(format: WeightFormat) -> Result<(), Box<dyn Error>> {
    const ROWS: u32 = 2048;
    let tensor = TensorSpec { name: "t".to_owned(), rows: ROWS, columns: COLUMNS, role: Role::Matrix };
    let cancel = AtomicBool::new(false);
    let source =
        synthetic::generate(&tensor, WeightFormat::Bf16, 1, &mut Loading::new(&cancel, &mut |_, _| ()))?;
    let stored = 2 * COLUMNS as usize;
    let row = |row: usize, values: &mut [f32]| {
        quantize::widen(WeightFormat::Bf16, &source.as_slice()[row * stored..][..stored], values);
    };
    let mut error = None;
    let rate = best(tensor.elements() as usize, || {
        let mut report = |_, _| ();
        match quantize::quantize(&tensor, format, "bench", row, &mut Loading::new(&cancel, &mut report)) {
            Ok(bytes) => drop(std::hint::black_box(bytes)),
            Err(found) => error = Some(found),
        }
    });
    eprintln!("quantize bf16 to {format:5} {rate:.3} G elements/s");
    error.map_or(Ok(()), |error| Err(error.into()))
}
