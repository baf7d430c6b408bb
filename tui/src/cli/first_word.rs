//! A model in the place of a command: `slmscope MODEL` opens the dashboard on it, with the options of `run`.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::Cli;
use crate::model_source;

/// The command line as one of `run`, if what is wrong with it is that its first word is a model; `None` for all other
/// errors.
pub fn as_run(error: &Error, args: Vec<OsString>) -> Option<Result<Cli, Error>> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let is_model = model_source::source_by_name(word).is_some()
        || word.starts_with("hf:")
        || word.contains('/')
        || Path::new(word).exists();
    if !is_model {
        return None;
    }
    let at = args.iter().skip(1).position(|arg| arg == word.as_str())? + 1;
    let mut line = args;
    line.insert(at, "run".into());
    Some(Cli::try_parse_from(line))
}
