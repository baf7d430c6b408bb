//! The probes' report, of this machine or of a captured tree, and the capture itself.

use std::io;
use std::path::{Path, PathBuf};

use slmscope_probes::Root;
use slmscope_probes::bundle::{self, Captured};
use slmscope_profiles::doctor::DoctorReport;

/// Why there is no report or capture.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// This machine's root cannot be opened.
    #[error("cannot read this machine")]
    Machine(#[source] io::Error),
    /// A tree cannot be opened.
    #[error("cannot read the tree {}", .0.display())]
    Tree(PathBuf, #[source] io::Error),
    /// A directory is no tree.
    #[error(
        "{} has neither proc nor sys: name a directory that is laid out like /, or a capture made with --bundle", .0.display()
    )]
    NoTree(PathBuf),
    /// A file is no capture.
    #[error("cannot read the capture {}", .0.display())]
    Unpack(PathBuf, #[source] io::Error),
    /// A capture cannot be written.
    #[error("cannot write the capture {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// Reads every probe of a tree, of a captured one in a file, or of this machine with what its `worker` does.
///
/// # Errors
/// If it cannot be read at all.
pub fn doctor(root: Option<&Path>, worker: Option<u32>) -> Result<DoctorReport, DoctorError> {
    Ok(match root {
        Some(path) if path.is_file() => {
            let unpacked =
                bundle::unpack(path).map_err(|error| DoctorError::Unpack(path.to_owned(), error))?;
            let report = slmscope_probes::doctor(&open(Some(unpacked.path()))?, None);
            DoctorReport { root: path.display().to_string(), ..report }
        }
        Some(path) => slmscope_probes::doctor(&open(Some(path))?, None),
        None => slmscope_probes::doctor(&open(None)?, worker),
    })
}

/// Writes what the probes read, of this machine or a tree, into a file that [`doctor`] reads as well.
///
/// # Errors
/// If it cannot be read, or the file not be written.
pub fn capture(root: Option<&Path>, file: &Path) -> Result<Captured, DoctorError> {
    let root = open(root)?;
    let failed = |error| DoctorError::Write(file.to_owned(), error);
    let out = std::fs::File::create(file).map_err(failed)?;
    bundle::capture(&root, io::BufWriter::new(out)).map_err(failed)
}

/// A tree, or this machine.
fn open(path: Option<&Path>) -> Result<Root, DoctorError> {
    match path {
        Some(path) => {
            let tree = Root::tree(path).map_err(|error| DoctorError::Tree(path.to_owned(), error))?;
            if ["proc", "sys"].iter().any(|top| path.join(top).is_dir()) {
                Ok(tree)
            } else {
                Err(DoctorError::NoTree(path.to_owned()))
            }
        }
        None => Root::live().map_err(DoctorError::Machine),
    }
}
