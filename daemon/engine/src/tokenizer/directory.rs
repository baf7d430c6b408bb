//! The tokenizer of a model's directory, and what each of its files holds.
//!
//! | file | holds |
//! |---|---|
//! | `tokenizer.json` | everything that turns text into ids and back |
//! | `tokenizer.model` | the same as a SentencePiece model, where there is no `tokenizer.json` |
//! | `qwen.tiktoken` | the same in the first Qwen's format, where there is neither |
//! | `vocab.json`, `merges.txt` | the same with GPT-2's pretokenizer, where there is none of these |
//! | `tokenizer_config.json` | the texts of BOS and EOS, the chat template |
//! | `generation_config.json`, `config.json` | the ids of BOS and of the tokens that end a generation |

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::config::{SpecialToken, TOKENIZER_CONFIG, TokenizerConfig, special_ids};
use super::error::TokenizerError;
use super::files::{Files, directory_name, find, json};
use super::library::{Library, catch_panic};
use super::{Implementation, sentencepiece, tiktoken};

const TOKENIZER: &str = "tokenizer.json";
const SENTENCE_PIECE: &str = "tokenizer.model";
const TIKTOKEN: &str = "qwen.tiktoken";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
/// Tokenizers that cut words as GPT-2's does.
const LIKE_GPT2: [&str; 4] =
    ["GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast"];

/// The tokenizer of a directory.
pub(super) fn read(files: &Files) -> Result<Implementation, TokenizerError> {
    let config: TokenizerConfig = json(files, TOKENIZER_CONFIG)?.unwrap_or_default();
    let mut library = if let Some((name, bytes)) = find(files, TOKENIZER)? {
        Library::parse(name, bytes)?
    } else if let Some((name, bytes)) = find(files, SENTENCE_PIECE)? {
        return Ok(Implementation::Embedded(Box::new(sentencepiece::read(files, &config, name, bytes)?)));
    } else if let Some((name, bytes)) = find(files, TIKTOKEN)? {
        return Ok(Implementation::Embedded(Box::new(tiktoken::read(files, &config, name, bytes)?)));
    } else {
        from_vocabulary(files, &config)?
    };
    let (id, is_special) = (|text: &str| library.id(text), |id| library.is_special(id));
    library.special = special_ids(files, &config, library.vocab_size(), &id, &is_special)?;
    Ok(Implementation::Library(Box::new(library)))
}

/// Whether the files of one of these are there.
pub(super) fn is_there(files: &Files) -> bool {
    let has = |name: &str| files.iter().any(|(found, _)| found == name);
    [TOKENIZER, SENTENCE_PIECE, TIKTOKEN].into_iter().any(has) || (has(VOCABULARY) && has(MERGES))
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
    let built = catch_panic(|| {
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
