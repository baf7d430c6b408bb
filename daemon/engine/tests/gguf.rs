//! The GGUF parser on right files, wrong files and hostile files.

#[path = "fixtures/gguf_builder.rs"]
mod gguf_builder;

use std::path::Path;

use gguf_builder::{Field, file, preamble, push_field, push_string, push_tensor};
use slmscope_engine::gguf::{GgmlType, Gguf, Problem, Value};

const F32: u32 = 0;
const Q4_0: u32 = 2;

fn sample() -> Vec<u8> {
    file(
        &[
            ("general.architecture", Field::Str("llama")),
            ("llama.block_count", Field::U32(2)),
            ("llama.signed", Field::I32(-3)),
            ("llama.epsilon", Field::F32(1e-5)),
            ("llama.flag", Field::Bool(true)),
            ("llama.heads", Field::I32s(vec![4, -1, 8])),
            ("tokenizer.ggml.tokens", Field::Strs(vec!["a", "", "ß"])),
            ("tokenizer.ggml.scores", Field::F32s(vec![0.5, -1.0])),
        ],
        &[("norm", &[8], F32, 0), ("weight", &[64, 3], Q4_0, 32)],
        32 + 3 * 36,
    )
}

fn problem(bytes: &[u8]) -> Problem {
    Gguf::parse(bytes, "m.gguf").expect_err("the file is wrong").problem
}

/// A header with the given counts and nothing behind them.
fn counts(tensors: u64, keys: u64) -> Vec<u8> {
    let mut out = preamble(3);
    out.extend(tensors.to_le_bytes());
    out.extend(keys.to_le_bytes());
    out
}

