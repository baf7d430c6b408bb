//! Memory traffic, arithmetic, single ops and formats.

use slmscope_profiles::bandwidth::PhaseBandwidth;
use slmscope_profiles::channel::Class;
use slmscope_profiles::conditions::Split;
use slmscope_profiles::finding::FindingCode;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::hygiene::{Grade, Issue, IssueCode};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::Phase;
use slmscope_profiles::plan::site::{Module, OpKind};
use slmscope_profiles::profile::OpRow;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::roofline::Bound;
use slmscope_profiles::stats::Estimate;

use super::{books, codes, figure, host, in_lane, only, op, result, roof};

fn traffic(wall: f64, measured: Option<f64>, class: Class) -> PhaseBandwidth {
    PhaseBandwidth {
        phase: Phase::Decode,
        derived_bytes_per_s: Some(wall * 1.1),
        derived_wall_bytes_per_s: Some(wall),
        derived_wall_flops_per_s: None,
        measured_bytes_per_s: measured,
        source: None,
        scope: None,
        class,
        reason: None,
    }
}

#[test]
fn traffic_is_held_against_the_roof_and_against_the_model() {
    let mut result = result();
    result.bandwidth = vec![traffic(30e9, Some(60e9), Class::Measured)];
    assert_eq!(codes(&result), [FindingCode::ExtraTraffic]);
    result.bandwidth = vec![traffic(30e9, Some(60e9), Class::Modelled)];
    assert!(codes(&result).is_empty(), "a proxy proves nothing");
    result.bandwidth = vec![traffic(30e9, None, Class::Unavailable)];
    result.roofs.read_bytes_per_s = Estimate::of(&[40e9]);
    let found = only(&result);
    assert_eq!(found.code, FindingCode::BandwidthBound);
    assert_eq!(found.reason, "decode moves 30.0 GB/s of 40.0 GB/s that can be read");
    assert!((figure(&found, "read roof, median") - 40e9).abs() < 1.0);
}

#[test]
fn decode_is_not_bandwidth_bound_if_the_roofs_range_says_otherwise_or_a_cache_serves_it() {
    let mut result = result();
    result.bandwidth = vec![traffic(30e9, None, Class::Unavailable)];
    result.roofs.read_bytes_per_s = Estimate::range(&[35e9, 40e9, 61e9]);
    assert!(codes(&result).is_empty(), "half of the fastest sample is 30.5 GB/s");
    result.roofs.read_bytes_per_s = Estimate::range(&[20e9, 22e9, 25e9]);
    assert!(codes(&result).is_empty(), "more than can be read comes from a cache");
    result.roofs.read_bytes_per_s = None;
    assert!(codes(&result).is_empty());
}

#[test]
fn what_binds_decode_is_answered_by_what_can_still_be_made_smaller() {
    let mut result = result();
    result.bandwidth = vec![traffic(30e9, None, Class::Unavailable)];
    result.roofs.read_bytes_per_s = Estimate::of(&[40e9]);
    result.model.format = Some(WeightFormat::F16);
    assert!(only(&result).advice.contains("a smaller weight format"));
    result.model.format = Some(WeightFormat::Q4_0);
    assert!(only(&result).advice.contains("a smaller model"), "there is no smaller format to advise");
}

#[test]
fn traffic_of_a_device_is_not_held_against_the_memory_of_the_host() {
    let mut result = result();
    result.bandwidth = vec![traffic(30e9, None, Class::Unavailable)];
    result.roofs.read_bytes_per_s = Estimate::of(&[40e9]);
    result.ops = vec![in_lane(1, op(Module::Ffn, OpKind::Matmul, 0.1))];
    assert!(codes(&result).is_empty());
}

#[test]
fn shares_of_several_lanes_are_not_added_up() {
    let head = |lane, share| in_lane(lane, op(Module::LmHead, OpKind::Matmul, share));
    let mut result = result();
    result.ops = vec![head(0, 0.2), head(1, 0.2)];
    assert!(codes(&result).is_empty());
    result.ops = vec![head(0, 0.2), head(1, 0.2), head(1, 0.2)];
    assert_eq!(findings(&result)[0].reason, "the LM head takes 40 % of decode's time in lane 1");
    result.ops = vec![head(0, 0.3), head(1, 0.2)];
    assert_eq!(findings(&result)[0].reason, "the LM head takes 30 % of decode");
}

#[test]
fn an_lm_head_that_takes_a_quarter_of_decode_or_less_is_not_named() {
    let mut result = result();
    result.ops = vec![op(Module::LmHead, OpKind::Matmul, 0.25), op(Module::Ffn, OpKind::Matmul, 0.6)];
    assert!(codes(&result).is_empty());
    let prefill = OpRow { phase: Phase::Prefill, ..op(Module::LmHead, OpKind::Matmul, 0.9) };
    result.ops = vec![prefill];
    assert!(codes(&result).is_empty(), "decode alone is what it slows down for every token");
    result.ops.clear();
    assert!(codes(&result).is_empty());
}

