//! The daemon's settings.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use slmscope_profiles::display::excerpt;
use slmscope_profiles::sessions::RecordMode;
use slmscope_profiles::words::nearest;
use slmscope_profiles::workload::Workload;

use crate::schedule::entry::{self, Entry, EntryError};

/// The configuration file; every field has a default, unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folders under which a client may name a model by path, a file or a directory, instead of passing files open.
    pub model_folders: Vec<PathBuf>,
    /// Users outside of group `slmscope` who can reach the socket may watch.
    pub read_for_others: bool,
    /// How often energy counters that allow it are read while a job runs, 1 to 1000 Hz.
    pub energy_hz: u32,
    /// Where results are kept; empty for the service's or the user's state folder.
    pub results_folder: PathBuf,
    /// Results that are kept at most; 0 keeps none.
    pub results_count: u32,
    /// MiB that they take at most, at least 4.
    pub results_mib: u32,
    /// What is recorded.
    pub record: RecordMode,
    /// Where sessions are kept; empty for the service's or the user's state folder.
    pub sessions_folder: PathBuf,
    /// MiB that sessions take at most, at least 1, and never more than 5 % of what the file system has free.
    pub sessions_mib: u32,
    /// File with the token that readers of metrics over TCP must send; empty for none.
    pub metrics_token_file: PathBuf,
    /// Engine threads of jobs that do not ask for a number; 0 for the executor's default.
    pub threads: u32,
    /// Share of the time that recording may cost in jobs that do not ask for one, above 0 and up to 1; 1 records all.
    pub overhead_budget: f64,
    /// Workloads that the daemon runs by itself.
    pub schedule: Vec<Entry>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The text is no configuration; the source names line and field.
    #[error("the configuration {} is wrong", .0.display())]
    Parse(PathBuf, #[source] toml::de::Error),
    /// A key that no setting has.
    #[error("the configuration {} is wrong: there is no setting `{}`{}", .file.display(), .key, hint(.nearest.as_deref()))]
    UnknownKey {
        /// The configuration.
        file: PathBuf,
        /// As the file has it.
        key: String,
        /// The setting that may have been meant.
        nearest: Option<String>,
    },
    /// Energy counters cannot be read that often.
    #[error("the configuration {} is wrong: energy_hz is {}, and can be from 1 to 1000", .0.display(), .1)]
    EnergyHz(PathBuf, u32),
    /// No result would fit.
    #[error(
        "the configuration {} is wrong: results_mib is {}, and at least {MIN_RESULTS_MIB} are needed; results_count = 0 \
         keeps none",
        .0.display(),
        .1
    )]
    ResultsMib(PathBuf, u32),
    /// No session would fit.
    #[error("the configuration {} is wrong: sessions_mib is 0; record = \"off\" keeps no sessions", .0.display())]
    SessionsMib(PathBuf),
    /// No such share.
    #[error("the configuration {} is wrong: overhead_budget is {}, and can be above 0 and up to 1", .0.display(), .1)]
    OverheadBudget(PathBuf, f64),
    /// An entry of the schedule cannot be used.
    #[error("the schedule of the configuration {} is wrong", .0.display())]
    Schedule(PathBuf, #[source] EntryError),
}

/// The longest result that is kept fits.
const MIN_RESULTS_MIB: u32 = 4;

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_folders: Vec::new(),
            read_for_others: false,
            energy_hz: 100,
            results_folder: PathBuf::new(),
            results_count: 200,
            results_mib: 64,
            record: RecordMode::Jobs,
            sessions_folder: PathBuf::new(),
            sessions_mib: 1024,
            metrics_token_file: PathBuf::new(),
            threads: 0,
            overhead_budget: 1.0,
            schedule: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Names the file, and the line and field at fault.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        let wrong = |error| ConfigError::Parse(path.to_owned(), error);
        let table: toml::Table = toml::from_str(&text).map_err(wrong)?;
        if let Some((key, nearest)) = unknown_key(&table) {
            return Err(ConfigError::UnknownKey { file: path.to_owned(), key: excerpt(&key, 100), nearest });
        }
        // From the text again, since only its errors name the line.
        let config: Self = toml::from_str(&text).map_err(wrong)?;
        if !(1..=1000).contains(&config.energy_hz) {
            return Err(ConfigError::EnergyHz(path.to_owned(), config.energy_hz));
        }
        if config.results_mib < MIN_RESULTS_MIB {
            return Err(ConfigError::ResultsMib(path.to_owned(), config.results_mib));
        }
        if config.sessions_mib == 0 {
            return Err(ConfigError::SessionsMib(path.to_owned()));
        }
        if !(config.overhead_budget > 0.0 && config.overhead_budget <= 1.0) {
            return Err(ConfigError::OverheadBudget(path.to_owned(), config.overhead_budget));
        }
        entry::check(&config.schedule).map_err(|error| ConfigError::Schedule(path.to_owned(), error))?;
        Ok(config)
    }

    /// The settings that differ in `new` and cannot change while the daemon runs.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let fixed = [
            ("results_folder", self.results_folder != new.results_folder),
            ("results_count", self.results_count != new.results_count),
            ("results_mib", self.results_mib != new.results_mib),
            ("record", self.record != new.record),
            ("sessions_folder", self.sessions_folder != new.sessions_folder),
            ("sessions_mib", self.sessions_mib != new.sessions_mib),
        ];
        fixed.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// Whether a model at `path` may be opened for a client: it lies, all links followed, under a folder
    /// that is set.
    pub fn allows(&self, path: &Path) -> bool {
        let Ok(real) = path.canonicalize() else { return false };
        self.model_folders
            .iter()
            .filter_map(|folder| folder.canonicalize().ok())
            .any(|folder| real.starts_with(folder))
    }
}

