//! Tokenizers of model directories: against those of GGUF files with the same vocabulary, against results that
//! can be worked out by hand, and on files that are wrong.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use slmscope_engine::map::MappedFile;
use slmscope_engine::tokenizer::{Tokenizer, TokenizerError};

use crate::vocabularies::*;

/// Files of a directory, by name and content.
pub(crate) fn files<T: AsRef<[u8]>>(contents: &[(&str, T)]) -> Vec<(String, Arc<MappedFile>)> {
    let map = |(name, content): &(&str, T)| {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content.as_ref()).expect("room for it");
        let map = MappedFile::new(file, format!("model/{name}")).expect("a regular file");
        ((*name).to_owned(), Arc::new(map))
    };
    contents.iter().map(map).collect()
}

fn from_json(tokenizer: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_directory(&files(&[("tokenizer.json", &tokenizer.to_string())]))
}

fn vocabulary(tokens: &Tokens) -> Value {
    tokens.texts.iter().zip(0..).map(|(text, id)| (text.clone(), Value::from(id))).collect()
}

fn added(tokens: &Tokens) -> Value {
    let special = tokens.texts.iter().zip(&tokens.kinds).zip(0..);
    let special = special.filter(|((_, kind), _)| [CONTROL, UNKNOWN, USER_DEFINED].contains(kind));
    let entry = |((text, &kind), id): ((&String, &i32), i32)| {
        json!({"id": id, "content": text, "special": kind != USER_DEFINED, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false})
    };
    special.map(entry).collect()
}

/// Llama 3's way: words by a pattern, bytes, merges by rank.
fn byte_level(tokens: &Tokens, merges: &[&str]) -> Value {
    let pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": added(tokens),
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary(tokens), "merges": merges, "ignore_merges": true},
    })
}

/// Llama 2's way: spaces written `▁`, characters, merges by rank, bytes for what has no token.
fn sentence_piece(tokens: &Tokens, merges: &[&str]) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(tokens),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "vocab": vocabulary(tokens), "merges": merges, "unk_token": "<unk>",
            "fuse_unk": true, "byte_fallback": true},
    })
}

const MERGES: [&str; 5] = ["b c", "a b", "Ġ a", "Ġa b", "1 2"];

fn byte_tokens() -> Tokens {
    bpe(&["bc", "ab", "Ġa", "Ġab", "12"])
}

#[test]
fn byte_level_ids_are_those_of_a_gguf_file_with_the_same_vocabulary() {
    let tokens = byte_tokens();
    let ours = build(&bpe_fields(&tokens, "llama-bpe", &MERGES)).unwrap();
    let theirs = from_json(&byte_level(&tokens, &MERGES)).unwrap();
    for text in NASTY.into_iter().chain(["abc ab  a 12345 I'll\n\n x", "a<|endoftext|> b"]) {
        let ids = theirs.encode(text, false).unwrap();
        assert_eq!(ids, ours.encode(text, false).unwrap(), "{text:?}");
        let plain = text.replace("<|endoftext|>", "");
        assert_eq!(theirs.decode(&ids), plain, "{text:?}");
        let mut decoder = theirs.decoder();
        let mut pieces: String = ids.iter().map(|&id| decoder.push(id)).collect();
        pieces.push_str(&decoder.finish());
        assert_eq!(pieces, plain, "{text:?}");
    }
    assert_eq!(theirs.vocab_size(), tokens.texts.len());
    let end = tokens.texts.len() as u32 - 1;
    assert!(theirs.is_eog(end) && !theirs.is_eog(0));
    assert_eq!(theirs.token_text(end).as_deref(), Some("<|endoftext|>"));
}

#[test]
fn sentence_piece_ids_are_those_of_a_gguf_file_with_the_same_vocabulary() {
    let mut tokens = spm();
    tokens.kinds[USER as usize] = CONTROL;
    let ours = build(&spm_fields(&tokens)).unwrap();
    // By falling score: ab, ▁a, aa, aba.
    let theirs = from_json(&sentence_piece(&tokens, &["a b", "▁ a", "a a", "ab a"])).unwrap();
    for text in NASTY.into_iter().chain(["aba aab a", "  a", "é"]) {
        if text.is_empty() {
            continue; // the library puts a space before nothing, llama.cpp does not
        }
        let ids = theirs.encode(text, true).unwrap();
        assert_eq!(ids, ours.encode(text, true).unwrap(), "{text:?}");
        assert_eq!(
            (theirs.decode(&ids), theirs.decode(&ids[1..])),
            (ours.decode(&ids), ours.decode(&ids[1..]))
        );
    }
}

