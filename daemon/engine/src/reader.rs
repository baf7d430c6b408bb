//! From a GGUF header to a model: its spec, and where each tensor lies and in which format.
//!
//! What this engine computes is read in full; a key or tensor that asks for something else is an error that
//! names it. Ignoring one would give a model that runs and answers nonsense.

mod architecture;

use std::collections::HashMap;
use std::ops::Range;

use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::{EMBEDDING, TensorSpec};

use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo};

/// Divisors of the rotary angles, read into the spec.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A model file, understood.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) spec: DecoderSpec,
    /// Format and place of every tensor of the spec, by name.
    pub(crate) tensors: HashMap<String, (WeightFormat, Range<usize>)>,
}

/// Reads what `gguf` describes and checks every tensor against it.
///
/// # Errors
/// Unknown architectures and features, missing, misshaped and left-over tensors.
pub(crate) fn read(gguf: &Gguf<'_>) -> Result<Description, LoadError> {
    let spec = architecture::spec(gguf)?;
    let mut tensors = HashMap::new();
    for tensor in spec.tensors() {
        let found = gguf.tensor(&tensor.name).ok_or_else(|| LoadError::MissingTensor {
            file: gguf.file().to_owned(),
            tensor: tensor.name.clone(),
            rows: tensor.rows,
            columns: tensor.columns,
        })?;
        check_shape(gguf, &tensor, found)?;
        tensors.insert(tensor.name.clone(), (format(gguf, &tensor, found)?, found.range()));
    }
    let extra = gguf
        .tensors()
        .iter()
        .map(TensorInfo::name)
        .find(|name| *name != ROPE_FACTORS && !tensors.contains_key(*name));
    match extra {
        Some(name) => Err(unsupported(
            gguf,
            format!("tensor {name}, which this architecture's computation does not use,"),
            "convert the model again with a current converter",
        )),
        None => Ok(Description { spec, tensors }),
    }
}

fn check_shape(gguf: &Gguf<'_>, tensor: &TensorSpec, found: &TensorInfo) -> Result<(), LoadError> {
    let (rows, columns) = (found.rows(), found.row_length());
    if rows == u64::from(tensor.rows) && columns == u64::from(tensor.columns) {
        return Ok(());
    }
    Err(LoadError::Shape {
        file: gguf.file().to_owned(),
        tensor: tensor.name.clone(),
        rows: tensor.rows,
        columns: tensor.columns,
        found_rows: rows,
        found_columns: columns,
    })
}

fn format(gguf: &Gguf<'_>, tensor: &TensorSpec, found: &TensorInfo) -> Result<WeightFormat, LoadError> {
    let format = found.ggml_type().format();
    format.filter(|format| format.divides(u64::from(tensor.columns))).ok_or_else(|| {
        unsupported(
            gguf,
            format!("tensor {} in {} with rows of {}", tensor.name, found.ggml_type(), tensor.columns),
            "quantize the model to f32, f16, bf16, q4_0 to q8_0 or q2_k to q6_k",
        )
    })
}

/// An error for something that the file asks for and this engine does not do.
fn unsupported(gguf: &Gguf<'_>, what: String, remedy: &'static str) -> LoadError {
    LoadError::Unsupported { file: gguf.file().to_owned(), what, remedy }
}

/// Rows of the embedding table: the vocabulary.
fn vocabulary(gguf: &Gguf<'_>) -> Result<u32, LoadError> {
    let rows = gguf.need_tensor(EMBEDDING)?.rows();
    // A number beyond u32 fails the spec's limits like any other that is too large.
    Ok(u32::try_from(rows).unwrap_or(u32::MAX))
}
