//! Files of reference logits, three kinds that are told apart by what is in them:
//!
//! | file | holds | made by |
//! |---|---|---|
//! | safetensors | `input_ids` i64 `[T]`, `logits` f32 `[T, V]`, `greedy` i64 `[G]` | transformers, in f32 on the stored values |
//! | JSON `{ids, logits, greedy, exact?}` | the same; `exact` in f64 on the dequantized weights | llama.cpp |
//! | JSON `{cases: [{text, ids, top, exact, greedy, greedy_margin}]}` | real text: for each position the best ids with llama.cpp's log-probabilities, and the same ids' exact ones | llama.cpp |
//!
//! Nothing in them is trusted: sizes are bounded, every shape is checked, every number has to be one.

use serde::Deserialize;

use super::rows::Rows;
use crate::map::MappedFile;
use crate::safetensors::{Dtype, SafeTensors, TensorInfo};

/// Largest JSON file, bytes. Logits of 64 positions over 262,144 ids fit.
const LARGEST_JSON: usize = 256 << 20;
/// Most prompts of a file.
const MOST_CASES: usize = 10_000;

/// Why a file of reference logits cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}; {remedy}")]
pub struct GoldenError {
    file: String,
    problem: String,
    remedy: &'static str,
}

const KINDS: &str = "a golden file is safetensors with input_ids, logits and greedy, or JSON with ids, logits \
                     and greedy, or JSON with cases";
const OTHER_MODEL: &str = "name the golden file that was made of this model";

/// A file of reference logits, checked.
#[derive(Debug)]
pub struct Golden {
    pub(super) file: String,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Prompt(Prompt),
    Texts(Vec<Passage>),
}

/// What made the logits of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Transformers,
    LlamaCpp,
}

/// A prompt and the logits of each of its positions.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) reference: Reference,
    pub(super) ids: Vec<u32>,
    pub(super) logits: Rows<f32>,
    pub(super) exact: Option<Rows<f32>>,
    pub(super) greedy: Vec<u32>,
}

/// A text and what a model makes of it.
#[derive(Debug, Deserialize)]
pub(super) struct Passage {
    pub(super) text: String,
    pub(super) ids: Vec<u32>,
    pub(super) top: Rows<(u32, f64)>,
    pub(super) exact: Rows<f64>,
    pub(super) greedy: Vec<u32>,
    pub(super) greedy_margin: Vec<f64>,
}

#[derive(Deserialize)]
struct Json {
    ids: Option<Vec<u32>>,
    logits: Option<Rows<f32>>,
    exact: Option<Rows<f32>>,
    greedy: Option<Vec<u32>>,
    cases: Option<Vec<Passage>>,
}

impl Golden {
    /// Reads a file of any of the three kinds.
    ///
    /// # Errors
    /// Files of another kind, damaged ones, and numbers that are none.
    pub fn read(file: &MappedFile) -> Result<Self, GoldenError> {
        let (name, bytes) = (file.name(), file.bytes());
        let fail = |problem: String| GoldenError { file: name.to_owned(), problem, remedy: KINDS };
        let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let content = if is_json { json(bytes) } else { safetensors(bytes, name) }.map_err(fail)?;
        let golden = Self { file: name.to_owned(), content };
        golden.check().map_err(fail)?;
        Ok(golden)
    }

    /// Tokens of the longest prompt and what is generated after it.
    pub fn capacity(&self) -> usize {
        let lengths: Vec<_> = match &self.content {
            Content::Prompt(case) => vec![case.ids.len() + case.greedy.len()],
            Content::Texts(cases) => cases.iter().map(|case| case.ids.len() + case.greedy.len()).collect(),
        };
        lengths.into_iter().max().unwrap_or(0)
    }

