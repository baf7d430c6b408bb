//! `slmscoped`: the daemon alone, for boards without a dashboard.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use slmscope_daemon::commands::{self, ServeArgs, WorkerArgs};

/// Runs small language models under observation and serves what it sees on a local socket.
///
/// Attach with `slmscope`, or read along with
/// printf '{"subscribe":{}}\n' | nc -U SOCKET
#[derive(Parser)]
#[command(name = "slmscoped", version)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Hold an engine for the daemon
    #[command(hide = true)]
    Worker(WorkerArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Worker(args)) => commands::worker(&args).map_err(anyhow::Error::from),
        None => commands::serve(cli.serve).map_err(anyhow::Error::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slmscoped: {error:#}");
            ExitCode::FAILURE
        }
    }
}
