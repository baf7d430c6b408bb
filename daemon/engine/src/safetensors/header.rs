//! The entries of a header, checked to cover the data exactly.

use std::borrow::Cow;

use super::dtype::Dtype;
use super::error::{Problem, SafeTensorsError};
use super::json::Json;
use crate::sanitize::sanitize;

/// More than any tensor of a model has.
const MAX_DIMENSIONS: usize = 8;

/// Bytes; GGUF files have the same limit.
pub(super) const LONGEST_NAME: usize = 256;

/// One tensor as its entry describes it.
pub(super) struct Entry {
    pub(super) name: Box<str>,
    /// Offset of the entry in the file.
    pub(super) at: usize,
    pub(super) dtype: Dtype,
    pub(super) shape: Box<[u64]>,
    /// First byte, counted from the start of the data.
    pub(super) begin: u64,
    /// Byte behind the last one.
    pub(super) end: u64,
}

/// Reads all entries of `text`, the JSON part of `file`.
pub(super) fn read(text: &[u8], file: &str) -> Result<Vec<Entry>, SafeTensorsError> {
    let mut json = Json::new(text, 8, file);
    let mut entries = Vec::new();
    json.object("the header", |json, at, name| {
        if name == "__metadata__" {
            return json
                .object("__metadata__", |json, _, _| json.string("a value of __metadata__").map(drop));
        }
        check_name(json, at, &name)?;
        entries.push(entry(json, at, &name)?);
        Ok(())
    })?;
    json.end("the header")?;
    Ok(entries)
}

/// Refuses a name that could not be shown in messages.
pub(super) fn check_name(json: &Json<'_>, at: usize, name: &str) -> Result<(), SafeTensorsError> {
    if (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(json.error_at(at, Problem::Name { name: sanitize(name), limit: LONGEST_NAME }))
}

fn entry(json: &mut Json<'_>, at: usize, name: &str) -> Result<Entry, SafeTensorsError> {
    let what = format!("tensor {name}");
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    json.object(&what, |json, at, field| {
        let twice = match field.as_ref() {
            "dtype" => dtype.replace(read_dtype(json, name)?).is_some(),
            "shape" => {
                let field = format!("{what}: shape");
                shape.replace(json.numbers(&field, MAX_DIMENSIONS)?).is_some()
            }
            "data_offsets" => {
                let field = format!("{what}: data_offsets");
                let pair = json.numbers(&field, 2)?;
                let Ok(pair) = <[u64; 2]>::try_from(pair) else {
                    return Err(json.unexpected(&field, "two numbers"));
                };
                offsets.replace(pair).is_some()
            }
            _ => return Err(field_error(json, at, name, field, "is unknown")),
        };
        if twice { Err(field_error(json, at, name, field, "occurs twice")) } else { Ok(()) }
    })?;
    let missing =
        |json: &Json<'_>, field: &'static str| field_error(json, at, name, field.into(), "is missing");
    let dtype = dtype.ok_or_else(|| missing(json, "dtype"))?;
    let shape = shape.ok_or_else(|| missing(json, "shape"))?;
    let [begin, end] = offsets.ok_or_else(|| missing(json, "data_offsets"))?;
    let bad_shape = |detail| json.error_at(at, Problem::Shape { tensor: name.to_owned(), detail });

    let elements = shape.iter().try_fold(1_u64, |product, &dimension| product.checked_mul(dimension));
    let bytes = elements.and_then(|elements| dtype.bytes_of(elements));
    let Some(bytes) = bytes else {
        return Err(bad_shape(format!(
            "of shape {shape:?} in {dtype} is no whole number of bytes below 2^61"
        )));
    };
    if end.checked_sub(begin) != Some(bytes) {
        return Err(bad_shape(format!(
            "of shape {shape:?} in {dtype} has {bytes} bytes; its data_offsets are {begin} to {end}"
        )));
    }
    Ok(Entry { name: name.into(), at, dtype, shape: shape.into(), begin, end })
}

fn read_dtype(json: &mut Json<'_>, name: &str) -> Result<Dtype, SafeTensorsError> {
    let at = json.offset();
    let found = json.string(&format!("tensor {name}: dtype"))?;
    Dtype::from_name(&found).ok_or_else(|| {
        let problem = Problem::UnknownDtype { tensor: name.to_owned(), found: sanitize(&found) };
        json.error_at(at, problem)
    })
}

fn field_error(
    json: &Json<'_>,
    at: usize,
    tensor: &str,
    field: Cow<'_, str>,
    problem: &'static str,
) -> SafeTensorsError {
    let (tensor, field) = (tensor.to_owned(), sanitize(&field));
    json.error_at(at, Problem::Field { tensor, field, problem })
}

/// Checks that every one of the `data` bytes, which begin at `start` in the file, belongs to exactly one entry.
pub(super) fn check_places(
    entries: &[Entry],
    start: u64,
    data: u64,
    file: &str,
) -> Result<(), SafeTensorsError> {
    let error = |at: usize, problem| SafeTensorsError { file: file.to_owned(), offset: at as u64, problem };
    let mut by_place: Vec<&Entry> = entries.iter().collect();
    by_place.sort_by_key(|entry| (entry.begin, entry.end));
    let (mut covered, mut last) = (0, None::<&Entry>);
    for entry in by_place {
        if entry.end > data {
            let what = format!("the data of tensor {}", entry.name);
            let (needs, file_size) = (entry.end.saturating_add(start), data + start);
            return Err(error(entry.at, Problem::Truncated { what, needs, file_size }));
        }
        if let (true, Some(first)) = (entry.begin < covered, last) {
            let (first, second) = (first.name.to_string(), entry.name.to_string());
            return Err(error(entry.at, Problem::Overlap { first, second }));
        }
        if entry.begin > covered {
            let before = format!("tensor {}", entry.name);
            return Err(error(entry.at, Problem::Gap { bytes: entry.begin - covered, before }));
        }
        (covered, last) = (entry.end, Some(entry));
    }
    if covered < data {
        let before = "the end of the file".to_owned();
        return Err(error(8, Problem::Gap { bytes: data - covered, before }));
    }
    Ok(())
}
