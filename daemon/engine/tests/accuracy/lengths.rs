//! Rotary angles that depend on how long the sequence is, as the references that `verify` compares with have them.

use serde_json::json;
use slmscope_engine::model::Model;
use slmscope_engine::sampler::greedy;
use slmscope_engine::setup::{self, ExecutorKind, Setup, executor_is_available};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{Lengths, Positions, Rope, RopePairing, RopeScaling};

use crate::passes::{feed, load, rms_over_std, verified};
use crate::synthetic::{each_attention, llama};

const PROMPT: [u32; 8] = [3, 14, 15, 9, 26, 5, 35, 8];
const GENERATED: u32 = 12;

fn model(scaling: RopeScaling) -> Model {
    let rope = Rope { scaling, ..Rope::plain(100.0, 8, RopePairing::Adjacent) };
    let mut spec = llama();
    each_attention(&mut spec, |_, attention| attention.positions = Positions::Rope(rope.clone()));
    Model::synthetic(spec, WeightFormat::F32, 5, KvFormat::F32).unwrap()
}

/// What a reference computes: the prompt by its own length, each id that follows from all before it, computed
/// anew by the length that there is then.
fn golden(model: &Model) -> serde_json::Value {
    let setup = setup::native();
    let prompt = PROMPT.len() as u32;
    let logits = feed(&mut load(model, prompt, &setup), &PROMPT, 1);
    let mut ids = PROMPT.to_vec();
    for total in prompt..prompt + GENERATED {
        let mut session = load(model, Lengths { prompt, total }, &setup);
        let last = feed(&mut session, &ids, ids.len()).pop().unwrap();
        ids.push(greedy(&last).unwrap());
    }
    json!({ "ids": PROMPT, "logits": logits, "greedy": ids[PROMPT.len()..] })
}

fn check(scaling: RopeScaling) {
    let model = model(scaling);
    let golden = golden(&model);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden.json");
    std::fs::write(&path, golden.to_string()).unwrap();
    for executor in
        [ExecutorKind::Cpu, ExecutorKind::Candle].into_iter().filter(|&it| executor_is_available(it))
    {
        let report = verified(&model, &path, &Setup { executor, ..setup::native() });
        assert!(report.pass, "{report:#?}");
        assert_eq!(report.cases[0].greedy_compared, u64::from(GENERATED), "{report:#?}");
    }
}

/// How far the prompt's logits are from what they are in a longer sequence.
fn moved(scaling: RopeScaling, lengths: Lengths) -> f64 {
    let model = model(scaling);
    let of = |lengths| feed(&mut load(&model, lengths, &setup::native()), &PROMPT, PROMPT.len());
    rms_over_std(&of(lengths), &of((PROMPT.len() as u32).into()))
}

#[test]
fn long_rope_goes_by_all_tokens_and_changes_when_they_become_too_many() {
    let scaling = RopeScaling::LongRope {
        short: vec![1.0; 4],
        long: vec![3.0, 5.0, 7.0, 9.0],
        original_context: 11,
        magnitude: 1.1,
    };
    let prompt = PROMPT.len() as u32;
    assert!(moved(scaling.clone(), Lengths { prompt, total: 11 }) < f64::EPSILON);
    assert!(moved(scaling.clone(), Lengths { prompt, total: 12 }) > 0.1);
    check(scaling);
}

#[test]
fn dynamic_ntk_goes_by_the_prompt_alone() {
    let scaling = RopeScaling::DynamicNtk { trained_context: 7 };
    let prompt = PROMPT.len() as u32;
    assert!(moved(scaling.clone(), Lengths { prompt, total: 40 }) < f64::EPSILON);
    assert!(moved(scaling.clone(), Lengths { prompt: 60, total: 60 }) > 0.01);
    check(scaling);
}
