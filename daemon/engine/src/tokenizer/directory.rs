//! The tokenizer of a model's directory: which of its files say what.
//!
//! | file | says |
//! |---|---|
//! | `tokenizer.json` | everything that turns text into ids and back |
//! | `tokenizer.model` | the same as a SentencePiece model, where there is no `tokenizer.json` |
//! | `qwen.tiktoken` | the same as the first Qwen brings it, where there is neither |
//! | `vocab.json`, `merges.txt` | the same for GPT-2's way of cutting words, where there is none of these |
//! | `tokenizer_config.json` | the texts of BOS and EOS, the chat template |
//! | `generation_config.json`, `config.json` | the ids of BOS and of the tokens that end a generation |

use serde::Deserialize;
use serde::de::DeserializeOwned;
use slmscope_profiles::model_files::{CONFIG, max_bytes};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::chat::Templates;
use super::ends::END_TEXTS;
use super::error::TokenizerError;
use super::library::{Library, Marks, fenced};
use super::{Files, Kind};
use super::{sentencepiece, tiktoken};

const TOKENIZER: &str = "tokenizer.json";
const SENTENCE_PIECE: &str = "tokenizer.model";
const TIKTOKEN: &str = "qwen.tiktoken";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
/// Tokenizers that cut words as GPT-2's does.
const LIKE_GPT2: [&str; 4] =
    ["GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast"];

/// `tokenizer_config.json`, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenizerConfig {
    pub(super) bos_token: Option<SpecialToken>,
    pub(super) eos_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    pub(super) chat_template: Option<Templates>,
    tokenizer_class: Option<String>,
    pub(super) add_bos_token: Option<bool>,
    pub(super) add_eos_token: Option<bool>,
    add_prefix_space: Option<bool>,
}

/// A special token: its text, or an object that holds it.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum SpecialToken {
    Text(String),
    Object { content: String },
}

impl SpecialToken {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

/// `config.json` and `generation_config.json`, as far as they matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ends {
    bos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
}

/// One id, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// The tokenizer of a directory.
pub(super) fn read(files: &Files) -> Result<Kind, TokenizerError> {
    let config: TokenizerConfig = json(files, "tokenizer_config.json")?.unwrap_or_default();
    let mut library = if let Some((name, bytes)) = find(files, TOKENIZER)? {
        Library::parse(name, bytes)?
    } else if let Some((name, bytes)) = find(files, SENTENCE_PIECE)? {
        return Ok(Kind::Embedded(Box::new(sentencepiece::read(files, &config, name, bytes)?)));
    } else if let Some((name, bytes)) = find(files, TIKTOKEN)? {
        return Ok(Kind::Embedded(Box::new(tiktoken::read(files, &config, name, bytes)?)));
    } else {
        from_vocabulary(files, &config)?
    };
    let (id, is_special) = (|text: &str| library.id(text), |id| library.is_special(id));
    library.marks = marks(files, &config, library.vocab_size(), &id, &is_special)?;
    Ok(Kind::Library(Box::new(library)))
}

/// A file of the directory: its name for messages, and its bytes. `None` if there is none.
pub(super) fn find<'f>(files: &'f Files, name: &str) -> Result<Option<(&'f str, &'f [u8])>, TokenizerError> {
    let Some((_, map)) = files.iter().find(|(found, _)| found == name) else { return Ok(None) };
    let (file, bytes) = (map.name(), map.bytes());
    match max_bytes(name) {
        Some(limit) if bytes.len() as u64 > limit => Err(TokenizerError::File {
            file: file.to_owned(),
            problem: format!(
                "has {} bytes, and no real one exceeds {limit}; fetch the file again",
                bytes.len()
            ),
        }),
        _ => Ok(Some((file, bytes))),
    }
}

/// A small file of the directory as JSON. `None` if there is none.
pub(super) fn json<T: DeserializeOwned>(files: &Files, name: &str) -> Result<Option<T>, TokenizerError> {
    let Some((file, bytes)) = find(files, name)? else { return Ok(None) };
    serde_json::from_slice(bytes).map(Some).map_err(|error| TokenizerError::File {
        file: file.to_owned(),
        problem: format!("is not the JSON that it should be: {error}; fetch the file again"),
    })
}

/// The name of the directory, for messages about what is missing from it.
pub(super) fn directory_name(files: &Files) -> String {
    let name = files.first().map_or("", |(_, map)| map.name());
    name.rsplit_once('/').map_or(name, |(directory, _)| directory).to_owned()
}

