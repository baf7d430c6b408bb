//! The plan of a sweep: its points, and the order of their runs. It is written before the first run, so that whoever goes on
//! with an interrupted sweep runs the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sweep::{Order, Schedule, shown};
use crate::compare::interleaved;
use crate::stats::SplitMix;
use crate::workload::Workload;

/// Schema name of [`SweepPlan`].
pub const SWEEP_SCHEMA: &str = "slmscope.sweep/1";

/// All points of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// [`SWEEP_SCHEMA`].
    pub schema: String,
    /// What it is for.
    pub about: String,
    /// Options that are not the same in all points.
    pub varying: Vec<String>,
    /// The points, by their numbers from 1.
    pub points: Vec<Point>,
    /// In which order they run.
    pub schedule: Schedule,
}

/// One combination of options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its number, from 1.
    pub number: u32,
    /// The model, as it was named.
    pub model: String,
    /// Options that were set, the model among them.
    pub settings: Map<String, Value>,
    /// All options; null if they cannot be together.
    pub workload: Option<Workload>,
    /// Why they cannot.
    pub problem: Option<String>,
}

/// A run of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PointRun {
    /// Number of the point, from 1.
    pub point: u32,
    /// Which of its runs, from 1.
    pub round: u32,
}

impl Point {
    pub(super) fn new(number: u32, settings: Map<String, Value>) -> Self {
        let mut options = settings.clone();
        let model = options.remove("model").as_ref().map_or_else(String::new, shown);
        let read: Result<Workload, String> =
            serde_json::from_value(Value::Object(options)).map_err(|error| error.to_string());
        let checked = read.and_then(|workload| {
            workload.validate().map_err(|error| error.to_string())?;
            Ok(workload)
        });
        let (workload, problem) = match checked {
            Ok(workload) => (Some(workload), None),
            Err(problem) => (None, Some(problem)),
        };
        Self { number, model, settings, workload, problem }
    }

    /// The value of an option, as people write it; `None` if it was not set.
    pub fn setting(&self, key: &str) -> Option<String> {
        self.settings.get(key).map(shown)
    }

    /// What sets it apart: `threads 4, format q8_0`.
    pub fn describe(&self, varying: &[String]) -> String {
        let parts = varying.iter().filter_map(|key| {
            let value = self.setting(key)?;
            let value =
                if key == "model" { value.rsplit('/').next().unwrap_or(&value).to_owned() } else { value };
            Some(format!("{} {value}", key.replace('_', " ")))
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl SweepPlan {
    pub(super) fn new(about: String, varying: Vec<String>, points: Vec<Point>, schedule: Schedule) -> Self {
        Self { schema: SWEEP_SCHEMA.to_owned(), about, varying, points, schedule }
    }

    /// The point of a number.
    pub fn point(&self, number: u32) -> Option<&Point> {
        self.points.get((number as usize).checked_sub(1)?)
    }

    /// All runs in their order.
    pub fn runs(&self) -> Vec<PointRun> {
        let (count, rounds) = (self.points.len(), self.schedule.rounds as usize);
        let order = match self.schedule.order {
            Order::Interleaved => interleaved(count, rounds),
            Order::Random => {
                let mut random = SplitMix(self.schedule.seed);
                (0..rounds).flat_map(|_| shuffled(count, &mut random)).collect()
            }
        };
        let run = |(at, point): (usize, usize)| PointRun {
            point: point as u32 + 1,
            round: (at / count.max(1)) as u32 + 1,
        };
        order.into_iter().enumerate().map(run).collect()
    }

    /// What is not the same in another plan, in words; `None` if it is the same sweep. What it is for does not count.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.points.len() != other.points.len() {
            return Some(format!("{} points, and not {}", other.points.len(), self.points.len()));
        }
        let unlike =
            self.points.iter().zip(&other.points).find(|(own, other)| own.settings != other.settings);
        if let Some((own, other)) = unlike {
            let settings = |point: &Point| Value::Object(point.settings.clone()).to_string();
            return Some(format!("point {} is {}, and not {}", own.number, settings(other), settings(own)));
        }
        (self.schedule != other.schedule).then(|| "its order, rounds or waits are others".to_owned())
    }
}

/// The numbers below `count` in a random order (Fisher and Yates).
fn shuffled(count: usize, random: &mut SplitMix) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, random.below(at + 1));
    }
    order
}
