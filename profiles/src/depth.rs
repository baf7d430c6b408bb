//! What the depth of the context costs: the time of each op against the tokens that it attends to, and the rate of decode
//! at depths that were not measured.
//!
//! ```text
//! decode steps ─▶ stretches of 32, the faster half of each ─▶ DepthPoint ─▶ DepthModel ─▶ DepthRate at a context
//!                                                             time by op      a line an op     with its band
//! ```
//!
//! An op that reads the cache takes `fixed + per_position · attended` ns, where attended is the number of tokens that it
//! attends to: all of the context, or its window if that is shorter, summed over the layers. Everything else takes the
//! same time at any depth. So models with a sliding window, and recurrent ones, have the curve that their layers give them.
//!
//! The band is that of a new stretch of tokens, by the scatter of those that were measured around the lines
//! ([`crate::least_squares::Fit::band`]). Runs differ by more than their tokens do: where that is known it is added.

mod points;

use serde::Serialize;

pub use points::{DepthPoint, DepthPoints, OpReach};

use crate::least_squares::{Fit, MAX_CONDITION, fit};
use crate::plan::site::attended;

/// Level of the band.
const LEVEL: f64 = 0.95;

/// Points that a model is made of at least.
pub const MIN_POINTS: usize = 6;

/// Time of a decode step against the context.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthModel {
    ops: Vec<OpDepthCost>,
    reach: Vec<OpReach>,
    /// Wall time against the time that depth adds by the lines of the ops.
    whole: Fit,
    /// The shortest and the longest context that were measured.
    measured: (f64, f64),
}

/// What depth costs in one op, all layers together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpDepthCost {
    /// The op.
    pub name: String,
    /// Time of a step at an empty context, ns.
    pub fixed_ns: f64,
    /// More time for each token of context that it attends to in each layer, ns; 0 for an op that reads no cache.
    pub per_position_ns: f64,
}

/// The rate of decode at a context.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DepthRate {
    /// Tokens in the cache.
    pub context: u64,
    /// Time of a typical step, ns.
    pub token_ns: f64,
    /// Ends of its band, ns.
    pub low_ns: f64,
    /// Upper end.
    pub high_ns: f64,
    /// Steps per second.
    pub tokens_per_s: f64,
    /// Beyond the contexts that were measured, by a quarter of their range and more: the lines may bend there, as where
    /// the cache no longer fits the processor's caches.
    pub is_extrapolated: bool,
}

/// Why there is no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDepthModel {
    /// There are too few tokens.
    #[error(
        "{points} stretches of 32 decode steps were recorded, and {MIN_POINTS} are needed: generate more tokens"
    )]
    FewPoints {
        /// Stretches.
        points: usize,
    },
    /// All of them are at the same depth.
    #[error(
        "the tokens are at nearly the same context: record runs at two depths, such as --depth 0 and --depth 2048"
    )]
    OneDepth,
    /// The recordings are of different plans.
    #[error("the recordings are of different models or formats")]
    OtherPlan,
}

impl DepthModel {
    /// Fits the points of one model.
    ///
    /// # Errors
    /// If there are too few, or their contexts are too near each other.
    pub fn of(reach: &[OpReach], points: &[DepthPoint]) -> Result<Self, NoDepthModel> {
        if points.len() < MIN_POINTS {
            return Err(NoDepthModel::FewPoints { points: points.len() });
        }
        let ops: Vec<OpDepthCost> = reach
            .iter()
            .enumerate()
            .map(|(at, reach)| op_cost(reach, at, points))
            .collect::<Option<_>>()
            .ok_or(NoDepthModel::OneDepth)?;
        let rows: Vec<Vec<f64>> =
            points.iter().map(|point| vec![1.0, added_ns(&ops, reach, point.context)]).collect();
        let walls: Vec<f64> = points.iter().map(|point| point.wall_ns).collect();
        let whole = if ops.iter().all(|op| op.per_position_ns == 0.0) {
            // No op reads a cache: the depth costs nothing.
            fit(&rows.iter().map(|_| vec![1.0]).collect::<Vec<_>>(), &walls)
        } else {
            fit(&rows, &walls)
        };
        let whole =
            whole.ok().filter(|whole| whole.condition < MAX_CONDITION).ok_or(NoDepthModel::OneDepth)?;
        let contexts = points.iter().map(|point| point.context);
        let measured =
            contexts.fold((f64::MAX, 0.0), |(low, high), at| (f64::min(low, at), f64::max(high, at)));
        Ok(Self { ops, reach: reach.to_vec(), whole, measured })
    }

