//! Arithmetic and single ops against what the machine can compute.

use std::collections::BTreeMap;

use super::bandwidth::BOUND_SHARE;
use super::format::is_smallest;
use super::machine::disturbance;
use super::{FindingCode, Found, Use};
use crate::display;
use crate::lane::{HOST_LANE, LaneId};
use crate::phase::Phase;
use crate::plan::site::{Module, OpKind};
use crate::profile::OpRow;
use crate::result::RunResult;
use crate::roofline::Bound;
use crate::totals::saturating_sum;

/// Share of decode above which the LM head is reported.
const LM_HEAD_SHARE: f64 = 0.25;
/// Share of the nearer roof below which an op is called far from it, also at the lowest sample of that roof.
const FAR_SHARE: f64 = 0.25;
/// Share of its phase from which on an op is worth looking at.
const LARGE_OP: f64 = 0.05;

fn host_ops(result: &RunResult, phase: Phase) -> impl Iterator<Item = &OpRow> {
    result.ops.iter().filter(move |op| op.phase == phase && op.lane == HOST_LANE)
}

/// Compute-bound prefill: the arithmetic of its ops, at the fastest sample of the compute roof, would take at least half
/// of their time.
pub(super) fn prefill_bound(result: &RunResult) -> Option<Found> {
    let time = saturating_sum(host_ops(result, Phase::Prefill).map(|op| op.time_ns)) as f64;
    let bound = || {
        host_ops(result, Phase::Prefill)
            .filter_map(|op| Some((op, op.roof.filter(|roof| roof.bound == Bound::Compute)?)))
    };
    let low = bound().map(|(op, roof)| roof.low.min(1.0) * op.time_ns as f64).sum::<f64>() / time;
    let share = bound().map(|(op, roof)| roof.share * op.time_ns as f64).sum::<f64>() / time;
    if !low.is_finite() || low < BOUND_SHARE {
        return None;
    }
    Some(
        Found::new(FindingCode::ComputeBound, Use::Explanation, low)
            .reason(format!("prefill computes at {} of what this machine can", display::rough_share(share)))
            .figure("least time for its arithmetic divided by the time of its ops", share, "ratio")
            .figure("the same at the fastest sample of the roof", low, "ratio")
            .advice(
                "More cores or a wider instruction set make it faster; a smaller weight format hardly does.",
            ),
    )
}

/// An op far below its roof: a product or attention that takes 5 % of its phase or more and reaches less than a quarter
/// of the nearer roof, also at the lowest sample of that roof. Of several the one with the most time above its roof. If
/// something kept the whole run back, that is named instead of a cause in the op.
pub(super) fn far_below_roof(result: &RunResult) -> Option<Found> {
    #[derive(Default)]
    struct Sum {
        share: f64,
        time_ns: f64,
        reached_ns: f64,
        at_most_ns: f64,
        is_attention: bool,
    }
    let mut sums: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    let heavy = |op: &&OpRow| matches!(op.kind, OpKind::Matmul | OpKind::Attention);
    let both = [Phase::Prefill, Phase::Decode].into_iter().flat_map(|phase| host_ops(result, phase));
    for op in both.filter(heavy) {
        let Some(roof) = op.roof else { continue };
        let (sum, time_ns) = (sums.entry((op.phase.as_str(), &op.name)).or_default(), op.time_ns as f64);
        sum.share += op.share;
        sum.time_ns += time_ns;
        sum.reached_ns += roof.share * time_ns;
        sum.at_most_ns += roof.high * time_ns;
        sum.is_attention |= op.kind == OpKind::Attention;
    }
    let far = sums.into_iter().filter(|(_, sum)| {
        sum.share >= LARGE_OP && sum.time_ns > 0.0 && sum.at_most_ns < FAR_SHARE * sum.time_ns
    });
    let lost = |sum: &Sum| sum.share * (1.0 - sum.at_most_ns / sum.time_ns);
    let ((phase, name), sum) = far.max_by(|(_, a), (_, b)| lost(a).total_cmp(&lost(b)))?;
    let (advice, meanwhile) = match disturbance(result) {
        Some(why) => (
            "That may explain it: measure again without it before you look for a cause in the op.".to_owned(),
            format!("; {why} meanwhile"),
        ),
        None => (unexplained(result, sum.is_attention), String::new()),
    };
    let (reached, at_most) = (sum.reached_ns / sum.time_ns, sum.at_most_ns / sum.time_ns);
    Some(
        Found::new(FindingCode::FarBelowRoof, Use::Explanation, lost(&sum))
            .reason(format!(
                "{name} takes {} of {} and reaches {} of its roof{meanwhile}",
                display::rough_share(sum.share),
                phase,
                display::rough_share(reached)
            ))
            .figure("share of the phase", sum.share, "ratio")
            .figure("share of the nearer roof", reached, "ratio")
            .figure("the same at the lowest sample of the roof", at_most, "ratio")
            .advice(advice),
    )
}

/// What to try with an op whose time neither its bytes nor its arithmetic explain.
fn unexplained(result: &RunResult, is_attention: bool) -> String {
    // Attention reads the cache and no weights.
    let formats = if is_attention { "other formats of the cache (--kv)" } else { "other formats" };
    let threads = match result.engine.threads {
        Some(1) => "",
        _ => ", and fewer threads, which wait less for each other",
    };
    format!("Neither its bytes nor its arithmetic explain its time: compare {formats}{threads}.")
}

/// LM head dominates: it takes more than a quarter of decode. Each lane's shares are of its own time.
pub(super) fn lm_head(result: &RunResult) -> Option<Found> {
    let mut heads: BTreeMap<LaneId, f64> = BTreeMap::new();
    for op in result.ops.iter().filter(|op| op.phase == Phase::Decode && op.module == Module::LmHead) {
        *heads.entry(op.lane).or_default() += op.share;
    }
    let largest = heads.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    let (lane, head) = largest.filter(|&(_, head)| head > LM_HEAD_SHARE)?;
    let is_small = result.model.format.is_some_and(is_smallest);
    let advice = if is_small {
        "The vocabulary is large for this model: one with a smaller vocabulary decodes faster."
    } else {
        "The vocabulary is large for this model; a smaller format for the output matrix gains most."
    };
    let part = if lane == HOST_LANE { String::new() } else { format!("'s time in lane {lane}") };
    Some(
        Found::new(FindingCode::LmHeadDominates, Use::Explanation, head)
            .reason(format!("the LM head takes {} of decode{part}", display::rough_share(head)))
            .figure("share of decode", head, "ratio")
            .advice(advice),
    )
}
