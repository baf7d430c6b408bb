//! `slmscope`: a profiler for small language models, in a terminal.

mod cli;
mod client;
mod connect;
mod dashboard;
mod embedded;
mod failure;
mod model_source;
mod progress;
mod report;
mod session;
mod style;
mod table;
mod width;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(message) = &failure.message {
                eprintln!("slmscope: {message}");
            }
            failure.code
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let target = cli.target;
    match cli.command {
        None if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() => session::run(&target),
        None => {
            eprintln!(
                "slmscope: there is no terminal for the dashboard; running the default workload once, as `slmscope run` does"
            );
            cli::run::run(cli::run::RunArgs::default(), &target)
        }
        Some(Command::Run(args)) => cli::run::run(args, &target),
        Some(Command::Submit(args)) => cli::run::submit(args, &target),
        Some(Command::Models(args)) => cli::models::list(&args),
        Some(Command::Model(args)) => cli::models::show(&args),
        #[cfg(feature = "embedded-daemon")]
        Some(Command::Weights(args)) => cli::weights::write(&args),
        Some(Command::Verify(args)) => cli::verify::run(&args),
        Some(Command::Doctor(args)) => cli::doctor::run(&args, &target),
        Some(Command::Status(args)) => cli::status::status(&args, &target),
        Some(Command::Jobs(args)) => cli::status::jobs(&args, &target),
        Some(Command::Cancel(args)) => cli::status::cancel(&args, &target),
        #[cfg(feature = "embedded-daemon")]
        Some(Command::Daemon(args)) => embedded::serve(args),
        #[cfg(feature = "embedded-daemon")]
        Some(Command::Worker(args)) => embedded::worker(&args),
    }
}
