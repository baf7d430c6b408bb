//! The probes' report, of this machine or of a captured tree, and the capture itself.

use std::path::Path;

use anyhow::Context;
use slmscope_probes::Root;
use slmscope_probes::bundle::{self, Captured};
use slmscope_profiles::doctor::DoctorReport;

/// Reads every probe of a tree, of a captured one in a file, or of this machine with what its `worker` does.
///
/// # Errors
/// If it cannot be read at all.
pub fn doctor(root: Option<&Path>, worker: Option<u32>) -> anyhow::Result<DoctorReport> {
    Ok(match root {
        Some(path) if path.is_file() => {
            let unpacked = bundle::unpack(path)
                .with_context(|| format!("cannot read the capture {}", path.display()))?;
            let report = slmscope_probes::doctor(&tree(unpacked.path())?, None);
            DoctorReport { root: path.display().to_string(), ..report }
        }
        Some(path) => slmscope_probes::doctor(&tree(path)?, None),
        None => slmscope_probes::doctor(&Root::live().context("cannot read this machine")?, worker),
    })
}

fn tree(path: &Path) -> anyhow::Result<Root> {
    Root::tree(path).with_context(|| format!("cannot read the tree {}", path.display()))
}

/// Writes what the probes read, of this machine or a tree, into a file that [`doctor`] reads as well.
///
/// # Errors
/// If it cannot be read, or the file not be written.
pub fn capture(root: Option<&Path>, file: &Path) -> anyhow::Result<Captured> {
    let root = match root {
        Some(path) => tree(path)?,
        None => Root::live().context("cannot read this machine")?,
    };
    let writing = || format!("cannot write the capture {}", file.display());
    let out = std::fs::File::create(file).with_context(writing)?;
    bundle::capture(&root, std::io::BufWriter::new(out)).with_context(writing)
}
