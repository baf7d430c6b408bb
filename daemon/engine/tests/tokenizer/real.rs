//! Ids of real vocabularies against those of llama.cpp. The files are large, so they are not in the
//! repository: `SLMSCOPE_MODELS` names the folder that has them.

use std::path::Path;
use std::time::Instant;

use slmscope_engine::gguf::Gguf;
use slmscope_engine::map::MappedFile;
use slmscope_engine::tokenizer::Tokenizer;

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

#[expect(clippy::print_stdout, reason = "a skipped check says so, and load times are worth a look")]
fn check(model: &str, golden: &str) {
    let Some(folder) = std::env::var_os("SLMSCOPE_MODELS") else {
        println!("skipped: SLMSCOPE_MODELS does not name the folder of {model}");
        return;
    };
    let map = MappedFile::open(&Path::new(&folder).join(model)).expect("the model is there");
    let start = Instant::now();
    let gguf = Gguf::parse(map.bytes(), map.name()).expect("a right file");
    let parsed = start.elapsed();
    let tokenizer = Tokenizer::from_gguf(&gguf).expect("a known tokenizer");
    println!("{model}: header in {parsed:?}, header and tokenizer in {:?}", start.elapsed());

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/real").join(golden);
    let text = std::fs::read_to_string(path).expect("the golden is in the repository");
    let golden: Golden = serde_json::from_str(&text).expect("a golden's shape");
    assert!(!golden.cases.is_empty());
    for case in golden.cases {
        assert_eq!(tokenizer.encode(&case.text, true).expect("any text has ids"), case.ids, "{}", case.text);
    }
    for text in ["Hello,  world\n\n\n 123 naïve 日本語 👩‍👩‍👧‍👦 \u{301}", "fn main() {\n\tlet x = 1;\n}", "   ", ""]
    {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text, true).expect("any text has ids")), text);
    }
}

#[test]
fn smollm2_ids_equal_the_reference() {
    check("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-q4_1.json");
}

#[test]
fn gemma3_ids_equal_the_reference() {
    check("gemma-3-270m-q4_k_m.gguf", "gemma3-270m-q4_k_m.json");
}
