//! The daemon inside this binary. Only this file uses the daemon's crate. Without the feature `embedded-daemon`, what
//! needs the engine or the probes is refused.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use slmscope_profiles::doctor::DoctorReport;

use crate::failure::Failure;

#[cfg(feature = "embedded-daemon")]
mod present {
    use super::{Child, DoctorReport, Failure, Path, Stdio, UnixStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::model_source::ChosenModel;

    use anyhow::Context;
    pub use slmscope_daemon::commands::{
        ExportOptions, Exported, ServeArgs, VerifyOptions, VerifyStep, WorkerArgs,
    };
    use slmscope_daemon::commands::{Inspected, inspect as inspect_files};
    pub use slmscope_daemon::recorder::SessionFolder;
    use slmscope_profiles::admission::ModelFacts;
    use slmscope_profiles::format::WeightFormat;
    use slmscope_profiles::plan::Plan;
    use slmscope_profiles::spec::DecoderSpec;
    use slmscope_profiles::verify::VerifyReport;

    /// Runs the daemon in the foreground.
    pub fn serve(args: ServeArgs) -> Result<ExitCode, Failure> {
        slmscope_daemon::commands::serve(args).map_err(anyhow::Error::from)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The folder in which daemons of this user keep sessions.
    pub fn own_sessions() -> Result<SessionFolder, Failure> {
        Ok(slmscope_daemon::commands::own_sessions().map_err(anyhow::Error::from)?)
    }

    /// Runs an engine for the daemon.
    pub fn worker(args: &WorkerArgs) -> Result<ExitCode, Failure> {
        slmscope_daemon::commands::worker(args).map_err(anyhow::Error::from)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Reads every probe, of this machine or of a tree.
    pub fn doctor(root: Option<&Path>) -> Result<DoctorReport, Failure> {
        Ok(slmscope_daemon::commands::doctor(root, None).map_err(anyhow::Error::from)?)
    }

    /// Writes synthetic weights as a GGUF file.
    pub fn weights(
        options: &ExportOptions<'_>,
        cancel: &AtomicBool,
        report: &mut dyn FnMut(u64, u64),
    ) -> Result<Exported, Failure> {
        match slmscope_daemon::commands::weights(options, cancel, report) {
            Err(_) if cancel.load(Ordering::Relaxed) => Err(Failure::silent(130)),
            result => Ok(result.map_err(anyhow::Error::from)?),
        }
    }

    /// Writes what the probes read into a file; how many files, how many of them could not be read, and how many
    /// values were replaced.
    pub fn capture(root: Option<&Path>, file: &Path) -> Result<(usize, usize, usize), Failure> {
        let captured = slmscope_daemon::commands::capture(root, file).map_err(anyhow::Error::from)?;
        Ok((captured.files, captured.failed, captured.redacted))
    }

    /// What a model's files describe: the architecture, the plan, and remarks on how they are read.
    pub fn inspect(
        chosen: ChosenModel,
        format: Option<WeightFormat>,
    ) -> Result<(DecoderSpec, Arc<Plan>, Vec<String>), Failure> {
        let inspected = inspect_files(&chosen.model, chosen.files, format).map_err(anyhow::Error::from)?;
        let Inspected { spec, plan, notes } = inspected;
        Ok((spec, plan, notes))
    }

    /// What of a model decides which workloads it can run, by the headers of its files; `None` if they cannot be read: the
    /// worker says why.
    pub fn facts(chosen: &ChosenModel, format: Option<WeightFormat>) -> Option<ModelFacts> {
        let files: Option<Vec<_>> = chosen.files.iter().map(|file| file.try_clone().ok()).collect();
        slmscope_daemon::commands::facts(&chosen.model, files?, format).ok()
    }

    /// Compares a model with reference logits, in this process.
    pub fn verify(
        options: VerifyOptions,
        progress: &mut dyn FnMut(VerifyStep),
    ) -> Result<VerifyReport, Failure> {
        Ok(slmscope_daemon::commands::verify(options, progress).map_err(anyhow::Error::from)?)
    }

    /// Starts this program as a daemon for the client at the other end of `socket`.
    pub fn spawn_private(socket: UnixStream, log: Stdio) -> Result<Child, Failure> {
        let child = Command::new("/proc/self/exe")
            // The name in lists of processes.
            .arg0("slmscope")
            .args(["daemon", "--private"])
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C must reach the client alone, which waits for the result of the job that it cancels.
            .process_group(0)
            .spawn()
            .context("cannot start a private daemon")?;
        Ok(child)
    }
}

#[cfg(feature = "embedded-daemon")]
pub use present::*;

#[cfg(not(feature = "embedded-daemon"))]
pub fn absent<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::usage(format!(
        "{what} needs the engine and the probes, which are not in this build; use the full build, or start slmscoped"
    )))
}

/// Refused: this build has no probes.
#[cfg(not(feature = "embedded-daemon"))]
pub fn doctor(_root: Option<&Path>) -> Result<DoctorReport, Failure> {
    absent("reading probes in process")
}

/// Refused: this build has no probes.
#[cfg(not(feature = "embedded-daemon"))]
pub fn capture(_root: Option<&Path>, _file: &Path) -> Result<(usize, usize, usize), Failure> {
    absent("capturing what probes read")
}

/// Refused: this build has no engine.
#[cfg(not(feature = "embedded-daemon"))]
pub fn inspect(
    _chosen: crate::model_source::ChosenModel,
    _format: Option<slmscope_profiles::format::WeightFormat>,
) -> Result<
    (slmscope_profiles::spec::DecoderSpec, std::sync::Arc<slmscope_profiles::plan::Plan>, Vec<String>),
    Failure,
> {
    absent("reading model files")
}

/// Not known: this build has no engine. The worker checks the same.
#[cfg(not(feature = "embedded-daemon"))]
pub fn facts(
    _chosen: &crate::model_source::ChosenModel,
    _format: Option<slmscope_profiles::format::WeightFormat>,
) -> Option<slmscope_profiles::admission::ModelFacts> {
    None
}

/// Refused: this build has no daemon.
#[cfg(not(feature = "embedded-daemon"))]
pub fn spawn_private(_socket: UnixStream, _log: Stdio) -> Result<Child, Failure> {
    absent("a private daemon")
}
