//! Tiny random Hugging Face checkpoints, one an architecture, with logits that transformers computed in f32 on
//! the stored values. Each has its configuration in today's spelling and in that of older repositories.
//!
//! `SLMSCOPE_GOLDENS_HF` may name a folder with more of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use slmscope_engine::error::LoadError;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::safetensors::SafeTensors;
use slmscope_engine::setup;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};

use crate::passes::{feed, load, rms_over_std, setups, verified};

/// What is needed of a golden file where no tolerance of `verify` fits.
struct Golden {
    ids: Vec<u32>,
    logits: Vec<Vec<f32>>,
}

fn golden(path: &Path) -> Golden {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::parse(&bytes, "golden").unwrap();
    let data = |name: &str| file.data(file.tensor(name).unwrap());
    let ids =
        |name: &str| data(name).as_chunks::<8>().0.iter().map(|id| i64::from_le_bytes(*id) as u32).collect();
    let vocab = file.tensor("logits").unwrap().shape()[1] as usize;
    let logits: Vec<f32> =
        data("logits").as_chunks::<4>().0.iter().map(|logit| f32::from_le_bytes(*logit)).collect();
    Golden { ids: ids("input_ids"), logits: logits.chunks_exact(vocab).map(<[f32]>::to_vec).collect() }
}

fn open(folder: &Path, config: &str, format: Option<WeightFormat>) -> Model {
    let file =
        |name: &str, path: &str| (name.to_owned(), Arc::new(MappedFile::open(&folder.join(path)).unwrap()));
    let files = [file("config.json", config), file("model.safetensors", "model.safetensors")];
    Model::directory(&files, format, KvFormat::F32)
        .unwrap_or_else(|error| panic!("{} {config}: {error}", folder.display()))
}

fn check(folder: &Path, config: &str) {
    let model = open(folder, config, None);
    for setup in setups() {
        let report = verified(&model, &folder.join("golden.safetensors"), &setup);
        assert!(report.pass, "{} {config} {setup:?}: {report:#?}", folder.display());
        eprintln!("{} {config} {setup:?}: {:?}", folder.display(), report.cases[0].max_abs_over_std);
    }
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("golden.safetensors").is_file());
    folders.sort();
    folders
}

#[test]
fn logits_match_transformers_under_both_spellings() {
    let own = folders(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/hf")));
    assert!(own.len() >= 27, "{} checkpoints", own.len());
    let more = std::env::var_os("SLMSCOPE_GOLDENS_HF").map(|root| folders(Path::new(&root)));
    for folder in own.into_iter().chain(more.unwrap_or_default()) {
        check(&folder, "config.json");
        check(&folder, "config-old.json");
    }
}

#[test]
fn numbers_that_are_none_are_found_in_every_tensor() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/hf/llama");
    let whole = std::fs::read(folder.join("model.safetensors")).unwrap();
    let parsed = SafeTensors::parse(&whole, "whole").unwrap();
    let damaged = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("config.json"), damaged.path().join("config.json")).unwrap();
    for tensor in parsed.tensors() {
        let mut bytes = whole.clone();
        // All bits set are NaN in every plain format.
        bytes[tensor.range()][..4].fill(0xff);
        std::fs::write(damaged.path().join("model.safetensors"), bytes).unwrap();
        let model = open(damaged.path(), "config.json", None);
        let (never, mut report) = (AtomicBool::new(false), |_, _| ());
        let loaded = model.load(4, &setup::native(), &mut Loading::new(&never, &mut report));
        let error = loaded.err().unwrap_or_else(|| panic!("{} was loaded", tensor.name()));
        assert!(matches!(error, LoadError::NotFinite { .. }), "{}: {error}", tensor.name());
    }
}

#[test]
fn a_checkpoint_is_quantized_while_it_is_loaded() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/hf/llama"));
    let golden = golden(&folder.join("golden.safetensors"));
    for (format, limit) in [(WeightFormat::F32, 1e-6), (WeightFormat::Q8_0, 0.03), (WeightFormat::Q4_0, 0.4)]
    {
        let model = open(folder, "config.json", Some(format));
        let matrices = model.plan().tensors.iter().filter(|(tensor, _)| !tensor.role.is_small());
        for (tensor, stored) in matrices {
            let fits = format.divides(u64::from(tensor.columns));
            assert_eq!(*stored, if fits { format } else { WeightFormat::F16 }, "{}", tensor.name);
        }
        for setup in setups() {
            let mut session = load(&model, golden.ids.len() as u32, &setup);
            let distance = rms_over_std(&feed(&mut session, &golden.ids, 1), &golden.logits);
            assert!(distance <= limit, "{format}, {setup:?}: {distance}");
        }
    }
}
