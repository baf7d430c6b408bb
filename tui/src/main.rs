//! `slmscope`: a profiler for small language models, in a terminal.

#[macro_use]
mod stderr;

mod cli;
mod client;
mod clock;
mod connect;
mod dashboard;
mod embedded;
mod failure;
mod kept_sessions;
mod listen;
mod model_source;
mod page_file;
#[cfg(test)]
mod pinned;
mod progress;
mod proxy;
mod recording_file;
mod report;
mod scratch;
mod session;
mod session_source;
mod style;
mod table;
mod trace_file;
mod user;
mod width;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use dashboard::Settings;
use failure::Failure;

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => dispatch(cli),
        Err(error) => match cli::first_word::as_run(&error, std::env::args_os().collect()) {
            Some(Ok(cli)) => watch(&cli),
            Some(Err(refused)) => refused.exit(),
            None => error.exit(),
        },
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            if let Some(text) = failure.text() {
                note_line!("{text}");
            }
            failure.code
        }
    }
}

/// Opens the dashboard on the model of a command line of `run`; without a terminal runs it.
fn watch(cli: &Cli) -> Result<ExitCode, Failure> {
    cli.check_target()?;
    let Some(Command::Run(args)) = &cli.command else {
        return Err(Failure::error("name one model; its options come after it"));
    };
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        let job = cli::run::watched(args, &cli.target)?;
        return session::run(&cli.target, Some(job), Settings::read(cli.theme));
    }
    note_line!("slmscope: there is no terminal for the dashboard; running once, as `slmscope run` does");
    cli::run::run(args, &cli.target)
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    cli.check()?;
    let target = cli.target;
    match cli.command {
        None if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() => {
            session::run(&target, None, Settings::read(cli.theme))
        }
        None => {
            note_line!(
                "slmscope: there is no terminal for the dashboard; running the default workload once, as `slmscope run` does"
            );
            cli::run::run(&cli::run::RunArgs::default(), &target)
        }
        Some(Command::Run(args)) => cli::run::run(&args, &target),
        Some(Command::Submit(args)) => cli::run::submit(&args, &target),
        Some(Command::Models(args)) => cli::models::list(&args),
        Some(Command::Model(args)) => cli::models::show(&args),
        #[cfg(feature = "embedded-daemon")]
        Some(Command::Weights(args)) => cli::weights::write(&args),
        Some(Command::Verify(args)) => cli::verify::run(&args),
        Some(Command::Doctor(args)) => cli::doctor::run(&args, &target),
        Some(Command::Status(args)) => cli::status::status(&args, &target),
        Some(Command::Jobs(args)) => cli::jobs::jobs(&args, &target),
        Some(Command::Result(args)) => cli::result::run(&args, &target),
        Some(Command::Record(args)) => cli::record::run(&args, &target),
        Some(Command::Replay(args)) => cli::replay::run(&args, &target, Settings::read(cli.theme)),
        Some(Command::Sessions(args)) => cli::sessions::run(&args, &target),
        Some(Command::Diff(args)) => cli::diff::run(&args, &target),
        Some(Command::Compare(args)) => cli::compare::run(&args, &target),
        Some(Command::FirstToken(args)) => cli::first_token::run(&args, &target),
        Some(Command::Depth(args)) => cli::depth::run(&args, &target),
        Some(Command::Rerun(args)) => cli::rerun::run(&args, &target),
        Some(Command::Sweep(args)) => cli::sweep::run(&args, &target),
        Some(Command::Report(args)) => cli::report::run(&args, &target),
        Some(Command::Export(args)) => cli::export::run(&args, &target),
        Some(Command::Cancel(args)) => cli::cancel::run(&args, &target),
        Some(Command::Proxy(args)) => cli::proxy::run(&args, &target),
        Some(Command::Help(args)) => cli::help::run(&args),
        Some(Command::Completions(args)) => cli::shell::completions(&args),
        Some(Command::PackageFiles(args)) => cli::shell::package_files(&args),
        #[cfg(feature = "embedded-daemon")]
        Some(Command::Daemon(args)) => embedded::serve(args),
        #[cfg(feature = "embedded-daemon")]
        Some(Command::Worker(args)) => embedded::worker(&args),
    }
}
