//! A recorded session as commands name it: a file.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;

use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;

use crate::connect::Target;
use crate::failure::Failure;

/// A recorded session, as a command line names it. For `value_name` use `SESSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSource {
    path: PathBuf,
}

impl FromStr for SessionSource {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(Self { path: word.into() })
    }
}

impl fmt::Display for SessionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl SessionSource {
    /// Opens its file.
    ///
    /// # Errors
    /// If there is none, or it is no regular file; the error begins with its name.
    pub fn open(&self, _target: &Target) -> Result<File, Failure> {
        let file = File::open(&self.path).map_err(|error| self.failed(&error))?;
        let metadata = file.metadata().map_err(|error| self.failed(&error))?;
        if !metadata.is_file() {
            return Err(self.failed(&"not a file; name one recording, usually *.mcap"));
        }
        Ok(file)
    }

    /// Opens it as a recording.
    ///
    /// # Errors
    /// If it is none; the error begins with its name.
    pub fn reader(&self, target: &Target) -> Result<Reader<File>, Failure> {
        Reader::new(self.open(target)?).map_err(|error| self.failed(&error))
    }

    /// Reads it to its end.
    ///
    /// # Errors
    /// If it cannot be read at all; the error begins with its name.
    pub fn read(&self, target: &Target) -> Result<Session, Failure> {
        Session::read(&mut self.reader(target)?).map_err(|error| self.failed(&error))
    }

    /// An error that begins with its name.
    pub fn failed(&self, error: &dyn fmt::Display) -> Failure {
        Failure::error(format!("{self}: {error}"))
    }
}
