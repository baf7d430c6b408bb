//! Real weights and real text. The files are large and not part of the repository: `SLMSCOPE_MODELS` names
//! a folder that holds them, and what is not there is skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use slmscope_engine::kernels::Isa;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::sampler::greedy;
use slmscope_engine::setup::Setup;
use slmscope_profiles::format::KvFormat;

use crate::passes::{feed, load, log_probabilities, setups};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    /// Per position the best ids with llama.cpp's log-probability of each.
    top: Vec<Vec<(u32, f64)>>,
    /// Log-probabilities of the same ids in f32 arithmetic on the dequantized weights.
    exact: Vec<Vec<f64>>,
    greedy: Vec<u32>,
    greedy_margin: Vec<f64>,
}

/// Gap between the best two logits below which either may win.
const MARGIN: f64 = 0.3;
/// Mean distance from `exact` that rounding activations to 8 bits explains.
const DISTANCE: f64 = 0.16;

fn check(model: &str, golden: &str, setup: &Setup) {
    let Some(folder) = std::env::var_os("SLMSCOPE_MODELS").map(PathBuf::from) else {
        return eprintln!("skipped: {model}: SLMSCOPE_MODELS is not set to a folder of models");
    };
    let path = folder.join(model);
    if !path.is_file() {
        return eprintln!("skipped: {} does not exist", path.display());
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/real").join(golden);
    let golden: Golden = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let model = Model::gguf(Arc::new(MappedFile::open(&path).unwrap()), KvFormat::F32).unwrap();
    let longest = golden.cases.iter().map(|case| case.ids.len() + case.greedy.len()).max().unwrap();
    let mut session = load(&model, longest as u32, setup);
    let (mut agree, mut positions) = (0, 0);
    for (number, case) in golden.cases.iter().enumerate() {
        session.rewind(0);
        let single = feed(&mut session, &case.ids, 1);
        let mut distances = Vec::new();
        for ((logits, top), exact) in single.iter().zip(&case.top).zip(&case.exact) {
            let ours = log_probabilities(logits);
            distances.extend(top.iter().zip(exact).map(|((id, _), e)| (ours[*id as usize] - e).abs()));
            let best = exact.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let place = top.iter().position(|(id, _)| *id == greedy(logits).unwrap());
            agree += u32::from(place.is_some_and(|place| exact[place] >= best - 0.15));
            positions += 1;
        }
        let distance = distances.iter().sum::<f64>() / distances.len() as f64;
        assert!(distance <= DISTANCE, "case {number}: {distance} from exact");

        session.rewind(0);
        let mut logits = feed(&mut session, &case.ids, case.ids.len()).remove(0);
        let mut equal = 0;
        for (&id, &margin) in case.greedy.iter().zip(&case.greedy_margin) {
            if margin < MARGIN {
                break;
            }
            assert_eq!(greedy(&logits).unwrap(), id, "case {number}: generated id {equal}");
            logits = feed(&mut session, &[id], 1).remove(0);
            equal += 1;
        }
        eprintln!("case {number}: {distance:.4} from exact, {equal} generated ids equal");
    }
    assert!(f64::from(agree) >= 0.95 * f64::from(positions), "best id at {agree} of {positions} positions");
    eprintln!("best id at {agree} of {positions} positions");
}

#[test]
fn smollm2_speaks_as_it_should() {
    let check = |setup| check("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-q4_1.json", setup);
    setups().iter().filter(|setup| setup.isa != Isa::Scalar).for_each(check);
}

#[test]
fn gemma3_speaks_as_it_should() {
    let check = |setup| check("gemma-3-270m-q4_k_m.gguf", "gemma3-270m-q4_k_m.json", setup);
    setups().iter().filter(|setup| setup.isa != Isa::Scalar).for_each(check);
}
