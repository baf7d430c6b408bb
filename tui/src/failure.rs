//! Errors as the shell sees them: a message and an exit code.

use std::io;
use std::process::ExitCode;

use slmscope_profiles::wire::WireError;

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    /// For standard error; `None` if everything has been said.
    pub message: Option<String>,
    /// 1 error, 2 wrong flags or not in this build, 4 a check failed, 130 interrupted.
    pub code: ExitCode,
}

impl Failure {
    /// An error that needed the machine, a file or the catalogue to be found: exit code 1.
    pub fn error(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), code: ExitCode::from(1) }
    }

    /// An error that the flags alone show, or a thing that is not in this build: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), code: ExitCode::from(2) }
    }

    /// A check that did not hold: exit code 4.
    pub fn check(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), code: ExitCode::from(4) }
    }

    /// Nothing more to say, only the code.
    pub fn silent(code: u8) -> Self {
        Self { message: None, code: ExitCode::from(code) }
    }
}

impl From<WireError> for Failure {
    /// A request that the daemon refused.
    fn from(refused: WireError) -> Self {
        Self::error(refused.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::error(format!("{error:#}"))
    }
}

/// Writes `text` to standard output. A reader that has seen enough, as `head` has, is no error.
///
/// # Errors
/// If standard output cannot be written to.
pub fn print(text: &str) -> Result<(), Failure> {
    use io::Write;
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `value` as one JSON object.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::error(format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}
