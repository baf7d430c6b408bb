//! The command line: what may be typed, and one file for each group of commands.

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
/// Without a command it opens the dashboard: attached to the daemon that runs, or else on a default workload
/// (smollm2-135m with synthetic weights, nothing is downloaded) that a private daemon runs in a loop.
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
    /// Run one workload now and report where its time went
    Run(run::RunArgs),
    /// Queue a workload at the running daemon and return
    Submit(run::RunArgs),
    /// List the models that are known by name
    Models(models::ModelsArgs),
    /// Show one model: shape, parameters, bytes by format, and the ops of one token
    Model(models::ModelArgs),
    /// Write a model's synthetic weights as a GGUF file that other engines load
    #[cfg(feature = "embedded-daemon")]
    Weights(weights::WeightsArgs),
    /// Compare the engine with reference logits
    Verify(verify::VerifyArgs),
    /// Show what every probe reads on this machine, or why it does not and what would help
    Doctor(doctor::DoctorArgs),
    /// Show the daemon's own figures and its jobs
    Status(status::StatusArgs),
    /// List the daemon's jobs
    Jobs(status::StatusArgs),
    /// End a job of the daemon
    Cancel(status::CancelArgs),
    /// Be the daemon, in the foreground
    #[cfg(feature = "embedded-daemon")]
    #[command(hide = true)]
    Daemon(ServeArgs),
    /// Hold an engine for the daemon
    #[cfg(feature = "embedded-daemon")]
    #[command(hide = true)]
    Worker(WorkerArgs),
}
