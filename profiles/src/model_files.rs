//! A Hugging Face directory: which of its files make the model, judged by their names and by the index of shards.
//! Whoever opens files asks here first: the client for its user, the daemon for paths that it may open.

use std::collections::BTreeSet;

/// Most files that travel with a request: the kernel carries a bounded number of open files in one message, and the
/// first one to a worker takes the op ring along.
pub const MAX_FILES: usize = 63;
/// What describes a model and its tokenizer, where it is there.
const SIDE_FILES: [&str; 11] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "qwen.tiktoken",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];
const CONFIG: &str = "config.json";
/// All weights in one file.
const SINGLE: &str = "model.safetensors";
/// Which shard holds which tensor.
pub const INDEX: &str = "model.safetensors.index.json";
/// The largest index known has 1 MB.
pub const MOST_INDEX: u64 = 64 << 20;
/// What a directory's names amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// A model in safetensors: its files. Where [`INDEX`] is among them, the shards that it names come to them.
    Directory(Vec<String>),
    /// A model in one GGUF file.
    Gguf(String),
}

/// Judges a directory by the names in it.
///
/// # Errors
/// Says what is missing, or which choice is to be made.
pub fn select(names: &BTreeSet<String>) -> Result<Content, String> {
    let ending = |end: &str| names.iter().filter(|name| name.ends_with(end)).cloned().collect::<Vec<_>>();
    let weights = [INDEX, SINGLE].into_iter().find(|&name| names.contains(name));
    if let Some(weights) = weights.filter(|_| names.contains(CONFIG)) {
        let side = SIDE_FILES.into_iter().filter(|&name| names.contains(name));
        let files = [CONFIG].into_iter().chain(side).chain([weights]);
        return Ok(Content::Directory(files.map(str::to_owned).collect()));
    }
    match ending(".gguf").as_slice() {
        [only] => Ok(Content::Gguf(only.clone())),
        [] if !names.contains(CONFIG) => Err(format!("holds neither {CONFIG} nor a .gguf file")),
        [] if !ending(".bin").is_empty() => Err(
            "holds its weights only as PyTorch pickles, which run code when they are read: convert them to \
             safetensors or GGUF"
                .to_owned(),
        ),
        [] => Err(format!("holds neither {SINGLE} nor {INDEX} with its shards")),
        several => Err(format!("holds several .gguf files, name one of them: {}", several.join(", "))),
    }
}

/// The shards that an index names.
///
/// # Errors
/// If it is no index, or names files elsewhere or too many.
pub fn shards(index: &[u8]) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let wrong = |problem: String| format!("{INDEX} {problem}; fetch it again");
    let index: Index =
        serde_json::from_slice(index).map_err(|error| wrong(format!("is no index of shards: {error}")))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(odd) = shards.iter().find(|name| name.contains('/') || !name.ends_with(".safetensors")) {
        return Err(wrong(format!("names `{odd}`, which is no safetensors file of the directory")));
    }
    let most = MAX_FILES - SIDE_FILES.len() - 2;
    match shards.len() {
        0 => Err(wrong("names no shard".to_owned())),
        count if count > most => Err(format!(
            "has its weights in {count} shards, and at most {most} can be opened at once: save it in fewer"
        )),
        _ => Ok(shards.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(names: &[&str]) -> Result<Content, String> {
        select(&names.iter().map(|&name| name.to_owned()).collect())
    }

    fn files(names: &[&str]) -> Content {
        Content::Directory(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_model_is_found_among_other_files() {
        assert_eq!(
            judge(&["README.md", "config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin"]),
            Ok(files(&["config.json", "tokenizer.json", "model.safetensors"]))
        );
        assert_eq!(
            judge(&["config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors", INDEX]),
            Ok(files(&["config.json", INDEX]))
        );
        assert_eq!(
            judge(&["config.json", "model.safetensors", "adapter_model.safetensors"]),
            Ok(files(&["config.json", "model.safetensors"]))
        );
        assert_eq!(judge(&["config.json", "m.gguf"]), Ok(Content::Gguf("m.gguf".to_owned())));
    }

    #[test]
    fn what_is_no_model_says_what_is_missing() {
        let error = |names: &[&str]| judge(names).unwrap_err();
        assert!(error(&["a.txt"]).contains("neither config.json nor a .gguf"));
        assert!(error(&["config.json", "pytorch_model.bin"]).contains("pickles"));
        assert!(
            error(&["config.json", "adapter_model.safetensors"]).contains("neither model.safetensors nor")
        );
        assert!(error(&["a.gguf", "b.gguf"]).contains("a.gguf, b.gguf"));
    }

    #[test]
    fn an_index_names_files_of_its_own_directory() {
        let index = |entries: &str| shards(format!("{{\"weight_map\": {{{entries}}}}}").as_bytes());
        let two = r#""a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors""#;
        assert_eq!(index(two).unwrap(), ["m-1.safetensors", "m-2.safetensors"]);
        assert!(index(r#""a": "../../secret.safetensors""#).unwrap_err().contains("secret"));
        assert!(index(r#""a": "weights.bin""#).unwrap_err().contains("weights.bin"));
        assert!(index("").unwrap_err().contains("no shard"));
        assert!(shards(b"[]").unwrap_err().contains("no index"));
        let many: Vec<String> = (0..60).map(|n| format!("\"{n}\": \"{n}.safetensors\"")).collect();
        assert!(index(&many.join(",")).unwrap_err().contains("60 shards"));
    }
}
