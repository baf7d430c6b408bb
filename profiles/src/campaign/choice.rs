//! The best of several runs by one measure, among those that keep within limits.
//!
//! A run that lacks a figure which is asked for is left out with the reason: what was not measured is not the best, and
//! it keeps no limit. Where the interval of another run reaches beyond the nearer end of the best one's, the two cannot be
//! told apart by these runs, and both are named.

use std::str::FromStr;

use serde::Serialize;

use super::amount::{self, BadAmount};
use super::{Better, Candidate, Figure, Measure};
use crate::words::UnknownWord;

/// What a run must keep within: at most so much of what is better small, at least so much of what is better large.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limit {
    /// Of what.
    pub measure: Measure,
    /// How much, in the unit that the measure's key ends in.
    pub value: f64,
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLimit {
    /// It has no `=`.
    #[error("write MEASURE=AMOUNT, such as memory=4GiB or ttft=2s")]
    NoAmount,
    /// It is of something that is not measured.
    #[error(transparent)]
    Measure(#[from] UnknownWord),
    /// Its amount cannot be read.
    #[error(transparent)]
    Amount(#[from] BadAmount),
}

impl FromStr for Limit {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let (measure, amount) = text.split_once('=').ok_or(BadLimit::NoAmount)?;
        let measure: Measure = measure.trim().parse()?;
        Ok(Self { measure, value: amount::parse(amount.trim(), measure)? })
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = match self.measure.better() {
            Better::More => "at least",
            Better::Less => "at most",
        };
        write!(f, "{} {side} {}", self.measure.name(), self.measure.show(self.value))
    }
}

impl Limit {
    /// Why a figure does not keep within it; `None` if it does.
    fn broken_by(&self, figure: &Figure) -> Option<String> {
        let name = self.measure.name();
        let Some(value) = figure.value else {
            let reason = figure.reason.as_deref().unwrap_or("it was not measured");
            return Some(format!("{name} is not known: {reason}"));
        };
        let beyond = match self.measure.better() {
            Better::More => (value < self.value).then_some("below"),
            Better::Less => (value > self.value).then_some("above"),
        };
        beyond.map(|beyond| {
            format!("{name} {} is {beyond} {}", self.measure.show(value), self.measure.show(self.value))
        })
    }
}

/// The best of several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// By what.
    pub by: Measure,
    /// Within these limits.
    pub limits: Vec<Limit>,
    /// The best one, by its place among the runs; null if none keeps within the limits.
    pub best: Option<usize>,
    /// Runs that these measurements cannot tell from the best one.
    pub close: Vec<usize>,
    /// All that keep within the limits, the best first.
    pub order: Vec<usize>,
    /// The others.
    pub left_out: Vec<LeftOut>,
}

/// A run that cannot be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its place among the runs.
    pub run: usize,
    /// All reasons.
    pub reasons: Vec<String>,
}

/// Chooses among runs.
pub fn choose(candidates: &[Candidate], by: Measure, limits: &[Limit]) -> Choice {
    let mut order = Vec::new();
    let mut left_out = Vec::new();
    for (run, candidate) in candidates.iter().enumerate() {
        let figure = candidate.figure(by);
        let mut reasons: Vec<String> =
            limits.iter().filter_map(|limit| limit.broken_by(candidate.figure(limit.measure))).collect();
        if figure.value.is_none() && limits.iter().all(|limit| limit.measure != by) {
            let reason = figure.reason.as_deref().unwrap_or("it was not measured");
            reasons.push(format!("{} is not known: {reason}", by.name()));
        }
        match figure.value.filter(|_| reasons.is_empty()) {
            Some(value) => order.push((run, value)),
            None => left_out.push(LeftOut { run, reasons }),
        }
    }
    order.sort_by(|(_, a), (_, b)| match by.better() {
        Better::More => b.total_cmp(a),
        Better::Less => a.total_cmp(b),
    });
    let order: Vec<usize> = order.into_iter().map(|(run, _)| run).collect();
    let best = order.first().copied();
    let close = best.map_or_else(Vec::new, |best| {
        let reaches = |&run: &usize| {
            reaches(by, candidates[run].figure(by), candidates[best].figure(by)).unwrap_or(false)
        };
        order.iter().copied().skip(1).filter(reaches).collect()
    });
    Choice { by, limits: limits.to_vec(), best, close, order, left_out }
}

/// Whether the better end of `other` reaches the worse end of `best`; `None` where an interval is missing.
fn reaches(by: Measure, other: &Figure, best: &Figure) -> Option<bool> {
    Some(match by.better() {
        Better::More => other.high? >= best.low?,
        Better::Less => other.low? <= best.high?,
    })
}
