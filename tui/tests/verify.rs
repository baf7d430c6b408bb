//! `slmscope verify` as it is typed.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{output, text};

fn golden(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens");
    folder.join(name).display().to_string()
}

fn verify(model: &str, against: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let (model, against) = (golden(model), golden(against));
    let arguments = [&["verify", &model, "--golden", &against][..], more].concat();
    let ended = output(&arguments);
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

#[test]
fn right_models_pass() {
    let (code, out, error) = verify("gguf/llama-q4_k_m.gguf", "gguf/llama-q4_k_m.json", &["--json"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let case = &report["cases"][0];
    assert_eq!((&report["schema"], &report["pass"]), (&"slmscope.verify/1".into(), &true.into()));
    assert!(out.starts_with("{\"schema\""));
    assert_eq!(case["tolerances"]["rms_over_std"], 0.03);
    assert!(case["tolerances"]["max_abs_over_std"].is_null() && case["mean_abs_logprob"].is_null());
    assert!(case["exact_rms_over_std"].as_f64().is_some_and(|found| found <= 0.025));

    let (code, out, error) = verify("hf/recurrentgemma", "hf/recurrentgemma/golden.safetensors", &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("5.0e-4") && out.contains("within the tolerances"), "{out}");
}

#[test]
fn what_computes_is_chosen_by_flags() {
    let model = "gguf/llama-q4_0.gguf";
    let (_, plain, _) = verify(model, "gguf/llama-q4_0.json", &["--threads", "1"]);
    assert!(plain.contains("computed by cpu with 1 thread and a KV cache in f32"), "{plain}");
    let flags = ["--executor", "candle", "--kv", "f16", "--threads", "2", "--json"];
    let (code, out, error) = verify(model, "gguf/llama-q4_0.json", &flags);
    assert!(matches!(code, Some(0 | 4)), "{error}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let by = &report["computed_by"];
    assert_eq!((&by["executor"], &by["threads"], &by["kv"]), (&"candle".into(), &2.into(), &"f16".into()));
}

#[test]
fn a_wrong_model_ends_with_exit_code_4() {
    let (code, out, error) = verify("gguf/llama-q4_0.gguf", "gguf/llama-q8_0.json", &[]);
    assert_eq!((code, error.as_str()), (Some(4), ""), "{out}");
    assert!(out.contains("FAIL") && out.contains("out of tolerance"), "{out}");
}

#[test]
fn what_cannot_be_compared_ends_with_exit_code_1() {
    for (model, against, word) in [
        ("gguf/llama-q4_0.gguf", "hf/llama/config.json", "neither cases"),
        ("gguf/llama-q4_0.gguf", "gguf/gone.json", "gone.json"),
        ("gguf/gone.gguf", "gguf/llama-q4_0.json", "gone.gguf"),
        ("gguf/llama-q4_0.gguf", "hf/bloom/golden.safetensors", "made of this model"),
    ] {
        let (code, out, error) = verify(model, against, &["--json"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        assert!(error.contains(word), "{word}: {error}");
        assert!(error.matches("No such file").count() < 2, "told once: {error}");
    }
    let ended = output(&["verify", "smollm2-135m", "--golden", &golden("gguf/llama-q4_0.json")]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("made up"), "{}", text(&ended.stderr));
}
