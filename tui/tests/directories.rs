//! Runs of Hugging Face directories, with text that goes through their own tokenizer and template.

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{output, text};

/// A small llama with a tokenizer of one token for each byte, and a chat template.
struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens/hf/llama");
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(golden.join(file), folder.path().join(file)).expect("the repository has it");
        }
        let model = Self { folder };
        model.write("tokenizer.json", &tokenizer(94));
        model.write_template("{{ bos_token }}[{{ messages[0].content }}]");
        model
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn write(&self, file: &str, content: &Value) {
        std::fs::write(self.folder.path().join(file), content.to_string()).expect("room for it");
    }

    fn write_template(&self, template: &str) {
        self.write("tokenizer_config.json", &json!({"bos_token": "!", "chat_template": template}));
    }

    fn run(&self, more: &[&str]) -> (Value, String, Option<i32>) {
        let path = self.path().display().to_string();
        let short = ["--generate", "4", "--repetitions", "1", "--warmup", "0", "--overhead", "off", "--json"];
        let arguments: Vec<&str> =
            ["run", &path].into_iter().chain(short).chain(more.iter().copied()).collect();
        let ended = output(&arguments);
        let result = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        (result, text(&ended.stderr), ended.status.code())
    }
}

/// A byte-level tokenizer whose first 94 tokens are the printable characters of ASCII.
fn tokenizer(tokens: u32) -> Value {
    let vocab: serde_json::Map<String, Value> = (0..tokens)
        .filter_map(|id| Some((char::from_u32(u32::from('!') + id)?.to_string(), id.into())))
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
}

/// The ids of ASCII text.
fn ids(text: &str) -> Value {
    text.bytes().map(|byte| byte - b'!').collect()
}

#[test]
fn a_directory_runs_on_text_and_on_chat() {
    let model = Model::new();
    let (result, said, code) = model.run(&["--prompt-text", "hello"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(result["model"]["source"], "hf");
    assert_eq!(result["prompt_ids"], ids("hello"));
    assert!(result["text"].is_string());
    let name = model.path().file_name().expect("it has one").to_string_lossy().into_owned();
    assert_eq!(result["model"]["id"], name);
    let stored = result["model"]["weight_bytes"].as_u64().expect("a number");

    let (result, said, _) = model.run(&["--chat", "hi", "--format", "q8_0"]);
    assert_eq!(result["prompt_ids"], ids("![hi]"), "{said}");
    assert_eq!(result["model"]["format"], "q8_0");
    assert!(result["model"]["weight_bytes"].as_u64().expect("a number") < stored);
}

#[test]
fn text_that_cannot_become_a_prompt_ends_the_job_with_the_reason() {
    let model = Model::new();
    let failed = |more: &[&str], reason: &str| {
        let (result, said, code) = model.run(more);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(result["status"], "failed");
        assert!(said.contains(reason) && result["error"].as_str().expect("text").contains(reason), "{said}");
    };
    model.write_template("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}");
    failed(&["--chat", "hi"], "takes more work than a conversation of one message can need");
    model.write_template("{{ raise_exception('nobody speaks here') }}");
    failed(&["--chat", "hi"], "nobody speaks here");
    model.write("tokenizer.json", &tokenizer(40_000));
    failed(&["--prompt-text", "hi"], "do not fit the");
    model.write("tokenizer.json", &json!({"model": 5}));
    failed(&["--prompt-text", "hi"], "tokenizer.json: is no tokenizer that can be used");
    std::fs::remove_file(model.path().join("tokenizer.json")).expect("it is there");
    let (_, said, code) = model.run(&["--prompt-text", "hi"]);
    assert!(
        code == Some(2) && said.contains("--prompt-text: ") && said.contains("has no tokenizer"),
        "{said}"
    );
    // What no text needs still runs.
    assert_eq!(model.run(&["--prompt", "4"]).2, Some(0));
}

#[test]
fn the_longest_prompt_file_reaches_the_model() {
    let model = Model::new();
    // It is read after the prompt has passed both sockets.
    model.write("tokenizer.json", &json!({"model": 5}));
    let path = model.path().join("prompt.txt");
    std::fs::write(&path, "a".repeat(16 << 20)).expect("there is room");
    let (result, said, code) = model.run(&["--prompt-file", path.to_str().expect("it is text")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("tokenizer.json: is no tokenizer that can be used"), "{said}");
    assert!(result["run_id"].is_string());
}

#[test]
fn a_model_that_sees_says_once_what_is_not_read_of_it() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens/hf/gemma3");
    let model = Model::new();
    let config = std::fs::read(golden.join("config.json")).expect("the repository has it");
    let config: Value = serde_json::from_slice(&config).expect("it is JSON");
    model.write("config.json", &json!({"model_type": "gemma3", "text_config": config, "vision_config": {}}));
    // One tensor more, at the end of the data.
    let stored = std::fs::read(golden.join("model.safetensors")).expect("the repository has it");
    let (length, rest) = stored.split_first_chunk().expect("it begins with a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).expect("it is JSON");
    header["vision_tower.x"] =
        json!({"dtype": "F32", "shape": [1], "data_offsets": [data.len(), data.len() + 4]});
    let header = header.to_string();
    let stored = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data, &[0; 4]].concat();
    std::fs::write(model.path().join("model.safetensors"), stored).expect("room for it");

    let path = model.path().display().to_string();
    let said = "tensors for images, which are not read: 1";
    let shown = text(&output(&["model", &path]).stdout);
    assert_eq!(shown.matches(said).count(), 1, "{shown}");
    let ended = output(&["model", &path, "--json"]);
    let json: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    assert_eq!(json["remark"], said, "{}", text(&ended.stderr));
}

#[test]
fn a_shard_that_is_not_there_is_missed_by_its_index() {
    let model = Model::new();
    let file = model.path().join("model.safetensors");
    std::fs::rename(file, model.path().join("a.safetensors")).expect("it is there");
    let map = json!({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}});
    model.write("model.safetensors.index.json", &map);
    let ended = output(&["model", &model.path().display().to_string()]);
    let says = "/b.safetensors, which model.safetensors.index.json names: ";
    assert!(text(&ended.stderr).contains(says), "{}", text(&ended.stderr));
}
