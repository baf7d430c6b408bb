//! `slmscope weights`: writes synthetic weights to a GGUF file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use slmscope_profiles::catalogue;
use slmscope_profiles::display;
use slmscope_profiles::format::WeightFormat;

use crate::embedded::{self, ExportOptions, Exported};
use crate::failure::{Failure, print};
use crate::model_source::unknown;
use crate::progress::ProgressLine;
use crate::style::Style;

/// Options of `weights`.
#[derive(Debug, Args)]
pub struct WeightsArgs {
    /// A catalogue id (see `slmscope models`)
    model: String,
    /// Format of embeddings and linear layers; norms and biases are f32
    #[arg(long, default_value = "q4_0")]
    format: WeightFormat,
    /// The file to write
    #[arg(long, value_name = "FILE.gguf")]
    output: PathBuf,
    /// Seed of the weights; the same seed gives the same file
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Writes the file.
///
/// # Errors
/// If the model is unknown or cannot be described by a GGUF file, or the file cannot be written.
pub fn write(args: &WeightsArgs) -> Result<ExitCode, Failure> {
    let row = catalogue::find(&args.model).map_err(|near| unknown(&args.model, &near, ""))?;
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, cancel.clone())
            .map_err(|error| Failure::error(format!("cannot wait for signals: {error}")))?;
    }
    let spec = row.spec();
    let options = ExportOptions {
        id: &row.id,
        spec: &spec,
        format: args.format,
        seed: args.seed,
        path: &args.output,
        replace: args.force,
    };
    let begin = Instant::now();
    let mut progress = ProgressLine::new();
    let written = embedded::weights(&options, &cancel, &mut |done, total| {
        progress.update(|| {
            let share = display::rough_share(done as f64 / total.max(1) as f64);
            format!("writing {} of {} ({share})", display::bytes(done), display::bytes(total))
        });
    });
    progress.clear();
    let written = written?;
    print(&describe(args, &row.id, &written, begin.elapsed(), Style::of_stdout()))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(args: &WeightsArgs, id: &str, written: &Exported, took: Duration, style: Style) -> String {
    let mut lines = vec![format!(
        "{}: {id} as {}, {} tensors in {}, {}, seed {}, in {}",
        args.output.display(),
        written.architecture,
        written.tensors,
        args.format,
        display::bytes(written.bytes),
        args.seed,
        display::duration(took.as_nanos() as u64),
    )];
    if !written.in_f16.is_empty() {
        let names = grouped(&written.in_f16).join(", ");
        lines.push(format!("in f16, because blocks of {} do not divide their rows: {names}", args.format));
    }
    lines.extend(written.notes.iter().cloned());
    lines.into_iter().map(|line| style.wrap(&line, 0) + "\n").collect()
}

/// The names, with one entry for the same tensor of all layers: `blk.*.attn_q.weight (30)`.
fn grouped(names: &[String]) -> Vec<String> {
    let mut groups: Vec<(String, usize)> = Vec::new();
    for name in names {
        let mut parts: Vec<_> = name.split('.').collect();
        if let ["blk", layer, ..] = parts.as_mut_slice() {
            *layer = "*";
        }
        let name = parts.join(".");
        match groups.iter_mut().find(|group| group.0 == name) {
            Some(group) => group.1 += 1,
            None => groups.push((name, 1)),
        }
    }
    let shown = |(name, count): (String, usize)| if count > 1 { format!("{name} ({count})") } else { name };
    groups.into_iter().map(shown).collect()
}
