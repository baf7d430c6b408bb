//! `slmscope models` and `slmscope model` as they are typed.

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Daemon, output, text};

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens");
    folder.join(name).canonicalize().expect("the repository has it").display().to_string()
}

fn json(arguments: &[&str]) -> Value {
    let ended = output(arguments);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("one JSON object")
}

#[test]
fn a_models_files_are_described_with_the_keys_of_a_catalogue_row() {
    let row = json(&["model", "openelm-270m", "--json"]);
    let file = json(&["model", &golden("gguf/openelm-f16.gguf"), "--json"]);
    let directory = json(&["model", &golden("hf/qwen2"), "--json", "--format", "q8_0"]);
    for found in [&file, &directory] {
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(found), keys(&row));
        assert!(found["family"].is_null() && found["paper_memory"].is_null(), "{found}");
        let sum: u64 =
            found["plan"].as_array().expect("a list").iter().filter_map(|op| op["bytes"].as_u64()).sum();
        assert!(sum > 0 && found["weight_bytes"].as_u64() > Some(1000), "{found}");
    }
    assert!(file["q_heads"].is_null() && file["per_layer"]["q_heads"].is_array(), "{file}");
    assert_eq!((&file["format"], &directory["format"]), (&Value::Null, &"q8_0".into()));
    assert_eq!(directory["attention"], "GQA");
}

#[test]
fn a_models_files_are_shown_to_people_or_refused_with_the_reason() {
    let shown = |arguments: &[&str]| {
        let ended = output(arguments);
        (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
    };
    let file = golden("gguf/llama-q4_k_m.gguf");
    let (code, out, error) = shown(&["model", &file]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(out.contains("q4_k") && out.contains("q6_k") && out.contains("attn.qkv_proj"), "{out}");
    assert!(!out.contains('\x1b') && !out.contains("the survey's weights"), "{out}");
    let (code, _, error) = shown(&["model", &file, "--format", "q8_0"]);
    assert!(code == Some(2) && error.contains("leave --format q8_0 out"), "{error}");
    let (code, _, error) = shown(&["model", &golden("gguf/llama-q4_k_m.json")]);
    assert!(code == Some(1) && error.contains("llama-q4_k_m.json"), "{error}");
    let (code, _, error) = shown(&["model", "smollm2-135n"]);
    assert!(code == Some(1) && error.contains("smollm2-135m"), "{error}");
}

#[test]
fn a_daemon_opens_directories_under_its_model_folders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    let models = golden("hf");
    std::fs::write(&config, format!("model_folders = [\"{models}\"]\n")).expect("room for it");
    let daemon = Daemon::with(&["--config", &config.display().to_string()]);
    let submit = |path: &str| {
        let workload = r#"{"prompt":4,"generate":2,"repetitions":1,"warmup":0,"overhead":"off"}"#;
        let line = format!(
            "{{\"id\":1,\"submit\":{{\"model\":{{\"path\":\"{path}\"}},\"workload\":{workload}}}}}\n"
        );
        let subscribe = "{\"subscribe\":{\"ops\":\"off\"}}\n";
        daemon.lines(&format!("{subscribe}{line}"))
    };
    let result = submit(&format!("{models}/qwen2")).frame("result");
    assert_eq!((&result["result"]["status"], &result["result"]["error"]), (&"complete".into(), &Value::Null));
    assert_eq!(result["result"]["model"]["source"], "hf");
    let refused = submit(&golden("gguf")).find(|line| line["re"] == 1).expect("an answer");
    assert_eq!(refused["error"]["code"], "forbidden", "{refused}");
}
