//! The files of a model's directory that hold text: found by name, bounded in size, read as JSON.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use slmscope_profiles::model_files::max_bytes;

use super::error::TokenizerError;
use crate::map::MappedFile;

/// Files of a model's directory: the name of each within it, and its bytes.
pub type Files = [(String, Arc<MappedFile>)];

/// A file of the directory: its name for messages, and its bytes. `None` if there is none.
pub(super) fn find<'f>(files: &'f Files, name: &str) -> Result<Option<(&'f str, &'f [u8])>, TokenizerError> {
    let Some((_, map)) = files.iter().find(|(found, _)| found == name) else { return Ok(None) };
    let (file, bytes) = (map.name(), map.bytes());
    match max_bytes(name) {
        Some(limit) if bytes.len() as u64 > limit => Err(TokenizerError::File {
            file: file.to_owned(),
            problem: format!(
                "has {} bytes, and no real one exceeds {limit}; fetch the file again",
                bytes.len()
            ),
        }),
        _ => Ok(Some((file, bytes))),
    }
}

/// A small file of the directory as JSON. `None` if there is none.
pub(super) fn json<T: DeserializeOwned>(files: &Files, name: &str) -> Result<Option<T>, TokenizerError> {
    let Some((file, bytes)) = find(files, name)? else { return Ok(None) };
    serde_json::from_slice(bytes).map(Some).map_err(|error| TokenizerError::File {
        file: file.to_owned(),
        problem: format!("is not the JSON that it should be: {error}; fetch the file again"),
    })
}

/// The name of the directory, for messages about what is missing from it.
pub(super) fn directory_name(files: &Files) -> String {
    let name = files.first().map_or("", |(_, map)| map.name());
    name.rsplit_once('/').map_or(name, |(directory, _)| directory).to_owned()
}