    /// What depth costs in each op, the most expensive at the deepest measured context first.
    pub fn ops(&self) -> Vec<OpDepthCost> {
        let mut costs: Vec<(f64, &OpDepthCost)> = self
            .ops
            .iter()
            .zip(&self.reach)
            .map(|(op, reach)| (op.fixed_ns + op.per_position_ns * reach.attended(self.measured.1), op))
            .collect();
        costs.sort_by(|a, b| b.0.total_cmp(&a.0));
        costs.into_iter().map(|(_, op)| op.clone()).collect()
    }

    /// The rate at `context` tokens in the cache. `run_scatter` is by how much runs of the same thing differ, as a share
    /// (standard deviation); 0 if that is not known.
    pub fn rate(&self, context: u64, run_scatter: f64) -> DepthRate {
        let row = match self.whole.coefficients.len() {
            1 => vec![1.0],
            _ => vec![1.0, added_ns(&self.ops, &self.reach, context as f64)],
        };
        let token_ns = self.whole.at(&row);
        let half = self.whole.band(&row, LEVEL).hypot(2.0 * run_scatter * token_ns);
        let (first, last) = self.measured;
        let beyond = 0.25 * (last - first);
        let is_extrapolated = !(first - beyond..=last + beyond).contains(&(context as f64));
        DepthRate {
            context,
            token_ns,
            low_ns: (token_ns - half).max(0.0),
            high_ns: token_ns + half,
            tokens_per_s: if token_ns > 0.0 { 1e9 / token_ns } else { 0.0 },
            is_extrapolated,
        }
    }
}

impl DepthRate {
    /// Half the band's width as a share of the time.
    pub fn relative_half_width(&self) -> f64 {
        (self.high_ns - self.low_ns) / 2.0 / self.token_ns
    }
}

/// Time that depth adds to a step, by the lines of the ops, ns.
fn added_ns(ops: &[OpDepthCost], reach: &[OpReach], context: f64) -> f64 {
    ops.iter().zip(reach).map(|(op, reach)| op.per_position_ns * reach.attended(context)).sum()
}

/// The line of one op; `None` if its points are at nearly the same context.
fn op_cost(reach: &OpReach, at: usize, points: &[DepthPoint]) -> Option<OpDepthCost> {
    let times: Vec<f64> = points.iter().map(|point| point.by_op_ns.get(at).copied().unwrap_or(0.0)).collect();
    let name = reach.name.clone();
    if reach.windows.is_empty() {
        let fixed_ns = times.iter().sum::<f64>() / times.len() as f64;
        return Some(OpDepthCost { name, fixed_ns, per_position_ns: 0.0 });
    }
    let rows: Vec<Vec<f64>> = points.iter().map(|point| vec![1.0, reach.attended(point.context)]).collect();
    let line = fit(&rows, &times).ok().filter(|line| line.condition < MAX_CONDITION)?;
    // What costs less the deeper it is, is noise.
    let per_position_ns = line.coefficients[1].max(0.0);
    Some(OpDepthCost { name, fixed_ns: line.coefficients[0], per_position_ns })
}

