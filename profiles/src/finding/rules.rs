//! The rules by which findings are made of a result.

use std::collections::BTreeMap;

use super::{Finding, FindingCode};
use crate::channel::Class;
use crate::display;
use crate::lane::{HOST_LANE, LaneId};
use crate::op::Granularity;
use crate::phase::Phase;
use crate::plan::site::Module;
use crate::result::RunResult;
use crate::totals::saturating_sum;

/// Share of decode above which the LM head is reported.
const LM_HEAD_SHARE: f64 = 0.25;
/// Limits for unattributed time and for the profiler's own cost.
const UNATTRIBUTED_SHARE: f64 = 0.01;
const OVERHEAD_SHARE: f64 = 0.01;
/// Half-width of the interval of tokens/s above which repetitions are called noisy.
const NOISY_SHARE: f64 = 0.05;
/// Half-width of the energy's interval, as a share, above which the energy is called uncertain.
const ENERGY_SHARE: f64 = 0.2;
/// Speed after a minute divided by that of the first seconds, below which the difference is reported.
const SUSTAINED_SHARE: f64 = 0.95;
/// Share of the read bandwidth above which it is the bound.
const BOUND_SHARE: f64 = 0.7;
/// Measured divided by derived traffic, above which the difference is reported.
const EXTRA_SHARE: f64 = 1.3;
/// p99 above so many medians is a tail.
const TAIL_FACTOR: f64 = 2.0;

/// Everything that stands out in `result`.
pub fn findings(result: &RunResult) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |code, reason: String, advice: &str| {
        found.push(Finding { code, reason, advice: advice.to_owned() });
    };
    of_machine(result, &mut add);
    of_ops(result, &mut add);
    for phase in [Phase::Prefill, Phase::Decode] {
        of_books(result, phase, &mut add);
    }
    of_overhead(result, &mut add);
    of_rates(result, &mut add);
    of_memory(result, &mut add);
    of_energy(result, &mut add);
    of_conditions(result, &mut add);
    of_bandwidth(result, &mut add);
    found
}

fn of_machine(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    if result.hygiene.clean == Some(false) {
        add(
            FindingCode::DirtyMachine,
            result.hygiene.reasons.join("; "),
            "Measure again when the machine is quiet; until then compare these figures with nothing.",
        );
    }
    if let (Some(threads), Some(host)) = (result.engine.threads, &result.host)
        && threads > host.logical_cpus
        && host.logical_cpus > 0
    {
        add(
            FindingCode::TooManyThreads,
            format!("{threads} engine threads on {} CPUs", host.logical_cpus),
            "Threads wait for each other; use at most one a core.",
        );
    }
}

fn of_ops(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    // Each lane's shares are of its own time.
    let mut heads: BTreeMap<LaneId, f64> = BTreeMap::new();
    for op in result.ops.iter().filter(|op| op.phase == Phase::Decode && op.module == Module::LmHead) {
        *heads.entry(op.lane).or_default() += op.share;
    }
    let largest = heads.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    if let Some((lane, head)) = largest.filter(|&(_, head)| head > LM_HEAD_SHARE) {
        let part = if lane == HOST_LANE { String::new() } else { format!("'s time in lane {lane}") };
        add(
            FindingCode::LmHeadDominates,
            format!("the LM head takes {} of decode{part}", display::rough_share(head)),
            "The vocabulary is large for this model; a smaller format for the output matrix gains most.",
        );
    }
}

fn of_books(result: &RunResult, phase: Phase, add: &mut impl FnMut(FindingCode, String, &str)) {
    let books = || result.phases.iter().filter(|books| books.phase == phase);
    let wall = saturating_sum(books().map(|books| books.recorded_wall_ns));
    let unexplained = saturating_sum(books().map(|books| books.unattributed_ns));
    if result.engine.granularity == Granularity::Op
        && wall > 0
        && unexplained as f64 > UNATTRIBUTED_SHARE * wall as f64
    {
        add(
            FindingCode::Unattributed,
            format!(
                "{} of {} is unattributed",
                display::share(unexplained as f64 / wall as f64),
                phase.as_str()
            ),
            "The engine was interrupted or did something that no op covers; look for other load.",
        );
    }
    let lost = saturating_sum(books().map(|books| books.tokens.saturating_sub(books.recorded_tokens)));
    // A budget leaves tokens out on purpose.
    if lost > 0 && result.workload.overhead_budget.is_none() {
        add(
            FindingCode::LostTokens,
            format!("{lost} tokens of {} were not recorded", phase.as_str()),
            "Rates count them; op times do not.",
        );
    }
}

