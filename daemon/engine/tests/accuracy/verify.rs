//! `verify` itself: what it lets pass and what it does not, and golden files that are damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use slmscope_engine::gguf::GgufFile;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::setup;
use slmscope_engine::verify::{Golden, metrics};
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::verify::VerifyReport;

use crate::passes;

fn verified(model: &Model, path: &Path) -> VerifyReport {
    passes::verified(model, path, &setup::native())
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn gguf(name: &str) -> Model {
    let path = goldens().join("gguf").join(name);
    Model::gguf(&GgufFile::open(Arc::new(MappedFile::open(&path).unwrap())).unwrap(), KvFormat::F32).unwrap()
}

fn golden_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(goldens().join("gguf").join(name)).unwrap()).unwrap()
}

fn with_file<T>(bytes: &[u8], work: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden");
    std::fs::write(&path, bytes).unwrap();
    work(&path)
}

fn against(model: &Model, golden: &Value) -> VerifyReport {
    with_file(golden.to_string().as_bytes(), |path| verified(model, path))
}

/// A file of the kind for real text, made of exact logits: at each position the best eight.
fn as_text(golden: &Value) -> Value {
    let exact: Vec<Vec<f32>> = serde_json::from_value(golden["exact"].clone()).unwrap();
    let (mut top, mut best) = (Vec::new(), Vec::new());
    for logits in &exact {
        let mut all: Vec<_> = metrics::log_probabilities(logits).into_iter().enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        top.push(all[..8].to_vec());
        best.push(all[..8].iter().map(|(_, value)| *value).collect::<Vec<_>>());
    }
    let margins = vec![1.0; golden["greedy"].as_array().unwrap().len()];
    json!({"cases": [{
        "text": "", "ids": golden["ids"], "top": top, "exact": best, "greedy": golden["greedy"],
        "greedy_margin": margins,
    }]})
}

#[test]
fn text_is_judged_by_its_best_ids() {
    let (model, golden) = (gguf("llama-q8_0.gguf"), golden_json("llama-q8_0.json"));
    let mut text = as_text(&golden);
    let report = against(&model, &text);
    assert!(report.pass && report.top1_least == Some(0.95), "{report:#?}");
    let case = &report.cases[0];
    assert_eq!((case.name.as_str(), case.ids_equal, case.rms_over_std), ("text 1", None, None));
    assert_eq!(case.greedy_compared, golden["greedy"].as_array().unwrap().len() as u64);

    // Another id where the reference was sure, and one where it was not.
    let ids = text["cases"][0]["greedy"].as_array_mut().unwrap();
    ids[1] = json!((ids[1].as_u64().unwrap() + 1) % 100);
    let report = against(&model, &text);
    assert!(!report.pass && !report.cases[0].greedy_equal && report.cases[0].greedy_compared == 2);
    text["cases"][0]["greedy_margin"][1] = json!(0.29);
    let report = against(&model, &text);
    assert!(report.pass && report.cases[0].greedy_compared == 1, "{report:#?}");

    text["cases"][0]["exact"][0][0] = json!(1000.0);
    assert!(!against(&model, &text).pass);
}

#[test]
fn a_wrong_model_is_out_of_tolerance_in_every_measure() {
    let report = against(&gguf("llama-q4_0.gguf"), &golden_json("llama-q8_0.json"));
    let case = &report.cases[0];
    assert!(!report.pass && !case.pass);
    assert!(case.rms_over_std > case.tolerances.rms_over_std, "{case:#?}");
    assert!(case.kl_mean > case.tolerances.kl_mean, "{case:#?}");
    assert!(case.exact_rms_over_std > case.tolerances.exact_rms_over_std, "{case:#?}");
    // With itself it still agrees.
    assert!(case.prefill.len() == 2 && case.prefill.iter().all(|check| check.pass), "{case:#?}");
}

