//! The options of a job, and the workload that they describe.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use slmscope_profiles::cpu_set::CpuSet;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::isa::{self, Isa};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::workload::{ExecutorKind, OverheadMode, Workload};

use super::prompt_file;
use crate::cli::number;
use crate::failure::{self, Failure};

/// A model and what to do with it.
#[derive(Debug, Clone, Default, Args)]
pub struct JobOptions {
    /// A catalogue id (see `slmscope models`), which runs with synthetic weights; a .gguf file; a Hugging Face
    /// directory; hf:org/name or hf:org/name:file, which is downloaded from the Hugging Face hub [default: smollm2-135m]
    model: Option<String>,
    /// The same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL", conflicts_with = "model")]
    model_flag: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
    #[command(flatten)]
    engine: EngineOptions,
}

/// How many tokens, and how many repetitions.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Workload")]
struct Sizes {
    /// Length of the random prompt; 0 measures decode only [default: 512]
    #[arg(short = 'p', long, value_name = "TOKENS", value_parser = number::count)]
    prompt: Option<u32>,
    /// Use this text as the prompt; the model must have a tokenizer
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt", allow_hyphen_values = true)]
    prompt_text: Option<String>,
    /// Use the text in this file as the prompt, at most 16 MiB; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_text"])]
    prompt_file: Option<PathBuf>,
    /// Use this message as the prompt, formatted by the model's chat template
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["prompt", "prompt_text", "prompt_file"])]
    chat: Option<String>,
    /// Tokens to generate; prefill produces the first of them [default: 128]
    #[arg(short = 'n', long, value_name = "TOKENS", value_parser = number::count)]
    generate: Option<u32>,
    /// Tokens to fill the context with before measuring [default: 0]
    #[arg(short = 'd', long, value_name = "TOKENS", value_parser = number::count)]
    depth: Option<u32>,
    /// Measured repetitions [default: 6, then more until the 95 % interval is within ± 2 % or 60 s have passed]
    #[arg(short = 'r', long, visible_alias = "reps", value_name = "N", value_parser = number::count)]
    repetitions: Option<u32>,
    /// Unmeasured repetitions before the measured ones [default: 1]
    #[arg(long, value_name = "N", value_parser = number::count)]
    warmup: Option<u32>,
    /// Seed of synthetic weights, random prompts and the filled context [default: 1]
    #[arg(long, value_name = "N", value_parser = number::long)]
    seed: Option<u64>,
    /// Continue after an end-of-text token. For prompts of text only: after random prompts the model always generates
    /// as many tokens as --generate says [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_eos: Option<bool>,
    /// Start again after the last repetition, until interrupted
    #[arg(long = "loop")]
    looped: bool,
    /// Seconds to wait between two turns of a loop [default: 0]
    #[arg(long, value_name = "SECONDS", requires = "looped", value_parser = number::count)]
    pause: Option<u32>,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = number::count)]
    timeout: Option<u32>,
}

/// How it is computed and recorded.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Engine")]
struct EngineOptions {
    #[arg(long, value_name = "NAME", help = executor_help())]
    executor: Option<ExecutorKind>,
    /// Instruction set of the cpu executor's kernels: scalar avx2 avx512vnni neon neon-dotprod neon-i8mm
    /// [default: the best one that this machine has]
    #[arg(long, value_name = "SET")]
    isa: Option<Isa>,
    /// Engine threads [default: the number of physical cores, with candle one less]
    #[arg(short = 't', long, value_name = "N", value_parser = number::count)]
    threads: Option<u32>,
    /// CPUs to compute on, by number, such as 4-7 or 0-1,4; without --threads there are as many threads [default: all]
    #[arg(long, value_name = "LIST")]
    cores: Option<CpuSet>,
    /// Format of the KV cache: f32 f16 q8_0 [default: f16, with candle f32]
    #[arg(long, value_name = "FORMAT")]
    kv: Option<KvFormat>,
    /// Format of synthetic weights, or the format to convert a directory's weights to: f32 f16 bf16 q8_0 q6_k q5_1
    /// q5_0 q5_k q4_1 q4_0 q4_k q3_k q2_k. A GGUF file has its own [default: q4_0; for a directory, as stored]
    #[arg(long, value_name = "FORMAT")]
    format: Option<WeightFormat>,
    /// Drop the model's files from the page cache first, so that they are read from storage [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    cold: Option<bool>,
    /// How long to measure the recorder's own cost [default: auto]
    #[arg(long, value_name = "HOW")]
    overhead: Option<Overhead>,
    /// Share of the time that recording may cost, such as 0.5% or 0.005; tokens are left unrecorded to stay within it
    /// [default: every token is recorded]
    #[arg(long, value_name = "SHARE", value_parser = number::share)]
    overhead_budget: Option<f64>,
}

fn executor_help() -> String {
    format!(
        "Executor: cpu (slmscope's own kernels), or candle, a slower reference: its SIMD is chosen when it is compiled \
         (here: {}), and it leaves one core free [default: cpu]",
        isa::compiled()
    )
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

impl JobOptions {
    /// The model as it was named; `None` for the default.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.model_flag.as_deref())
    }

    /// The flag that sets a field of the workload.
    pub fn flag(&self, field: &str) -> String {
        let is_file = field == "prompt_text" && self.sizes.prompt_file.is_some();
        failure::flag(if is_file { "prompt_file" } else { field })
    }

    /// The workload that the flags describe, its prompt read from a file where one is named.
    ///
    /// # Errors
    /// Flags whose values are impossible or have no effect together, and a prompt that cannot be read.
    pub fn workload(&self) -> Result<Workload, Failure> {
        let default = Workload::default();
        let (sizes, engine) = (&self.sizes, &self.engine);
        let workload = Workload {
            prompt: sizes.prompt.unwrap_or(default.prompt),
            prompt_text: match &sizes.prompt_file {
                Some(path) => Some(prompt_file::read(path)?),
                None => sizes.prompt_text.clone(),
            },
            chat: sizes.chat.clone(),
            generate: sizes.generate.unwrap_or(default.generate),
            depth: sizes.depth.unwrap_or(default.depth),
            repetitions: sizes.repetitions,
            warmup: sizes.warmup.unwrap_or(default.warmup),
            threads: engine.threads,
            cores: engine.cores,
            executor: engine.executor.unwrap_or_default(),
            isa: engine.isa,
            kv: engine.kv,
            format: engine.format,
            seed: sizes.seed.unwrap_or(default.seed),
            ignore_eos: sizes.ignore_eos,
            cold: engine.cold.unwrap_or(default.cold),
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
        workload.validate().map_err(Failure::option)?;
        if sizes.ignore_eos.is_some() && !workload.has_text() {
            let problem = "has no effect on a random prompt, after which the model always generates as many tokens as \
                           --generate says; leave it out, or give a text with --prompt-text or --chat";
            return Err(Failure::usage(format!("--ignore-eos: {problem}")));
        }
        Ok(workload)
    }

    /// Checks that every flag has an effect on a model that comes from `source`.
    ///
    /// # Errors
    /// Names the first flag that has none.
    pub fn check_source(&self, workload: &Workload, source: ModelSource) -> Result<(), Failure> {
        workload.validate_for(source).map_err(Failure::option)?;
        let is_random = source == ModelSource::Synthetic || !workload.has_text() || workload.depth > 0;
        if self.sizes.seed.is_some() && !is_random {
            let problem = "has no effect: the weights are the file's and the prompt is a text; leave it out";
            return Err(Failure::usage(format!("--seed: {problem}")));
        }
        Ok(())
    }
}
