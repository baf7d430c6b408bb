//! Hostile files: 100,000 mutations of right ones for every format, none of which may panic, hang, or take
//! memory that its size does not explain.
//!
//! The seeds are the files in `tests/corpus/FORMAT`; one that was once a fault stays there. The same
//! functions and files serve a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod mutate;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use mutate::Mutator;
use slmscope_engine::fuzz::{TARGETS, Target};

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

const ROUNDS: usize = 100_000;
/// A mutated file is not longer.
const LONGEST: usize = 4096;
/// What reading a file may take beyond its own size.
const ALLOWANCE: usize = 64 << 20;

fn corpus(format: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(format);
    let entries = fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Calls the target; what it did wrong, if anything.
fn fault(target: Target, bytes: &[u8]) -> Option<String> {
    let before = memory::start();
    if let Err(panic) = catch_unwind(|| target(bytes)) {
        let text = panic.downcast_ref::<String>().cloned();
        return Some(
            text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default(),
        );
    }
    let peak = memory::peak_since(before);
    (peak > bytes.len() + ALLOWANCE).then(|| format!("{peak} bytes of memory for a file of {}", bytes.len()))
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

#[test]
fn every_target_has_its_test() {
    assert_eq!(TARGETS.map(|(name, _)| name), ["gguf", "config", "safetensors", "index"]);
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
fn safetensors() {
    run("safetensors");
}

#[test]
fn index() {
    run("index");
}
