//! Model files that a client names by path: opened here, and only under the folders that the configuration sets.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use slmscope_profiles::model_files::{Content, INDEX, MOST_INDEX, select, shards};
use slmscope_profiles::wire::ErrorCode;

use crate::config::Config;

/// Names that are looked at; a directory of more is no model's.
const MOST_NAMES: usize = 10_000;

/// Why a path is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It is not under a folder that is set, or does not exist.
    #[error(
        "{0} does not exist under the configured model folders: pass the files open (slmscope run does), or set \
         model_folders in the daemon's configuration"
    )]
    Forbidden(String),
    /// It is no model, or cannot be read.
    #[error("{0}")]
    NoModel(String),
}

impl Refused {
    /// The code of the answer.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NoModel(_) => ErrorCode::UnknownModel,
        }
    }
}

/// Opens the model at `path`, a file or a directory: the names of its files as a request has them, and the files.
///
/// # Errors
/// See [`Refused`]. Every file of a directory has to lie under a configured folder, all links followed.
pub(crate) fn open(config: &Config, path: &str) -> Result<(Vec<String>, Vec<OwnedFd>), Refused> {
    let forbidden = || Refused::Forbidden(path.to_owned());
    if !config.allows(Path::new(path)) {
        return Err(forbidden());
    }
    let directory = Path::new(path);
    if !directory.is_dir() {
        return Ok((vec![path.to_owned()], vec![open_file(config, path)?.into()]));
    }
    let path = path.trim_end_matches('/');
    let no_model = |problem: String| Refused::NoModel(format!("the directory {path} {problem}"));
    let names = names(directory).map_err(|error| no_model(format!("cannot be listed: {error}")))?;
    let within = match select(&names).map_err(no_model)? {
        Content::Gguf(name) => vec![name],
        Content::Directory(mut names) => {
            if names.iter().any(|name| name == INDEX) {
                let mut index = Vec::new();
                let file = open_file(config, &format!("{path}/{INDEX}"))?;
                let read = file.take(MOST_INDEX).read_to_end(&mut index);
                read.map_err(|error| no_model(format!("has an {INDEX} that cannot be read: {error}")))?;
                names.extend(shards(&index).map_err(no_model)?);
            }
            names
        }
    };
    let names: Vec<_> = within.into_iter().map(|name| format!("{path}/{name}")).collect();
    let files =
        names.iter().map(|name| open_file(config, name).map(OwnedFd::from)).collect::<Result<_, _>>()?;
    Ok((names, files))
}

/// Opens a regular file under a configured folder.
fn open_file(config: &Config, path: &str) -> Result<File, Refused> {
    if !config.allows(Path::new(path)) {
        return Err(Refused::Forbidden(path.to_owned()));
    }
    // Without O_NONBLOCK a named pipe would wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(|error| Refused::NoModel(format!("cannot open {path}: {error}")))?;
    // What was opened is looked at again: a link may have turned since.
    if !config.allows(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))) {
        return Err(Refused::Forbidden(path.to_owned()));
    }
    if file.metadata().is_ok_and(|found| found.is_file()) {
        Ok(file)
    } else {
        Err(Refused::NoModel(format!("{path} is no regular file")))
    }
}

fn names(directory: &Path) -> std::io::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(directory)?.take(MOST_NAMES);
    let name = |entry: std::io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
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

        let (names, files) = open(&config, &format!("{path}/")).unwrap();
        let expected = ["config.json", INDEX, "a.safetensors", "b.safetensors"];
        assert_eq!(names, expected.map(|name| format!("{path}/{name}")));
        assert_eq!(files.len(), 4);
        let file = model.join("config.json").display().to_string();
        assert_eq!(open(&config, &file).unwrap().0, [file]);
        assert_eq!(error(folder.path().join("elsewhere").to_str().unwrap()).code(), ErrorCode::Forbidden);
    }
}
