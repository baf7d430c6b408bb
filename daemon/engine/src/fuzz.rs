//! Fuzz targets: each takes arbitrary bytes for a file of its format and reads them as opening a model does, without
//! loading weights.
//!
//! A target panics if reading panics, if a tensor's place lies outside of the file, and if an error is of no use to a
//! person: it must name the file, be one line and be short. A target for another format is one function and one line
//! in [`TARGETS`].
//!
//! The targets are part of the library because they check what the readers keep to themselves, such as the place of
//! each tensor; tests and fuzzers call them from outside.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{MemfdFlags, memfd_create};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;

use crate::error::LoadError;
use crate::gguf::{Gguf, Value};
use crate::map::MappedFile;
use crate::reader;
use crate::safetensors::SafeTensors;
use crate::safetensors::index::Index;
use crate::tokenizer::Tokenizer;
use crate::weights::Loading;

/// Reads bytes as a file of one format.
pub type Target = fn(&[u8]);

/// Name and function of every target; the name is that of the folder of its corpus.
pub const TARGETS: [(&str, Target); 5] = [
    ("gguf", gguf),
    ("config", config),
    ("checkpoint", checkpoint),
    ("safetensors", safetensors),
    ("index", index),
];

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
            let plan = Plan::compile(&described.spec, KvFormat::F16, |tensor| {
                described.tensors[&tensor.name].format
            });
            for (tensor, _) in &plan.tensors {
                let place = &described.tensors[&tensor.name];
                assert!(place.range.end <= bytes.len() && place.holds(tensor));
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

/// The `config.json` of a checkpoint, with all tensors that it could ask for and with none.
pub fn config(bytes: &[u8]) {
    match reader::hf::config_spec(FILE, bytes) {
        Ok(spec) => {
            let plan = Plan::compile(&spec, KvFormat::F16, |tensor| tensor.format_in(WeightFormat::Q4_0));
            assert!(!plan.steps.is_empty());
        }
        Err(error) => message(&error.to_string()),
    }
    checkpoint(bytes);
}

/// A `config.json`, a zero byte, the header of its safetensors file in JSON, another zero byte, and the data. What
/// is missing is empty: a configuration alone is a checkpoint without any tensor.
pub fn checkpoint(bytes: &[u8]) {
    let files = checkpoint_files(bytes);
    // A map of nothing is refused before a reader sees it.
    if files[0].1.is_empty() {
        return;
    }
    let files = files.map(|(name, bytes)| (name.to_owned(), mapped(&bytes)));
    let described = match reader::hf::read(&files, None) {
        Ok(described) => described,
        Err(error) => return message(&error.to_string()),
    };
    let (never, mut report) = (AtomicBool::new(false), |_, _| ());
    let mut loading = Loading::new(&never, &mut report);
    for tensor in described.spec.tensors() {
        let place = &described.tensors[&tensor.name];
        match place.bytes(&tensor, &mut loading) {
            Ok(found) => assert_eq!(found.as_slice().len() as u64, tensor.bytes(place.format)),
            Err(error) => message(&error.to_string()),
        }
    }
}

/// The files that [`checkpoint`] takes its bytes for, with their names.
pub fn checkpoint_files(bytes: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (config, header, data) = (part(), part(), part());
    let weights = [&(header.len() as u64).to_le_bytes(), header, data].concat();
    [("config.json", config.to_vec()), ("model.safetensors", weights)]
}

/// The bytes as a file, which readers of checkpoints take.
fn mapped(bytes: &[u8]) -> Arc<MappedFile> {
    let memory = memfd_create(FILE, MemfdFlags::CLOEXEC).expect("the system has room for a small file");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("the system has room for a small file");
    Arc::new(MappedFile::new(file, FILE).expect("a file with bytes is mapped"))
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
