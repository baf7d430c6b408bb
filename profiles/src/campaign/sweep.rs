//! A sweep: which options take which values, and in which order the runs go.
//!
//! A file of a sweep is TOML. Every list or range in `[workload]` is an axis; the points are all combinations.
//! `[[case]]` tables hold options that go together, and are one axis; `[sweep]` says how the runs are ordered.
//!
//! ```
//! use slmscope_profiles::campaign::Sweep;
//!
//! let sweep = Sweep::parse(
//!     "about = 'threads and formats'\n[workload]\nthreads = '1..4'\nformat = ['q4_0', 'q8_0']\n[sweep]\nrounds = 2",
//! );
//! let plan = sweep.unwrap().plan().unwrap();
//! assert_eq!((plan.points.len(), plan.runs().len()), (8, 16));
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plan::{Point, SweepPlan};
use super::values;
use crate::catalogue::DEFAULT_MODEL;
use crate::display::excerpt;
use crate::words::nearest;
use crate::workload::Workload;

/// The most runs of a sweep. More of them take weeks, and are a mistake.
pub const MOST_RUNS: usize = 10_000;

/// Options of a job that have no place in a sweep, which runs each point to its end.
const NO_AXES: [&str; 2] = ["loop", "pause"];

/// Why a sweep cannot be planned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadSweep {
    /// It is no TOML.
    #[error("{0}")]
    Toml(Box<str>),
    /// A key is none that there is.
    #[error("there is no {place} `{key}`{hint}; known: {known}")]
    UnknownKey {
        /// What it would be.
        place: &'static str,
        /// As it was written.
        key: String,
        /// What may have been meant.
        hint: String,
        /// Those that there are.
        known: String,
    },
    /// An axis is empty.
    #[error("{0} has no values; name one, or leave it out for its default")]
    NoValues(String),
    /// A range has no end.
    #[error("{key}: `{text}`: {problem}; write a range like 1..8, 0..4096 +512 or 50..4096 *2")]
    BadRange {
        /// The option.
        key: String,
        /// As it was written.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value is none of the option.
    #[error("{key}: `{value}`: {problem}")]
    BadValue {
        /// The option.
        key: String,
        /// As it was written.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value stands in an axis twice.
    #[error("{key}: {value} is there twice; to run each point several times, ask for rounds")]
    Twice {
        /// The option.
        key: String,
        /// The value.
        value: String,
    },
    /// An option is set in two places.
    #[error("{0} is set both by the cases and beside them; set it in one place")]
    SetTwice(String),
    /// An option has no place in a sweep.
    #[error("{0} has no place in a sweep, which runs each point to its end; leave it out, or ask for rounds")]
    NoAxis(String),
    /// There are too many combinations.
    #[error("{count} runs are more than the {MOST_RUNS} that a sweep may have; give the axes fewer values")]
    TooMany {
        /// Points times rounds.
        count: u128,
    },
    /// A setting of the order is impossible.
    #[error("{0}")]
    BadSchedule(&'static str),
    /// No point can run.
    #[error("no point can run: {0}")]
    Impossible(String),
}

/// In which order the runs go, and what is waited for before each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The order.
    pub order: Order,
    /// Seed of a random order.
    pub seed: u64,
    /// How often each point is run: with 2, two runs of the same thing say how much runs differ.
    pub rounds: u32,
    /// Seconds to wait before each run but the first.
    pub pause: u32,
    /// Wait before each run until the hottest sensor of what computes is below this, °C; null waits for nothing.
    pub cool_below: Option<f64>,
    /// Wait no longer than so many seconds, and then run all the same.
    pub cool_limit: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { order: Order::default(), seed: 1, rounds: 1, pause: 0, cool_below: None, cool_limit: 600 }
    }
}

/// An order of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Forward in one round, backward in the next: a steady drift of the machine cancels in every two rounds.
    #[default]
    Interleaved,
    /// Shuffled in each round, by the seed: no pattern of the machine meets the same points.
    Random,
}

/// What is to be swept.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// What it is for.
    pub about: String,
    /// How the runs are ordered.
    pub schedule: Schedule,
    /// Options with their values, in the order in which they were given.
    axes: Vec<(String, Vec<Value>)>,
    /// Sets of options that go together.
    cases: Vec<Map<String, Value>>,
}

