//! `slmscope weights`: writes synthetic weights to a GGUF file.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use slmscope_profiles::catalogue;
use slmscope_profiles::display;
use slmscope_profiles::format::WeightFormat;

use super::number;
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
    /// The file to write; `-` writes to standard output, by way of a file in $TMPDIR
    #[arg(long, value_name = "FILE.gguf")]
    output: PathBuf,
    /// Seed of the weights; the same seed gives the same file
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::long)]
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
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout {
        check_stdout(args)?;
    }
    let row = catalogue::find(&args.model).map_err(|near| unknown(&args.model, &near, ""))?;
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, cancel.clone())
            .map_err(|error| Failure::error(format!("cannot wait for signals: {error}")))?;
    }
    let spec = row.spec();
    // A file is read back before it gets its name, which a pipe cannot be.
    let folder = to_stdout.then(tempfile::tempdir).transpose();
    let folder =
        folder.map_err(|error| Failure::error(format!("cannot make a folder in $TMPDIR: {error}")))?;
    let path =
        folder.as_ref().map_or_else(|| args.output.clone(), |folder| folder.path().join("weights.gguf"));
    let options = ExportOptions {
        id: &row.id,
        spec: &spec,
        format: args.format,
        seed: args.seed,
        path: &path,
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
    let told = describe(args, &row.id, &written, begin.elapsed(), Style::of_stdout());
    if to_stdout {
        copy_to_stdout(&path)?;
        note!("{told}");
    } else {
        print(&told)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a file may go to standard output.
fn check_stdout(args: &WeightsArgs) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        let problem =
            "- is standard output, which is a terminal, and the file is binary; name a file, or redirect it";
        return Err(Failure::usage(format!("--output: {problem}")));
    }
    if args.force {
        return Err(Failure::usage(
            "--force: standard output is no file that could be replaced; leave it out",
        ));
    }
    Ok(())
}

/// A reader that ends early is no error.
fn copy_to_stdout(path: &Path) -> Result<(), Failure> {
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut io::stdout().lock()));
    match copied {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn describe(args: &WeightsArgs, id: &str, written: &Exported, took: Duration, style: Style) -> String {
    let mut lines = vec![format!(
        "{}: {id} as {}, {} tensors in {}, {}, seed {}, in {}",
        if args.output.as_os_str() == "-" {
            "standard output".into()
        } else {
            args.output.display().to_string()
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned;

    #[test]
    fn outputs_are_pinned_at_80_columns() {
        let args = WeightsArgs {
            model: "smollm2-135m".to_owned(),
            format: WeightFormat::Q2K,
            output: "/models/smollm2-135m.q2_k.gguf".into(),
            seed: 7,
            force: false,
        };
        let rows = ["attn_q", "attn_k", "ffn_up"];
        let in_f16 = (0..30).flat_map(|layer| rows.map(|row| format!("blk.{layer}.{row}.weight")));
        let written = Exported {
            architecture: "llama",
            bytes: 225_443_840,
            tensors: 272,
            in_f16: in_f16.chain(["token_embd.weight".to_owned()]).collect(),
            notes: vec!["the output matrix is the embedding's, as in the model".to_owned()],
        };
        let took = Duration::from_millis(1_500);
        let told = describe(&args, "smollm2-135m", &written, took, pinned::terminal());
        pinned::check("weights.txt", &told);
    }
}
