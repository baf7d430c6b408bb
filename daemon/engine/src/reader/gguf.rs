//! GGUF files: spec from the metadata, tensors from the table.
//!
//! Some converters store projections of one input as one tensor. A tensor of the spec is then a range of its
//! rows, which lies in one piece:
//!
//! | in the file | rows in order |
//! |---|---|
//! | `attn_qkv.weight`, `.bias` | query, key, value |
//! | `ffn_up.weight` of twice the width, no `ffn_gate` | gate, up |

mod architecture;
mod keys;
mod place;
mod rope;

pub(crate) use place::Place;
pub(crate) use rope::long_rope_magnitude;

use std::collections::{HashMap, HashSet};

use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::TensorSpec;

use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo};

/// A model file, understood.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) spec: DecoderSpec,
    /// Every tensor of the spec, by name.
    pub(crate) tensors: HashMap<String, Place>,
    /// What is kept in another format than the file's.
    pub(crate) notes: Vec<String>,
}

/// Reads what `gguf` describes and checks every tensor against it.
///
/// # Errors
/// Unknown architectures and features, missing, misshaped and left-over tensors.
pub(crate) fn read(gguf: &Gguf<'_>) -> Result<Description, LoadError> {
    let spec = architecture::spec(gguf)?;
    let mut used: HashSet<&str> = rope::FACTORS.into_iter().collect();
    let mut tensors = HashMap::new();
    for tensor in spec.tensors() {
        let part = find(gguf, &spec, &tensor)?;
        // A vector is one row; its part is counted in elements.
        let unit = if tensor.rows == 1 { 1 } else { u64::from(tensor.columns) };
        let place = Place::new(part.info, unit * part.first, &tensor);
        let place = place.ok_or_else(|| {
            let what =
                format!("{} in {} with rows of {}", at(part.info), part.info.ggml_type(), tensor.columns);
            unsupported(gguf, what, "quantize the model to f32, f16, bf16, q4_0 to q8_1 or q2_k to q8_k")
        })?;
        used.insert(part.info.name());
        tensors.insert(tensor.name, place);
    }
    match gguf.tensors().iter().find(|info| !used.contains(info.name())) {
        Some(info) => Err(unsupported(
            gguf,
            format!("{}, which this architecture's computation does not use,", at(info)),
            "convert the model again with a current converter",
        )),
        None => Ok(Description { spec, notes: place::notes(tensors.values()), tensors }),
    }
}

/// A tensor and where its bytes begin.
fn at(info: &TensorInfo) -> String {
    format!("tensor {} (at byte {})", info.name(), info.range().start)
}

/// A tensor of the spec in the file: `first` rows into a tensor there, elements if it is a vector.
struct StoredPart<'a> {
    info: &'a TensorInfo,
    first: u64,
}

fn find<'a>(
    gguf: &'a Gguf<'_>,
    spec: &DecoderSpec,
    tensor: &TensorSpec,
) -> Result<StoredPart<'a>, LoadError> {
    let fused = fused_with(gguf, spec, tensor);
    let (name, first, extent) = fused.unwrap_or_else(|| (tensor.name.clone(), 0, extent(tensor)));
    let info = gguf.tensor(&name).ok_or_else(|| LoadError::MissingTensor {
        file: gguf.file().to_owned(),
        tensor: tensor.name.clone(),
        rows: tensor.rows,
        columns: tensor.columns,
    })?;
    let columns = u64::from(tensor.columns);
    let (rows, columns) = if tensor.rows == 1 { (1, extent) } else { (extent, columns) };
    if info.rows() == rows && info.row_length() == columns {
        return Ok(StoredPart { info, first });
    }
    Err(LoadError::Shape {
        file: gguf.file().to_owned(),
        tensor: name,
        offset: info.range().start as u64,
        rows: rows as u32,
        columns: columns as u32,
        found_rows: info.rows(),
        found_columns: info.row_length(),
    })
}

/// Rows of a matrix, elements of a vector.
fn extent(tensor: &TensorSpec) -> u64 {
    u64::from(if tensor.rows == 1 { tensor.columns } else { tensor.rows })
}

/// The tensor that `tensor` is a part of, if the file stores it so: its name, where the part begins, and the
/// extent of the whole.
fn fused_with(gguf: &Gguf<'_>, spec: &DecoderSpec, tensor: &TensorSpec) -> Option<(String, u64, u64)> {
    let mut words = tensor.name.split('.');
    let ("blk", layer, part, kind) = (words.next()?, words.next()?, words.next()?, words.next()?) else {
        return None;
    };
    let block = spec.layers.get(layer.parse::<usize>().ok()?)?;
    match part {
        "attn_q" | "attn_k" | "attn_v" if gguf.tensor(&tensor.name).is_none() => {
            let attention = block.mixer.attention()?;
            let (q, kv) = (u64::from(attention.q_width()), u64::from(attention.kv_width()));
            let first = match part {
                "attn_q" => 0,
                "attn_k" => q,
                _ => q + kv,
            };
            let name = format!("blk.{layer}.attn_qkv.{kind}");
            gguf.tensor(&name).is_some().then_some((name, first, q + 2 * kv))
        }
        "ffn_gate" | "ffn_up" if block.ffn.gated => {
            let dim = u64::from(block.ffn.dim);
            let both = format!("blk.{layer}.ffn_up.{kind}");
            let found = gguf.tensor(&both)?;
            let alone = gguf.tensor(&format!("blk.{layer}.ffn_gate.{kind}")).is_some();
            let double = found.rows() == 2 * dim;
            (double && !alone).then_some((both, if part == "ffn_gate" { 0 } else { dim }, 2 * dim))
        }
        _ => None,
    }
}

/// An error for something that the file asks for and this engine does not do.
fn unsupported(gguf: &Gguf<'_>, what: String, remedy: &'static str) -> LoadError {
    LoadError::Unsupported { file: gguf.file().to_owned(), what, remedy }
}