impl Sweep {
    /// A sweep without axes yet: one point, the default workload.
    pub fn new(about: &str) -> Self {
        Self { about: about.to_owned(), schedule: Schedule::default(), axes: Vec::new(), cases: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Names the first key or value that cannot be used.
    pub fn parse(text: &str) -> Result<Self, BadSweep> {
        let toml = |error: toml::de::Error| BadSweep::Toml(error.to_string().trim_end().into());
        let mut file: toml::Table = toml::from_str(text).map_err(toml)?;
        check_keys("part of a sweep", file.keys(), &["about", "workload", "case", "sweep"])?;
        let about = file.remove("about").and_then(|about| about.as_str().map(str::to_owned));
        let mut sweep = Self::new(&about.unwrap_or_default());
        if let Some(schedule) = file.remove("sweep") {
            let known = serde_json::to_value(Schedule::default()).unwrap_or_default();
            let known: Vec<&str> =
                known.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
            check_keys(
                "setting of [sweep]",
                schedule.as_table().into_iter().flat_map(toml::Table::keys),
                &known,
            )?;
            sweep.schedule = schedule.try_into().map_err(toml)?;
        }
        for (key, value) in table(file.remove("workload"), "[workload]")? {
            sweep.set_values(&key, values::of_toml(&key, &value)?)?;
        }
        if let Some(cases) = file.remove("case") {
            let toml::Value::Array(cases) = cases else { return Err(not_a_table("[[case]]")) };
            for case in cases {
                let mut options = Map::new();
                for (key, value) in table(Some(case), "[[case]]")? {
                    let found = values::of_toml(&key, &value)?;
                    check_values(&key, &found)?;
                    let [one] = <[Value; 1]>::try_from(found).map_err(|_| BadSweep::BadValue {
                        key: key.clone(),
                        value: values::as_json(&value),
                        problem: "a case has one value of each option; lists stand in [workload]".to_owned(),
                    })?;
                    options.insert(key, one);
                }
                sweep.cases.push(options);
            }
        }
        Ok(sweep)
    }

    /// Sets an option to the values that `text` lists, in place of those that it had.
    ///
    /// # Errors
    /// If there is no such option, or it has no such value.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), BadSweep> {
        // As flags spell it.
        let key = key.replace('-', "_");
        check_key(&key)?;
        self.set_values(&key, values::of_text(&key, text)?)
    }

    /// Runs these models.
    ///
    /// # Errors
    /// If one is named twice.
    pub fn set_models(&mut self, models: &[String]) -> Result<(), BadSweep> {
        self.set_values("model", models.iter().map(|model| Value::from(model.as_str())).collect())
    }

    fn set_values(&mut self, key: &str, values: Vec<Value>) -> Result<(), BadSweep> {
        check_key(key)?;
        check_values(key, &values)?;
        match self.axes.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = values,
            None => self.axes.push((key.to_owned(), values)),
        }
        Ok(())
    }

    /// All points, and the order of their runs.
    ///
    /// # Errors
    /// If there are too many, or none of them can run.
    pub fn plan(&self) -> Result<SweepPlan, BadSweep> {
        let Schedule { rounds, cool_below, .. } = self.schedule;
        if rounds == 0 {
            return Err(BadSweep::BadSchedule("rounds: 0 rounds run nothing; leave it out for 1"));
        }
        if cool_below.is_some_and(|celsius| !(0.0..=150.0).contains(&celsius)) {
            return Err(BadSweep::BadSchedule("cool_below: write a temperature from 0 to 150 °C"));
        }
        for (key, _) in &self.axes {
            if self.cases.iter().any(|case| case.contains_key(key)) {
                return Err(BadSweep::SetTwice(key.clone()));
            }
        }
        let lengths = self.axes.iter().map(|(_, values)| values.len()).chain([self.cases.len().max(1)]);
        let count = lengths.fold(u128::from(rounds), |count, length| count.saturating_mul(length as u128));
        if count > MOST_RUNS as u128 {
            return Err(BadSweep::TooMany { count });
        }
        let points: Vec<Point> =
            (1..).zip(self.combinations()).map(|(number, settings)| Point::new(number, settings)).collect();
        if let Some(problem) = points.iter().map(|point| point.problem.clone()).collect::<Option<Vec<_>>>() {
            return Err(BadSweep::Impossible(problem.into_iter().next().unwrap_or_default()));
        }
        Ok(SweepPlan::new(self.about.clone(), self.varying(), points, self.schedule.clone()))
    }