fn of_overhead(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    let budget = result.workload.overhead_budget;
    let limit = budget.unwrap_or(OVERHEAD_SHARE);
    if let Some(fraction) = result.overhead.fraction.filter(|&fraction| fraction > limit) {
        let of = budget
            .map_or_else(String::new, |budget| format!(", its budget is {}", display::fine_share(budget)));
        add(
            FindingCode::Overhead,
            format!("measuring cost {} of the run{of}", display::fine_share(fraction)),
            "Close dashboards, let fewer tokens be recorded with --overhead-budget, or read the figures with that \
             in mind.",
        );
    }
}

fn of_rates(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    let summary = &result.summary;
    let rates = [("prefill", summary.prefill_tokens_per_s), ("decode", summary.decode_tokens_per_s)];
    for (phase, rate) in rates {
        if let Some(width) = rate.and_then(|rate| rate.relative_half_width()).filter(|&w| w > NOISY_SHARE) {
            add(
                FindingCode::Noisy,
                format!("{phase} varies by ± {} between repetitions", display::rough_share(width)),
                "Ask for more repetitions, or find what else runs.",
            );
        }
    }
    if let Some(times) = summary.token_ns.filter(|t| t.p99 as f64 > TAIL_FACTOR * t.median as f64) {
        add(
            FindingCode::TailLatency,
            format!(
                "1 of 100 tokens takes {:.1} times the median or more",
                times.p99 as f64 / times.median as f64
            ),
            "Something takes the CPU away now and then; see hygiene and pressure.",
        );
    }
}

fn of_memory(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    let memory = &result.memory;
    if let (Some(unexplained), Some(rss)) = (memory.unexplained, memory.rss)
        && unexplained > 20 << 20
        && unexplained as f64 > 0.05 * rss as f64
    {
        add(
            FindingCode::UnexplainedMemory,
            format!("{} MiB are resident that nothing explains", unexplained >> 20),
            "The engine's libraries allocate beside the plan; the peak may be higher than the table says.",
        );
    }
}

fn of_energy(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    let slow = result.energy.phases.iter().find(|energy| energy.joules.is_none() && energy.updates > 0);
    if let Some(energy) = slow {
        add(
            FindingCode::SensorTooSlow,
            format!("{} new readings during {}", energy.updates, energy.phase.as_str()),
            "Run longer: more tokens or more repetitions.",
        );
    }
    for energy in &result.energy.phases {
        let (Some(joules), Some(low), Some(high)) = (energy.joules, energy.low, energy.high) else {
            continue;
        };
        if joules > 0.0 && (high - low) / 2.0 > ENERGY_SHARE * joules {
            let (phase, source) = (energy.phase.as_str(), energy.source.as_deref().unwrap_or("the sensor"));
            add(
                FindingCode::EnergyUncertain,
                format!("energy of {phase} from {source} lies between {low:.1} and {high:.1} J"),
                "The sensor is slow for this phase, or power swings faster than it is read; run longer.",
            );
        }
    }
}

fn of_conditions(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    let conditions = &result.conditions;
    if let (Some(first), Some(throttled)) = (conditions.first_throttled(), conditions.throttled) {
        let all = throttled.tokens.saturating_add(conditions.clean.map_or(0, |clean| clean.tokens));
        let slower = match conditions.clean {
            Some(clean) => {
                format!(": {:.1} tokens/s instead of {:.1}", throttled.tokens_per_s, clean.tokens_per_s)
            }
            None => String::new(),
        };
        add(
            FindingCode::Throttled,
            format!(
                "throttled from token {} of repetition {} on, {} of {all} tokens{slower}",
                first.token, first.repetition, throttled.tokens
            ),
            "Cool the machine or raise its power limit; the figures of unthrottled tokens are listed separately.",
        );
    }
    if let (Some(burst), Some(sustained)) = (conditions.burst, conditions.sustained)
        && sustained.tokens_per_s < SUSTAINED_SHARE * burst.tokens_per_s
    {
        add(
            FindingCode::SustainedSlower,
            format!(
                "{:.1} tokens/s after a minute, {:.1} in the first ten seconds",
                sustained.tokens_per_s, burst.tokens_per_s
            ),
            "Quote the sustained figure for long answers; short ones get the burst.",
        );
    }
}

