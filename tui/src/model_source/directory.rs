//! A Hugging Face directory: its files, opened.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use slmscope_profiles::model_files::{Content, INDEX, MOST_INDEX, select, shards};
use slmscope_profiles::job::ModelRef;

use super::{ChosenModel, open};
use crate::failure::Failure;

/// Names that are looked at; a directory of more is no model's.
const MOST_NAMES: usize = 10_000;

/// Reads an index of shards.
///
/// # Errors
/// As [`shards`], and if the file cannot be read.
pub(super) fn read_shards(path: &Path) -> Result<Vec<String>, String> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(MOST_INDEX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{INDEX} cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST_INDEX {
        return Err(format!("{INDEX} exceeds {MOST_INDEX} bytes; fetch it again"));
    }
    shards(&bytes)
}

/// The model in a directory.
///
/// # Errors
/// If its files make no model, or one cannot be opened.
pub(super) fn choose(path: &Path) -> Result<ChosenModel, Failure> {
    // Figures are filed under the directory's name, so it has to have one: `.` has not.
    let named = path.file_name().is_some();
    let absolute = if named { None } else { path.canonicalize().ok() };
    open_directory(path, &absolute.as_deref().unwrap_or(path).display().to_string())
}

/// The model in the directory at `path`, known as `label`.
pub(super) fn open_directory(path: &Path, label: &str) -> Result<ChosenModel, Failure> {
    let label = label.trim_end_matches('/');
    let fail = |problem: String| Failure::error(format!("the directory {label} {problem}"));
    let names = names(path).map_err(|error| fail(format!("cannot be listed: {error}")))?;
    match select(&names).map_err(&fail)? {
        Content::Gguf(name) => super::file(&format!("{label}/{name}"), &path.join(&name)),
        Content::Directory(mut files) => {
            if files.iter().any(|name| name == INDEX) {
                files.extend(read_shards(&path.join(INDEX)).map_err(&fail)?);
            }
            open_files(label, files.into_iter().map(|name| (path.join(&name), name)))
        }
    }
}

/// Opens the files of the directory known as `label`, each with its name in it.
pub(super) fn open_files(
    label: &str,
    files: impl Iterator<Item = (std::path::PathBuf, String)>,
) -> Result<ChosenModel, Failure> {
    let mut chosen = ChosenModel { model: ModelRef::Descriptors(Vec::new()), files: Vec::new() };
    let mut names = Vec::new();
    for (path, name) in files {
        let file = open(&path).map_err(|problem| {
            // What comes behind the index comes from it.
            let indexed = names.iter().any(|before: &String| before.ends_with(INDEX));
            let by = if indexed { format!(", which {INDEX} names") } else { String::new() };
            Failure::error(format!("cannot open the model's file {label}/{name}{by}: {problem}"))
        })?;
        chosen.files.push(file);
        names.push(format!("{label}/{name}"));
    }
    chosen.model = ModelRef::Descriptors(names);
    Ok(chosen)
}

/// The names in a directory.
pub(super) fn names(path: &Path) -> std::io::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(path)?.take(MOST_NAMES);
    let name = |entry: std::io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect()
}
