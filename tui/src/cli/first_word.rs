//! A model in the place of a command.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::failure::Failure;
use crate::model_source;

/// The failure for a command line whose first word is a model; `None` for all other errors.
pub fn model(error: &Error) -> Option<Failure> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let is_model = model_source::source_by_name(word).is_some()
        || word.starts_with("hf:")
        || word.contains('/')
        || Path::new(word).exists();
    is_model.then(|| {
        Failure::usage(format!(
            "`{word}` is a model and no command: `slmscope run {word}` measures it, `slmscope model {word}` describes it"
        ))
    })
}
