//! `slmscope replay`: the dashboard on a recording.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use clap::builder::PossibleValuesParser;
use slmscope_exports::recording::Reader;

use crate::connect::Target;
use crate::dashboard::{Recording, SPEEDS, Settings};
use crate::failure::Failure;
use crate::session;
use crate::session_source::{self, SessionSource};

/// The speeds as they are typed.
const NAMES: [&str; SPEEDS.len()] = ["0.25", "0.5", "1", "2", "4", "8", "16", "32", "64"];

/// Options of `replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slmscope run smollm2-135m --record a.mcap
  slmscope replay a.mcap             the whole recording; space plays it
  slmscope replay a.mcap --speed 4   plays from the beginning, four times as fast
  slmscope replay latest             the run that goes on at this moment is followed

Keys: space plays and pauses, ← → go by tokens, , . by a 20th, 0 $ to the
beginning and the end, [ ] slower and faster; ? shows all of them. A recording
that is still written is followed: space freezes the view, $ follows again.")]
pub struct ReplayArgs {
    /// The recording
    #[arg(value_name = "SESSION")]
    session: SessionSource,
    /// Play from the beginning, so many seconds in a second
    #[arg(long, value_name = "N", value_parser = PossibleValuesParser::new(NAMES))]
    speed: Option<String>,
}

impl ReplayArgs {
    /// Seconds of the recording that pass in one; `None` to stand still at its end.
    pub(super) fn speed(&self) -> Option<f64> {
        self.speed.as_ref().and_then(|speed| speed.parse().ok())
    }
}

/// Opens the dashboard and stays until the user or a signal ends it.
///
/// # Errors
/// If the file is no recording, or there is no terminal to draw on.
pub fn run(args: &ReplayArgs, target: &Target, settings: Settings) -> Result<ExitCode, Failure> {
    let file = args.session.open(target)?;
    let writer = file.try_clone().context("cannot watch the recording")?;
    let reader = Reader::new(file).map_err(|error| args.session.failed(&error))?;
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        return Err(Failure::error(
            "a replay needs a terminal; `slmscope sessions info SESSION` prints what a recording holds",
        ));
    }
    let name = args.session.to_string();
    let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
    let is_written = Box::new(move || session_source::is_written(&writer));
    let source = args.session.word();
    let recording = Recording { reader, is_written, name, source, speed: args.speed() };
    session::replay(recording, target, settings)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn speed(words: &[&str]) -> Result<Option<f64>, String> {
        match Cli::try_parse_from([&["slmscope", "replay", "a.mcap"], words].concat()) {
            Ok(Cli { command: Some(Command::Replay(args)), .. }) => Ok(args.speed()),
            Ok(_) => panic!("no replay"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_speed_is_one_of_those_that_the_keys_step_through() {
        assert_eq!(speed(&[]), Ok(None));
        for (name, known) in NAMES.into_iter().zip(SPEEDS) {
            assert_eq!(speed(&["--speed", name]), Ok(Some(known)));
        }
        assert!(speed(&["--speed", "3"]).unwrap_err().contains("[possible values: 0.25, 0.5, 1, 2"));
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused_by_name_and_before_the_terminal_is_asked_for() {
        let refused = |file: &str| {
            let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            let args = ReplayArgs { session: file.parse().unwrap(), speed: None };
            run(&args, &Target::default(), Settings::read(None)).unwrap_err().message.unwrap()
        };
        assert!(refused("Cargo.toml").contains("Cargo.toml: not a recording"));
        assert!(refused("no.mcap").contains("no.mcap"));
        assert!(refused("src").contains("not a file"));
    }
}
