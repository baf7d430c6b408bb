//! Hostile files: 100,000 mutations of right ones for every format, none of which may panic, hang, or take
//! memory or work that its size does not explain. Work is counted in what is asked of the allocator, which is the
//! same on every machine.
//!
//! The seeds are the files in `tests/corpus/FORMAT`; one that was once a fault stays there as `fault-NAME`. The
//! same functions and files serve a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod mutate;

use std::fs;
use std::io::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mutate::Mutator;
use slmscope_engine::fuzz::{TARGETS, Target, checkpoint_files};
use slmscope_engine::gguf::GgufFile;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::reader::hf::config_spec;
use slmscope_profiles::format::KvFormat;

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

const ROUNDS: usize = 100_000;
/// A mutated file is not longer.
const LONGEST: usize = 4096;
/// What reading a file may take beyond its own size.
const ALLOWANCE: usize = 64 << 20;
/// What reading one may ask the allocator for in all, and how often: some three times of what the longest
/// description takes, which is that of a model of 1024 layers.
const MAX_BYTES: usize = 20 << 20;
const MAX_CALLS: usize = 200_000;

fn corpus(format: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(format);
    let entries = fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Calls the target; what it did wrong, if anything.
fn fault(target: Target, bytes: &[u8]) -> Option<String> {
    let before = memory::Count::start();
    if let Err(panic) = catch_unwind(|| target(bytes)) {
        let text = panic.downcast_ref::<String>().cloned();
        return Some(
            text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default(),
        );
    }
    let taken = before.taken();
    for (found, limit, what) in [
        (taken.peak, bytes.len() + ALLOWANCE, "bytes of memory at once"),
        (taken.bytes, MAX_BYTES, "bytes of memory in all"),
        (taken.calls, MAX_CALLS, "pieces of memory"),
    ] {
        if found > limit {
            return Some(format!("{found} {what} for a file of {}", bytes.len()));
        }
    }
    None
}

fn run(format: &str) {
    let (_, target) = TARGETS.into_iter().find(|(name, _)| *name == format).unwrap();
    let files = corpus(format);
    assert!(!files.is_empty(), "no corpus for {format}");
    for (path, bytes) in &files {
        assert!(bytes.len() <= LONGEST, "{}", path.display());
        assert_eq!(fault(target, bytes), None, "{}", path.display());
    }
    let mut mutator = Mutator::new(format, files.into_iter().map(|(_, bytes)| bytes).collect(), LONGEST);
    for round in 0..ROUNDS {
        let bytes = mutator.next();
        if let Some(fault) = fault(target, &bytes) {
            let kept = std::env::temp_dir().join(format!("slmscope-{format}-{round}"));
            fs::write(&kept, &bytes).unwrap();
            panic!("mutation {round}: {fault}; kept as {}", kept.display());
        }
    }
}

/// A seed that is refused at once would not lead behind what refuses it.
#[test]
fn seeds_are_right_files() {
    let mapped = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(MappedFile::new(file, "seed").unwrap())
    };
    let whole = |format: &str| {
        let mut files = corpus(format);
        files.retain(|(path, _)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            // Vocabularies alone are no models.
            !name.starts_with("fault-") && !name.starts_with("tokenizer-")
        });
        files
    };
    for (path, bytes) in whole("gguf") {
        let file =
            GgufFile::open(mapped(&bytes)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let read = Model::gguf(&file, KvFormat::F16);
        assert!(read.is_ok(), "{}: {}", path.display(), read.err().unwrap());
    }
    for (path, bytes) in whole("checkpoint") {
        let files = checkpoint_files(&bytes).map(|(name, bytes)| (name.to_owned(), mapped(&bytes)));
        let read = Model::directory(&files, None, KvFormat::F16);
        assert!(read.is_ok(), "{}: {}", path.display(), read.err().unwrap());
    }
    for (path, bytes) in whole("config") {
        let read = config_spec("seed", &bytes);
        assert!(read.is_ok(), "{}: {}", path.display(), read.err().unwrap());
    }
}

#[test]
fn every_target_has_its_test() {
    assert_eq!(TARGETS.map(|(name, _)| name), ["gguf", "config", "checkpoint", "safetensors", "index"]);
}

#[test]
fn gguf() {
    run("gguf");
}

#[test]
fn config() {
    run("config");
}

#[test]
fn checkpoint() {
    run("checkpoint");
}

#[test]
fn safetensors() {
    run("safetensors");
}

#[test]
fn index() {
    run("index");
}
