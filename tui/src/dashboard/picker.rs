//! The picker: which model the next job runs, or which session is replayed.

use slmscope_profiles::job::JobId;
use slmscope_profiles::sessions::SessionInfo;

use super::list::List;
use super::screens::sessions::state::Sessions;

/// A model that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// As `slmscope run` takes it.
    pub name: String,
    /// What it is, in a few words.
    pub facts: String,
    /// Bytes of its weights.
    pub bytes: u64,
    /// Bytes that a run of the default workload needs at least; `None` where the file would have to be read.
    pub needs: Option<u64>,
}

impl Choice {
    /// Whether it is a file, whose shapes are not known before it is read.
    fn is_file(&self) -> bool {
        self.needs.is_none()
    }
}

/// Sessions that are offered, the newest.
const SESSIONS: usize = 5;

/// What the picker offers.
#[derive(Debug, Clone, Copy)]
pub enum Offer<'a> {
    /// A model to run.
    Model(&'a Choice),
    /// A session to replay.
    Session(&'a SessionInfo),
}

impl Offer<'_> {
    /// Identifies it.
    pub fn key(&self) -> String {
        match self {
            Self::Model(choice) => choice.name.clone(),
            Self::Session(info) => format!("session {}", info.session),
        }
    }

    /// The model, or else the session.
    pub fn chosen(&self) -> Result<String, JobId> {
        match self {
            Self::Model(choice) => Ok(choice.name.clone()),
            Self::Session(info) => Err(info.session),
        }
    }

    fn has(&self, filter: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(filter);
        match self {
            Self::Model(choice) => has(&choice.name) || has(&choice.facts),
            Self::Session(info) => has(&info.model) || has(&self.key()),
        }
    }
}

/// Filter and selection.
#[derive(Debug, Clone, Default)]
pub struct Picker {
    /// The filter is typed without `/`.
    pub list: List,
    /// It was offered because nothing ran when the dashboard was opened.
    pub offered: bool,
}

impl Picker {
    /// The models and newest sessions that contain the filter: the model that was chosen last, files, sessions, then the
    /// catalogue.
    pub fn shown<'a>(&self, choices: &'a [Choice], last: &str, sessions: &'a Sessions) -> Vec<Offer<'a>> {
        let filter = self.list.filter.to_lowercase();
        let kept = sessions.kept.iter().flatten().rev().filter(|info| !info.is_written).take(SESSIONS);
        let models = |is_wanted: fn(&Choice) -> bool, is_last: bool| {
            choices.iter().filter(move |choice| is_wanted(choice) && (choice.name == last) == is_last)
        };
        let (last, files) = (models(|_| true, true), models(Choice::is_file, false));
        let first = last.chain(files).map(Offer::Model);
        let catalogue = models(|choice| !choice.is_file(), false).map(Offer::Model);
        let all = first.chain(kept.map(Offer::Session)).chain(catalogue);
        all.filter(|offer| offer.has(&filter)).collect()
    }

    /// Index of the selected one among those that are shown; the first if none is.
    pub fn selected(&self, shown: &[Offer<'_>]) -> usize {
        let key = self.list.selected.as_ref();
        shown.iter().position(|offer| Some(&offer.key()) == key).unwrap_or(0)
    }
}
