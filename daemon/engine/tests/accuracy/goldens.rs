//! Tiny random GGUF files with logits from llama.cpp and from float64 arithmetic on the same weights.
//!
//! `SLMSCOPE_GOLDENS` may name a folder with more such pairs of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use slmscope_engine::gguf::GgufFile;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::setup::Setup;
use slmscope_profiles::format::KvFormat;

use crate::passes::{setups, verified};

fn check(path: &Path, setup: &Setup) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let file = GgufFile::open(Arc::new(MappedFile::open(path).unwrap())).unwrap();
    let model = Model::gguf(&file, KvFormat::F32).unwrap_or_else(|error| panic!("{name}: {error}"));
    let report = verified(&model, &path.with_extension("json"), setup);
    assert!(report.pass, "{name} {setup:?}: {report:#?}");
    eprintln!("{name} {:?} {}: {:?}", setup.executor, setup.isa, report.cases);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    files.sort();
    files
}

#[test]
fn logits_match_the_golden_files() {
    let own = files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/gguf")));
    assert!(own.len() >= 16, "{} files", own.len());
    let more = std::env::var_os("SLMSCOPE_GOLDENS").map(|folder| files(Path::new(&folder)));
    for path in own.into_iter().chain(more.unwrap_or_default()) {
        for setup in setups() {
            check(&path, &setup);
        }
    }
}
