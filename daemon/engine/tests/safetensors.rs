//! The safetensors parser on right files, wrong files and hostile files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use slmscope_engine::map::MappedFile;
use slmscope_engine::safetensors::index::Index;
use slmscope_engine::safetensors::{Dtype, Problem, SafeTensors, TensorSet};

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

/// A header of the given entries, as JSON texts.
fn with(entries: &[(&str, &str)], data: usize) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(name, entry)| format!("\"{name}\":{entry}")).collect();
    file(&format!("{{{}}}", entries.join(",")), data)
}

fn refusal(bytes: &[u8]) -> String {
    SafeTensors::parse(bytes, "m.safetensors").expect_err("the file is wrong").to_string()
}

const VECTOR: &str = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;

#[test]
fn reads_what_was_written() {
    let header = r#" {"__metadata__": {"format": "pt"},
        "a.weight": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [8, 38]},
        "b": {"shape": [], "data_offsets": [0, 8], "dtype": "I64"},
        "none": {"dtype": "F32", "shape": [0, 4], "data_offsets": [38, 38]},
        "\u00df": {"dtype": "F16", "shape": [1], "data_offsets": [38, 40]}}  "#;
    let bytes = file(header.trim_start(), 40);
    let parsed = SafeTensors::parse(&bytes, "m.safetensors").unwrap();
    assert_eq!(parsed.tensors().len(), 4);
    let a = parsed.tensor("a.weight").unwrap();
    assert_eq!((a.name(), a.dtype(), a.shape(), a.elements()), ("a.weight", Dtype::BF16, &[3, 5][..], 15));
    assert_eq!((parsed.data(a).len(), a.range().end), (30, bytes.len() - 2));
    assert_eq!(parsed.tensor("b").unwrap().elements(), 1);
    assert_eq!(parsed.tensor("none").unwrap().elements(), 0);
    assert_eq!(parsed.tensor("ß").unwrap().range().len(), 2);
    assert!(parsed.tensor("c").is_none());
}

#[test]
fn other_files_are_named() {
    assert!(refusal(b"").contains("has 0 bytes"));
    for other in [b"GGUF\x03\0\0\0\0\0\0\0".as_slice(), b"PK\x03\x04 zip or so", &[0; 64], &[255; 64]] {
        let text = refusal(other);
        assert!(text.contains("is no safetensors file") && text.contains("m.safetensors: "), "{text}");
    }
    let mut long = file("{}", 0);
    long[..8].copy_from_slice(&99_999_999_u64.to_le_bytes());
    assert!(refusal(&long).contains("truncated: the header ends at byte 100000007, file has 10"));
}

#[test]
fn entries_that_cannot_be_are_refused_with_their_place() {
    let one = |entry: &str| refusal(&with(&[("t", entry)], 8));
    for (entry, says) in [
        (r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#, "has 12 bytes; its data_offsets are 0 to 8"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#, "its data_offsets are 8 to 0"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#, "truncated: the data of tensor t ends at"),
        (r#"{"dtype":"F9","shape":[2],"data_offsets":[0,8]}"#, "unknown dtype F9 (at byte 22)"),
        (r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#, "tensor t: shape: a whole number"),
        (r#"{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}"#, "a whole number from 0"),
        (r#"{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}"#, "`NaN],"),
        (r#"{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}"#, "a whole number from 0"),
        (
            r#"{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}"#,
            "no whole number of bytes",
        ),
        (r#"{"dtype":"F4","shape":[3],"data_offsets":[0,8]}"#, "no whole number of bytes"),
        (r#"{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}"#, "there are enough numbers"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}"#, "there are enough numbers"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[0]}"#, "two numbers is expected"),
        (r#"{"dtype":"F32","shape":[2]}"#, "tensor t: field data_offsets is missing"),
        (r#"{"shape":[2],"data_offsets":[0,8]}"#, "field dtype is missing"),
        (r#"{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}"#, "field shape occurs twice"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}"#, "field x is unknown"),
        ("7", "tensor t: `{` is expected, `7}` found (at byte 13)"),
    ] {
        let text = one(entry);
        assert!(text.contains(says) && text.contains("(at byte "), "{entry}: {text}");
    }
}

#[test]
fn data_is_covered_exactly() {
    let (first, second) = (VECTOR, r#"{"dtype":"U8","shape":[4],"data_offsets":[6,10]}"#);
    assert!(refusal(&with(&[("t", first), ("u", second)], 10)).contains("tensors t and u overlap"));
    let behind = r#"{"dtype":"U8","shape":[4],"data_offsets":[9,13]}"#;
    assert!(refusal(&with(&[("t", first), ("u", behind)], 13)).contains("1 bytes of data before tensor u"));
    assert!(refusal(&with(&[("t", first)], 12)).contains("4 bytes of data before the end of the file"));
    assert!(refusal(&with(&[("t", first), ("t", first)], 8)).contains("overlap"));
    let empty = r#"{"dtype":"U8","shape":[0],"data_offsets":[8,8]}"#;
    assert!(refusal(&with(&[("t", first), ("u", empty), ("u", empty)], 8)).contains("tensor u occurs twice"));
    let huge = r#"{"dtype":"U8","shape":[18446744073709551608],"data_offsets":[7,18446744073709551615]}"#;
    assert!(refusal(&with(&[("t", huge)], 8)).contains("no whole number of bytes"));
}

#[test]
fn a_file_cut_anywhere_is_an_error_within_it() {
    let bytes = with(&[("t", VECTOR), ("u", r#"{"dtype":"U8","shape":[2],"data_offsets":[8,10]}"#)], 10);
    for length in 0..bytes.len() {
        let error = SafeTensors::parse(&bytes[..length], "m.safetensors").expect_err("the file is cut");
        assert!(error.offset <= length as u64, "{error}");
    }
    assert!(matches!(
        SafeTensors::parse(&bytes[..bytes.len() - 1], "m").unwrap_err().problem,
        Problem::Truncated { .. }
    ));
}

fn open(folder: &Path, name: &str, bytes: &[u8]) -> Arc<MappedFile> {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    Arc::new(MappedFile::open(&path).unwrap())
}

#[test]
fn shards_make_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path(), "one.safetensors", &with(&[("a", VECTOR)], 8));
    let two = open(folder.path(), "two.safetensors", &with(&[("b", VECTOR)], 8));
    let index =
        |map: &str| Index::parse(format!("{{\"weight_map\":{map}}}").as_bytes(), "index.json").unwrap();
    let both = index(r#"{"b":"two.safetensors","a":"one.safetensors"}"#);
    let set = TensorSet::sharded(&both, vec![two.clone(), one.clone()]).unwrap();
    let (file, tensor) = set.tensor("a").unwrap();
    assert_eq!((file.name(), tensor.elements()), (one.name(), 2));
    assert_eq!((set.tensors().count(), set.files().len()), (2, 2));
    assert!(set.tensor("c").is_none());

    let refused = |index: &Index, files| TensorSet::sharded(index, files).unwrap_err().to_string();
    assert!(refused(&both, vec![one.clone()]).contains("names 2 files, 1 were opened"));
    assert!(refused(&both, vec![one.clone(), two.clone()]).contains("has tensor a in one.safetensors"));
    let absent = index(r#"{"a":"one.safetensors","x":"one.safetensors"}"#);
    assert!(refused(&absent, vec![one.clone()]).contains("has tensor x in one.safetensors, where it is not"));
    assert!(refused(&both, vec![one.clone(), one.clone()]).contains("tensor a occurs twice"));
    assert_eq!(TensorSet::single(one).unwrap().tensors().count(), 1);
}
