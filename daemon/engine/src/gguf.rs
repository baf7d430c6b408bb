//! GGUF, the file format of ggml models: header, metadata and tensor table over a mapped file.
//!
//! ```text
//! "GGUF"  version u32  tensors u64  entries u64
//! entries × { key: string, type u32, value }            string = length u64, bytes
//! tensors × { name: string, rank u32, rank × u64, type u32, offset u64 }
//! padding to general.alignment (32 if absent)           offsets count from here
//! tensor data
//! ```
//! Everything is little-endian. The parser trusts nothing: every count, length and offset is compared with the bytes
//! that are left before memory is allocated for it, arrays and strings stay in the file, and what is allocated (one
//! entry per key and per tensor) is bounded by the file's size.

mod cursor;
mod error;
mod ggml_type;
mod tensor;
mod value;
pub mod write;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::map::MappedFile;
use cursor::Cursor;
use tensor::Table;
use value::Stored;

pub use error::{GgufError, Problem};
pub use ggml_type::GgmlType;
pub use tensor::TensorInfo;
pub use value::{Array, Strings, Value};

const MAGIC: &[u8; 4] = b"GGUF";
/// The format allows 65535; no writer comes near, and messages name keys.
const LONGEST_KEY: u64 = 256;
/// A real file has less than a hundred keys.
const MAX_KEYS: usize = 1 << 16;
/// Mixtures of experts stored one by one come to tens of thousands.
const MAX_TENSORS: usize = 1 << 18;
/// Length of a key, its type and a value of one byte: the least that an entry takes.
const LEAST_ENTRY_BYTES: usize = 8 + 4 + 1;
const DEFAULT_ALIGNMENT: u64 = 32;

/// The content of a header, owned: it holds offsets into the file where [`Gguf`] borrows bytes.
#[derive(Clone, Debug)]
struct Header {
    version: u32,
    alignment: usize,
    length: usize,
    /// Where the entry of each key begins, and its value.
    metadata: HashMap<Box<str>, (usize, Stored)>,
    table: Table,
}

/// A mapped GGUF file and its header, which is parsed once: weights, tokenizer and identity share this.
#[derive(Debug)]
pub struct GgufFile {
    map: Arc<MappedFile>,
    header: Header,
}

impl GgufFile {
    /// Parses the header of `map`.
    ///
    /// # Errors
    /// As [`Gguf::parse`].
    pub fn open(map: Arc<MappedFile>) -> Result<Self, GgufError> {
        let header = Gguf::parse(map.bytes(), map.name())?.header.into_owned();
        Ok(Self { map, header })
    }

    /// The file's bytes.
    pub fn map(&self) -> &Arc<MappedFile> {
        &self.map
    }

    /// The header and the file's bytes. The header is not parsed again.
    pub fn gguf(&self) -> Gguf<'_> {
        Gguf { file: self.map.name(), bytes: self.map.bytes(), header: Cow::Borrowed(&self.header) }
    }
}

/// The parsed header of a GGUF file whose bytes it borrows.
///
/// The typed getters answer `Ok(None)` for a key that is absent and an error for one of another type;
/// integers are converted between widths and signs as long as the value fits.
#[derive(Clone, Debug)]
pub struct Gguf<'a> {
    file: &'a str,
    bytes: &'a [u8],
    header: Cow<'a, Header>,
}

impl<'a> Gguf<'a> {
    /// Parses the header of `bytes`, a whole file which messages call `file`.
    ///
    /// # Errors
    /// A file that is no GGUF of version 2 or 3, is cut off, contradicts itself, or is part of a split model.
    pub fn parse(bytes: &'a [u8], file: &'a str) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(file, bytes);
        let version = preamble(&mut cursor, bytes)?;
        let tensor_count =
            cursor.count(tensor::LEAST_ENTRY_BYTES, MAX_TENSORS, || "the tensor table".into())?;
        let key_count = cursor.count(LEAST_ENTRY_BYTES, MAX_KEYS, || "the metadata".into())?;

        let mut metadata = HashMap::with_capacity(key_count);
        for index in 0..key_count {
            let at = cursor.position();
            let key = cursor.name(LONGEST_KEY, || format!("metadata key {index}"))?;
            let value = value::read(&mut cursor, key)?;
            if metadata.insert(Box::from(key), (at, value)).is_some() {
                return Err(cursor.error(at, Problem::Duplicate { what: format!("metadata key {key}") }));
            }
        }
        let entries = tensor::read(&mut cursor, tensor_count)?;

