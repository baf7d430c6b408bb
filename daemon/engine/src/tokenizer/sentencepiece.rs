//! SentencePiece models (`tokenizer.model`): a protobuf message with the pieces, their scores, and how text is
//! made ready for them. Of its fields these matter here:
//!
//! | field | holds |
//! |---|---|
//! | 1, repeated | a piece: 1 text, 2 score (f32), 3 kind |
//! | 2 | training: 3 how pieces are chosen (2 = merges), 40 to 42 ids of unknown, BOS and EOS |
//! | 3 | normalizing: 2 a table of replacements, 3 whether a space goes before text, 4 whether runs of space shrink |
//!
//! Pieces and merging are those of the GGUF files that are made of such models, so the same code runs them.

use std::collections::BTreeMap;

use super::config::{TokenizerConfig, special_ids};
use super::embedded::{Embedded, Model};
use super::error::TokenizerError;
use super::files::{Files, json};
use super::special::Specials;
use super::spm::{self, Spm};
use super::vocabulary::{self, TokenKind, Vocabulary};

/// How pieces are chosen: merges, the best score first.
const MERGES: u64 = 2;

/// The tokenizer in the bytes of `tokenizer.model`, known as `file`.
pub(super) fn read(
    files: &Files,
    config: &TokenizerConfig,
    file: &str,
    bytes: &[u8],
) -> Result<Embedded, TokenizerError> {
    let mut model =
        parse(bytes).map_err(|problem| wrong(file, &format!("{problem}; fetch the file again")))?;
    vocabulary::check_count(file, model.pieces.len())?;
    let unsupported = |what: &str| {
        Err(wrong(
            file,
            &format!("{what}: not supported; use a tokenizer.json, or give the prompt as a number of tokens"),
        ))
    };
    if model.chooses != MERGES {
        return unsupported("chooses pieces by their joint probability, not by merges");
    }
    if model.replaces {
        return unsupported("replaces characters before it cuts text");
    }
    if model.shrinks_space {
        return unsupported("shrinks runs of space before it cuts text");
    }
    let added: BTreeMap<String, usize> = json(files, "added_tokens.json")?.unwrap_or_default();
    let added: BTreeMap<usize, &String> = added.iter().map(|(text, &id)| (id, text)).collect();
    for (&id, text) in &added {
        if id == model.pieces.len() {
            model.pieces.push(Piece { text: text.as_bytes(), score: 0.0, kind: TokenKind::Control });
        } else if model.pieces.get(id).is_none_or(|piece| piece.text != text.as_bytes()) {
            return Err(wrong(
                file,
                &format!("has another token {id} than added_tokens.json, which adds `{text}`"),
            ));
        }
    }
    let kinds = model.pieces.iter().map(|piece| piece.kind).collect();
    let vocabulary = Vocabulary::new(file, kinds, model.pieces.iter().map(|piece| piece.text))?;
    let order = spm::order_of(file, model.pieces.iter().map(|piece| piece.score))?;
    let is_token = |&id: &u32| (id as usize) < vocabulary.len();
    let is_special = |id| vocabulary.kind(id).is_some_and(|kind| kind != TokenKind::Normal);
    let special_ids = special_ids(files, config, vocabulary.len(), &|text| vocabulary.id(text), &is_special)?;
    let eos = special_ids.eos.or(model.eos.filter(is_token));
    let mut ends = special_ids.ends;
    ends.extend(eos);
    ends.sort_unstable();
    ends.dedup();
    Ok(Embedded {
        file: file.to_owned(),
        specials: Specials::of(&vocabulary, file)?,
        model: Model::Spm(Spm::new(order, &vocabulary, model.unknown.filter(is_token))),
        bos: special_ids.bos.or(model.bos.filter(is_token)),
        eos,
        ends,
        adds_bos: config.add_bos_token.unwrap_or(true),
        adds_eos: config.add_eos_token.unwrap_or(false),
        space_prefix: model.space_prefix,
        vocabulary,
    })
}

fn wrong(file: &str, problem: &str) -> TokenizerError {
    TokenizerError::File { file: file.to_owned(), problem: problem.to_owned() }
}

/// Why bytes are no SentencePiece model.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("is no SentencePiece model: byte {0} of a message begins no field")]
    Field(usize),
    #[error("is no SentencePiece model: it has no piece")]
    NoPiece,
}

/// The fields of a model, with the format's defaults for those that are absent.
struct Parsed<'b> {
    pieces: Vec<Piece<'b>>,
    chooses: u64,
    unknown: Option<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    replaces: bool,
    space_prefix: bool,
    shrinks_space: bool,
}

struct Piece<'b> {
    text: &'b [u8],
    score: f32,
    kind: TokenKind,
}

fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Problem> {
    let mut model = Parsed {
        pieces: Vec::new(),
        chooses: 1,
        unknown: Some(0),
        bos: Some(1),
        eos: Some(2),
        replaces: false,
        space_prefix: true,
        shrinks_space: true,
    };
    // Negative ids stand for none, and are no u32.
    let id = |value: &Value<'_>| u32::try_from(value.number()).ok();
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(piece)) => model.pieces.push(parse_piece(piece)?),
            (2, Value::Bytes(training)) => {
                for field in fields(training) {
                    match field? {
                        (3, value) => model.chooses = value.number(),
                        (40, value) => model.unknown = id(&value),
                        (41, value) => model.bos = id(&value),
                        (42, value) => model.eos = id(&value),
                        _ => {}
                    }
                }
            }
            (3, Value::Bytes(normalizing)) => {
                for field in fields(normalizing) {
                    match field? {
                        (2, Value::Bytes(table)) => model.replaces = !table.is_empty(),
                        (3, value) => model.space_prefix = value.number() != 0,
                        (4, value) => model.shrinks_space = value.number() != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if model.pieces.is_empty() { Err(Problem::NoPiece) } else { Ok(model) }
}

fn parse_piece(bytes: &[u8]) -> Result<Piece<'_>, Problem> {
    let mut piece = Piece { text: &[], score: 0.0, kind: TokenKind::Normal };
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => piece.text = text,
            (2, Value::Four(score)) => piece.score = f32::from_le_bytes(score),
            (3, value) => piece.kind = TokenKind::from_file(i128::from(value.number())),
            _ => {}
        }
    }
    Ok(piece)
}

/// The value of a protobuf field.
enum Value<'b> {
    Varint(u64),
    Four([u8; 4]),
    Eight,
    Bytes(&'b [u8]),
}

impl Value<'_> {
    /// The number; `u64::MAX`, which no field uses, for other values.
    fn number(&self) -> u64 {
        if let Self::Varint(number) = self { *number } else { u64::MAX }
    }
}

/// The fields of a protobuf message, each with its number; an error where the bytes are no message.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Problem>> {
    let whole = rest.len();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = whole - rest.len();
        let field = take_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or(Problem::Field(at)))
    })
}

fn take_field<'b>(rest: &mut &'b [u8]) -> Option<(u64, Value<'b>)> {
    let key = take_varint(rest)?;
    let value = match key & 7 {
        0 => Value::Varint(take_varint(rest)?),
        1 => {
            rest.split_off(..8)?;
            Value::Eight
        }
        2 => {
            let length = usize::try_from(take_varint(rest)?).ok()?;
            Value::Bytes(rest.split_off(..length)?)
        }
        5 => Value::Four(*rest.split_off(..4)?.first_chunk()?),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