#[test]
fn reads_what_was_written() {
    let mut bytes = sample();
    let last = bytes.len() - 1;
    bytes[last] = 99;
    let gguf = Gguf::parse(&bytes, "m.gguf").unwrap();
    assert_eq!((gguf.version(), gguf.alignment(), gguf.tensors().len()), (3, 32, 2));
    assert_eq!(gguf.get_str("general.architecture"), Ok(Some("llama")));
    assert_eq!(gguf.get_u32("llama.block_count"), Ok(Some(2)));
    assert_eq!(gguf.get_u64("llama.block_count"), Ok(Some(2)));
    assert_eq!(gguf.get_f32("llama.epsilon"), Ok(Some(1e-5)));
    assert_eq!(gguf.get_f32("llama.signed"), Ok(Some(-3.0)));
    assert_eq!(gguf.get_bool("llama.flag"), Ok(Some(true)));
    assert_eq!(gguf.get_u32("absent"), Ok(None));
    assert_eq!(gguf.metadata().count(), 8);
    let heads = gguf.get_array("llama.heads").unwrap().unwrap();
    assert_eq!(heads.integers().unwrap().collect::<Vec<_>>(), [4, -1, 8]);
    assert!(heads.floats().is_none() && heads.strings().is_none());
    let tokens = gguf.get_strings("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!(tokens.len(), 3);
    assert_eq!(tokens.collect::<Vec<_>>(), [b"a".as_slice(), b"", "ß".as_bytes()]);
    let scores = gguf.get_array("tokenizer.ggml.scores").unwrap().unwrap();
    assert_eq!(scores.floats().unwrap().collect::<Vec<_>>(), [0.5, -1.0]);

    let weight = gguf.need_tensor("weight").unwrap();
    assert_eq!((weight.dimensions(), weight.ggml_type()), ([64, 3].as_slice(), GgmlType::Q4_0));
    assert_eq!((weight.row_length(), weight.rows(), weight.elements()), (64, 3, 192));
    assert_eq!(gguf.data(weight).len(), 108);
    assert_eq!(gguf.data(weight).last(), Some(&99));
    assert!(weight.range().start.is_multiple_of(32));
}

#[test]
fn wrong_types_are_errors_that_name_the_key() {
    let bytes = sample();
    let gguf = Gguf::parse(&bytes, "m.gguf").unwrap();
    assert!(gguf.get_u32("llama.signed").is_err());
    assert!(gguf.get_str("llama.block_count").is_err());
    assert!(gguf.get_strings("llama.heads").is_err());
    assert!(gguf.need_tensor("absent").is_err());
    let message = gguf.get_bool("llama.heads").unwrap_err().to_string();
    assert_eq!(
        message,
        "m.gguf: llama.heads is an array of 3 integers, a truth value is expected (at byte 182); convert the \
         model again; its converter left this out or wrote it differently"
    );
    assert_eq!(gguf.get("llama.flag"), Some(Value::Bool(true)));
}

#[test]
fn other_files_and_versions_are_named() {
    assert_eq!(problem(b""), Problem::NotGguf { found: vec![] });
    assert_eq!(problem(b"lmgg\x01"), Problem::NotGguf { found: b"lmgg".to_vec() });
    assert_eq!(problem(&preamble(1)), Problem::Version(1));
    assert_eq!(problem(&preamble(4)), Problem::Version(4));
    assert_eq!(problem(&preamble(3_u32.swap_bytes())), Problem::BigEndian);
    assert!(Gguf::parse(&[preamble(2), vec![0; 16]].concat(), "m.gguf").is_ok());
}

#[test]
fn absurd_counts_and_lengths_are_refused_before_memory_is_spent() {
    let too_many =
        |bytes: &[u8]| assert!(matches!(problem(bytes), Problem::TooMany { .. }), "{:?}", problem(bytes));
    too_many(&counts(1 << 31, 0));
    too_many(&counts(0, u64::MAX));

    let mut array = counts(0, 1);
    push_string(&mut array, "k");
    array.extend(9_u32.to_le_bytes());
    for element in [0_u32, 4, 8] {
        let mut array = array.clone();
        array.extend(element.to_le_bytes());
        array.extend((1_u64 << 60).to_le_bytes());
        too_many(&array);
    }
    array.extend(9_u32.to_le_bytes());
    assert!(matches!(problem(&array), Problem::NestedArray { .. }));

    let mut key = counts(0, 1);
    key.extend(u64::MAX.to_le_bytes());
    key.extend([b'k'; 40]);
    assert!(matches!(problem(&key), Problem::NameLength { .. }));

    let mut string = counts(0, 1);
    push_string(&mut string, "k");
    string.extend(8_u32.to_le_bytes());
    string.extend(u64::MAX.to_le_bytes());
    assert!(matches!(problem(&string), Problem::Truncated { .. }));
}

#[test]
fn impossible_tensors_are_refused() {
    let one = |shape: &[u64], kind, offset, data| problem(&file(&[], &[("t", shape, kind, offset)], data));
    let is_shape = |problem: Problem| assert!(matches!(problem, Problem::Shape { .. }), "{problem}");
    is_shape(one(&[1; 5], F32, 0, 64));
    is_shape(one(&[1 << 40, 1 << 40], F32, 0, 64));
    is_shape(one(&[1 << 63], F32, 0, 64));
    is_shape(one(&[0, 4], F32, 0, 64));
    is_shape(one(&[33], Q4_0, 0, 64));
    is_shape(one(&[8], F32, u64::MAX - 31, 64));
    assert!(matches!(one(&[8], 4, 0, 64), Problem::UnknownType { found: 4, .. }));
    assert!(matches!(one(&[8], F32, 16, 64), Problem::Misaligned { found: 16, .. }));
    let Problem::Truncated { what, needs, file_size } = one(&[1 << 60], F32, 0, 64) else { panic!() };
    assert_eq!((what.as_str(), needs.end - needs.start, file_size), ("tensor t", 1 << 62, 128));

    let two =
        |second: &str, offset| problem(&file(&[], &[("t", &[16], F32, 0), (second, &[8], F32, offset)], 128));
    assert_eq!(two("u", 32), Problem::Overlap { first: "t".into(), second: "u".into() });
    assert!(matches!(two("t", 64), Problem::Duplicate { .. }));
}

#[test]
fn alignment_is_a_power_of_two_in_its_range() {
    for found in [0, 1, 4, 24, 1 << 17] {
        let bytes = file(&[("general.alignment", Field::U32(found))], &[], 0);
        assert_eq!(problem(&bytes), Problem::Alignment { found: found.into() });
    }
    let wrong_type = file(&[("general.alignment", Field::Str("32"))], &[], 0);
    assert!(matches!(problem(&wrong_type), Problem::WrongType { .. }));
    let wide = file(&[("general.alignment", Field::U32(64))], &[("t", &[1], F32, 64)], 256);
    assert_eq!(Gguf::parse(&wide, "m.gguf").unwrap().tensors()[0].range().start % 64, 0);
}

#[test]
fn duplicate_keys_and_split_models_are_refused() {
    let twice = file(&[("k", Field::U32(1)), ("k", Field::U32(1))], &[], 0);
    assert!(matches!(problem(&twice), Problem::Duplicate { .. }));
    let split = file(&[("split.count", Field::U32(3))], &[], 0);
    assert_eq!(problem(&split), Problem::Split { parts: 3 });
    let whole = file(&[("split.count", Field::U32(1))], &[], 0);
    assert!(Gguf::parse(&whole, "m.gguf").is_ok());
    let mut not_text = counts(0, 1);
    push_field(&mut not_text, "k", &Field::U32(1));
    not_text[32] = 0xff;
    assert!(matches!(problem(&not_text), Problem::NotText { .. }));
}

#[test]
fn a_file_cut_anywhere_is_an_error_within_it() {
    let bytes = sample();
    for length in 0..bytes.len() {
        let error = Gguf::parse(&bytes[..length], "m.gguf").expect_err("the file is cut");
        assert!(error.offset <= length as u64, "{error}");
    }
}

#[test]
fn long_tensor_names_are_refused() {
    let mut bytes = counts(1, 0);
    push_tensor(&mut bytes, &"n".repeat(300), &[1], F32, 0);
    bytes.resize(bytes.len() + 64, 0);
    assert!(matches!(problem(&bytes), Problem::NameLength { found: 300, .. }));
}

#[test]
fn parses_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/gguf");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no {}", folder.display());
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "gguf") {
            let map = slmscope_engine::map::MappedFile::open(&path).unwrap();
            let gguf = Gguf::parse(map.bytes(), map.name()).unwrap();
            assert!(gguf.tensors().len() > 5 && gguf.get_str("general.architecture").unwrap().is_some());
        }
    }
}
