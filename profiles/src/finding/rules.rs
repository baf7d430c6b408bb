//! All rules, and the order of what they find.

use super::{
    Finding, Found, bandwidth, compute, cost, energy, format, heat, machine, memory, stability, threads,
};
use crate::phase::Phase;
use crate::result::RunResult;

/// Looks for one thing; `None` if it is not there or not known.
type Rule = fn(&RunResult) -> Option<Found>;

const RULES: [Rule; 35] = [
    machine::changed,
    machine::other_load,
    machine::issues,
    machine::governor,
    heat::throttled,
    heat::sustained,
    stability::noisy,
    stability::tail,
    |result| stability::unattributed(result, Phase::Prefill),
    |result| stability::unattributed(result, Phase::Decode),
    |result| stability::lost_tokens(result, Phase::Prefill),
    |result| stability::lost_tokens(result, Phase::Decode),
    threads::too_many,
    threads::siblings,
    threads::efficiency_cores,
    threads::straggler,
    memory::nearly_full,
    memory::cold_pages,
    memory::huge_pages,
    memory::tied_copy,
    memory::kv_share,
    memory::unexplained,
    format::faster,
    bandwidth::decode_bound,
    |result| bandwidth::extra_traffic(result, Phase::Prefill),
    |result| bandwidth::extra_traffic(result, Phase::Decode),
    compute::prefill_bound,
    compute::far_below_roof,
    compute::lm_head,
    energy::too_slow,
    |result| energy::uncertain(result, Phase::Prefill),
    |result| energy::uncertain(result, Phase::Decode),
    cost::overhead,
    cost::recording_stopped,
    stability::spread,
];

/// Everything that stands out in `result`, the most useful first.
pub fn findings(result: &RunResult) -> Vec<Finding> {
    let mut found: Vec<Found> = RULES.iter().filter_map(|rule| rule(result)).collect();
    found.sort_by(|a, b| a.good_for.cmp(&b.good_for).then(b.stake.total_cmp(&a.stake)));
    found.into_iter().map(|found| found.finding).collect()
}