/// A key that no setting has, also in the schedule and its workloads, and the one that may have been meant.
fn unknown_key(table: &toml::Table) -> Option<(String, Option<String>)> {
    let entries = table.get("schedule").and_then(toml::Value::as_array);
    let entries = || entries.into_iter().flatten().filter_map(toml::Value::as_table);
    let workloads = || entries().filter_map(|entry| entry.get("workload")?.as_table());
    unknown_in(table, &keys_of(&Config::default()))
        .or_else(|| entries().find_map(|entry| unknown_in(entry, &keys_of(&Entry::default()))))
        .or_else(|| workloads().find_map(|workload| unknown_in(workload, &keys_of(&Workload::default()))))
}

/// All keys of a table of settings. JSON, unlike TOML, also has those without a value.
fn keys_of(table: &impl Serialize) -> Vec<String> {
    let object = serde_json::to_value(table).ok();
    let keys = object.as_ref().and_then(serde_json::Value::as_object).map(|object| object.keys().cloned());
    keys.into_iter().flatten().collect()
}

fn unknown_in(table: &toml::Table, known: &[String]) -> Option<(String, Option<String>)> {
    let key = table.keys().find(|key| !known.contains(key))?;
    Some((key.clone(), nearest(key, known.iter().map(String::as_str)).map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_complete_and_holds_the_defaults() {
        let example = include_str!("../../systemd/slmscope.toml");
        assert_eq!(toml::from_str::<Config>(example).unwrap(), Config::default());
        let fields = toml::Table::try_from(Config::default()).unwrap();
        for field in fields.keys().filter(|field| *field != "schedule") {
            assert!(example.contains(&format!("{field} =")), "{field} is missing from the example");
        }
        assert!(toml::from_str::<Config>("colour = 1").is_err());
    }

    /// The entry of the example stands behind number signs without a blank.
    #[test]
    fn the_entry_of_the_example_file_has_every_key() {
        let example = include_str!("../../systemd/slmscope.toml");
        let lines = example.lines().filter_map(|line| line.strip_prefix('#'));
        let text: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with(' ')).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text.join("\n")).unwrap();
        let config = Config::read(file.path()).unwrap();
        let entry = serde_json::to_value(&config.schedule[0]).unwrap();
        for (key, value) in entry.as_object().unwrap() {
            assert!(
                !value.is_null() && text.iter().any(|line| line.starts_with(&format!("{key} ="))),
                "{key}"
            );
        }
    }

    #[test]
    fn limits_that_no_result_fits_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "results_mib = 3").unwrap();
        let refused = Config::read(file.path()).unwrap_err().to_string();
        assert!(refused.contains("results_mib is 3, and at least 4 are needed"), "{refused}");
        std::fs::write(file.path(), "results_mib = 4\nresults_count = 0").unwrap();
        assert_eq!(Config::read(file.path()).unwrap().results_count, 0);
        std::fs::write(file.path(), "sessions_mib = 0").unwrap();
        assert!(Config::read(file.path()).unwrap_err().to_string().contains("record = \"off\""));
    }

    #[test]
    fn an_unknown_setting_is_named_with_the_nearest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, message) in [
            ("energy_hertz = 50", "there is no setting `energy_hertz`; did you mean `energy_hz`?"),
            ("colour = 1", "there is no setting `colour`"),
            ("[[schedule]]\nname = \"e\"\nmodell = \"m\"", "`modell`; did you mean `model`?"),
            ("[[schedule]]\nworkload = { promt = 5 }", "`promt`; did you mean `prompt`?"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let refused = Config::read(file.path()).unwrap_err().to_string();
            assert!(refused.ends_with(message), "{refused}");
        }
    }

    #[test]
    fn each_setting_is_reloaded_or_needs_a_restart() {
        let reloaded = [
            "energy_hz",
            "metrics_token_file",
            "model_folders",
            "overhead_budget",
            "read_for_others",
            "schedule",
            "threads",
        ];
        let all = toml::Table::try_from(Config::default()).unwrap();
        let other = toml::toml! {
            model_folders = ["/models"]
            read_for_others = true
            energy_hz = 7
            results_folder = "/results"
            results_count = 7
            results_mib = 7
            record = "off"
            sessions_folder = "/sessions"
            sessions_mib = 7
            metrics_token_file = "/token"
            threads = 7
            overhead_budget = 0.5
            schedule = [{ name = "e", model = "m", at_start = true }]
        };
        let fixed = Config::default().needs_restart(&other.clone().try_into().unwrap());
        for name in all.keys() {
            assert_ne!(other[name], all[name], "{name} is to differ here");
            assert_ne!(reloaded.contains(&name.as_str()), fixed.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("models");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("a.gguf"), "x").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("b.gguf")).unwrap();
        let config = Config { model_folders: vec![inside.clone()], ..Config::default() };
        assert!(config.allows(&inside.join("a.gguf")));
        assert!(!config.allows(&inside.join("b.gguf")));
        assert!(!config.allows(&inside.join("../secret")));
    }
}
