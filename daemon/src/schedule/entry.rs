//! An entry of the schedule: which workload runs when, and on which conditions.

use serde::{Deserialize, Serialize};
use slmscope_profiles::catalogue;
use slmscope_profiles::display::excerpt;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::wire::Submit;
use slmscope_profiles::workload::{Workload, WorkloadError};

use super::cron::Cron;

/// A workload that the daemon runs by itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What logs and metrics call it.
    pub name: String,
    /// An id of the catalogue, or the path of a file or directory below a folder of `model_folders`.
    pub model: String,
    /// Options, as `run` has them.
    #[serde(default)]
    pub workload: Workload,
    /// It is due when the daemon starts.
    #[serde(default)]
    pub at_start: bool,
    /// It is due every so many minutes, counted from the daemon's start.
    #[serde(default)]
    pub every_minutes: Option<u32>,
    /// It is due at these times, UTC.
    #[serde(default)]
    pub cron: Option<Cron>,
    /// It waits until no job runs or waits and the machine has little else to do.
    #[serde(default)]
    pub idle_only: bool,
    /// It waits until no temperature is above this, °C.
    #[serde(default)]
    pub max_celsius: Option<f64>,
    /// It waits until the battery has at least this, 0 to 1. No condition on machines without a battery.
    #[serde(default)]
    pub min_battery: Option<f64>,
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// Metrics and logs would not tell it apart.
    #[error("give each entry a name of its own, of 1 to 64 letters, digits, `-` and `_`; `{0}` is none")]
    Name(String),
    /// Nothing ever starts it.
    #[error("entry `{0}` is never due: set at_start, every_minutes or cron")]
    NeverDue(String),
    /// All the time.
    #[error("entry `{0}`: every_minutes is 0; 1 is the least")]
    EveryMinutes(String),
    /// It would never end, and nothing else would run.
    #[error("entry `{0}` loops: a workload of the schedule has an end")]
    Loops(String),
    /// No such share of a battery.
    #[error("entry `{0}`: min_battery is {1}, and can be from 0 to 1")]
    Battery(String, f64),
    /// No model of the catalogue has this id.
    #[error("entry `{}`: there is no model `{}`{}", .name, .model, hint(.near))]
    Model {
        /// The entry.
        name: String,
        /// As it was written.
        model: String,
        /// Those that may have been meant.
        near: Vec<&'static str>,
    },
    /// An option of the workload cannot be.
    #[error("entry `{0}`: workload.{1}")]
    Workload(String, WorkloadError),
    /// No temperature.
    #[error("entry `{0}`: max_celsius is {1}, and can be from -40 to 150")]
    Celsius(String, f64),
}

fn hint(near: &[&str]) -> String {
    match near {
        [] => ": see `slmscope models`; a file is written as a path".to_owned(),
        near => format!("; did you mean {}?", near.join(", ")),
    }
}

impl Entry {
    /// The job that it asks for.
    pub fn submit(&self) -> Submit {
        let model = if self.model.contains('/') {
            ModelRef::Path(self.model.clone())
        } else {
            ModelRef::Catalogue(self.model.clone())
        };
        Submit { detach: true, ..Submit::new(model, self.workload.clone()) }
    }
}

/// Checks entries of a schedule.
///
/// # Errors
/// Names the entry, what is wrong with it, and the remedy.
pub fn check(entries: &[Entry]) -> Result<(), EntryError> {
    for (at, entry) in entries.iter().enumerate() {
        let name = || entry.name.clone();
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let is_name = (1..=64).contains(&entry.name.len()) && entry.name.chars().all(is_letter);
        if !is_name || entries[..at].iter().any(|other| other.name == entry.name) {
            return Err(EntryError::Name(excerpt(&entry.name, 100)));
        }
        if !entry.at_start && entry.every_minutes.is_none() && entry.cron.is_none() {
            return Err(EntryError::NeverDue(name()));
        }
        if entry.every_minutes == Some(0) {
            return Err(EntryError::EveryMinutes(name()));
        }
        if entry.workload.looped {
            return Err(EntryError::Loops(name()));
        }
        entry.workload.validate().map_err(|error| EntryError::Workload(name(), error))?;
        if let ModelRef::Catalogue(id) = entry.submit().model {
            catalogue::find(&id).map_err(|near| EntryError::Model {
                name: name(),
                model: excerpt(&id, 100),
                near,
            })?;
        }
        if let Some(share) = entry.min_battery.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(EntryError::Battery(name(), share));
        }
        if let Some(celsius) = entry.max_celsius.filter(|celsius| !(-40.0..=150.0).contains(celsius)) {
            return Err(EntryError::Celsius(name(), celsius));
        }
    }
    Ok(())
}