fn of_bandwidth(result: &RunResult, add: &mut impl FnMut(FindingCode, String, &str)) {
    let roof = result.roofs.read_bytes_per_s.map(|roof| roof.median).filter(|&roof| roof > 0.0);
    for traffic in &result.bandwidth {
        // Roofs and controllers know nothing of ops: what is compared with them is divided by wall time as well.
        let Some(derived) = traffic.derived_wall_bytes_per_s else { continue };
        // Ops of other lanes may use memory of a device, which neither the roofs nor the controllers know.
        if result.ops.iter().any(|op| op.phase == traffic.phase && op.lane != HOST_LANE) {
            continue;
        }
        if let Some(roof) = roof.filter(|roof| traffic.phase == Phase::Decode && derived > BOUND_SHARE * roof)
        {
            add(
                FindingCode::BandwidthBound,
                format!(
                    "decode moves {} of {} that can be read",
                    display::bytes_per_second(derived),
                    display::bytes_per_second(roof)
                ),
                "Fewer bytes per token make it faster, more arithmetic does not: a smaller weight format.",
            );
        }
        let measured = traffic.measured_bytes_per_s.filter(|_| traffic.class <= Class::Derived);
        if let Some(measured) = measured.filter(|&measured| measured > EXTRA_SHARE * derived) {
            add(
                FindingCode::ExtraTraffic,
                format!(
                    "{} went through memory in {}, the model accounts for {}",
                    display::bytes_per_second(measured),
                    traffic.phase.as_str(),
                    display::bytes_per_second(derived)
                ),
                "Others use memory too, or caches are missed more than they must; see foreign load.",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bandwidth::PhaseBandwidth;
    use crate::channel::Scope;
    use crate::conditions::{Split, TokenStamp};
    use crate::energy::PhaseEnergy;
    use crate::model::ModelSource;
    use crate::plan::site::OpKind;
    use crate::profile::{OpRow, PhaseBooks};
    use crate::stats::Estimate;
    use crate::workload::Workload;

    fn result() -> RunResult {
        RunResult::failed("m", ModelSource::Synthetic, &Workload::default(), "")
    }

    fn codes(result: &RunResult) -> Vec<FindingCode> {
        findings(result).into_iter().map(|finding| finding.code).collect()
    }

    fn split(tokens: u64, tokens_per_s: f64) -> Split {
        Split { tokens, tokens_per_s, token_ns: 1 }
    }

    #[test]
    fn throttling_and_a_warm_machine_are_told_with_their_figures() {
        let mut result = result();
        assert!(codes(&result).is_empty());
        let stamp = |token, throttled| TokenStamp {
            repetition: 1,
            token,
            end_ns: 0,
            duration_ns: 1,
            frequency_hz: None,
            celsius: None,
            throttled: Some(throttled),
        };
        result.conditions.tokens = vec![stamp(6, false), stamp(7, true)];
        (result.conditions.clean, result.conditions.throttled) =
            (Some(split(90, 20.0)), Some(split(10, 12.5)));
        (result.conditions.burst, result.conditions.sustained) =
            (Some(split(50, 20.0)), Some(split(50, 12.0)));
        let found = findings(&result);
        assert_eq!(
            found[0].reason,
            "throttled from token 7 of repetition 1 on, 10 of 100 tokens: 12.5 tokens/s instead of 20.0"
        );
        assert_eq!(found[1].code, FindingCode::SustainedSlower);
        result.conditions.sustained = Some(split(50, 19.5));
        assert_eq!(codes(&result), [FindingCode::Throttled]);
    }

    #[test]
    fn traffic_is_held_against_the_roof_and_against_the_model() {
        let mut result = result();
        let traffic = |measured, class| PhaseBandwidth {
            phase: Phase::Decode,
            derived_bytes_per_s: Some(33e9),
            derived_wall_bytes_per_s: Some(30e9),
            derived_wall_flops_per_s: None,
            measured_bytes_per_s: measured,
            source: None,
            scope: None,
            class,
            reason: None,
        };
        result.bandwidth = vec![traffic(Some(60e9), Class::Measured)];
        assert_eq!(codes(&result), [FindingCode::ExtraTraffic]);
        result.bandwidth = vec![traffic(Some(60e9), Class::Modelled)];
        assert!(codes(&result).is_empty(), "a proxy proves nothing");
        result.bandwidth = vec![traffic(None, Class::Unavailable)];
        result.roofs.read_bytes_per_s = Estimate::of(&[40e9]);
        assert_eq!(codes(&result), [FindingCode::BandwidthBound]);
    }

    fn head(lane: LaneId, share: f64) -> OpRow {
        OpRow {
            id: 0,
            phase: Phase::Decode,
            lane,
            module: Module::LmHead,
            name: "lm_head".to_owned(),
            kind: OpKind::Matmul,
            layer: None,
            path: String::new(),
            runs: 1,
            count: 1,
            time_ns: 1,
            max_ns: 1,
            bytes: 1,
            flops: 1,
            share,
            roof: None,
        }
    }

    #[test]
    fn shares_of_several_lanes_are_not_added_up() {
        let mut result = result();
        result.ops = vec![head(0, 0.2), head(1, 0.2)];
        assert!(codes(&result).is_empty());
        result.ops = vec![head(0, 0.2), head(1, 0.2), head(1, 0.2)];
        assert_eq!(findings(&result)[0].reason, "the LM head takes 40 % of decode's time in lane 1");
        result.ops = vec![head(0, 0.3), head(1, 0.2)];
        assert_eq!(findings(&result)[0].reason, "the LM head takes 30 % of decode");
    }

    #[test]
    fn traffic_of_a_device_is_not_held_against_the_memory_of_the_host() {
        let mut result = result();
        result.bandwidth = vec![PhaseBandwidth {
            phase: Phase::Decode,
            derived_bytes_per_s: Some(900e9),
            derived_wall_bytes_per_s: Some(800e9),
            derived_wall_flops_per_s: None,
            measured_bytes_per_s: None,
            source: None,
            scope: None,
            class: Class::Unavailable,
            reason: None,
        }];
        result.roofs.read_bytes_per_s = Estimate::of(&[40e9]);
        result.ops = vec![head(1, 0.1)];
        assert!(codes(&result).is_empty());
    }

    #[test]
    fn a_budget_is_the_limit_of_the_cost_and_leaves_tokens_out_on_purpose() {
        let mut result = result();
        result.overhead.fraction = Some(0.006);
        result.phases = vec![PhaseBooks {
            phase: Phase::Decode,
            repetition: 0,
            tokens: 10,
            recorded_tokens: 5,
            wall_ns: 100,
            recorded_wall_ns: 50,
            ops_ns: 50,
            gap_ns: 0,
            unattributed_ns: 0,
            other: Vec::new(),
        }];
        assert_eq!(codes(&result), [FindingCode::LostTokens]);
        result.workload.overhead_budget = Some(0.005);
        assert_eq!(codes(&result), [FindingCode::Overhead]);
        result.workload.overhead_budget = Some(0.01);
        assert!(codes(&result).is_empty());
    }

    #[test]
    fn energy_that_may_be_far_off_is_said_to_be() {
        let mut result = result();
        let mut energy = PhaseEnergy {
            phase: Phase::Decode,
            joules: Some(10.0),
            low: Some(7.0),
            high: Some(13.0),
            tokens: 5,
            joules_per_token: Some(2.0),
            above_baseline_joules: None,
            baseline_watts: None,
            source: Some("gpu0.power".to_owned()),
            scope: Some(Scope::Gpu),
            class: Class::Measured,
            updates: 9,
            coverage: Some(1.0),
            reason: None,
        };
        result.energy.phases = vec![energy.clone()];
        assert_eq!(codes(&result), [FindingCode::EnergyUncertain]);
        (energy.low, energy.high) = (Some(9.0), Some(11.0));
        result.energy.phases = vec![energy];
        assert!(codes(&result).is_empty());
    }

    #[test]
    fn an_engine_that_reports_tokens_alone_is_not_blamed_for_unattributed_time() {
        let mut result = result();
        result.phases = vec![PhaseBooks {
            phase: Phase::Decode,
            repetition: 0,
            tokens: 10,
            recorded_tokens: 10,
            wall_ns: 100,
            recorded_wall_ns: 100,
            ops_ns: 0,
            gap_ns: 0,
            unattributed_ns: 100,
            other: Vec::new(),
        }];
        assert_eq!(codes(&result), [FindingCode::Unattributed]);
        result.engine.granularity = Granularity::Token;
        assert!(codes(&result).is_empty());
    }
}
