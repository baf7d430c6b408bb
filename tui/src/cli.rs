//! The command line, with one file for each group of commands.

mod breakdown;
pub mod cancel;
pub mod compare;
mod comparison_page;
pub mod depth;
pub mod diff;
pub mod doctor;
pub mod export;
pub mod first_token;
pub mod first_word;
pub mod help;
pub mod jobs;
pub mod models;
pub mod number;
pub mod proxy;
pub mod record;
pub mod replay;
pub mod report;
pub mod rerun;
pub mod result;
pub mod run;
pub mod sessions;
pub mod shell;
pub mod status;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod verify;
#[cfg(feature = "embedded-daemon")]
pub mod weights;

use clap::{Parser, Subcommand};

use crate::connect::Target;
use crate::dashboard::Theme;
#[cfg(feature = "embedded-daemon")]
use crate::embedded::{ServeArgs, WorkerArgs};
use crate::failure::Failure;

/// A profiler for small language models: where their time, memory and energy go.
///
/// Without a command, the dashboard opens and attaches to the running daemon. If there is none, a private daemon is
/// started, which runs a default workload in a loop (smollm2-135m with synthetic weights; nothing is downloaded).
/// `slmscope MODEL` opens it on that model, with the options of `slmscope run` after it.
#[derive(Parser)]
#[command(name = "slmscope", version, max_term_width = 80, disable_help_subcommand = true)]
#[command(after_help = "`slmscope help TOPIC` explains in a screen:
terms, roofs, energy, overhead, formats, environment.

Exit codes: 0 done, 1 error, 2 wrong flags or not in this build,
3 not comparable, 4 a check failed, 130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    /// Colours of the dashboard: dark, light, colour-blind or mono [default: by dashboard.toml, then by the terminal; see
    /// `slmscope help keys`]
    #[arg(long, value_name = "NAME", global = true)]
    pub theme: Option<Theme>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a workload now and report where its time went
    Run(run::RunArgs),
    /// Queue a workload on the running daemon, print the job's number and return
    Submit(run::SubmitArgs),
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
    /// List the daemon's jobs, how far they are, and the results that it keeps
    Jobs(status::StatusArgs),
    /// Print the report of a job that has ended
    Result(result::ResultArgs),
    /// Record what the running daemon observes into a file
    Record(record::RecordArgs),
    /// Open the dashboard on a recording
    Replay(replay::ReplayArgs),
    /// List recorded sessions, show, check, repair, remove and annotate them
    Sessions(sessions::SessionsArgs),
    /// Compare two recordings: which op became faster or slower, and how sure that is
    Diff(diff::DiffArgs),
    /// Show runs of different boards, models, formats or threads side by side, and which is the best
    Compare(compare::CompareArgs),
    /// Show what the depth of the context costs in each op, and the speed at other depths
    Depth(depth::DepthArgs),
    /// Show why the first token of a session came when it did
    FirstToken(first_token::FirstTokenArgs),
    /// Run what a session ran once more, here, and compare the two
    Rerun(rerun::RerunArgs),
    /// Run every combination of options, models and formats, and make one table of them
    Sweep(sweep::SweepArgs),
    /// Show the report of a recording, or write it as a page for browsers
    Report(report::ReportArgs),
    /// Write a recording in the format of another tool: Perfetto, pprof, speedscope, CSV and more
    Export(export::ExportArgs),
    /// Cancel a job of the daemon
    Cancel(cancel::CancelArgs),
    /// Carry the connection of `slmscope --host`, which runs this on the host
    Proxy(proxy::ProxyArgs),
    /// Explain a command, or a topic: terms, roofs, energy, overhead, formats, environment
    Help(help::HelpArgs),
    /// Print completions for bash, zsh or fish
    Completions(shell::CompletionsArgs),
    /// Write completions and man pages into the folder `share` of a package
    #[command(hide = true)]
    PackageFiles(shell::PackageFilesArgs),
    /// Run the daemon in the foreground
    #[cfg(feature = "embedded-daemon")]
    #[command(hide = true)]
    Daemon(ServeArgs),
    /// Run an engine for the daemon
    #[cfg(feature = "embedded-daemon")]
    #[command(hide = true)]
    Worker(WorkerArgs),
}

impl Cli {
    /// Checks the flags that all commands share.
    ///
    /// # Errors
    /// If one has no effect on this command.
    pub fn check(&self) -> Result<(), Failure> {
        let draws = matches!(self.command, None | Some(Command::Replay(_)));
        if self.theme.is_some() && !draws {
            let problem = "this command draws no dashboard, so it has no effect; leave it out";
            return Err(Failure::usage(format!("--theme: {problem}")));
        }
        self.check_target()
    }

    /// Checks which daemon is asked.
    ///
    /// # Errors
    /// If the command asks none, or not that one.
    pub fn check_target(&self) -> Result<(), Failure> {
        let Target { socket, host } = &self.target;
        let asks = self.command.as_ref().is_none_or(Command::asks_a_daemon);
        let given = [(socket.is_some(), "--socket"), (!host.is_empty(), "--host")];
        if let Some((_, flag)) = given.iter().find(|(is_given, _)| *is_given && !asks) {
            let problem = "this command asks no daemon, so it has no effect; leave it out";
            return Err(Failure::usage(format!("{flag}: {problem}")));
        }
        match host.as_slice() {
            [] => Ok(()),
            _ if self.target.is_none() => {
                let problem = "no daemon is started on another machine; leave `--socket none` out";
                Err(Failure::usage(format!("--host: {problem}")))
            }
            _ if self.command.as_ref().is_some_and(Command::is_of_this_machine) => {
                Err(Failure::usage("--host: this command serves this machine; run it on the other one"))
            }
            [_, _, ..] if self.command.is_some() => {
                Err(Failure::usage("--host: a command asks one machine; only the dashboard takes several"))
            }
            _ => Ok(()),
        }
    }
}

impl Command {
    /// Whether the command talks to a daemon, as its flags are, so that `--socket` has an effect.
    pub fn asks_a_daemon(&self) -> bool {
        match self {
            Self::Run(_)
            | Self::Submit(_)
            | Self::Status(_)
            | Self::Jobs(_)
            | Self::Result(_)
            | Self::Record(_)
            | Self::Sessions(_)
            | Self::Diff(_)
            | Self::Compare(_)
            | Self::Sweep(_)
            | Self::Depth(_)
            | Self::FirstToken(_)
            | Self::Rerun(_)
            | Self::Replay(_)
            | Self::Report(_)
            | Self::Export(_)
            | Self::Cancel(_)
            | Self::Proxy(_) => true,
            Self::Doctor(args) => args.asks_a_daemon(),
            // It has a flag of the same name for where it listens.
            #[cfg(feature = "embedded-daemon")]
            Self::Daemon(_) => true,
            _ => false,
        }
    }

    /// Whether the command is a daemon's, or a part of one.
    fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Proxy(_) => true,
            #[cfg(feature = "embedded-daemon")]
            Self::Daemon(_) => true,
            _ => false,
        }
    }
}