#[test]
fn one_wrong_logit_is_seen() {
    let folder = goldens().join("hf/llama");
    let file = |name: &str| (name.to_owned(), Arc::new(MappedFile::open(&folder.join(name)).unwrap()));
    let model =
        Model::directory(&[file("config.json"), file("model.safetensors")], None, KvFormat::F32).unwrap();
    let mut bytes = std::fs::read(folder.join("golden.safetensors")).unwrap();
    let parsed = slmscope_engine::safetensors::SafeTensors::parse(&bytes, "golden").unwrap();
    let logit = parsed.tensor("logits").unwrap().range().start + 4 * 77;
    let value = f32::from_le_bytes(*bytes[logit..].first_chunk().unwrap());
    bytes[logit..logit + 4].copy_from_slice(&(value + 0.01).to_le_bytes());
    let report = with_file(&bytes, |path| verified(&model, path));
    let case = &report.cases[0];
    assert!(!report.pass && case.greedy_equal && case.max_abs_over_std > Some(2e-4), "{report:#?}");

    bytes[logit..logit + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refused(&bytes).contains("number 77 of logits is not finite"));
}

fn refused(bytes: &[u8]) -> String {
    with_file(bytes, |path| Golden::read(&MappedFile::open(path).unwrap()).unwrap_err().to_string())
}

#[test]
fn damaged_golden_files_say_what_is_wrong() {
    let whole = golden_json("llama-q8_0.json");
    let text = whole.to_string();
    assert!(refused(&text.as_bytes()[..text.len() / 2]).contains("EOF"));
    assert!(refused(b"GGUF is not it").contains("a golden file is safetensors"));
    let safetensors = std::fs::read(goldens().join("hf/llama/golden.safetensors")).unwrap();
    assert!(refused(&safetensors[..safetensors.len() - 1]).contains("truncated"));
    let weights = std::fs::read(goldens().join("hf/llama/model.safetensors")).unwrap();
    assert!(refused(&weights).contains("no tensor"));

    let mut cases = vec![
        (json!({"ids": [1]}), "neither cases"),
        (json!({"cases": []}), "no cases"),
        (json!({"ids": [], "logits": [[1, 2]], "greedy": []}), "no ids"),
        (json!({"ids": [1], "logits": [[1, 2], [3, 4]], "greedy": []}), "1 ids, but logits has 2 rows"),
        (json!({"ids": [1, 1], "logits": [[1, 2], [3]], "greedy": []}), "row 2 has 1 entries, not 2"),
        (json!({"ids": [1], "logits": [[2, 2]], "greedy": []}), "all logits are equal"),
        (json!({"ids": [1], "logits": [[1, 1e300]], "greedy": []}), "out of range"),
        (json!({"ids": [-1], "logits": [[1, 2]], "greedy": []}), "invalid value"),
    ];
    let mut short = whole.clone();
    short["exact"].as_array_mut().unwrap().pop();
    cases.push((short, "exact is"));
    let mut margins = as_text(&whole);
    margins["cases"][0]["greedy_margin"].as_array_mut().unwrap().pop();
    cases.push((margins, "case 1: greedy has"));
    for (golden, word) in cases {
        let error = refused(golden.to_string().as_bytes());
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn a_golden_file_of_another_model_is_refused() {
    let check = |golden: &Value, vocab, context| {
        let read = |path: &Path| Golden::read(&MappedFile::open(path).unwrap()).unwrap();
        with_file(golden.to_string().as_bytes(), read).check_model(vocab, context)
    };
    let golden = golden_json("llama-q8_0.json");
    let vocab = golden["logits"][0].as_array().unwrap().len() as u32;
    check(&golden, vocab, 64).unwrap();
    let error = |golden: &Value, vocab, context| check(golden, vocab, context).unwrap_err().to_string();
    assert!(error(&golden, vocab + 1, 64).contains("a row of logits has"));
    assert!(error(&golden, vocab, 8).contains("context is 8"));
    assert!(error(&as_text(&golden), 3, 64).contains("are below 3"));
}
