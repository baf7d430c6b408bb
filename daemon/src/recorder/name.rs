//! The names of a session's files: `SESSION_UID_MODEL` and an ending.
//!
//! | ending | holds |
//! |---|---|
//! | `.mcap` | the recording |
//! | `.json` | its [`SessionSummary`](slmscope_profiles::sessions::SessionSummary), so that a list opens no recording |
//! | `.note` | its [`SessionNote`](slmscope_profiles::sessions::SessionNote), if its owner says something of it |

use slmscope_profiles::job::JobId;

use crate::results::plain_name;

/// Longest name of a model in a file's name, in bytes.
const MAX_MODEL: usize = 80;

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) session: JobId,
    pub(super) uid: u32,
    pub(super) model: String,
}

impl Name {
    pub(super) fn new(session: JobId, uid: u32, model: &str) -> Self {
        Self { session, uid, model: plain_name(model) }
    }

    pub(super) fn recording(&self) -> String {
        self.with("mcap")
    }

    pub(super) fn summary(&self) -> String {
        self.with("json")
    }

    pub(super) fn note(&self) -> String {
        self.with("note")
    }

    fn with(&self, ending: &str) -> String {
        let Self { session, uid, model } = self;
        format!("{session}_{uid}_{model}.{ending}")
    }

    /// Of a recording; `None` if it is another file. A name that is spelled otherwise, such as with zeros before a number,
    /// is none that was written here.
    pub(super) fn of_recording(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".mcap")?.splitn(3, '_');
        let (session, uid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let model = parts.next()?;
        let read = Self::new(session, uid, model);
        (model.len() <= MAX_MODEL && read.recording() == name).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_number_owner_and_model_and_other_names_are_of_other_files() {
        let name = Name::new(7, 1000, "org/na_me \u{1b}[31m.gguf");
        assert_eq!(name.recording(), "7_1000_org-na_me---31m.gguf.mcap");
        assert_eq!(Name::of_recording(&name.recording()), Some(name));
        for other in [
            "7_1000_m.json",
            "07_1000_m.mcap",
            "7_-1_m.mcap",
            "7_1000_../m.mcap",
            "7_1000_\u{1b}m.mcap",
            "99999999999999999999_0_m.mcap",
            "7_1000.mcap",
            ".mcap",
        ] {
            assert_eq!(Name::of_recording(other), None, "{other}");
        }
        assert_eq!(Name::of_recording(&format!("7_0_{}.mcap", "m".repeat(81))), None);
    }
}
