//! `slmscope weights` as a user types it.

mod support;

use std::fs;

use support::{output, text};

#[test]
fn a_file_is_written_once_and_replaced_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let path = path.to_str().unwrap();
    let first = output(&["weights", "pythia-160m", "--format", "q2_k", "--output", path]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let told = text(&first.stdout);
    assert!(told.contains("pythia-160m as gptneox") && told.contains("tensors in q2_k"), "{told}");
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"GGUF"));

    let again = output(&["weights", "pythia-160m", "--output", path]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force") && again.stdout.is_empty());
    assert_eq!(fs::read(path).unwrap(), bytes);

    let same = output(&["weights", "pythia-160m", "--format", "q2_k", "--output", path, "--force"]);
    assert!(same.status.success() && fs::read(path).unwrap() == bytes);
    let other =
        output(&["weights", "pythia-160m", "--format", "q2_k", "--output", path, "--force", "--seed", "2"]);
    assert!(other.status.success() && fs::read(path).unwrap() != bytes);
}

#[test]
fn standard_output_gets_the_bytes_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let file = output(&["weights", "pythia-160m", "--format", "q2_k", "--output", path.to_str().unwrap()]);
    assert!(file.status.success(), "{}", text(&file.stderr));
    let piped = output(&["weights", "pythia-160m", "--format", "q2_k", "--output", "-"]);
    assert!(piped.status.success() && piped.stdout == fs::read(&path).unwrap(), "{}", text(&piped.stderr));
    assert!(text(&piped.stderr).starts_with("standard output: pythia-160m as gptneox"));
    assert!(!std::path::Path::new("-").exists());
}

#[test]
fn what_cannot_be_written_is_refused() {
    for (arguments, code, says) in [
        (&["weights", "smolm2-135m", "--output", "m.gguf"][..], 1, "did you mean smollm2-135m"),
        (&["weights", "opt-125m", "--output", "m.gguf"], 1, "which no architecture of GGUF files computes"),
        (&["weights", "smollm2-135m", "--output", "/nowhere/m.gguf"], 1, "/nowhere/m.gguf"),
        (&["weights", "smollm2-135m", "--output", "/dev/null"], 1, "is a device"),
        (&["weights", "smollm2-135m"], 2, "--output"),
        (&["weights", "smollm2-135m", "--output", "-", "--force"], 2, "--force"),
        (&["weights", "smollm2-135m", "--output", "m.gguf", "--format", "q9_9"], 2, "q9_9"),
    ] {
        let ended = output(arguments);
        let told = text(&ended.stderr);
        assert!(ended.status.code() == Some(code) && told.contains(says), "{arguments:?}: {told}");
        assert!(ended.stdout.is_empty());
    }
}