        let length = cursor.position();
        let header = Header { version, alignment: 0, length, metadata, table: Table::default() };
        let gguf = Self { file, bytes, header: Cow::Owned(header) };
        gguf.refuse_split()?;
        let alignment = gguf.read_alignment()?;
        let table = tensor::place(&cursor, entries, alignment, bytes.len())?;
        let header = Header { alignment, table, ..gguf.header.into_owned() };
        Ok(Self { file, bytes, header: Cow::Owned(header) })
    }

    /// What messages call this file.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// What the offsets of tensors are multiples of, in bytes: a power of two.
    pub fn alignment(&self) -> usize {
        self.header.alignment
    }

    /// Bytes from the start of the file to the end of the tensor table, before the padding.
    pub fn header_length(&self) -> usize {
        self.header.length
    }

    /// All tensors, in the order of the file's table.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.table.tensors
    }

    /// The tensor called `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let table = &self.header.table;
        table.index.get(name).and_then(|&index| table.tensors.get(index))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Problem::MissingTensor`] if there is none.
    pub fn need_tensor(&self, name: &str) -> Result<&TensorInfo, GgufError> {
        self.tensor(name)
            .ok_or_else(|| self.error(self.header.length, Problem::MissingTensor { tensor: name.to_owned() }))
    }

    /// The bytes of one of this file's tensors. Aligned in memory if the file's first byte is, as in a map.
    pub fn data(&self, tensor: &TensorInfo) -> &'a [u8] {
        // Empty only for a tensor of another, longer file.
        self.bytes.get(tensor.range()).unwrap_or_default()
    }

    /// All metadata entries, in no particular order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.header.metadata.iter().map(|(key, (_, value))| (&**key, value.of(self.bytes)))
    }

    /// The value of `key`, whatever its type.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.header.metadata.get(key).map(|(_, value)| value.of(self.bytes))
    }

    /// The text of `key`.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for anything but a string, [`Problem::NotUtf8`] for bytes that are no text.
    pub fn get_str(&self, key: &str) -> Result<Option<&'a str>, GgufError> {
        let found = self.typed(key, "a string", |value| match value {
            Value::String(bytes) => Some(bytes),
            _ => None,
        })?;
        let Some(bytes) = found else { return Ok(None) };
        let text = std::str::from_utf8(bytes);
        text.map(Some)
            .map_err(|_| self.error_at_key(key, Problem::NotUtf8 { what: format!("the value of {key}") }))
    }

    /// The integer of `key`, if it fits 32 bits without a sign.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for any other value.
    pub fn get_u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "an integer from 0 to 2^32 - 1", |value| integer(value)?.try_into().ok())
    }

    /// The integer of `key`, if it fits 64 bits without a sign.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for any other value.
    pub fn get_u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "an integer from 0 to 2^64 - 1", |value| integer(value)?.try_into().ok())
    }

    /// The number of `key`; integers count as floats.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for any other value, and for numbers that are not finite.
    pub fn get_f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "a finite number", |value| {
            let number = match value {
                Value::Float(float) => float as f32,
                Value::Integer(integer) => integer as f32,
                _ => return None,
            };
            number.is_finite().then_some(number)
        })
    }

    /// The truth value of `key`.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for any other value.
    pub fn get_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a truth value", |value| match value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        })
    }

    /// The array of `key`, of whatever elements.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for any other value.
    pub fn get_array(&self, key: &str) -> Result<Option<Array<'a>>, GgufError> {
        self.typed(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    /// The strings of `key`, read one by one and not checked to be UTF-8.
    ///
    /// # Errors
    /// [`Problem::WrongType`] for any other value.
    pub fn get_strings(&self, key: &str) -> Result<Option<Strings<'a>>, GgufError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(array) => array.strings(),
            _ => None,
        })
    }

    /// Where the entry of `key` begins, in bytes, if it is there.
    pub fn key_offset(&self, key: &str) -> Option<usize> {
        self.header.metadata.get(key).map(|&(at, _)| at)
    }

    /// The error for a `key` that has to be there and is not.
    pub fn missing(&self, key: &str) -> GgufError {
        self.error(self.header.length, Problem::MissingKey { key: key.to_owned() })
    }

    /// The error for a `key` whose value is not what the reader can use.
    pub fn wrong_type(&self, key: &str, expected: &'static str) -> GgufError {
        let found = self.get(key).map_or_else(|| "absent".to_owned(), |value| value.describe());
        self.error_at_key(key, Problem::WrongType { key: key.to_owned(), found, expected })
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.wrong_type(key, expected))
    }

    fn error(&self, offset: usize, problem: Problem) -> GgufError {
        GgufError { file: self.file.to_owned(), offset: offset as u64, problem }
    }

    fn error_at_key(&self, key: &str, problem: Problem) -> GgufError {
        let offset = self.key_offset(key).unwrap_or(self.header.length);
        self.error(offset, problem)
    }

    fn refuse_split(&self) -> Result<(), GgufError> {
        match self.get_u64("split.count")? {
            Some(parts) if parts > 1 => Err(self.error_at_key("split.count", Problem::Split { parts })),
            _ => Ok(()),
        }
    }

    fn read_alignment(&self) -> Result<usize, GgufError> {
        const KEY: &str = "general.alignment";
        let found = self.get_u64(KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
        if found.is_power_of_two() && (8..=65_536).contains(&found) {
            Ok(found as usize)
        } else {
            Err(self.error_at_key(KEY, Problem::Alignment { found }))
        }
    }
}

/// Reads magic and version.
fn preamble(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, GgufError> {
    if !bytes.starts_with(MAGIC) {
        let found = bytes.get(..4).unwrap_or(bytes).to_vec();
        return Err(cursor.error(0, Problem::NotGguf { found }));
    }
    let what = || "the header".to_owned();
    cursor.take(MAGIC.len() as u64, what)?;
    let at = cursor.position();
    match cursor.u32(what)? {
        version @ (2 | 3) => Ok(version),
        // Versions are small numbers, so only one in the other byte order has its low half empty.
        swapped if swapped != 0 && swapped.trailing_zeros() >= 16 => {
            Err(cursor.error(at, Problem::BigEndian))
        }
        other => Err(cursor.error(at, Problem::Version(other))),
    }
}

fn integer(value: Value<'_>) -> Option<i128> {
    match value {
        Value::Integer(integer) => Some(integer),
        _ => None,
    }
}
