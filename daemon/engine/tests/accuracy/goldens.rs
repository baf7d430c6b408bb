//! Tiny random GGUF files with logits from llama.cpp and from float64 arithmetic on the same weights.
//!
//! `SLMSCOPE_GOLDENS` may name a folder with more such pairs of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use slmscope_engine::error::LoadError;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::sampler::greedy;
use slmscope_engine::setup::Setup;
use slmscope_profiles::format::KvFormat;

use crate::passes::{divergence, feed, load, rms_over_std, setups};

#[derive(Deserialize)]
struct Golden {
    ids: Vec<u32>,
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
    exact: Option<Vec<Vec<f32>>>,
}

/// How far a right engine may be from llama.cpp's logits: rms over standard deviation, and divergence.
/// llama.cpp rounds activations, to 8 bits for quantized weights.
fn tolerance(name: &str) -> (f64, f64) {
    match name {
        _ if name.ends_with("bf16") => (0.006, 0.003),
        _ if name.ends_with("f16") => (0.002, 0.003),
        _ => (0.03, 0.003),
    }
}

fn check(path: &Path, setup: &Setup) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let file = Arc::new(MappedFile::open(path).unwrap());
    let model = match Model::gguf(file, KvFormat::F32) {
        Ok(model) => model,
        Err(LoadError::Unsupported { what, .. }) => return eprintln!("skipped: {name}: {what}"),
        Err(LoadError::Gguf(error)) => return eprintln!("skipped: {error}"),
        Err(error) => panic!("{name}: {error}"),
    };
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
    let mut session = load(&model, (golden.ids.len() + golden.greedy.len()) as u32, setup);
    let single = feed(&mut session, &golden.ids, 1);
    let (rms, kl) = (rms_over_std(&single, &golden.logits), divergence(&single, &golden.logits));
    let limits = tolerance(name);
    assert!(rms <= limits.0 && kl <= limits.1, "{name}: rms {rms}, divergence {kl}");
    let exact = golden.exact.as_ref().map(|exact| rms_over_std(&single, exact));
    let exact_limit = if name.ends_with("f16") { 1e-4 } else { 0.025 };
    assert!(exact.is_none_or(|exact| exact <= exact_limit), "{name}: {exact:?} from exact");

    session.rewind(0);
    let whole = feed(&mut session, &golden.ids, golden.ids.len());
    let last = &golden.logits[golden.ids.len() - 1..];
    let chunk = rms_over_std(&whole, last);
    // One row has a less steady standard deviation than all of them.
    assert!(chunk <= 1.5 * limits.0, "{name}: rms {chunk} in one chunk");

    let mut logits = whole[0].clone();
    for (index, &id) in golden.greedy.iter().enumerate() {
        let mut sorted = logits.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let deviation = (logits.iter().map(|l| l * l).sum::<f32>() / logits.len() as f32).sqrt();
        let chosen = greedy(&logits).unwrap();
        if chosen != id {
            let margin = (sorted[0] - sorted[1]) / deviation;
            assert!(
                f64::from(margin) < 4.0 * limits.0,
                "{name}: greedy {index}: {chosen}, not {id}, {margin}"
            );
            break;
        }
        logits = feed(&mut session, &[id], 1).remove(0);
    }
    eprintln!(
        "{name} {:?} {}: rms {rms:.5}, divergence {kl:.6}, exact {exact:?}, chunk {chunk:.5}",
        setup.executor, setup.isa
    );
}

#[test]
fn logits_match_the_golden_files() {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/gguf"))];
    folders.extend(std::env::var_os("SLMSCOPE_GOLDENS").map(PathBuf::from));
    for folder in folders {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
        files.sort();
        assert!(!files.is_empty());
        for path in files {
            for setup in setups() {
                check(&path, &setup);
            }
        }
    }
}