impl OpReach {
    /// Tokens that a decode step attends to behind `context` others, summed over the layers.
    fn attended(&self, context: f64) -> f64 {
        self.windows.iter().map(|window| attended(1, context as u64, *window) as f64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SplitMix;

    /// Two layers that see everything and two with a window of 1000 tokens; a product whose time is the same everywhere.
    fn reach() -> Vec<OpReach> {
        let op = |name: &str, windows: &[Option<u32>]| OpReach {
            name: name.to_owned(),
            windows: windows.to_vec(),
        };
        vec![op("ffn.up", &[]), op("attn.attention", &[None, None, Some(1000), Some(1000)])]
    }

    fn truth(context: f64) -> (f64, f64) {
        (3e6, 1e5 + 50.0 * (2.0 * (context + 1.0) + 2.0 * (context + 1.0).min(1000.0)))
    }

    /// Points at these depths whose times vary by a percent.
    fn points(depths: &[f64], random: &mut SplitMix) -> Vec<DepthPoint> {
        let mut point = |context: f64| {
            let factor = 1.0 + 0.02 * (random.below(1000) as f64 / 1000.0 - 0.5);
            let (product, attention) = truth(context);
            let by_op_ns = vec![product * factor, attention * factor];
            DepthPoint { context, wall_ns: by_op_ns.iter().sum::<f64>() + 2e4, by_op_ns }
        };
        depths.iter().flat_map(|&depth| [depth, depth + 32.0, depth + 64.0]).map(&mut point).collect()
    }

    #[test]
    fn rates_at_depths_that_were_left_out_lie_in_the_band() {
        let mut random = SplitMix(9);
        for left_out in [256.0, 800.0, 1500.0, 3000.0] {
            let model =
                DepthModel::of(&reach(), &points(&[0.0, 512.0, 1024.0, 4096.0], &mut random)).unwrap();
            let (product, attention) = truth(left_out);
            let wall_ns = product + attention + 2e4;
            let rate = model.rate(left_out as u64, 0.0);
            assert!((rate.low_ns..=rate.high_ns).contains(&wall_ns), "{left_out}: {rate:?} and {wall_ns}");
            assert!(rate.relative_half_width() < 0.05 && !rate.is_extrapolated, "{rate:?}");
        }
    }

    #[test]
    fn the_cost_of_an_op_is_found_and_the_window_bends_the_curve() {
        let model =
            DepthModel::of(&reach(), &points(&[0.0, 512.0, 2048.0, 4096.0], &mut SplitMix(2))).unwrap();
        let ops = model.ops();
        let attention = ops.iter().find(|op| op.name == "attn.attention").unwrap();
        assert!((attention.per_position_ns - 50.0).abs() < 3.0, "{attention:?}");
        let product = ops.iter().find(|op| op.name == "ffn.up").unwrap();
        assert!(product.per_position_ns.abs() < f64::EPSILON, "{product:?}");
        let step = |from: u64, to: u64| model.rate(to, 0.0).token_ns - model.rate(from, 0.0).token_ns;
        let (before, after) = (step(0, 500), step(2000, 2500));
        assert!((before / after - 2.0).abs() < 0.01, "{before} {after}: two of four layers go on growing");
        assert!(model.rate(20_000, 0.0).is_extrapolated);
        let wider = model.rate(1000, 0.05).relative_half_width();
        assert!((0.1..0.12).contains(&wider), "{wider}: what runs differ by is in it");
    }

    #[test]
    fn without_depths_or_points_there_is_no_model_and_the_reason_says_what_to_record() {
        let near: Vec<f64> = (0..6).map(|at| 4096.0 + f64::from(at)).collect();
        assert_eq!(DepthModel::of(&reach(), &points(&near, &mut SplitMix(1))), Err(NoDepthModel::OneDepth));
        let few = points(&[0.0], &mut SplitMix(1));
        let told = DepthModel::of(&reach(), &few).unwrap_err().to_string();
        assert!(told.starts_with("3 stretches of 32 decode steps were recorded, and 6 are needed"), "{told}");
        // A recurrent model has no op that reads a cache.
        let recurrent = vec![OpReach { name: "ffn.up".to_owned(), windows: Vec::new() }];
        let points = points(&[0.0, 4096.0], &mut SplitMix(1));
        let flat: Vec<DepthPoint> = points
            .into_iter()
            .map(|point| DepthPoint { wall_ns: 3.1e6, by_op_ns: vec![3e6], ..point })
            .collect();
        let model = DepthModel::of(&recurrent, &flat).unwrap();
        let (near, far) = (model.rate(0, 0.0).token_ns, model.rate(100_000, 0.0).token_ns);
        assert!((near - far).abs() < 1e-3, "{near} and {far}");
    }
}