#[test]
fn a_continuation_keeps_its_space_and_a_broken_character_is_shown() {
    let tokens = spm();
    let tokenizer = from_json(&sentence_piece(&tokens, &["a b", "▁ a", "a a", "ab a"])).unwrap();
    assert_eq!(tokenizer.decode(&[SPACE_A, A]), " aa");
    assert_eq!(tokenizer.decode(&[1, SPACE_A, A]), "aa");
    let byte = |byte: u8| 3 + u32::from(byte);
    let mut decoder = tokenizer.decoder();
    let pieces = [byte(0xc3), byte(0xa9), A, byte(0xc3)].map(|id| decoder.push(id));
    assert_eq!(pieces, ["", "é", "a", ""]);
    assert_eq!(decoder.finish(), "\u{fffd}");
    assert_eq!(tokenizer.decode(&[A, 1 << 30, A]), "a\u{fffd}a");
}

#[test]
fn unigram_pieces_are_chosen_for_the_best_sum() {
    let tokenizer = from_json(&json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 0, "content": "<unk>", "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false}],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab":
            [["<unk>", 0.0], ["▁", -3.0], ["a", -2.0], ["b", -2.0], ["ab", -3.0], ["▁a", -2.5], ["▁ab", -9.0]]},
    }));
    let tokenizer = tokenizer.unwrap();
    // ▁ + ab: -6; ▁a + b: -4.5; ▁ab: -9.
    assert_eq!(tokenizer.encode("ab", false).unwrap(), [5, 3]);
    assert_eq!(tokenizer.decode(&[5, 3, 5]), " ab a");
}

/// A protobuf field of bytes.
fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let (low, high) = (bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8);
    assert!(bytes.len() < 1 << 14);
    [&[number << 3 | 2, low, high], bytes].concat()
}

