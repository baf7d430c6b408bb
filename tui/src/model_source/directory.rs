//! A Hugging Face directory: its files, opened.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use slmscope_profiles::model_files::{INDEX, MAX_NAMES, ModelFiles, ModelFilesError, check_size, max_bytes};

use super::{ChosenModel, OpenError, open};
use crate::failure::Failure;

/// Why a directory's files are no model. Messages follow the directory's name.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    #[error("cannot be listed: {0}")]
    List(io::Error),
    #[error(transparent)]
    Files(#[from] ModelFilesError),
    #[error("has an {INDEX} that cannot be read: {0}")]
    Index(OpenError),
}

/// Adds the shards that the index at `path` names.
pub(super) fn add_shards(files: &mut ModelFiles, path: &Path) -> Result<(), DirectoryError> {
    let index = read_index(path).map_err(DirectoryError::Index)?;
    Ok(files.add_shards(&index)?)
}

/// The content of an index, as far as it takes to see that it is too large.
fn read_index(path: &Path) -> Result<Vec<u8>, OpenError> {
    let mut bytes = Vec::new();
    let limit = max_bytes(INDEX).map_or(u64::MAX, |limit| limit + 1);
    open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The model in a directory.
///
/// # Errors
/// If its files make no model, or one cannot be opened.
pub(super) fn choose(path: &Path) -> Result<ChosenModel, Failure> {
    // Figures are filed under the directory's name, so it has to have one: `.` has not.
    let named = path.file_name().is_some();
    let absolute = if named { None } else { path.canonicalize().ok() };
    let label = absolute.as_deref().unwrap_or(path).display().to_string();
    let label = label.trim_end_matches('/');
    let files = select(path, label).map_err(|error| failure(label, &error))?;
    let places: Vec<_> = files.within().iter().map(|name| path.join(name)).collect();
    open_files(&files, &places)
}

/// The failure of the directory known as `label`.
fn failure(label: &str, error: &DirectoryError) -> Failure {
    Failure::error(format!("the directory {label} {error}"))
}

/// Names the files of the model in the directory at `path`.
fn select(path: &Path, label: &str) -> Result<ModelFiles, DirectoryError> {
    let names = names(path).map_err(DirectoryError::List)?;
    let mut files = ModelFiles::select(label, &names)?;
    if files.needs_shards() {
        add_shards(&mut files, &path.join(INDEX))?;
    }
    Ok(files)
}

/// Opens `files`, each at its path of `places`.
pub(super) fn open_files(files: &ModelFiles, places: &[PathBuf]) -> Result<ChosenModel, Failure> {
    let mut opened = Vec::new();
    for ((within, name), place) in files.within().iter().zip(files.names()).zip(places) {
        let file = open(place).map_err(|problem| {
            // What follows the index is named by it.
            let is_shard = files.within()[..opened.len()].iter().any(|before| before == INDEX);
            let by = if is_shard { format!(", which {INDEX} names") } else { String::new() };
            Failure::error(format!("cannot open the model's file {name}{by}: {problem}"))
        })?;
        let bytes = file.metadata().map_or(0, |found| found.len());
        check_size(within, bytes)
            .map_err(|problem| Failure::error(format!("the model {} {problem}", files.name())))?;
        opened.push(file);
    }
    Ok(ChosenModel { model: files.to_ref(), files: opened })
}

/// The names in a directory, as far as it takes to see that they are too many.
pub(super) fn names(path: &Path) -> io::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(path)?.take(MAX_NAMES + 1);
    let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let refusal = || choose(folder.path()).err().and_then(|failure| failure.message).unwrap();
        write("config.json", b"{}");
        // Sparse: only its length matters.
        let index = std::fs::File::create(folder.path().join(INDEX)).unwrap();
        index.set_len(max_bytes(INDEX).unwrap() + 1).unwrap();
        assert!(refusal().contains("has a model.safetensors.index.json of more than 67108864 bytes"));
        std::fs::remove_file(folder.path().join(INDEX)).unwrap();
        write("model.safetensors", b"x");
        let tokenizer = std::fs::File::create(folder.path().join("tokenizer.json")).unwrap();
        tokenizer.set_len(max_bytes("tokenizer.json").unwrap() + 1).unwrap();
        assert!(refusal().contains("has a tokenizer.json of more than 268435456 bytes"));
        tokenizer.set_len(max_bytes("tokenizer.json").unwrap()).unwrap();
        assert_eq!(choose(folder.path()).map(|chosen| chosen.files.len()).ok(), Some(3));
    }
}
