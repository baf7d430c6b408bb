//! Repetitions, tails, what is not explained or not recorded, and the cost of measuring.

use slmscope_profiles::finding::FindingCode;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::profile::Percentiles;
use slmscope_profiles::stats::Estimate;

use super::{books, codes, host, only, result};

#[test]
fn a_budget_is_the_limit_of_the_cost_and_leaves_tokens_out_on_purpose() {
    let mut result = result();
    (result.overhead.fraction, result.overhead.low) = (Some(0.006), Some(0.0055));
    result.phases = vec![books(Phase::Decode, 5, 0)];
    assert_eq!(codes(&result), [FindingCode::LostTokens]);
    result.workload.overhead_budget = Some(0.005);
    let found = only(&result);
    assert_eq!(found.code, FindingCode::Overhead);
    assert!(!found.advice.contains("--overhead-budget"), "it was given");
    result.workload.overhead_budget = Some(0.01);
    assert!(codes(&result).is_empty());
}

#[test]
fn a_recording_that_stopped_is_a_finding_with_its_reason() {
    let mut result = result();
    result.recorded.session = Some(7);
    assert!(codes(&result).is_empty());
    result.recorded.error = Some("cannot write the recording: No space left on device".to_owned());
    let found = only(&result);
    assert_eq!(found.code, FindingCode::RecordingStopped);
    let reason = "the recording of session 7 stopped before the run: cannot write the recording: No space left on device";
    assert_eq!(found.reason, reason);
    assert!(found.advice.contains("what was recorded before"));
    result.recorded.session = None;
    let found = only(&result);
    assert!(found.reason.starts_with("the run was not recorded: ") && found.advice.contains("no session"));
}

#[test]
fn a_cost_whose_interval_includes_none_is_not_claimed() {
    let mut result = result();
    (result.overhead.fraction, result.overhead.low, result.overhead.high) =
        (Some(0.0318), Some(-0.0042), Some(0.0676));
    assert!(codes(&result).is_empty());
    result.overhead.low = Some(0.009);
    assert!(codes(&result).is_empty(), "it may be below the limit");
    result.overhead.low = Some(0.02);
    let found = only(&result);
    assert_eq!(found.reason, "measuring cost 3.18 % of the run");
    assert!(found.advice.contains("--overhead-budget"));
}

#[test]
fn repetitions_that_differ_are_noisy_and_more_of_them_are_advised_only_where_they_help() {
    let rates =
        |count: usize| Estimate::of(&(0..count).map(|n| 80.0 + 40.0 * (n % 2) as f64).collect::<Vec<_>>());
    let mut result = result();
    result.summary.decode_tokens_per_s = rates(6);
    let found = only(&result);
    assert_eq!(found.reason, "decode varies by ± 20 % between repetitions");
    assert!(found.advice.starts_with("Ask for more repetitions"));
    result.summary.prefill_tokens_per_s = rates(8);
    assert_eq!(only(&result).reason, "prefill varies by ± 20 %, decode varies by ± 20 % between repetitions");
    result.summary.prefill_tokens_per_s = None;
    result.summary.decode_tokens_per_s = rates(22);
    assert!(!only(&result).advice.contains("Ask for more"), "there were 22");
    result.summary.decode_tokens_per_s = Estimate::of(&[100.0, 101.0, 99.0, 100.0, 100.5, 99.5]);
    assert!(codes(&result).is_empty());
}

/// "Ask for more repetitions" stood above the program that kept the run back.
#[test]
fn what_disturbed_a_run_comes_before_repetitions_that_differ() {
    let mut result = result();
    result.host = Some(host());
    result.hygiene.other_load = Some(0.3);
    for rates in [&[80.0, 120.0, 80.0, 120.0, 80.0, 120.0][..], &[80.0, 120.0]] {
        result.summary.decode_tokens_per_s = Estimate::of(rates);
        assert_eq!(codes(&result), [FindingCode::ForeignLoad, FindingCode::Noisy]);
        assert!(findings(&result)[1].advice.contains("measure again without it"));
    }
}

#[test]
fn a_wide_range_is_a_fact_about_these_repetitions_alone() {
    let mut result = result();
    result.summary.decode_tokens_per_s = Estimate::of(&[180.0, 213.0, 175.0]);
    result.summary.prefill_tokens_per_s = Estimate::of(&[400.0, 401.0, 399.0]);
    let found = only(&result);
    assert_eq!(found.code, FindingCode::Noisy);
    assert_eq!(found.reason, "decode varies from 175 to 213 tokens/s between 3 repetitions");
    assert!(found.advice.contains("--repetitions 6"));
    result.summary.decode_tokens_per_s = Estimate::of(&[180.0, 181.0, 179.0]);
    assert!(codes(&result).is_empty());
    result.summary.decode_tokens_per_s = Estimate::of(&[180.0]);
    assert!(codes(&result).is_empty());
}

#[test]
fn a_tail_needs_enough_steps_to_have_a_p99() {
    let mut result = result();
    result.summary.token_ns = Some(Percentiles { median: 100, p95: 120, p99: 250 });
    let mut decode = books(Phase::Decode, 10, 0);
    (decode.tokens, decode.recorded_tokens) = (200, 200);
    result.phases = vec![decode.clone()];
    assert_eq!(only(&result).reason, "1 of 100 tokens takes 2.5 times the median or more");
    (decode.tokens, decode.recorded_tokens) = (199, 199);
    result.phases = vec![decode];
    assert!(codes(&result).is_empty());
}

#[test]
fn an_engine_that_reports_tokens_alone_is_not_blamed_for_unattributed_time() {
    let mut result = result();
    result.phases = vec![books(Phase::Decode, 10, 100)];
    assert_eq!(codes(&result), [FindingCode::Unattributed]);
    result.engine.granularity = Granularity::Token;
    assert!(codes(&result).is_empty());
}

#[test]
fn unattributed_time_is_told_with_its_share() {
    let mut result = result();
    result.phases = vec![books(Phase::Prefill, 10, 5)];
    assert_eq!(findings(&result)[0].reason, "5.0 % of prefill is unattributed");
    result.phases = vec![books(Phase::Prefill, 10, 1)];
    assert!(codes(&result).is_empty());
}
