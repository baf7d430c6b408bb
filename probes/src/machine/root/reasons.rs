//! From the system's error numbers to the reasons why a channel has no value.

use std::fmt;
use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;
use slmscope_profiles::channel::{Reason, ReasonCode};

/// What an error number of an open or a read means for the channel behind it.
pub(crate) fn code(errno: Errno) -> ReasonCode {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ReasonCode::NoSuchInterface,
        Errno::ACCESS | Errno::PERM => ReasonCode::Permission,
        Errno::AGAIN => ReasonCode::GatedOrAsleep,
        Errno::IO => ReasonCode::NotWired,
        Errno::BUSY => ReasonCode::Offline,
        Errno::OPNOTSUPP => ReasonCode::NotSupported,
        Errno::TIMEDOUT => ReasonCode::Deadline,
        Errno::NODEV | Errno::SRCH => ReasonCode::Vanished,
        Errno::ISDIR | Errno::LOOP => ReasonCode::NotAFile,
        _ => ReasonCode::ReadError,
    }
}

/// A reason with no text but that of its code.
pub(crate) fn plain_reason(code: ReasonCode, source: &str) -> Reason {
    let what = match code {
        ReasonCode::NoSuchInterface => "there is nothing to read",
        ReasonCode::Permission => "this user may not read it",
        ReasonCode::ReadError => "the read failed",
        ReasonCode::GatedOrAsleep => "powered down or asleep",
        ReasonCode::NotWired => "the sensor's input is not connected",
        ReasonCode::NotSupported => "the driver does not support it",
        ReasonCode::Implausible => "the number cannot be true",
        ReasonCode::Stale => "it has not moved for too long",
        ReasonCode::Vanished => "it went away",
        ReasonCode::Offline => "the CPU is offline",
        ReasonCode::NotAFile => "there is no regular file",
        ReasonCode::Deadline => "the reading did not come back in time",
        ReasonCode::NeedsTwoReadings => "a difference of two readings, and there is only one",
    };
    if source.is_empty() { Reason::new(code, what) } else { Reason::new(code, format!("{source}: {what}")) }
}

/// Why there is nothing of the file at `path`.
pub(super) fn reason(path: &str, errno: Errno) -> Reason {
    Reason::new(code(errno), format!("/{path}: {}", Message(errno)))
}

/// The system's words for an error number, without the number in brackets.
pub(super) struct Message(pub(super) Errno);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

/// What a file that is no regular file is.
pub(super) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "not a regular file",
    }
}
