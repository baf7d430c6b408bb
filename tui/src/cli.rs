//! The command line, with one file for each group of commands.

pub mod doctor;
pub mod models;
pub mod run;
pub mod status;
pub mod verify;
#[cfg(feature = "embedded-daemon")]
pub mod weights;

use clap::{Parser, Subcommand};

use crate::connect::Target;
#[cfg(feature = "embedded-daemon")]
use crate::embedded::{ServeArgs, WorkerArgs};

/// A profiler for small language models: where their time, memory and energy go.
///
/// Without a command, the dashboard opens and attaches to the running daemon. If there is none, a private daemon is
/// started, which runs a default workload in a loop (smollm2-135m with synthetic weights; nothing is downloaded).
#[derive(Parser)]
#[command(name = "slmscope", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a workload now and report where its time went
    Run(run::RunArgs),
    /// Queue a workload on the running daemon, print the job's number and return
    Submit(run::RunArgs),
    /// List the models of the catalogue
    Models(models::ModelsArgs),
    /// Show one model: shape, parameters, bytes in each format, and the ops of one token
    Model(models::ModelArgs),
    /// Write a model's synthetic weights to a GGUF file, for other engines
    #[cfg(feature = "embedded-daemon")]
    Weights(weights::WeightsArgs),
    /// Compare the engine's logits with reference logits
    Verify(verify::VerifyArgs),
    /// Show what every probe reads on this machine, or why it cannot and what would help
    Doctor(doctor::DoctorArgs),
    /// Show the daemon's version, its own CPU time and memory, and its jobs
    Status(status::StatusArgs),
    /// List the daemon's jobs
    Jobs(status::StatusArgs),
    /// Cancel a job of the daemon
    Cancel(status::CancelArgs),
    /// Run the daemon in the foreground
    #[cfg(feature = "embedded-daemon")]
    #[command(hide = true)]
    Daemon(ServeArgs),
    /// Run an engine for the daemon
    #[cfg(feature = "embedded-daemon")]
    #[command(hide = true)]
    Worker(WorkerArgs),
}
