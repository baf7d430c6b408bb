//! Model files that a client names by path: opened here, and only under the folders that the configuration sets.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use slmscope_profiles::display::excerpt;
use slmscope_profiles::model_files::{INDEX, MAX_NAMES, ModelFiles, ModelFilesError, check_size, max_bytes};
use slmscope_profiles::wire::{ErrorCode, MAX_ECHO};

use crate::config::Config;

/// Why a path is not opened.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not under a folder that is set, or does not exist.
    #[error(
        "{0} does not exist under the configured model folders: pass the files open (slmscope run does), or set \
         model_folders in the daemon's configuration"
    )]
    Forbidden(String),
    /// A directory that cannot be listed.
    #[error("the directory {path} cannot be listed: {cause}")]
    List { path: String, cause: io::Error },
    /// A directory whose files are no model.
    #[error("the directory {path} {cause}")]
    Files { path: String, cause: ModelFilesError },
    /// A file that cannot be opened or read.
    #[error("cannot read {path}: {cause}")]
    File { path: String, cause: io::Error },
    /// A directory, pipe or device where a file is expected.
    #[error("{0} is no regular file")]
    NotRegular(String),
}

impl Refused {
    /// The code of the answer.
    pub(crate) fn code(&self) -> ErrorCode {
        if matches!(self, Self::Forbidden(_)) { ErrorCode::Forbidden } else { ErrorCode::UnknownModel }
    }
}

/// Opens the model at `path`, a file or a directory: its files by name, and the files.
///
/// # Errors
/// See [`Refused`]. Every file of a directory has to lie under a configured folder, all links followed.
pub(crate) fn open(config: &Config, path: &str) -> Result<(ModelFiles, Vec<OwnedFd>), Refused> {
    if !config.allows(Path::new(path)) {
        return Err(Refused::Forbidden(excerpt(path, MAX_ECHO)));
    }
    if !Path::new(path).is_dir() {
        return Ok((ModelFiles::gguf(path), vec![open_file(config, path)?.into()]));
    }
    let path = path.trim_end_matches('/');
    let no_model = |cause| Refused::Files { path: excerpt(path, MAX_ECHO), cause };
    let names = names(path).map_err(|cause| Refused::List { path: excerpt(path, MAX_ECHO), cause })?;
    let mut files = ModelFiles::select(path, &names).map_err(no_model)?;
    if files.needs_shards() {
        let index = read_index(config, &format!("{path}/{INDEX}"))?;
        files.add_shards(&index).map_err(no_model)?;
    }
    let mut opened = Vec::new();
    for (within, name) in files.within().iter().zip(files.names()) {
        let file = open_file(config, &name)?;
        let bytes = file.metadata().map_or(0, |found| found.len());
        check_size(within, bytes).map_err(no_model)?;
        opened.push(file.into());
    }
    Ok((files, opened))
}

/// Opens a regular file under a configured folder.
fn open_file(config: &Config, path: &str) -> Result<File, Refused> {
    if !config.allows(Path::new(path)) {
        return Err(Refused::Forbidden(excerpt(path, MAX_ECHO)));
    }
    // Without O_NONBLOCK a named pipe would wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(|cause| Refused::File { path: excerpt(path, MAX_ECHO), cause })?;
    // What was opened is checked again: a link may have changed since.
    if !config.allows(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))) {
        return Err(Refused::Forbidden(excerpt(path, MAX_ECHO)));
    }
    if file.metadata().is_ok_and(|found| found.is_file()) {
        Ok(file)
    } else {
        Err(Refused::NotRegular(excerpt(path, MAX_ECHO)))
    }
}

/// The content of an index, as far as it takes to see that it is too large.
fn read_index(config: &Config, path: &str) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let limit = max_bytes(INDEX).map_or(u64::MAX, |limit| limit + 1);
    let read = open_file(config, path)?.take(limit).read_to_end(&mut bytes);
    read.map_err(|cause| Refused::File { path: excerpt(path, MAX_ECHO), cause })?;
    Ok(bytes)
}

/// The names in a directory, as far as it takes to see that they are too many.
fn names(directory: &str) -> io::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(directory)?.take(MAX_NAMES + 1);
    let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_opened_whole_or_refused_by_the_file_at_fault() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("models/m");
        std::fs::create_dir_all(&model).unwrap();
        let config = Config { model_folders: vec![folder.path().join("models")], ..Config::default() };
        let path = model.display().to_string();
        let error = |path: &str| open(&config, path).unwrap_err();
        assert!(error(&path).to_string().contains("neither config.json nor"));

        std::fs::write(model.join("config.json"), "{}").unwrap();
        std::fs::write(model.join("a.safetensors"), "x").unwrap();
        let index = r#"{"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}"#;
        std::fs::write(model.join(INDEX), index).unwrap();
        let missing = error(&path);
        assert!(missing.to_string().starts_with(&format!("{path}/b.safetensors does not exist under")));

        std::fs::write(folder.path().join("elsewhere"), "x").unwrap();
        std::os::unix::fs::symlink("../../elsewhere", model.join("b.safetensors")).unwrap();
        assert_eq!(error(&path).code(), ErrorCode::Forbidden);
        std::fs::remove_file(model.join("b.safetensors")).unwrap();
        std::fs::create_dir(model.join("b.safetensors")).unwrap();
        assert!(error(&path).to_string().contains("b.safetensors is no regular file"));
        std::fs::remove_dir(model.join("b.safetensors")).unwrap();
        std::os::unix::fs::symlink("a.safetensors", model.join("b.safetensors")).unwrap();

        let (files, opened) = open(&config, &format!("{path}/")).unwrap();
        assert_eq!(files.within(), ["config.json", INDEX, "a.safetensors", "b.safetensors"]);
        assert_eq!((files.name(), opened.len()), (path, 4));
        let file = model.join("config.json").display().to_string();
        assert_eq!(open(&config, &file).unwrap().0, ModelFiles::gguf(file));
        assert_eq!(error(folder.path().join("elsewhere").to_str().unwrap()).code(), ErrorCode::Forbidden);
    }

    /// It used to be read up to the limit, and the rest left out.
    #[test]
    fn a_file_that_is_too_large_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { model_folders: vec![folder.path().to_owned()], ..Config::default() };
        let path = folder.path().display().to_string();
        let refusal = || open(&config, &path).unwrap_err();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        // Sparse: only its length matters.
        let index = File::create(folder.path().join(INDEX)).unwrap();
        index.set_len(max_bytes(INDEX).unwrap() + 1).unwrap();
        assert!(
            refusal().to_string().contains("has a model.safetensors.index.json of more than 67108864 bytes")
        );
        assert_eq!(refusal().code(), ErrorCode::UnknownModel);
        std::fs::remove_file(folder.path().join(INDEX)).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), "x").unwrap();
        let tokenizer = File::create(folder.path().join("tokenizer.json")).unwrap();
        tokenizer.set_len(max_bytes("tokenizer.json").unwrap() + 1).unwrap();
        assert!(refusal().to_string().contains("has a tokenizer.json of more than 268435456 bytes"));
        tokenizer.set_len(max_bytes("tokenizer.json").unwrap()).unwrap();
        assert_eq!(open(&config, &path).unwrap().1.len(), 3);
    }
}