/// A SentencePiece model of these pieces.
fn sentence_piece_model(tokens: &Tokens, chooses: u8, normalizing: &[u8]) -> Vec<u8> {
    let mut model = Vec::new();
    for ((text, score), kind) in tokens.texts.iter().zip(&tokens.scores).zip(&tokens.kinds) {
        let mut piece = bytes_field(1, text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(score.to_le_bytes());
        piece.extend([3 << 3, *kind as u8]);
        model.extend(bytes_field(1, &piece));
    }
    // No unknown: -1, in ten bytes.
    let unknown = [vec![0xc0, 0x02], vec![0xff; 9], vec![1]].concat();
    model.extend(bytes_field(2, &[vec![3 << 3, chooses], unknown].concat()));
    model.extend(bytes_field(3, normalizing));
    model
}

/// A space goes before text, and runs of it stay.
const LLAMA_NORMALIZING: [u8; 4] = [3 << 3, 1, 4 << 3, 0];

#[test]
fn a_sentence_piece_model_is_read_without_a_tokenizer_json() {
    let tokens = spm();
    let make = |model: Vec<u8>, added: &str| {
        let config = r#"{"add_bos_token": true, "bos_token": "<s>"}"#.as_bytes();
        let contents = [
            ("tokenizer.model", model.as_slice()),
            ("tokenizer_config.json", config),
            ("added_tokens.json", added.as_bytes()),
        ];
        Tokenizer::from_directory(&files(&contents))
    };
    let ours = build(&spm_fields(&tokens)).unwrap();
    let model = sentence_piece_model(&tokens, 2, &LLAMA_NORMALIZING);
    let theirs = make(model.clone(), "{}").unwrap();
    for text in NASTY.into_iter().chain(["aba <user> aab</s> a", "  a"]) {
        let ids = theirs.encode(text, true).unwrap();
        assert_eq!(ids, ours.encode(text, true).unwrap(), "{text:?}");
        assert_eq!(theirs.decode(&ids), ours.decode(&ids));
    }
    assert!(theirs.is_eog(2) && theirs.eos() == Some(2) && theirs.bos() == Some(1));
    let more = make(model.clone(), &format!(r#"{{"[PAD]": {}}}"#, tokens.texts.len())).unwrap();
    assert_eq!(more.encode("[PAD]", false).unwrap(), [tokens.texts.len() as u32]);

    let error = |model: Vec<u8>, added: &str| make(model, added).err().expect("a wrong file").to_string();
    assert!(error(model.clone(), r#"{"x": 5}"#).contains("has another token 5"));
    assert!(error(sentence_piece_model(&tokens, 1, &LLAMA_NORMALIZING), "{}").contains("joint probability"));
    assert!(error(sentence_piece_model(&tokens, 2, &[3 << 3, 1]), "{}").contains("runs of space"));
    assert!(error(sentence_piece_model(&tokens, 2, &bytes_field(2, b"table")), "{}").contains("replaces"));
    for (cut, _) in model.iter().enumerate().skip(1).step_by(7) {
        let _ = make(model[..cut].to_vec(), "{}");
    }
    assert!(error(model[..100].to_vec(), "{}").contains("begins no field"));
}

#[test]
fn a_vocabulary_with_merges_makes_the_tokenizer_of_gpt2() {
    let tokens = byte_tokens();
    let vocab = vocabulary(&tokens).to_string();
    let merges = format!("#version: 0.2\n{}\n", MERGES.join("\n"));
    let config = |class: &str, adds_bos: bool| {
        json!({"tokenizer_class": class, "add_bos_token": adds_bos, "bos_token": {"content": "</s>"},
            "eos_token": "<|endoftext|>"})
        .to_string()
    };
    let make = |config: &str| {
        let contents =
            [("vocab.json", vocab.as_str()), ("merges.txt", &merges), ("tokenizer_config.json", config)];
        Tokenizer::from_directory(&files(&contents))
    };
    let ours = build(&bpe_fields(&tokens, "gpt-2", &MERGES)).unwrap();
    let plain = make(&config("GPT2Tokenizer", false)).unwrap();
    for text in NASTY.into_iter().chain(["abc ab  a 12345 I'll\n\n x"]) {
        assert_eq!(plain.encode(text, true).unwrap(), ours.encode(text, true).unwrap(), "{text:?}");
    }
    let bos = tokens.texts.len() as u32;
    let with_bos = make(&config("GPT2Tokenizer", true)).unwrap();
    assert_eq!(with_bos.encode("bc", true).unwrap(), [bos, 256]);
    assert_eq!((with_bos.bos(), with_bos.eos()), (Some(bos), Some(bos - 1)));
    let other = make(&config("Qwen2Tokenizer", false)).err().unwrap().to_string();
    assert!(other.contains("model/vocab.json") && other.contains("Qwen2Tokenizer"), "{other}");
}

#[test]
fn ends_are_named_by_several_files() {
    let tokens = byte_tokens();
    let tokenizer = byte_level(&tokens, &MERGES).to_string();
    let contents = [
        ("tokenizer.json", tokenizer.as_str()),
        ("tokenizer_config.json", r##"{"bos_token": "!", "eos_token": {"content": "#", "lstrip": false}}"##),
        ("config.json", r#"{"eos_token_id": 7, "vocab_size": 300}"#),
        ("generation_config.json", r#"{"eos_token_id": [7, 8, 4000000000]}"#),
    ];
    let tokenizer = Tokenizer::from_directory(&files(&contents)).unwrap();
    let end = tokens.texts.len() as u32 - 1;
    let ends: Vec<u32> = (0..=end).filter(|&id| tokenizer.is_eog(id)).collect();
    assert_eq!(ends, [7, 8, u32::from(b'#'), end]);
    assert_eq!(tokenizer.bos(), Some(u32::from(b'!')));
}

#[test]
fn a_vocabulary_must_fit_the_embedding() {
    let tokens = byte_tokens();
    let all = tokens.texts.len() as u32;
    let gguf = build(&bpe_fields(&tokens, "gpt-2", &MERGES)).unwrap();
    let directory = from_json(&byte_level(&tokens, &MERGES)).unwrap();
    for tokenizer in [gguf, directory] {
        assert_eq!(tokenizer.check_rows(all), Ok(()));
        assert_eq!(tokenizer.check_rows(all + 64), Ok(()));
        let error = tokenizer.check_rows(all - 1).unwrap_err().to_string();
        assert!(error.contains(&format!("{} rows", all - 1)), "{error}");
        assert!(tokenizer.check_rows(32_000).is_err());
    }
}

#[test]
fn wrong_files_are_named_with_what_is_wrong() {
    let tokens = byte_tokens();
    let right = byte_level(&tokens, &MERGES);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = right.clone();
        change(&mut value);
        from_json(&value).err().expect("a wrong file").to_string()
    };
    let errors = [
        with(&|value| value["model"]["merges"] = json!(["b zz"])),
        with(&|value| value["model"]["type"] = json!("Astrology")),
        with(&|value| value["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(")),
        with(&|value| value["decoder"] = json!(5)),
    ];
    for error in errors {
        assert!(error.starts_with("model/tokenizer.json: is no tokenizer that can be used: "), "{error}");
    }
    let cut = &right.to_string()[..500];
    let error = Tokenizer::from_directory(&files(&[("tokenizer.json", cut)])).err().unwrap();
    assert!(error.to_string().contains("EOF"), "{error}");
    let config = [("tokenizer.json", &*right.to_string()), ("tokenizer_config.json", "{\"bos_token\": 5}")];
    let error = Tokenizer::from_directory(&files(&config)).err().unwrap().to_string();
    assert!(error.contains("model/tokenizer_config.json"), "{error}");
    let error = Tokenizer::from_directory(&files(&[("config.json", "{}")])).err().unwrap();
    assert!(matches!(&error, TokenizerError::Missing { file } if file == "model"), "{error}");
}

#[test]
fn mutated_files_end_in_an_error_or_a_tokenizer() {
    let tokens = byte_tokens();
    let spm = spm();
    let files = [byte_level(&tokens, &MERGES), sentence_piece(&spm, &["a b", "▁ a"])].map(|v| v.to_string());
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut whole = 0;
    for turn in 0..1000 {
        let mut bytes = files[turn % 2].clone().into_bytes();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = b"0123456789{}[]\",:aeslt-"[random(23)],
                1 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                _ => bytes.insert(at, b"0\",]}"[random(5)]),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let tokenizer = Tokenizer::from_directory(&self::files(&[("tokenizer.json", &*text)]));
        if let Ok(tokenizer) = tokenizer {
            whole += 1;
            if let Ok(ids) = tokenizer.encode("abc <s> é ababa 12", true) {
                tokenizer.decode(&ids);
            }
        }
    }
    assert!(whole > 20, "only {whole} of 1000 mutations left a tokenizer");
}

/// What a file of tiktoken writes for a token.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits =
            group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        let letter = |index: usize| {
            let coded = char::from(LETTERS[(bits >> (18 - 6 * index)) as usize & 63]);
            if index <= group.len() { coded } else { '=' }
        };
        [0, 1, 2, 3].map(letter).into_iter().collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// What tiktoken's own trainer merged in a few sentences.
const MERGED: [&[u8]; 40] = [
    b"th",
    b" th",
    b" the",
    b"at",
    b" h",
    b" c",
    b" w",
    b"re",
    b" \xe6",
    b" \xe6\xbc",
    b" \xe6\xbc\xa2",
    b" \xe6\xbc\xa2\xe5",
    b" \xe6\xbc\xa2\xe5\xad",
    b" \xe6\xbc\xa2\xe5\xad\x97",
    b" he",
    b" hel",
    b" hell",
    b" hello",
    b"the",
    b" cat",
    b" tho",
    b" thou",
    b" thoug",
    b" though",
    b" thought",
    b" that",
    b" hat",
    b" wa",
    b" was",
    b" there",
    b" ca",
    b" caf",
    b" caf\xc3",
    b" caf\xc3\xa9",
    b" n",
    b" na",
    b" na\xc3",
    b" na\xc3\xaf",
    b" na\xc3\xafv",
    b" na\xc3\xafve",
];

/// The vocabulary of these, and the ids that tiktoken 0.14 gives with the
/// pattern of the first Qwen, on text composed by Unicode's form C as that model's program does.
#[test]
fn the_first_qwens_vocabulary_gives_the_ids_of_tiktoken() {
    let single = (0..=255_u8).map(|byte| vec![byte]);
    let tokens: Vec<_> = single.chain(MERGED.map(<[u8]>::to_vec)).collect();
    let lines = tokens.iter().enumerate().map(|(rank, token)| format!("{} {rank}\n", base64(token)));
    let lines = lines.collect::<String>();
    let config = r#"{"tokenizer_class": "QWenTokenizer"}"#;
    let generation = r#"{"eos_token_id": 296}"#;
    let tokenizer = Tokenizer::from_directory(&files(&[
        ("qwen.tiktoken", lines.as_str()),
        ("tokenizer_config.json", config),
        ("generation_config.json", generation),
    ]))
    .unwrap();
    assert_eq!(tokenizer.vocab_size(), 296 + 3 + 205);
    for (text, ids) in [
        (
            "the cat they're  hello\n\n 12 caf\u{e9}",
            &[274, 275, 258, 121, 39, 263, 32, 273, 10, 10, 32, 49, 50, 289][..],
        ),
        (
            "cafe\u{301} \u{6f22}\u{5b57}x THEY'RE",
            &[99, 97, 102, 195, 169, 269, 120, 32, 84, 72, 69, 89, 39, 82, 69],
        ),
        ("<|im_start|>the<|im_end|>\nthat <|extra_7|>", &[297, 274, 298, 10, 256, 259, 32, 306]),
        ("thathatt h  w", &[256, 97, 256, 259, 116, 260, 32, 262]),
    ] {
        assert_eq!(tokenizer.encode(text, true).unwrap(), ids, "{text}");
    }
    let text = "caf\u{e9} \u{6f22}\u{5b57} the";
    assert_eq!(tokenizer.decode(&tokenizer.encode(text, true).unwrap()), text);
    assert!(tokenizer.is_eog(296) && tokenizer.is_eog(298) && !tokenizer.is_eog(297));
    let cut = Tokenizer::from_directory(&files(&[("qwen.tiktoken", &lines[..lines.len() - 9])]));
    let error = cut.err().expect("a line is cut").to_string();
    assert!(error.contains("model/qwen.tiktoken: line 296"), "{error}");
}