#[test]
fn the_lm_head_is_not_to_be_made_smaller_where_it_is_as_small_as_it_gets() {
    let mut result = result();
    result.ops = vec![op(Module::LmHead, OpKind::Matmul, 0.4)];
    assert!(only(&result).advice.contains("a smaller format for the output matrix"));
    result.model.format = Some(WeightFormat::Q4_0);
    assert!(only(&result).advice.contains("a smaller vocabulary"));
}

fn prefill(reached: [f64; 3], bound: Bound) -> RunResult {
    let mut result = result();
    let attention = OpRow { phase: Phase::Prefill, ..op(Module::Attention, OpKind::Norm, 0.1) };
    let product =
        OpRow { phase: Phase::Prefill, time_ns: 9_000_000_000, ..op(Module::Ffn, OpKind::Matmul, 0.9) };
    result.ops = vec![attention, OpRow { roof: Some(roof(bound, reached)), ..product }];
    result
}

#[test]
fn prefill_is_compute_bound_where_its_arithmetic_takes_half_its_time_also_at_the_highest_roof() {
    let found = only(&prefill([0.8, 0.6, 0.9], Bound::Compute));
    assert_eq!(found.code, FindingCode::ComputeBound);
    assert_eq!(found.reason, "prefill computes at 72 % of what this machine can");
    assert!((figure(&found, "the same at the fastest sample of the roof") - 0.54).abs() < 1e-9);
    assert!(codes(&prefill([0.8, 0.5, 0.9], Bound::Compute)).is_empty());
    assert!(codes(&prefill([0.8, 0.6, 0.9], Bound::Memory)).is_empty());
    assert!(codes(&result()).is_empty());
}

#[test]
fn an_op_far_below_its_roof_is_named_with_its_share() {
    let named = |name: &str, share, reached| OpRow {
        name: name.to_owned(),
        roof: Some(roof(Bound::Memory, reached)),
        ..op(Module::Ffn, OpKind::Matmul, share)
    };
    let mut result = result();
    // Two layers of each; the first op is small, the second near its roof.
    let layer = || {
        [
            named("attn.o_proj", 0.02, [0.1, 0.1, 0.1]),
            named("ffn.up_proj", 0.2, [0.6, 0.5, 0.7]),
            named("ffn.down_proj", 0.1, [0.2, 0.18, 0.22]),
        ]
    };
    result.ops = layer().into_iter().chain(layer()).collect();
    let found = only(&result);
    assert_eq!(found.reason, "ffn.down_proj takes 20 % of decode and reaches 20 % of its roof");
    assert_eq!(found.code, FindingCode::FarBelowRoof);
    // At the slowest sample of the roof it may be near enough.
    result.ops = vec![named("ffn.down_proj", 0.2, [0.2, 0.18, 0.3])];
    assert!(codes(&result).is_empty());
    let attention = OpRow { kind: OpKind::Attention, ..named("attn.attention", 0.19, [0.1, 0.1, 0.1]) };
    result.ops = vec![attention];
    assert!(only(&result).advice.contains("compare other formats of the cache (--kv), and fewer"));
    result.ops = vec![OpRow { kind: OpKind::Norm, ..named("norm", 0.2, [0.1, 0.1, 0.1]) }];
    assert!(codes(&result).is_empty());
}

#[test]
fn an_op_far_below_its_roof_names_what_kept_the_whole_run_back() {
    let mut result = result();
    let reached = roof(Bound::Memory, [0.1, 0.1, 0.1]);
    result.ops = vec![OpRow { roof: Some(reached), ..op(Module::Ffn, OpKind::Matmul, 0.4) }];
    assert!(only(&result).advice.contains("fewer threads"));
    result.engine.threads = Some(1);
    assert!(!only(&result).advice.contains("threads"), "there are no fewer than one");
    result.engine.threads = None;
    let far = |result: &RunResult| {
        let found = findings(result).into_iter().find(|found| found.code == FindingCode::FarBelowRoof);
        let found = found.expect("a finding");
        assert!(found.advice.contains("measure again without it"), "{found:?}");
        found.reason
    };
    result.host = Some(host());
    result.hygiene.other_load = Some(0.31);
    assert_eq!(
        far(&result),
        "op takes 40 % of decode and reaches 10 % of its roof; other processes used 62.0 % of one core meanwhile"
    );
    result.hygiene.other_load = None;
    result.conditions.throttled = Some(Split { tokens: 9, tokens_per_s: 1.0, token_ns: 1 });
    assert!(far(&result).ends_with("; the machine throttled during 9 tokens meanwhile"));
    result.conditions.throttled = None;
    let reason = "2 throttling events".to_owned();
    result.hygiene.issues = vec![Issue { code: IssueCode::Throttling, grade: Grade::Poor, reason }];
    assert!(far(&result).ends_with("; 2 throttling events meanwhile"));
    result.hygiene.issues[0].code = IssueCode::Hot;
    assert!(only(&result).advice.contains("fewer threads"), "a hot machine is not a throttled one");
}

