//! What can be wrong with a file of reference logits.

use crate::safetensors::{Dtype, SafeTensorsError};

/// Largest JSON file, bytes. Logits of 64 positions over 262,144 ids fit.
pub(super) const LARGEST_JSON: usize = 256 << 20;
/// Most prompts of a file.
pub(super) const MAX_CASES: usize = 10_000;

/// Why a file of reference logits cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// It is none of the three kinds, or is damaged.
    #[error(
        "{file}: {problem}; a golden file is safetensors with input_ids, logits and greedy, or JSON with ids, logits \
         and greedy, or JSON with cases"
    )]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// It was made of another model.
    #[error("{file}: {problem}; name the golden file that was made of this model")]
    OtherModel {
        /// The file.
        file: String,
        /// What the model does not have.
        problem: Mismatch,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// JSON that is too large to read.
    #[error("{0} bytes of JSON, at most {LARGEST_JSON} are read")]
    Size(usize),
    /// No JSON, or of another form.
    #[error("{0}")]
    Json(serde_json::Error),
    /// JSON of neither form.
    #[error("the JSON has neither cases nor all of ids, logits and greedy")]
    Neither,
    /// No safetensors.
    #[error("{} (at byte {})", .0.problem, .0.offset)]
    SafeTensors(SafeTensorsError),
    /// A tensor is missing.
    #[error("it has no tensor {0}")]
    NoTensor(&'static str),
    /// A tensor of another type or rank.
    #[error("{name} is {found:?} {shape:?}, {expected:?} of rank {rank} is expected")]
    Tensor {
        /// Its name.
        name: &'static str,
        /// Its type.
        found: Dtype,
        /// Its shape.
        shape: Vec<u64>,
        /// The type that it should have.
        expected: Dtype,
        /// The number of dimensions that it should have.
        rank: usize,
    },
    /// A number that is no token id.
    #[error("{0} has a number that is no id")]
    NoId(&'static str),
    /// Logits without columns.
    #[error("logits has no columns")]
    NoColumns,
    /// No case at all.
    #[error("it holds no cases")]
    NoCases,
    /// Too many cases.
    #[error("it holds {0} cases, at most {MAX_CASES} are read")]
    Cases(usize),
    /// A case that cannot be used; cases count from 1.
    #[error("case {number}: {problem}")]
    Case {
        /// Which one.
        number: usize,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// No ids.
    #[error("it has no ids")]
    NoIds,
    /// Another number of rows than of ids.
    #[error("{ids} ids, but {name} has {rows} rows")]
    Rows {
        /// Ids.
        ids: usize,
        /// Whose rows.
        name: &'static str,
        /// Rows.
        rows: usize,
    },
    /// Tables of different sizes.
    #[error("exact is {exact:?}, {name} {other:?} (rows, columns)")]
    Shape {
        /// Rows and columns of `exact`.
        exact: (usize, usize),
        /// The other table.
        name: &'static str,
        /// Its rows and columns.
        other: (usize, usize),
    },
    /// Lists of different lengths.
    #[error("greedy has {ids} ids and greedy_margin {margins} numbers")]
    Margins {
        /// Ids.
        ids: usize,
        /// Margins.
        margins: usize,
    },
    /// A number that is infinite or NaN.
    #[error("number {index} of {name} is not finite")]
    NotFinite {
        /// Which one.
        index: usize,
        /// Of what.
        name: &'static str,
    },
    /// Logits that distances cannot be measured by.
    #[error("all logits are equal, so there is no measure for distances")]
    EqualLogits,
}

/// What a model does not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Another vocabulary.
    #[error("a row of logits has {found} numbers, the model has {vocab} ids")]
    Width {
        /// Numbers in a row.
        found: usize,
        /// Ids of the model.
        vocab: u32,
    },
    /// An id beyond the vocabulary.
    #[error("it names id {id}, the model's are below {vocab}")]
    Id {
        /// The id.
        id: u32,
        /// Ids of the model.
        vocab: u32,
    },
    /// A longer context than the model's.
    #[error("it needs {needed} tokens, the model's context is {max_context}")]
    Context {
        /// Tokens of the longest case.
        needed: usize,
        /// The model's.
        max_context: u32,
    },
}
