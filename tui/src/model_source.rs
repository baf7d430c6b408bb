//! A model as it was named on the command line: a catalogue id, a file, a directory, or a model of the hub.
//!
//! Files are opened here, by the user's own process, and travel to the daemon as open descriptors.

mod directory;
mod hub;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use slmscope_profiles::catalogue::{self, DEFAULT_MODEL};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::model_files::ModelFiles;

use crate::connect::Target;
use crate::failure::Failure;

/// A model as it was named, and its open files.
pub struct ChosenModel {
    /// For the request.
    pub model: ModelRef,
    /// Travel with the request, in the order of the names.
    pub files: Vec<File>,
}

/// Finds the model that `name` means, opens its files, and fetches them first if it is one of the hub.
///
/// # Errors
/// If it is neither in the catalogue nor files that can be opened.
pub fn choose(name: Option<&str>) -> Result<ChosenModel, Failure> {
    let name = name.unwrap_or(DEFAULT_MODEL);
    if let Some(rest) = name.strip_prefix("hf:") {
        return hub::choose(rest);
    }
    let near = match catalogue::find(name) {
        Ok(row) => {
            return Ok(ChosenModel { model: ModelRef::Catalogue(row.id.clone()), files: Vec::new() });
        }
        Err(near) => near,
    };
    let path = Path::new(name);
    let means_file = is_gguf(name) || name.contains('/');
    if !means_file && !path.exists() {
        return Err(unknown(name, &near, ", and no such file or directory"));
    }
    if path.is_dir() { directory::choose(path) } else { file(name, path) }
}

/// The same for the daemon of `target`. Files cross no ssh: on another machine a path is one there, which the proxy opens.
///
/// # Errors
/// The same; of files on another machine the daemon's answer says so.
pub fn choose_on(target: &Target, name: Option<&str>) -> Result<ChosenModel, Failure> {
    if !target.is_remote() {
        return choose(name);
    }
    let name = name.unwrap_or(DEFAULT_MODEL);
    if name.starts_with("hf:") {
        return Err(Failure::usage(format!(
            "{name}: the client downloads it to this machine, and files do not go through ssh; download it there with \
             `slmscope model {name}` and name its file"
        )));
    }
    let model = match catalogue::find(name) {
        Ok(row) => ModelRef::Catalogue(row.id.clone()),
        Err(_) if is_gguf(name) || name.contains('/') => ModelRef::Path(name.to_owned()),
        Err(near) => {
            return Err(unknown(
                name,
                &near,
                ", and a file on the host is written as a path, such as ./NAME",
            ));
        }
    };
    Ok(ChosenModel { model, files: Vec::new() })
}

/// Where the model called `name` comes from, as far as the name says so: it saves a download or a search.
pub fn source_by_name(name: &str) -> Option<ModelSource> {
    if is_gguf(name) {
        Some(ModelSource::Gguf)
    } else {
        catalogue::find(name).is_ok().then_some(ModelSource::Synthetic)
    }
}

/// Whether `name` is that of a GGUF file.
fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

/// The failure for a name that is not in the catalogue, with the ids that may have been meant.
pub fn unknown(name: &str, near: &[&str], besides: &str) -> Failure {
    let hint = if near.is_empty() {
        "`slmscope models` lists them".to_owned()
    } else {
        format!("did you mean {}? `slmscope models` lists all", near.join(", "))
    };
    Failure::error(format!("there is no model `{name}`{besides}: {hint}"))
}

/// The model in one file, known as `name`.
fn file(name: &str, path: &Path) -> Result<ChosenModel, Failure> {
    let file = open(path).map_err(|problem| {
        Failure::error(format!(
            "cannot open the model file {name}: {problem}; name a .gguf file, or a directory with config.json"
        ))
    })?;
    Ok(ChosenModel { model: ModelFiles::gguf(name).to_ref(), files: vec![file] })
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel refuses.
    #[error("{0}")]
    System(#[from] io::Error),
    /// It is a directory, a device, a pipe or a socket.
    #[error("it is no regular file")]
    NotRegular,
}

/// Opens a regular file for reading.
///
/// # Errors
/// See [`OpenError`].
pub fn open(path: &Path) -> Result<File, OpenError> {
    // Without O_NONBLOCK a named pipe would wait for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(OpenError::NotRegular) }
}
