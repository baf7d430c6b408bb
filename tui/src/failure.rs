//! Errors of commands: a message for standard error and an exit code.

use std::io;
use std::process::ExitCode;

use slmscope_profiles::display::printable;
use slmscope_profiles::json;
use slmscope_profiles::wire::{ErrorCode, WireError};
use slmscope_profiles::workload::WorkloadError;

use crate::style::harmless;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// For standard error; `None` if it was already printed.
    pub message: Option<String>,
    /// 1 error, 2 wrong flags or not in this build, 4 failed check, 130 interrupted.
    pub code: ExitCode,
}

impl Failure {
    /// An error that depends on the machine, a file or the catalogue: exit code 1.
    pub fn error(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), code: ExitCode::from(1) }
    }

    /// Wrong flags, or something that this build does not contain: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), code: ExitCode::from(2) }
    }

    /// A check that failed: exit code 4.
    pub fn check(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), code: ExitCode::from(4) }
    }

    /// What is written to standard error; `None` if that was already done. The message may name a file, or repeat what a
    /// model's file says: nothing of it commands the terminal.
    pub fn text(&self) -> Option<String> {
        let message = self.message.as_ref()?;
        let lines: Vec<_> = message.lines().map(printable).collect();
        Some(format!("slmscope: {}", lines.join("\n")))
    }

    /// An exit code without a message.
    pub fn silent(code: u8) -> Self {
        Self { message: None, code: ExitCode::from(code) }
    }
}

impl Failure {
    /// An option of a workload with an impossible value, named as its flag.
    pub fn option(error: WorkloadError) -> Self {
        Self::usage(format!("{}: {}", flag(error.field), error.problem))
    }
}

impl From<WireError> for Failure {
    /// A request that the daemon refused. An option of a workload is named as the flag that it came from.
    fn from(refused: WireError) -> Self {
        match refused.field {
            Some(field) if refused.code == ErrorCode::BadWorkload => {
                let named = refused.message.strip_prefix(&*field).and_then(|rest| rest.strip_prefix(": "));
                Self::usage(format!("{}: {}", flag(&field), named.unwrap_or(&refused.message)))
            }
            _ => Self::error(refused.message),
        }
    }
}

/// The flag that sets the option `field` of a workload: `--prompt-text` for `prompt_text`.
pub fn flag(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::error(format!("{error:#}"))
    }
}

/// Writes `text` to standard output. A reader that closes the pipe early, such as `head`, is not an error.
///
/// # Errors
/// If standard output cannot be written to.
pub fn print(text: &str) -> Result<(), Failure> {
    write(harmless(text).as_bytes())
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    use io::Write;
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `value` as one JSON object.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    write(json_line(value)?.as_bytes())
}

/// `value` as one JSON object on a line.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::error(format!("cannot write JSON: {error}"));
    let text = String::from_utf8(json::to_vec(value).map_err(|error| failed(&error))?);
    text.map(|text| text + "\n").map_err(|error| failed(&error))
}
