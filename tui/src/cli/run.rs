//! `slmscope run` and `slmscope submit`.

mod follow;
mod progress;

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::{ExitCode, Stdio};

use clap::{Args, ValueEnum};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::isa::Isa;
use slmscope_profiles::result::RunStatus;
use slmscope_profiles::wire::{Method, OpsDetails, Submit, Subscribe};
use slmscope_profiles::workload::{ExecutorKind, OverheadMode, Workload};

use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::model_source;
use crate::report;
use crate::style::Style;

/// Options of a workload and of its report.
#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:
  slmscope run                                       the default model and sizes
  slmscope run smollm2-135m --prompt 512 --generate 128
  slmscope run model.gguf --prompt-text 'The capital of France is' --generate 24
  slmscope run hf:org/name:model.gguf --chat 'Why is the sky blue?'
  slmscope run qwen2-0.5b --prompt 0 --generate 64   decode only
  slmscope run --json | jq .summary

Exit codes: 0 success, 1 error, 2 wrong flags, 130 interrupted.")]
pub struct RunArgs {
    /// A catalogue id (see `slmscope models`), which runs with synthetic weights; a .gguf file; a Hugging Face
    /// directory; hf:org/name or hf:org/name:file, which is downloaded from the Hugging Face hub [default: smollm2-135m]
    pub model: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
    #[command(flatten)]
    engine: EngineOptions,
    /// Start a private daemon even if one is running
    #[arg(long)]
    private: bool,
    /// Queue the job on the running daemon, print its number and return
    #[arg(long, conflicts_with_all = ["private", "json"])]
    detach: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// How many tokens, and how many repetitions.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Workload")]
struct Sizes {
    /// Length of the random prompt; 0 measures decode only [default: 512]
    #[arg(long, value_name = "TOKENS")]
    prompt: Option<u32>,
    /// Use this text as the prompt; the model must have a tokenizer
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt")]
    prompt_text: Option<String>,
    /// Use the text in this file as the prompt
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_text"])]
    prompt_file: Option<std::path::PathBuf>,
    /// Use this message as the prompt, formatted by the model's chat template
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["prompt", "prompt_text", "prompt_file"])]
    chat: Option<String>,
    /// Tokens to generate; prefill produces the first of them [default: 128]
    #[arg(long, value_name = "TOKENS")]
    generate: Option<u32>,
    /// Tokens to fill the context with before measuring [default: 0]
    #[arg(long, value_name = "TOKENS")]
    depth: Option<u32>,
    /// Measured repetitions [default: 6, then more until the 95 % interval is within ± 2 % or 60 s have passed]
    #[arg(long, value_name = "N")]
    repetitions: Option<u32>,
    /// Unmeasured repetitions before the measured ones [default: 1]
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,
    /// Seed of synthetic weights, random prompts and the filled context [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Continue after an end-of-text token [default: true for random prompts, false for texts]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_eos: Option<bool>,
    /// Start again after the last repetition, until interrupted
    #[arg(long = "loop")]
    looped: bool,
    /// Seconds to wait between two turns of a loop [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pause: Option<u32>,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

/// How it is computed and recorded.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Engine")]
struct EngineOptions {
    /// Executor: cpu (slmscope's own kernels) or candle [default: cpu]
    #[arg(long, value_name = "NAME")]
    executor: Option<ExecutorKind>,
    /// Instruction set of the cpu executor's kernels: scalar avx2 avx512vnni neon neon-dotprod neon-i8mm
    /// [default: the best one that this machine has]
    #[arg(long, value_name = "SET")]
    isa: Option<Isa>,
    /// Engine threads [default: the number of physical cores, with candle one less]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Format of the KV cache: f32 f16 q8_0 [default: f16, with candle f32]
    #[arg(long, value_name = "FORMAT")]
    kv: Option<KvFormat>,
    /// Format of synthetic weights, or the format to convert a directory's weights to: f32 f16 bf16 q8_0 q6_k q5_1
    /// q5_0 q5_k q4_1 q4_0 q4_k q3_k q2_k [default: q4_0; for a directory, as stored]
    #[arg(long, value_name = "FORMAT")]
    format: Option<WeightFormat>,
    /// How long to measure the recorder's own cost [default: auto]
    #[arg(long, value_name = "HOW")]
    overhead: Option<Overhead>,
    /// Share of the time that recording may cost, such as 0.5% or 0.005; tokens are left unrecorded to stay within it
    /// [default: every token is recorded]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    overhead_budget: Option<f64>,
}

