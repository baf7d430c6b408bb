//! The tensor table: where each tensor lies, checked.

use std::collections::HashMap;
use std::ops::Range;

use super::cursor::Cursor;
use super::error::{GgufError, Problem};
use super::ggml_type::GgmlType;

/// ggml itself allows 64; some writers were built with more.
const LONGEST_NAME: u64 = 256;
/// ggml's limit.
const MAX_DIMENSIONS: u32 = 4;
/// Length of an empty name, count of dimensions, type and offset: the least that an entry takes.
pub(super) const LEAST_ENTRY_BYTES: usize = 8 + 4 + 4 + 8;

/// One tensor of a file: its shape, its format and where its bytes are.
///
/// Owns its fields, so it outlives the parsed header; [`TensorInfo::range`] cuts its bytes out of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    name: Box<str>,
    dimensions: [u64; MAX_DIMENSIONS as usize],
    rank: usize,
    format: GgmlType,
    range: Range<usize>,
}

impl TensorInfo {
    /// Its name: `blk.0.attn_q.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its 0 to 4 dimensions in ggml's order: the length of a row, which is contiguous, comes first.
    pub fn dimensions(&self) -> &[u64] {
        &self.dimensions[..self.rank]
    }

    /// How its elements are stored.
    pub fn ggml_type(&self) -> GgmlType {
        self.format
    }

    /// Elements in a row: the first dimension, 1 for a scalar.
    pub fn row_length(&self) -> u64 {
        self.dimensions[0]
    }

    /// Rows: the product of all dimensions but the first.
    pub fn rows(&self) -> u64 {
        self.dimensions[1..].iter().product()
    }

    /// Elements in all. At least 1.
    pub fn elements(&self) -> u64 {
        self.row_length() * self.rows()
    }

    /// Its bytes, as offsets in the file. Starts at a multiple of the file's alignment.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

/// All tensors of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// In the order of the file.
    pub(super) tensors: Vec<TensorInfo>,
    /// Where in `tensors` each name is.
    pub(super) index: HashMap<Box<str>, usize>,
}

/// Reads `count` entries. Their ranges count from the start of the data until [`place`] has moved them.
pub(super) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<(usize, TensorInfo)>, GgufError> {
    let mut tensors = Vec::with_capacity(count);
    for index in 0..count {
        tensors.push((cursor.position(), entry(cursor, index)?));
    }
    Ok(tensors)
}

fn entry(cursor: &mut Cursor<'_>, index: usize) -> Result<TensorInfo, GgufError> {
    let at = cursor.position();
    let name = cursor.name(LONGEST_NAME, || format!("the name of tensor {index}"))?;
    let what = || format!("the entry of tensor {name}");
    let bad_shape = |cursor: &Cursor<'_>, detail: String| {
        cursor.error(at, Problem::Shape { tensor: name.to_owned(), detail })
    };

    let rank = cursor.u32(what)?;
    if rank > MAX_DIMENSIONS {
        return Err(bad_shape(
            cursor,
            format!("has {rank} dimensions; at most {MAX_DIMENSIONS} are possible"),
        ));
    }
    let mut dimensions = [1; MAX_DIMENSIONS as usize];
    for dimension in &mut dimensions[..rank as usize] {
        *dimension = cursor.u64(what)?;
    }
    let shape = &dimensions[..rank as usize];
    let elements = shape.iter().try_fold(1_u64, |product, &dimension| product.checked_mul(dimension));
    let elements = match elements {
        Some(0) => return Err(bad_shape(cursor, format!("has no elements: its shape is {shape:?}"))),
        Some(elements) => elements,
        None => {
            return Err(bad_shape(cursor, format!("has more than 2^64 elements: its shape is {shape:?}")));
        }
    };

    let type_at = cursor.position();
    let found = cursor.u32(what)?;
    let Some(format) = GgmlType::from_u32(found) else {
        return Err(cursor.error(type_at, Problem::UnknownType { what: format!("tensor {name}"), found }));
    };
    let block = format.block_size();
    if !dimensions[0].is_multiple_of(block) {
        let detail = format!("has rows of {}, which {format} blocks of {block} do not divide", dimensions[0]);
        return Err(bad_shape(cursor, detail));
    }
    let start = cursor.u64(what)?;
    let end = format.bytes_of(elements).and_then(|bytes| start.checked_add(bytes));
    let range = end.and_then(|end| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?));
    match range {
        Some(range) => Ok(TensorInfo { name: name.into(), dimensions, rank: rank as usize, format, range }),
        None => Err(bad_shape(cursor, format!("of shape {shape:?} ends beyond 2^64 bytes"))),
    }
}

/// Moves the ranges to where the data begins and checks alignment, bounds, overlap and names.
pub(super) fn place(
    cursor: &Cursor<'_>,
    entries: Vec<(usize, TensorInfo)>,
    alignment: usize,
    file_size: usize,
) -> Result<Table, GgufError> {
    // Cannot overflow: a slice is never longer than isize::MAX, and the alignment is at most 65536.
    let data = cursor.position().next_multiple_of(alignment);
    let mut index = HashMap::with_capacity(entries.len());
    let mut tensors = Vec::with_capacity(entries.len());
    for (at, mut tensor) in entries {
        if !tensor.range.start.is_multiple_of(alignment) {
            let problem = Problem::Misaligned {
                tensor: tensor.name.into(),
                found: tensor.range.start as u64,
                alignment: alignment as u64,
            };
            return Err(cursor.error(at, problem));
        }
        let start = tensor.range.start.saturating_add(data);
        let end = tensor.range.end.saturating_add(data);
        if end > file_size {
            let problem = Problem::Truncated {
                what: format!("tensor {}", tensor.name),
                needs: start as u64..end as u64,
                file_size: file_size as u64,
            };
            return Err(cursor.error(at, problem));
        }
        tensor.range = start..end;
        if index.insert(tensor.name.clone(), tensors.len()).is_some() {
            return Err(cursor.error(at, Problem::Duplicate { what: format!("tensor {}", tensor.name) }));
        }
        tensors.push(tensor);
    }
    refuse_overlap(cursor, &tensors)?;
    Ok(Table { tensors, index })
}

fn refuse_overlap(cursor: &Cursor<'_>, tensors: &[TensorInfo]) -> Result<(), GgufError> {
    let mut by_start: Vec<&TensorInfo> = tensors.iter().collect();
    by_start.sort_by_key(|tensor| tensor.range.start);
    for pair in by_start.windows(2) {
        if let [first, second] = pair
            && first.range.end > second.range.start
        {
            let problem = Problem::Overlap { first: first.name.to_string(), second: second.name.to_string() };
            return Err(cursor.error(second.range.start, problem));
        }
    }
    Ok(())
}