    /// The texts in it, whose ids a tokenizer can be compared with.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let cases: &[Passage] = if let Content::Texts(cases) = &self.content { cases } else { &[] };
        cases.iter().map(|case| case.text.as_str())
    }

    /// Whether it can be of a model with `vocab` logits and a context of `max_context`.
    ///
    /// # Errors
    /// Ids or positions that such a model does not have.
    pub fn check_model(&self, vocab: u32, max_context: u32) -> Result<(), GoldenError> {
        let fail =
            |problem: String| Err(GoldenError { file: self.file.clone(), problem, remedy: OTHER_MODEL });
        let (width, ids): (_, Box<dyn Iterator<Item = u32> + '_>) = match &self.content {
            Content::Prompt(case) => {
                (case.logits.columns(), Box::new(case.ids.iter().chain(&case.greedy).copied()))
            }
            Content::Texts(cases) => {
                let of = |case: &'_ Passage| {
                    let top: Vec<u32> = case.top.values().iter().map(|(id, _)| *id).collect();
                    case.ids.iter().chain(&case.greedy).copied().chain(top).collect::<Vec<_>>()
                };
                (vocab as usize, Box::new(cases.iter().flat_map(of)))
            }
        };
        if width != vocab as usize {
            return fail(format!("a row of logits has {width} numbers, the model has {vocab} ids"));
        }
        if let Some(id) = ids.into_iter().find(|&id| id >= vocab) {
            return fail(format!("it names id {id}, the model's are below {vocab}"));
        }
        let needed = self.capacity();
        if needed > max_context as usize {
            return fail(format!("it needs {needed} tokens, the model's context is {max_context}"));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        match &self.content {
            Content::Prompt(case) => {
                check_prompt(&case.ids, case.logits.count(), "logits")?;
                check_numbers(case.logits.values().iter().map(|value| f64::from(*value)), "logits")?;
                if let Some(exact) = &case.exact {
                    let found = (exact.count(), exact.columns());
                    let expected = (case.logits.count(), case.logits.columns());
                    if found != expected {
                        return Err(format!("exact is {found:?}, logits are {expected:?} (rows, columns)"));
                    }
                    check_numbers(exact.values().iter().map(|value| f64::from(*value)), "exact")?;
                }
                let first = case.logits.values().first();
                if case.logits.values().iter().all(|value| Some(value) == first) {
                    return Err("all logits are equal, so there is no measure for distances".to_owned());
                }
                Ok(())
            }
            Content::Texts(cases) if cases.is_empty() => Err("it holds no cases".to_owned()),
            Content::Texts(cases) if cases.len() > MOST_CASES => {
                Err(format!("it holds {} cases, at most {MOST_CASES} are read", cases.len()))
            }
            Content::Texts(cases) => cases
                .iter()
                .enumerate()
                .try_for_each(|(index, case)| case.check().map_err(|e| format!("case {}: {e}", index + 1))),
        }
    }
}

impl Passage {
    fn check(&self) -> Result<(), String> {
        check_prompt(&self.ids, self.top.count(), "top")?;
        let (found, expected) =
            ((self.exact.count(), self.exact.columns()), (self.top.count(), self.top.columns()));
        if found != expected {
            return Err(format!("exact is {found:?}, top is {expected:?} (rows, columns)"));
        }
        check_numbers(self.exact.values().iter().copied(), "exact")?;
        check_numbers(self.greedy_margin.iter().copied(), "greedy_margin")?;
        if self.greedy.len() != self.greedy_margin.len() {
            let (ids, margins) = (self.greedy.len(), self.greedy_margin.len());
            return Err(format!("greedy has {ids} ids and greedy_margin {margins} numbers"));
        }
        Ok(())
    }
}

fn check_prompt(ids: &[u32], rows: usize, what: &str) -> Result<(), String> {
    match (ids.len(), rows) {
        (0, _) => Err("it has no ids".to_owned()),
        (ids, rows) if ids != rows => Err(format!("{ids} ids, but {what} has {rows} rows")),
        _ => Ok(()),
    }
}

fn check_numbers(mut values: impl Iterator<Item = f64>, what: &str) -> Result<(), String> {
    match values.position(|value| !value.is_finite()) {
        Some(index) => Err(format!("number {index} of {what} is not finite")),
        None => Ok(()),
    }
}

fn json(bytes: &[u8]) -> Result<Content, String> {
    if bytes.len() > LARGEST_JSON {
        return Err(format!("{} bytes of JSON, at most {LARGEST_JSON} are read", bytes.len()));
    }
    let json: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match json {
        Json { cases: Some(cases), .. } => Ok(Content::Texts(cases)),
        Json { ids: Some(ids), logits: Some(logits), greedy: Some(greedy), exact, .. } => {
            Ok(Content::Prompt(Prompt { reference: Reference::LlamaCpp, ids, logits, exact, greedy }))
        }
        _ => Err("the JSON has neither cases nor all of ids, logits and greedy".to_owned()),
    }
}

fn safetensors(bytes: &[u8], name: &str) -> Result<Content, String> {
    let file = SafeTensors::parse(bytes, name)
        .map_err(|error| format!("{} (at byte {})", error.problem, error.offset))?;
    let tensor = |name: &str, dtype: Dtype, rank: usize| -> Result<&TensorInfo, String> {
        let tensor = file.tensor(name).ok_or_else(|| format!("it has no tensor {name}"))?;
        if (tensor.dtype(), tensor.shape().len()) != (dtype, rank) {
            let (found, shape) = (tensor.dtype(), tensor.shape());
            return Err(format!("{name} is {found:?} {shape:?}, {dtype:?} of rank {rank} is expected"));
        }
        Ok(tensor)
    };
    let ids = |name: &str| -> Result<Vec<u32>, String> {
        let data = file.data(tensor(name, Dtype::I64, 1)?);
        let id = |bytes: &[u8; 8]| u32::try_from(i64::from_le_bytes(*bytes));
        let ids: Result<Vec<_>, _> = data.as_chunks::<8>().0.iter().map(id).collect();
        ids.map_err(|_| format!("{name} has a number that is no id"))
    };
    let logits = tensor("logits", Dtype::F32, 2)?;
    let values = file.data(logits).as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
    let logits = Rows::new(values.collect(), logits.shape()[1] as usize)
        .ok_or_else(|| "logits has no columns".to_owned())?;
    Ok(Content::Prompt(Prompt {
        reference: Reference::Transformers,
        ids: ids("input_ids")?,
        logits,
        exact: None,
        greedy: ids("greedy")?,
    }))
}
