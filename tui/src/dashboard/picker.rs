//! The picker: which model the next job runs.

use super::list::List;

/// A model that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// As `slmscope run` takes it.
    pub name: String,
    /// What it is, in a few words.
    pub facts: String,
    /// Bytes of its weights.
    pub bytes: u64,
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
    /// The models whose name or facts contain the filter.
    pub fn shown<'a>(&self, choices: &'a [Choice]) -> Vec<&'a Choice> {
        let filter = self.list.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&filter);
        choices.iter().filter(|choice| has(&choice.name) || has(&choice.facts)).collect()
    }

    /// Index of the selected one among those that are shown; the first if none is.
    pub fn selected(&self, shown: &[&Choice]) -> usize {
        let key = self.list.selected.as_ref();
        shown.iter().position(|choice| Some(&choice.name) == key).unwrap_or(0)
    }
}