/// Decode of 10 s at 20 tokens/s, 9 s of it in products that reached so much of the read roof.
fn in_format(format: WeightFormat, reached: [f64; 3]) -> RunResult {
    let mut result = result();
    result.model.format = Some(format);
    result.summary.decode_tokens_per_s = Estimate::of(&[20.0]);
    let ns = 10_000_000_000;
    let mut books = books(Phase::Decode, 10, 0);
    (books.wall_ns, books.recorded_wall_ns, books.ops_ns) = (ns, ns, ns);
    result.phases = vec![books];
    let product = OpRow { time_ns: 9_000_000_000, ..op(Module::Ffn, OpKind::Matmul, 0.9) };
    result.ops = vec![OpRow { roof: Some(roof(Bound::Memory, reached)), ..product }];
    result
}

#[test]
fn a_faster_format_is_named_with_a_band_and_how_to_get_it() {
    let mut result = in_format(WeightFormat::Q8_0, [0.8, 0.7, 0.9]);
    let found = only(&result);
    assert_eq!(found.code, FindingCode::FasterFormat);
    // 18 of 34 bytes: 16/34 of 9 s are saved at most, 70 % of that at least.
    let (least, most) = (200.0 / (10.0 - 9.0 * 0.7 * 16.0 / 34.0), 200.0 / (10.0 - 9.0 * 16.0 / 34.0));
    assert!((figure(&found, "decode then, at least") - least).abs() < 1e-9, "{found:?}");
    assert!((figure(&found, "decode then, at most") - most).abs() < 1e-9, "{found:?}");
    assert!(
        found.reason.starts_with("in q4_0 decode would make about 28.4 to 34.7 tokens/s instead of 20.0")
    );
    assert!(found.advice.contains("--format q4_0"), "{found:?}");
    // 22 of 34 bytes.
    let (least, most) = (200.0 / (10.0 - 9.0 * 0.7 * 12.0 / 34.0), 200.0 / (10.0 - 9.0 * 12.0 / 34.0));
    assert!((figure(&found, "decode in q5_0, at least") - least).abs() < 1e-9, "{found:?}");
    assert!((figure(&found, "decode in q5_0, at most") - most).abs() < 1e-9, "{found:?}");
    assert!(found.reason.ends_with("instead of 20.0, in q5_0 25.7 to 29.3 (modelled)"), "{found:?}");
    result.model.source = ModelSource::Gguf;
    assert!(only(&result).advice.contains("a q4_0 file"), "a file keeps its format");
    let plain = only(&in_format(WeightFormat::F16, [0.8, 0.7, 0.9]));
    assert!(plain.advice.contains("--format q4_0 or q5_0 or q8_0"), "{plain:?}");
    let close = only(&in_format(WeightFormat::Q5_1, [0.8, 0.7, 0.9]));
    assert!(close.advice.contains("--format q4_0;"), "q5_0 is not a tenth faster: {close:?}");
}

#[test]
fn a_model_whose_rows_are_whole_blocks_of_256_is_proposed_in_k_quants() {
    let mut result = in_format(WeightFormat::F16, [0.8, 0.7, 0.9]);
    result.model.holds_k_quants = Some(true);
    let found = only(&result);
    assert!(found.reason.starts_with("in q4_k decode would make about 36.6"), "{found:?}");
    assert!(found.advice.contains("--format q4_k or q6_k or q8_0;"), "{found:?}");
    result.model.source = ModelSource::Gguf;
    assert!(only(&result).advice.contains("a Q4_K_S file of this model, or one in Q6_K or q8_0;"));
    result.model.format = Some(WeightFormat::Q4K);
    assert!(codes(&result).is_empty(), "there is none that is smaller");
}

#[test]
fn no_format_is_proposed_that_is_not_smaller_or_may_gain_nothing() {
    assert!(codes(&in_format(WeightFormat::Q4_0, [0.8, 0.7, 0.9])).is_empty());
    assert!(codes(&in_format(WeightFormat::Q2K, [0.8, 0.7, 0.9])).is_empty());
    assert!(codes(&in_format(WeightFormat::Q8_0, [0.4, 0.2, 0.5])).is_empty(), "9 % at the low end");
    let mut busy = in_format(WeightFormat::Q8_0, [0.9, 0.9, 0.9]);
    busy.ops[0].roof.as_mut().unwrap().compute_ns = 8_900_000_000;
    assert!(codes(&busy).is_empty(), "its arithmetic takes as long");
}