/// GPT-2's tokenizer as it was published: its own way of cutting words, a vocabulary and a list of merges.
fn from_vocabulary(files: &Files, config: &TokenizerConfig) -> Result<Library, TokenizerError> {
    let missing = || TokenizerError::Missing { file: directory_name(files) };
    let (file, _) = find(files, VOCABULARY)?.ok_or_else(missing)?;
    let (merges_file, merges) = find(files, MERGES)?.ok_or_else(missing)?;
    let class = config.tokenizer_class.as_deref().unwrap_or("");
    if !LIKE_GPT2.contains(&class) {
        let problem = format!(
            "the vocabulary of a `{class}` cannot be used without {TOKENIZER}: make one by loading and saving \
             the tokenizer with the library that it comes from"
        );
        return Err(TokenizerError::File { file: file.to_owned(), problem });
    }
    let vocabulary: Vocab = json(files, VOCABULARY)?.ok_or_else(missing)?;
    let merges = read_merges(merges_file, merges)?;
    let built = fenced(|| {
        let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build()?;
        let prefix_space = config.add_prefix_space.unwrap_or(false);
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix_space, true, true)));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let tokens = [&config.bos_token, &config.eos_token, &config.unk_token, &config.pad_token];
        let tokens = tokens.into_iter().flatten().map(|token| AddedToken::from(token.text(), true));
        tokenizer.add_special_tokens(tokens)?;
        let bos = config.bos_token.as_ref().filter(|_| config.add_bos_token == Some(true));
        if let Some(bos) = bos.map(SpecialToken::text) {
            let id = tokenizer.token_to_id(bos).ok_or("its BOS is no token")?;
            let template = TemplateProcessing::builder()
                .try_single(vec![bos.to_owned(), "$A".to_owned()])?
                .special_tokens(vec![(bos.to_owned(), id)])
                .build()?;
            tokenizer.with_post_processor(Some(template));
        }
        Ok(tokenizer)
    });
    match built {
        Ok(tokenizer) => Ok(Library::new(file, tokenizer)),
        Err(problem) => Err(TokenizerError::File {
            file: file.to_owned(),
            problem: format!("does not make a tokenizer with {MERGES}: {problem}; fetch both again"),
        }),
    }
}

/// Pairs, one a line, after a line that names the version.
fn read_merges(file: &str, bytes: &[u8]) -> Result<Vec<(String, String)>, TokenizerError> {
    let wrong = |line: usize, what: &str| TokenizerError::File {
        file: file.to_owned(),
        problem: format!("line {line} {what}; fetch the file again"),
    };
    let mut merges = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| wrong(index + 1, "is not UTF-8"))?;
        let line = line.trim_end_matches('\r');
        if line.is_empty() || index == 0 && line.starts_with("#version") {
            continue;
        }
        let pair = line.split_once(' ').ok_or_else(|| wrong(index + 1, "is no pair separated by a space"))?;
        merges.push((pair.0.to_owned(), pair.1.to_owned()));
    }
    Ok(merges)
}

/// The special tokens of a vocabulary of `size` tokens, in which `id` finds a text.
pub(super) fn marks(
    files: &Files,
    config: &TokenizerConfig,
    size: usize,
    id: &dyn Fn(&str) -> Option<u32>,
    is_special: &dyn Fn(u32) -> bool,
) -> Result<Marks, TokenizerError> {
    let id_of = |token: &Option<SpecialToken>| id(token.as_ref()?.text());
    let model: Ends = json(files, CONFIG)?.unwrap_or_default();
    let generation: Ends = json(files, "generation_config.json")?.unwrap_or_default();
    let is_token = |id: &u32| (*id as usize) < size;
    let first = |ids: &Option<Ids>| ids.as_ref()?.as_slice().first().copied().filter(is_token);
    let eos = id_of(&config.eos_token).or_else(|| first(&model.eos_token_id));
    let mut ends: Vec<u32> = eos.into_iter().collect();
    for ids in [&model.eos_token_id, &generation.eos_token_id].into_iter().flatten() {
        ends.extend(ids.as_slice().iter().filter(|id| is_token(id)));
    }
    let spelled = END_TEXTS.iter().filter_map(|text| id(text));
    ends.extend(spelled.filter(|&id| is_special(id)));
    ends.sort_unstable();
    ends.dedup();
    Ok(Marks { bos: id_of(&config.bos_token).or_else(|| first(&model.bos_token_id)), eos, ends })
}
