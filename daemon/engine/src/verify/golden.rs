//! Files of reference logits, in three kinds, recognised by their content:
//!
//! | file | holds | made by |
//! |---|---|---|
//! | safetensors | `input_ids` i64 `[T]`, `logits` f32 `[T, V]`, `greedy` i64 `[G]` | transformers, in f32 on the stored values |
//! | JSON `{ids, logits, greedy, exact?}` | the same; `exact` in f64 on the dequantized weights | llama.cpp |
//! | JSON `{cases: [{text, ids, top, exact, greedy, greedy_margin}]}` | real text: for each position the best ids with llama.cpp's log-probabilities, and the same ids' exact ones | llama.cpp |
//!
//! Nothing in them is trusted: sizes are bounded, every shape is checked, every number has to be one.

use serde::Deserialize;

use super::golden_error::{GoldenError, LARGEST_JSON, MAX_CASES, Mismatch, Problem};
use super::rows::Rows;
use crate::map::MappedFile;
use crate::safetensors::{Dtype, SafeTensors, TensorInfo};

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
    /// Files of another kind, damaged ones, and numbers that are not finite.
    pub fn read(file: &MappedFile) -> Result<Self, GoldenError> {
        let (name, bytes) = (file.name(), file.bytes());
        let fail = |problem| GoldenError::File { file: name.to_owned(), problem: Box::new(problem) };
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
        let fail = |problem| Err(GoldenError::OtherModel { file: self.file.clone(), problem });
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
            return fail(Mismatch::Width { found: width, vocab });
        }
        if let Some(id) = ids.into_iter().find(|&id| id >= vocab) {
            return fail(Mismatch::Id { id, vocab });
        }
        let needed = self.capacity();
        if needed > max_context as usize {
            return fail(Mismatch::Context { needed, max_context });
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        match &self.content {
            Content::Prompt(case) => {
                check_prompt(&case.ids, case.logits.count(), "logits")?;
                check_numbers(case.logits.values().iter().map(|value| f64::from(*value)), "logits")?;
                if let Some(exact) = &case.exact {
                    check_shape(exact, &case.logits, "logits")?;
                    check_numbers(exact.values().iter().map(|value| f64::from(*value)), "exact")?;
                }
                let first = case.logits.values().first();
                if case.logits.values().iter().all(|value| Some(value) == first) {
                    return Err(Problem::EqualLogits);
                }
                Ok(())
            }
            Content::Texts(cases) if cases.is_empty() => Err(Problem::NoCases),
            Content::Texts(cases) if cases.len() > MAX_CASES => Err(Problem::Cases(cases.len())),
            Content::Texts(cases) => cases.iter().enumerate().try_for_each(|(index, case)| {
                let in_case = |problem| Problem::Case { number: index + 1, problem: Box::new(problem) };
                case.check().map_err(in_case)
            }),
        }
    }
}

impl Passage {
    fn check(&self) -> Result<(), Problem> {
        check_prompt(&self.ids, self.top.count(), "top")?;
        check_shape(&self.exact, &self.top, "top")?;
        check_numbers(self.exact.values().iter().copied(), "exact")?;
        check_numbers(self.greedy_margin.iter().copied(), "greedy_margin")?;
        if self.greedy.len() != self.greedy_margin.len() {
            let (ids, margins) = (self.greedy.len(), self.greedy_margin.len());
            return Err(Problem::Margins { ids, margins });
        }
        Ok(())
    }
}

fn check_prompt(ids: &[u32], rows: usize, name: &'static str) -> Result<(), Problem> {
    match (ids.len(), rows) {
        (0, _) => Err(Problem::NoIds),
        (ids, rows) if ids != rows => Err(Problem::Rows { ids, name, rows }),
        _ => Ok(()),
    }
}

fn check_shape<T, U>(exact: &Rows<T>, other: &Rows<U>, name: &'static str) -> Result<(), Problem> {
    let [exact, other] = [(exact.count(), exact.columns()), (other.count(), other.columns())];
    if exact == other { Ok(()) } else { Err(Problem::Shape { exact, name, other }) }
}

fn check_numbers(mut values: impl Iterator<Item = f64>, name: &'static str) -> Result<(), Problem> {
    match values.position(|value| !value.is_finite()) {
        Some(index) => Err(Problem::NotFinite { index, name }),
        None => Ok(()),
    }
}

fn json(bytes: &[u8]) -> Result<Content, Problem> {
    if bytes.len() > LARGEST_JSON {
        return Err(Problem::Size(bytes.len()));
    }
    let json: Json = serde_json::from_slice(bytes).map_err(Problem::Json)?;
    match json {
        Json { cases: Some(cases), .. } => Ok(Content::Texts(cases)),
        Json { ids: Some(ids), logits: Some(logits), greedy: Some(greedy), exact, .. } => {
            Ok(Content::Prompt(Prompt { reference: Reference::LlamaCpp, ids, logits, exact, greedy }))
        }
        _ => Err(Problem::Neither),
    }
}

fn safetensors(bytes: &[u8], name: &str) -> Result<Content, Problem> {
    let file = SafeTensors::parse(bytes, name).map_err(Problem::SafeTensors)?;
    let tensor = |name: &'static str, dtype: Dtype, rank: usize| -> Result<&TensorInfo, Problem> {
        let tensor = file.tensor(name).ok_or(Problem::NoTensor(name))?;
        if (tensor.dtype(), tensor.shape().len()) != (dtype, rank) {
            let (found, shape) = (tensor.dtype(), tensor.shape().to_vec());
            return Err(Problem::Tensor { name, found, shape, expected: dtype, rank });
        }
        Ok(tensor)
    };
    let ids = |name: &'static str| -> Result<Vec<u32>, Problem> {
        let data = file.data(tensor(name, Dtype::I64, 1)?);
        let id = |bytes: &[u8; 8]| u32::try_from(i64::from_le_bytes(*bytes));
        let ids: Result<Vec<_>, _> = data.as_chunks::<8>().0.iter().map(id).collect();
        ids.map_err(|_| Problem::NoId(name))
    };
    let logits = tensor("logits", Dtype::F32, 2)?;
    let values = file.data(logits).as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
    let logits = Rows::new(values.collect(), logits.shape()[1] as usize).ok_or(Problem::NoColumns)?;
    Ok(Content::Prompt(Prompt {
        reference: Reference::Transformers,
        ids: ids("input_ids")?,
        logits,
        exact: None,
        greedy: ids("greedy")?,
    }))
}
