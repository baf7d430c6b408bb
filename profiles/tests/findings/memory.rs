//! Memory of the worker and of the machine, keys and values.

use slmscope_profiles::finding::FindingCode;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::plan::site::{Module, OpKind};
use slmscope_profiles::profile::OpRow;
use slmscope_profiles::roofline::Bound;
use slmscope_profiles::spec::tensors::ParamCounts;

use super::{codes, figure, host, only, op, result, roof};

#[test]
fn memory_that_nothing_explains_is_reported_where_it_is_large() {
    let mut result = result();
    (result.memory.unexplained, result.memory.rss) = (Some(50 << 20), Some(500 << 20));
    assert_eq!(only(&result).reason, "50 MiB are resident that nothing explains");
    result.memory.rss = Some(2000 << 20);
    assert!(codes(&result).is_empty());
}

#[test]
fn a_full_memory_is_told_with_what_a_smaller_format_saves() {
    let mut result = result();
    result.host = Some(host());
    (result.memory.available, result.memory.rss) = (Some(300 << 20), Some(5 << 30));
    (result.model.format, result.model.weight_bytes) = (Some(WeightFormat::F16), Some(4 << 30));
    let found = only(&result);
    assert_eq!(found.reason, "300 MiB of 8.00 GiB of memory were left");
    assert!(found.advice.contains("In q4_0 the weights take about 2.88 GiB less"), "{found:?}");
    result.model.format = Some(WeightFormat::Q4_0);
    assert!(!only(&result).advice.contains("q4_0"));
    result.memory.available = Some(500 << 20);
    assert!(codes(&result).is_empty());
    result.memory.available = None;
    assert!(codes(&result).is_empty());
}

#[test]
fn cold_pages_are_those_that_came_from_storage() {
    let mut result = result();
    result.memory.major_faults = Some(412);
    let found = only(&result);
    assert_eq!(found.code, FindingCode::ColdPages);
    assert_eq!(found.reason, "the worker waited for storage 412 times while it was measured");
    assert!(!found.advice.contains("--warmup"), "there was a warm-up");
    result.workload.warmup = 0;
    assert!(only(&result).advice.contains("--warmup 1"));
    result.memory.major_faults = Some(3);
    assert!(codes(&result).is_empty());
}

#[test]
fn huge_pages_are_missed_where_weights_could_have_them() {
    let mut result = result();
    (result.hygiene.huge_pages, result.memory.weights) = (Some("never".to_owned()), Some(512 << 20));
    assert_eq!(only(&result).code, FindingCode::HugePagesOff);
    result.memory.mapped = Some(512 << 20);
    assert!(codes(&result).is_empty(), "a mapped file has none in any case");
    (result.hygiene.huge_pages, result.memory.mapped) = (Some("madvise".to_owned()), None);
    assert!(codes(&result).is_empty(), "the engine asks for them");
}

#[test]
fn a_tied_matrix_that_is_stored_twice_is_found() {
    let mut result = result();
    result.model.source = ModelSource::Gguf;
    result.model.params = Some(ParamCounts { stored: 125, unique: 100, multiplied: 90 });
    let found = only(&result);
    assert_eq!(found.code, FindingCode::TiedCopy);
    assert!(found.reason.contains("20 % of the elements"), "{found:?}");
    assert!(found.advice.contains("without `output.weight`"));
    result.model.params = Some(ParamCounts { stored: 100, unique: 100, multiplied: 90 });
    assert!(codes(&result).is_empty());
}

#[test]
fn keys_and_values_have_a_share_at_the_context_of_the_run() {
    let mut result = result();
    let read = roof(Bound::Memory, [0.7, 0.6, 0.8]);
    let attention = OpRow { bytes: 300, roof: Some(read), ..op(Module::Attention, OpKind::Attention, 0.3) };
    result.ops = vec![attention, OpRow { bytes: 700, ..op(Module::Ffn, OpKind::Matmul, 0.7) }];
    (result.workload.depth, result.workload.prompt, result.workload.generate) = (1500, 512, 128);
    result.workload.kv = Some(KvFormat::F16);
    let found = only(&result);
    assert_eq!(
        found.reason,
        "attention takes 30 % of decode at about 2076 tokens of context; keys and values are 30 % of the bytes"
    );
    assert!((figure(&found, "context") - 2076.0).abs() < 1e-9);
    assert!(found.advice.starts_with("--kv q8_0 leaves 53 % of these bytes"), "{found:?}");
    result.workload.kv = Some(KvFormat::Q8_0);
    assert!(!only(&result).advice.contains("--kv"), "it is used already");
    result.ops[0].share = 0.1;
    assert!(codes(&result).is_empty());
}

/// `--kv q8_0` was the first advice for attention at a third of its roof, which fewer bytes do not make faster.
#[test]
fn a_smaller_cache_is_proposed_only_where_reading_it_takes_the_time() {
    let mut result = result();
    let attention = OpRow { bytes: 300, ..op(Module::Attention, OpKind::Attention, 0.3) };
    result.ops = vec![attention, OpRow { bytes: 700, ..op(Module::Ffn, OpKind::Matmul, 0.7) }];
    result.workload.kv = Some(KvFormat::F16);
    assert!(only(&result).advice.ends_with("compare with --kv q8_0."), "without roofs nothing is known");
    result.ops[0].roof = Some(roof(Bound::Memory, [0.55, 0.45, 0.6]));
    let found = only(&result);
    assert!(!found.advice.contains("--kv") && found.advice.contains("gains little"), "{found:?}");
    assert!((figure(&found, "least time to read them divided by that of attention") - 0.45).abs() < 1e-9);
    result.ops[0].roof = Some(roof(Bound::Memory, [0.6, 0.5, 0.7]));
    assert!(only(&result).advice.starts_with("--kv q8_0"));
}
