//! Stability: repetitions that differ, steps that take far longer than others, time and tokens that are not explained.

use super::machine::disturbance;
use super::{FindingCode, Found, Use};
use crate::display;
use crate::op::Granularity;
use crate::phase::Phase;
use crate::result::RunResult;
use crate::stats::{Estimate, MIN_VALUES};
use crate::totals::saturating_sum;

/// Half-width of the interval of tokens/s above which repetitions are called noisy: wider than what runs aim at (2 %)
/// even where the 60 s are up.
const NOISY_SHARE: f64 = 0.05;
/// Ratio of the fastest to the slowest repetition above which a range is called wide. Without an interval nothing is
/// said of the next run.
const WIDE_RANGE: f64 = 1.1;
/// Repetitions from which on more of them hardly help: the interval narrows with their square root.
const MANY: u64 = 12;
/// Share of a phase that may be unattributed.
const UNATTRIBUTED_SHARE: f64 = 0.01;
/// p99 above so many medians is a tail.
const TAIL_FACTOR: f64 = 2.0;
/// Decode steps below which p99 is one of the last two steps and no figure.
const TAIL_STEPS: u64 = 200;

/// What to do about repetitions that differ while something disturbs the run.
const DISTURBED: &str = "That may come from what disturbed the run: measure again without it.";

fn rate(result: &RunResult, phase: Phase) -> Option<Estimate> {
    match phase {
        Phase::Prefill => result.summary.prefill_tokens_per_s,
        Phase::Decode => result.summary.decode_tokens_per_s,
        _ => None,
    }
}

/// Repetition not stable: the 95 % interval of the median is wider than ± 5 %, in one phase or in both.
pub(super) fn noisy(result: &RunResult) -> Option<Found> {
    let wide = |phase: Phase| {
        let rate = rate(result, phase)?;
        let width = rate.relative_half_width().filter(|&width| width > NOISY_SHARE)?;
        Some((phase.as_str(), rate, width))
    };
    let phases: Vec<_> = [Phase::Prefill, Phase::Decode].into_iter().filter_map(wide).collect();
    let widest = phases.iter().map(|&(_, _, width)| width).reduce(f64::max)?;
    let told: Vec<String> = phases
        .iter()
        .map(|(phase, _, width)| format!("{phase} varies by ± {}", display::rough_share(*width)))
        .collect();
    let is_disturbed = disturbance(result).is_some();
    // What disturbed the run comes before what followed from that.
    let stake = if is_disturbed { 0.0 } else { widest };
    let mut found = Found::new(FindingCode::Noisy, Use::Doubt, stake)
        .reason(format!("{} between repetitions", told.join(", ")));
    for (phase, rate, _) in &phases {
        found = found
            .figure(&format!("{phase}, median"), rate.median, "tokens/s")
            .figure(&format!("{phase}, lower end of the interval"), rate.low, "tokens/s")
            .figure(&format!("{phase}, upper end of the interval"), rate.high, "tokens/s")
            .figure(&format!("{phase}, repetitions"), rate.count as f64, "");
    }
    let advice = if is_disturbed {
        DISTURBED
    } else if phases.iter().all(|(_, rate, _)| rate.count >= MANY) {
        "More repetitions will hardly help: find what else runs, or what changes the clock."
    } else {
        "Ask for more repetitions, or find what else runs."
    };
    Some(found.advice(advice))
}

/// The same where there are too few repetitions for an interval: the fastest is 10 % above the slowest or more. Of the
/// two phases the one with the wider range.
pub(super) fn spread(result: &RunResult) -> Option<Found> {
    let wide = |phase| {
        let rate = rate(result, phase).filter(|rate| rate.level.is_none() && rate.count > 1)?;
        let ratio = rate.high / rate.low;
        (rate.low > 0.0 && ratio > WIDE_RANGE).then_some((phase, rate, ratio))
    };
    let both = [Phase::Prefill, Phase::Decode].into_iter().filter_map(wide);
    let (phase, rate, ratio) = both.max_by(|(_, _, a), (_, _, b)| a.total_cmp(b))?;
    let (stake, advice) = if disturbance(result).is_some() {
        (0.0, DISTURBED.to_owned())
    } else {
        let advice =
            format!("From {MIN_VALUES} repetitions on there is an interval: --repetitions {MIN_VALUES}.");
        ((ratio - 1.0) / 2.0, advice)
    };
    Some(
        Found::new(FindingCode::Noisy, Use::Doubt, stake)
            .reason(format!(
                "{} varies from {} to {} tokens/s between {} repetitions",
                phase.as_str(),
                display::significant(rate.low),
                display::significant(rate.high),
                rate.count
            ))
            .figure("slowest repetition", rate.low, "tokens/s")
            .figure("fastest repetition", rate.high, "tokens/s")
            .advice(advice),
    )
}

/// Tail: one of 100 steps takes twice the median or more; from [`TAIL_STEPS`] steps on.
pub(super) fn tail(result: &RunResult) -> Option<Found> {
    let steps = result.phases.iter().filter(|books| books.phase == Phase::Decode);
    let steps = saturating_sum(steps.map(|books| books.tokens));
    let times = result.summary.token_ns.filter(|_| steps >= TAIL_STEPS)?;
    let factor = times.p99 as f64 / times.median as f64;
    if factor.is_nan() || factor <= TAIL_FACTOR {
        return None;
    }
    Some(
        Found::new(FindingCode::TailLatency, Use::Explanation, 0.01 * factor)
            .reason(format!("1 of 100 tokens takes {factor:.1} times the median or more"))
            .figure("p99", times.p99 as f64, "ns")
            .figure("median", times.median as f64, "ns")
            .figure("steps", steps as f64, "")
            .advice("Something takes the CPU away now and then; see hygiene and pressure."),
    )
}

/// Unattributed: more than 1 % of a phase is no op, gap or named span.
pub(super) fn unattributed(result: &RunResult, phase: Phase) -> Option<Found> {
    let books = || result.phases.iter().filter(|books| books.phase == phase);
    let wall = saturating_sum(books().map(|books| books.recorded_wall_ns));
    let unexplained = saturating_sum(books().map(|books| books.unattributed_ns));
    let share = unexplained as f64 / wall as f64;
    let is_recorded = result.engine.granularity == Granularity::Op && wall > 0;
    if !is_recorded || share <= UNATTRIBUTED_SHARE {
        return None;
    }
    Some(
        Found::new(FindingCode::Unattributed, Use::Explanation, share)
            .reason(format!("{} of {} is unattributed", display::share(share), phase.as_str()))
            .figure("unattributed", unexplained as f64, "ns")
            .figure("wall time", wall as f64, "ns")
            .advice("The engine was interrupted or did something that no op covers; look for other load."),
    )
}

/// Lost tokens: events of some tokens are missing, and no budget left them out on purpose.
pub(super) fn lost_tokens(result: &RunResult, phase: Phase) -> Option<Found> {
    let books = result.phases.iter().filter(|books| books.phase == phase);
    let (lost, all) = books.fold((0_u64, 0_u64), |(lost, all), books| {
        let missing = books.tokens.saturating_sub(books.recorded_tokens);
        (lost.saturating_add(missing), all.saturating_add(books.tokens))
    });
    if lost == 0 || result.workload.overhead_budget.is_some() {
        return None;
    }
    Some(
        Found::new(FindingCode::LostTokens, Use::Note, lost as f64 / all as f64)
            .reason(format!("{lost} tokens of {} were not recorded", phase.as_str()))
            .figure("tokens that were not recorded", lost as f64, "")
            .figure("tokens", all as f64, "")
            .advice("Rates count them; op times do not."),
    )
}
