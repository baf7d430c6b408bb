//! A recorded session as commands name it: by number, as the latest, or by file.

use std::convert::Infallible;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::fs::OFlags;
use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;
use slmscope_profiles::display;
use slmscope_profiles::kept::Wanted;

use crate::connect::Target;
use crate::failure::Failure;
use crate::kept_sessions::KeptSessions;

/// A recorded session, as a command line names it. For `value_name` use `SESSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSource {
    /// Of those that the daemon keeps: `7`, `latest`, or a run by its `run_id`.
    Kept(Wanted),
    /// A file. One whose name is a number or `latest` is written as a path: `./7`.
    File(PathBuf),
}

impl FromStr for SessionSource {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word.parse() {
            Ok(session) => Self::Kept(Wanted::Job(session)),
            Err(_) if word == "latest" => Self::Kept(Wanted::Latest {}),
            Err(_) if is_run(word) => Self::Kept(Wanted::Run(word.to_owned())),
            Err(_) => Self::File(word.into()),
        })
    }
}

/// Whether a word is spelled as a `run_id`: three numbers in hexadecimal.
fn is_run(word: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    word.split('-').count() == 3 && word.split('-').all(is_number)
}

impl fmt::Display for SessionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(Wanted::Job(session)) => write!(f, "session {session}"),
            Self::Kept(Wanted::Latest {}) => write!(f, "latest session"),
            Self::Kept(Wanted::Run(run)) => write!(f, "run {run}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl SessionSource {
    /// The word that is read back as this source.
    pub fn word(&self) -> String {
        match self {
            Self::Kept(Wanted::Job(session)) => session.to_string(),
            Self::Kept(Wanted::Latest {}) => "latest".to_owned(),
            Self::Kept(Wanted::Run(run)) => run.clone(),
            Self::File(path) => {
                let word = path.display().to_string();
                let is_file = matches!(word.parse(), Ok(Self::File(_)));
                if is_file { word } else { format!("./{word}") }
            }
        }
    }

    /// Opens its file for reading. It is neither replaced by a command's output nor removed to make room while it is open.
    ///
    /// # Errors
    /// If there is none, it is somebody else's, or it is no regular file; the error names it.
    pub fn open(&self, target: &Target) -> Result<File, Failure> {
        match self {
            Self::Kept(wanted) => KeptSessions::of(target)?.open(wanted),
            Self::File(path) => {
                // Without O_NONBLOCK a named pipe would wait for a writer.
                let flags = OFlags::NONBLOCK.bits() as i32;
                let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
                let file = file.map_err(|error| self.failed(&error))?;
                let metadata = file.metadata().map_err(|error| self.failed(&error))?;
                if !metadata.is_file() {
                    return Err(self.failed(&"not a file; name one recording, usually *.mcap"));
                }
                // Not while it is written; a writer leaves it to its readers.
                let _ = file.try_lock_shared();
                Ok(file)
            }
        }
    }

    /// Reads it as far as it is written, and says whether it is written still.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_written(&self, target: &Target) -> Result<(Session, bool), Failure> {
        let file = self.open(target)?;
        // What ends before it is read is whole then.
        let is_written = is_written(&file);
        let mut reader = Reader::new(file).map_err(|error| self.failed(&error))?;
        let session = Session::read(&mut reader).map_err(|error| self.failed(&error))?;
        let is_written = is_written && !session.end.is_complete;
        Ok((session, is_written))
    }

    /// Opens it as a recording.
    ///
    /// # Errors
    /// If it is none; the error begins with its name.
    pub fn reader(&self, target: &Target) -> Result<Reader<File>, Failure> {
        Reader::new(self.open(target)?).map_err(|error| self.failed(&error))
    }

    /// Reads it to its end. What of it cannot be read is told, since figures are of the rest.
    ///
    /// # Errors
    /// If it cannot be read at all; the error begins with its name.
    pub fn read(&self, target: &Target) -> Result<Session, Failure> {
        let (session, _) = self.read_written(target)?;
        let damaged = session.end.damaged;
        if damaged > 0 {
            let parts = display::plural(damaged, "part");
            note_line!(
                "slmscope: {self}: left out {parts} that cannot be read; see `slmscope sessions verify`"
            );
        }
        Ok(session)
    }

    /// An error that begins with its name.
    pub fn failed(&self, error: &dyn fmt::Display) -> Failure {
        Failure::error(format!("{self}: {error}"))
    }
}

/// Whether the writer of a recording that was opened still holds it.
pub fn is_written(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_latest_and_runs_are_sessions_and_all_else_is_a_file() {
        let read = |word: &str| word.parse::<SessionSource>().unwrap_or_else(|never| match never {});
        assert_eq!(read("7"), SessionSource::Kept(Wanted::Job(7)));
        assert_eq!(read("latest"), SessionSource::Kept(Wanted::Latest {}));
        assert_eq!(read("19ad-1f-7"), SessionSource::Kept(Wanted::Run("19ad-1f-7".to_owned())));
        for file in
            ["./7", "a.mcap", "-7", "7.mcap", "latest.mcap", "a-b", "a-b-x", "--", "99999999999999999999"]
        {
            assert_eq!(read(file), SessionSource::File(file.into()), "{file}");
        }
        for word in ["7", "latest", "19ad-1f-7", "./7", "a.mcap"] {
            assert_eq!(read(word).word(), word);
        }
        assert_eq!(read("x/../7").word(), "x/../7");
        assert_eq!(SessionSource::File("7".into()).word(), "./7");
    }
}