    /// Options that are not the same in all points, in the order in which they were given.
    fn varying(&self) -> Vec<String> {
        let mut varying: Vec<String> = Vec::new();
        for key in self.cases.iter().flat_map(Map::keys) {
            let first = self.cases.first().and_then(|case| case.get(key));
            if self.cases.iter().any(|case| case.get(key) != first) && !varying.contains(key) {
                varying.push(key.clone());
            }
        }
        let axes = self.axes.iter().filter(|(_, values)| values.len() > 1).map(|(key, _)| key.clone());
        varying.extend(axes);
        // The model is the widest change.
        varying.sort_by_key(|key| key != "model");
        varying
    }

    /// The settings of every point; the last axis changes fastest.
    fn combinations(&self) -> Vec<Map<String, Value>> {
        let mut all = if self.cases.is_empty() { vec![Map::new()] } else { self.cases.clone() };
        let models = [("model".to_owned(), vec![Value::from(DEFAULT_MODEL)])];
        let has_model = self.axes.iter().any(|(key, _)| key == "model")
            || self.cases.iter().any(|case| case.contains_key("model"));
        let axes = if has_model { &[][..] } else { &models[..] };
        for (key, values) in axes.iter().chain(&self.axes) {
            let with = |settings: &Map<String, Value>| {
                let settings = settings.clone();
                values.iter().map(move |value| {
                    let mut settings = settings.clone();
                    settings.insert(key.clone(), value.clone());
                    settings
                })
            };
            all = all.iter().flat_map(with).collect();
        }
        all
    }
}

/// The names of the options that a sweep may set.
fn options() -> Vec<String> {
    let workload = serde_json::to_value(Workload::default()).unwrap_or_default();
    let fields = workload.as_object().into_iter().flat_map(Map::keys).cloned();
    std::iter::once("model".to_owned()).chain(fields).filter(|key| !NO_AXES.contains(&key.as_str())).collect()
}

fn check_key(key: &str) -> Result<(), BadSweep> {
    if NO_AXES.contains(&key) {
        return Err(BadSweep::NoAxis(key.to_owned()));
    }
    let options = options();
    let known: Vec<&str> = options.iter().map(String::as_str).collect();
    check_keys("option", [key], &known)
}

/// Checks that all keys are known.
fn check_keys(
    place: &'static str,
    keys: impl IntoIterator<Item = impl AsRef<str>>,
    known: &[&str],
) -> Result<(), BadSweep> {
    let unknown = keys.into_iter().find(|key| !known.contains(&key.as_ref()));
    let Some(key) = unknown else { return Ok(()) };
    let key = key.as_ref();
    let near = nearest(key, known.iter().copied());
    let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    Err(BadSweep::UnknownKey { place, key: excerpt(key, 60), hint, known: known.join(", ") })
}

/// Checks that an option can have these values, whatever the others are.
fn check_values(key: &str, values: &[Value]) -> Result<(), BadSweep> {
    for (at, value) in values.iter().enumerate() {
        let shown = || excerpt(&shown(value), 60);
        if values[..at].contains(value) {
            return Err(BadSweep::Twice { key: key.to_owned(), value: shown() });
        }
        if key == "model" {
            continue;
        }
        let bad = |problem: String| BadSweep::BadValue { key: key.to_owned(), value: shown(), problem };
        let one = Map::from_iter([(key.to_owned(), value.clone())]);
        let read: Result<Workload, _> = serde_json::from_value(Value::Object(one));
        read.map_err(|error| bad(error.to_string()))?;
    }
    Ok(())
}

/// A value without the quotes of JSON.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn table(value: Option<toml::Value>, name: &str) -> Result<toml::Table, BadSweep> {
    match value {
        None => Ok(toml::Table::new()),
        Some(toml::Value::Table(table)) => Ok(table),
        Some(_) => Err(not_a_table(name)),
    }
}

fn not_a_table(name: &str) -> BadSweep {
    BadSweep::Toml(format!("{name} is to be a table of options").into())
}
