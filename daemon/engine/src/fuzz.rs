//! What a fuzzer calls: each target takes arbitrary bytes for a file of its format and reads them as opening
//! a model does, short of the weights.
//!
//! A target panics if reading does, and if an error is none that a person can use: it has to name the file,
//! stay on one line and be of a length that is read. A target for another format is one function and one
//! line in [`TARGETS`].

use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;

use crate::error::LoadError;
use crate::gguf::{Gguf, Value};
use crate::reader;
use crate::safetensors::SafeTensors;
use crate::safetensors::index::Index;
use crate::tokenizer::Tokenizer;

/// Reads bytes as a file of one format.
pub type Target = fn(&[u8]);

/// Name and function of every target; the name is that of the folder of its corpus.
pub const TARGETS: [(&str, Target); 4] =
    [("gguf", gguf), ("config", config), ("safetensors", safetensors), ("index", index)];

/// What messages call the bytes.
const FILE: &str = "fuzzed.file";
/// No message is longer, in bytes. Names of a few hundred bytes may be in it.
const LONGEST_MESSAGE: usize = 2000;
/// A text with letters, spaces, digits, other alphabets and what may be a special token.
const TEXT: &str = "A few words, 1234 <s> \u{00df}\u{6f22}\u{1f600}\n\tand   more</s>";

/// A GGUF file: header, metadata, tensor table, the model that they describe, and the tokenizer.
pub fn gguf(bytes: &[u8]) {
    let gguf = match Gguf::parse(bytes, FILE) {
        Ok(gguf) => gguf,
        Err(error) => return place(&error.to_string(), error.offset, bytes),
    };
    for tensor in gguf.tensors() {
        assert_eq!(Some(gguf.data(tensor).len() as u64), tensor.ggml_type().bytes_of(tensor.elements()));
    }
    for (key, value) in gguf.metadata() {
        let _ = (gguf.get_str(key), gguf.get_u32(key), gguf.get_f32(key), value.describe());
        if let Value::Array(array) = value {
            let _ = (array.integers().map(Iterator::count), array.floats().map(Iterator::count));
            assert!(array.strings().is_none_or(|strings| strings.count() == array.len()));
        }
    }
    match reader::gguf::read(&gguf) {
        Ok(described) => {
            let plan =
                Plan::compile(&described.spec, KvFormat::F16, |tensor| described.tensors[&tensor.name].0);
            for (tensor, format) in &plan.tensors {
                let (_, range) = &described.tensors[&tensor.name];
                assert!(range.end <= bytes.len() && range.len() as u64 == tensor.bytes(*format));
            }
        }
        Err(LoadError::Gguf(error)) => place(&error.to_string(), error.offset, bytes),
        Err(error) => message(&error.to_string()),
    }
    match Tokenizer::from_gguf(&gguf) {
        Ok(tokenizer) => {
            let ids =
                tokenizer.encode(TEXT, true).expect("vocabularies of GGUF files give ids for every text");
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
            let _ = tokenizer.decode(&ids);
        }
        Err(error) => message(&error.to_string()),
    }
}

/// The `config.json` of a checkpoint.
pub fn config(bytes: &[u8]) {
    match reader::hf::config_spec(FILE, bytes) {
        Ok(spec) => {
            let plan = Plan::compile(&spec, KvFormat::F16, |tensor| tensor.format_in(WeightFormat::Q4_0));
            assert!(!plan.steps.is_empty());
        }
        Err(error) => message(&error.to_string()),
    }
}

/// A safetensors file.
pub fn safetensors(bytes: &[u8]) {
    match SafeTensors::parse(bytes, FILE) {
        Ok(parsed) => {
            for tensor in parsed.tensors() {
                let expected = tensor.dtype().bytes_of(tensor.elements());
                assert_eq!(Some(parsed.data(tensor).len() as u64), expected);
                assert_eq!(parsed.tensor(tensor.name()), Some(tensor));
            }
        }
        Err(error) => place(&error.to_string(), error.offset, bytes),
    }
}

/// The index of a sharded checkpoint.
pub fn index(bytes: &[u8]) {
    match Index::parse(bytes, FILE) {
        Ok(index) => assert!(index.tensors().all(|(_, shard)| shard < index.shards().len())),
        Err(error) => place(&error.to_string(), error.offset, bytes),
    }
}

/// An error has to name a byte of the file.
fn place(text: &str, offset: u64, bytes: &[u8]) {
    assert!(offset <= bytes.len() as u64, "{text}");
    assert!(text.contains(&format!("(at byte {offset})")), "{text}");
    message(text);
}

fn message(text: &str) {
    assert!(text.starts_with(FILE), "{text}");
    assert!(text.len() <= LONGEST_MESSAGE, "{} bytes: {text}", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}
