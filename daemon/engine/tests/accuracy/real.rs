//! Real weights and real text. The files are large and not part of the repository: `SLMSCOPE_MODELS` names
//! a folder that holds them, and what is not there is skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use slmscope_engine::gguf::GgufFile;
use slmscope_engine::kernels::Isa;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::setup::Setup;
use slmscope_profiles::format::KvFormat;

use crate::passes::{setups, verified};

fn check(model: &str, golden: &str, setup: &Setup) {
    let Some(folder) = std::env::var_os("SLMSCOPE_MODELS").map(PathBuf::from) else {
        return eprintln!("skipped: {model}: SLMSCOPE_MODELS is not set to a folder of models");
    };
    let path = folder.join(model);
    if !path.is_file() {
        return eprintln!("skipped: {} does not exist", path.display());
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/real").join(golden);
    let model =
        Model::gguf(&GgufFile::open(Arc::new(MappedFile::open(&path).unwrap())).unwrap(), KvFormat::F32)
            .unwrap();
    let report = verified(&model, &golden, setup);
    assert!(report.pass, "{} {setup:?}: {report:#?}", path.display());
    eprintln!("{} {setup:?}: best id at {:.3}: {:?}", path.display(), report.top1, report.cases);
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
