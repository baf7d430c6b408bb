//! Why a channel has no value.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a value is absent. A closed list, so that machines can act on it. JSON has the code, text the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The kernel or the board has no such file, device or driver.
    NoSuchInterface,
    /// It exists, but this user may not read it.
    Permission,
    /// The read failed with an error number.
    ReadError,
    /// Powered down; reading would wake it or fails while it sleeps.
    GatedOrAsleep,
    /// The sensor exists, its input is not connected.
    NotWired,
    /// The driver or kernel configuration does not implement it.
    NotSupported,
    /// Read, but the number cannot be true.
    Implausible,
    /// Has not changed for longer than such a source may stand still.
    Stale,
    /// Was there and went away.
    Vanished,
    /// The CPU it belongs to is offline.
    Offline,
    /// A directory, pipe or device stands where a file belongs.
    NotAFile,
    /// The read did not come back in time.
    Deadline,
    /// A difference of two readings, and there is only one.
    NeedsTwoReadings,
}

impl ReasonCode {
    /// The code as it is spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchInterface => "no_such_interface",
            Self::Permission => "permission",
            Self::ReadError => "read_error",
            Self::GatedOrAsleep => "gated_or_asleep",
            Self::NotWired => "not_wired",
            Self::NotSupported => "not_supported",
            Self::Implausible => "implausible",
            Self::Stale => "stale",
            Self::Vanished => "vanished",
            Self::Offline => "offline",
            Self::NotAFile => "not_a_file",
            Self::Deadline => "deadline",
            Self::NeedsTwoReadings => "needs_two_readings",
        }
    }

    /// What it means, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoSuchInterface => "this machine has none",
            Self::Permission => "this user may not read it",
            Self::ReadError => "reading it failed",
            Self::GatedOrAsleep => "it is powered down",
            Self::NotWired => "its input is not connected",
            Self::NotSupported => "the driver or the kernel does not offer it",
            Self::Implausible => "what it reports cannot be true",
            Self::Stale => "its value has not changed for too long",
            Self::Vanished => "it is no longer there",
            Self::Offline => "its CPU is offline",
            Self::NotAFile => "what stands at its place is no file",
            Self::Deadline => "reading it took too long",
            Self::NeedsTwoReadings => "it is the difference of two readings, and there is only one",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A reason with the particulars: which file, which error number, which limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of absence this is.
    pub code: ReasonCode,
    /// One line for a person.
    pub detail: String,
}

impl Reason {
    /// A reason of the given kind.
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { self.code.fmt(f) } else { write!(f, "{}: {}", self.code, self.detail) }
    }
}
