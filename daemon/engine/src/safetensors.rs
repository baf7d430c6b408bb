//! Safetensors, the file format of Hugging Face checkpoints: the header over a mapped file.
//!
//! ```text
//! length u64, little-endian
//! length bytes of JSON: { NAME: {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}, … }
//! tensor data                                               offsets count from here
//! ```
//! One more key, `__metadata__`, holds texts and is skipped. The parser trusts nothing: what it
//! allocates (one entry per tensor) is bounded by the header's size, and the data must be covered by the
//! tensors exactly, without gaps and overlaps. Nothing aligns the data to its elements: a reader that needs
//! that looks at [`TensorInfo::range`] and copies.

mod dtype;
mod error;
mod header;
pub mod index;
mod json;
pub mod set;

use std::collections::HashMap;
use std::ops::Range;

pub use dtype::Dtype;
pub use error::{Problem, SafeTensorsError};
pub use set::TensorSet;

/// The format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// The parsed header of a safetensors file whose bytes it borrows.
#[derive(Clone, Debug)]
pub struct SafeTensors<'a> {
    file: &'a str,
    bytes: &'a [u8],
    tensors: Vec<TensorInfo>,
    index: HashMap<Box<str>, usize>,
}

/// One tensor of a file: its shape, its element type and where its bytes are.
///
/// Owns its fields, so it outlives the parsed header; [`TensorInfo::range`] cuts its bytes out of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    name: Box<str>,
    dtype: Dtype,
    shape: Box<[u64]>,
    range: Range<usize>,
}

impl TensorInfo {
    /// Its name: `model.layers.0.self_attn.q_proj.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its elements are stored.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its dimensions; the last one is contiguous. Empty for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Elements in all; 1 for a scalar, 0 if a dimension is 0.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Its bytes, as offsets in the file, at any alignment.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl<'a> SafeTensors<'a> {
    /// Parses the header of `bytes`, a whole file which messages call `file`.
    ///
    /// # Errors
    /// A file that is not of this format, is cut off, or contradicts itself.
    pub fn parse(bytes: &'a [u8], file: &'a str) -> Result<Self, SafeTensorsError> {
        let error = |offset: usize, problem| SafeTensorsError {
            file: file.to_owned(),
            offset: offset as u64,
            problem,
        };
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(error(0, Problem::TooShort { file_size: bytes.len() as u64 }));
        };
        let length = u64::from_le_bytes(*length);
        // Before the length is believed: other formats show here.
        match rest.first() {
            Some(b'{') if (2..=LONGEST_HEADER).contains(&length) => {}
            _ => return Err(error(0, Problem::NotSafeTensors { length })),
        }
        let Some((text, data)) = rest.split_at_checked(length as usize) else {
            let (needs, file_size) = (8 + length, bytes.len() as u64);
            return Err(error(8, Problem::Truncated { what: "the header".to_owned(), needs, file_size }));
        };
        let tensors = header::read(text, file)?;
        let start = 8 + text.len();
        header::check_places(&tensors, start as u64, data.len() as u64, file)?;
        let mut index = HashMap::with_capacity(tensors.len());
        let mut placed = Vec::with_capacity(tensors.len());
        for entry in tensors {
            if index.insert(entry.name.clone(), placed.len()).is_some() {
                return Err(error(entry.at, Problem::Duplicate { tensor: entry.name.into() }));
            }
            // Cannot overflow: all ends are within the data.
            let range = start + entry.begin as usize..start + entry.end as usize;
            placed.push(TensorInfo { name: entry.name, dtype: entry.dtype, shape: entry.shape, range });
        }
        Ok(Self { file, bytes, tensors: placed, index })
    }

    /// What messages call this file.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// All tensors, in the order of the header.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).and_then(|&index| self.tensors.get(index))
    }

    /// The bytes of one of this file's tensors, at any alignment.
    pub fn data(&self, tensor: &TensorInfo) -> &'a [u8] {
        // Empty only for a tensor of another, longer file.
        self.bytes.get(tensor.range()).unwrap_or_default()
    }
}