/// [`OverheadMode`] as a flag's value.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overhead {
    /// For as long as decode took, at most 6 s
    Auto,
    /// For at least 1,024 tokens
    Full,
    /// Not at all
    Off,
}

/// Parses a share: a percentage, or a number from 0 to 1.
fn share(text: &str) -> Result<f64, BadShare> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    Ok(number.trim().parse::<f64>()? * scale)
}

/// The text is no share.
#[derive(Debug, thiserror::Error)]
#[error("{0}; write it like 0.5% or 0.005")]
struct BadShare(#[from] std::num::ParseFloatError);

impl RunArgs {
    /// The workload that the flags describe.
    fn workload(&self) -> Result<Workload, Failure> {
        let default = Workload::default();
        let (sizes, engine) = (&self.sizes, &self.engine);
        let prompt_text = match &sizes.prompt_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Failure::error(format!("cannot read the prompt {}: {error}", path.display()))
            })?),
            None => sizes.prompt_text.clone(),
        };
        let workload = Workload {
            prompt: sizes.prompt.unwrap_or(default.prompt),
            prompt_text,
            chat: sizes.chat.clone(),
            generate: sizes.generate.unwrap_or(default.generate),
            depth: sizes.depth.unwrap_or(default.depth),
            repetitions: sizes.repetitions,
            warmup: sizes.warmup.unwrap_or(default.warmup),
            threads: engine.threads,
            executor: engine.executor.unwrap_or_default(),
            isa: engine.isa,
            kv: engine.kv,
            format: engine.format,
            seed: sizes.seed.unwrap_or(default.seed),
            ignore_eos: sizes.ignore_eos,
            overhead: match engine.overhead {
                None | Some(Overhead::Auto) => OverheadMode::Auto,
                Some(Overhead::Full) => OverheadMode::Full,
                Some(Overhead::Off) => OverheadMode::Off,
            },
            overhead_budget: engine.overhead_budget,
            timeout: sizes.timeout,
            looped: sizes.looped,
            pause: sizes.pause.unwrap_or(default.pause),
        };
        workload.validate().map_err(|bad| Failure::usage(bad.to_string()))?;
        Ok(workload)
    }
}

/// Runs one workload and prints its report.
///
/// # Errors
/// If the job cannot run or does not complete.
pub fn run(args: RunArgs, target: &Target) -> Result<ExitCode, Failure> {
    if args.detach {
        return submit(args, target);
    }
    let workload = args.workload()?;
    let chosen = model_source::choose(args.model.as_deref())?;
    warn_of_threads(&workload);
    let attached = connect::attach(target, args.private, Stdio::inherit)?;
    let progress = progress::Progress::new(args.json);
    let submit = Submit { model: chosen.model, workload, detach: false };
    let followed = follow::follow(attached, submit, chosen.files, progress, |result| {
        if args.json {
            return print_json(result);
        }
        // A run that measured nothing has only its error to report.
        let is_void = result.status != RunStatus::Complete && result.ops.is_empty();
        if is_void { Ok(()) } else { print(&report::render(result, Style::of_stdout())) }
    })?;
    Ok(followed)
}

/// More threads than CPUs are allowed but seldom wanted.
fn warn_of_threads(workload: &Workload) {
    let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if let Some(threads) = workload.threads.filter(|&threads| threads as usize > cpus) {
        eprintln!("slmscope: {threads} engine threads share {cpus} CPUs and will wait for each other");
    }
}

/// Queues a workload on the running daemon and prints the job's number.
///
/// # Errors
/// If there is no daemon, or it refuses.
pub fn submit(args: RunArgs, target: &Target) -> Result<ExitCode, Failure> {
    let workload = args.workload()?;
    let chosen = model_source::choose(args.model.as_deref())?;
    let Some(mut connection) = connect::running(target)? else {
        return Err(Failure::error("no daemon is running to queue the job on; start one with `slmscoped`"));
    };
    let files: Vec<_> = chosen.files.iter().map(AsFd::as_fd).collect();
    let submit = Submit { model: chosen.model, workload, detach: true };
    let answer = connection.call(Method::Submit(submit), &files)??;
    print(&format!("job {}\n", answer["job"]))?;
    Ok(ExitCode::SUCCESS)
}

/// A subscription to job states and results, without readings and op events.
fn quiet() -> Subscribe {
    Subscribe { channels: Vec::new(), ops: OpsDetails::OFF, ..Subscribe::default() }
}
