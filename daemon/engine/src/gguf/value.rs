//! Metadata values: parsed once, their bytes stay in the file.

use std::ops::Range;

use super::cursor::Cursor;
use super::error::{GgufError, Problem};

/// One metadata value. Strings and arrays borrow the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An integer of any width and sign.
    Integer(i128),
    /// A float; `f32` values are widened.
    Float(f64),
    /// A truth value; any byte but 0 is true.
    Bool(bool),
    /// Text. Not checked to be UTF-8 before it is asked for.
    String(&'a [u8]),
    /// A sequence of values of one type.
    Array(Array<'a>),
}

impl Value<'_> {
    /// What this is, in words for a message: `an integer`, `an array of 3 strings`.
    pub fn describe(&self) -> String {
        match self {
            Self::Integer(value) => format!("the integer {value}"),
            Self::Float(value) => format!("the float {value}"),
            Self::Bool(value) => format!("the truth value {value}"),
            Self::String(_) => "a string".to_owned(),
            Self::Array(array) => format!("an array of {} {}", array.len(), array.element.plural()),
        }
    }
}

/// A metadata value as the header keeps it: strings and arrays by their place in the file.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    Integer(i128),
    Float(f64),
    Bool(bool),
    String(Range<usize>),
    Array { element: ValueKind, length: usize, range: Range<usize> },
}

impl Stored {
    /// The value, with the bytes that `file` has in its places: none where the file has been cut off since.
    pub(super) fn of<'a>(&self, file: &'a [u8]) -> Value<'a> {
        let at = |range: &Range<usize>| file.get(range.clone()).unwrap_or_default();
        match self {
            &Self::Integer(value) => Value::Integer(value),
            &Self::Float(value) => Value::Float(value),
            &Self::Bool(value) => Value::Bool(value),
            Self::String(range) => Value::String(at(range)),
            &Self::Array { element, length, ref range } => {
                Value::Array(Array { element, length, bytes: at(range) })
            }
        }
    }
}

/// The type of a metadata value, as numbered in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueKind {
    fn from_u32(number: u32) -> Option<Self> {
        const KINDS: [ValueKind; 13] = [
            ValueKind::U8,
            ValueKind::I8,
            ValueKind::U16,
            ValueKind::I16,
            ValueKind::U32,
            ValueKind::I32,
            ValueKind::F32,
            ValueKind::Bool,
            ValueKind::String,
            ValueKind::Array,
            ValueKind::U64,
            ValueKind::I64,
            ValueKind::F64,
        ];
        KINDS.get(number as usize).copied()
    }

    /// Bytes of one value; for strings and arrays the bytes of their length fields, the least they take.
    fn least_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::String | Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Array => 12,
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::F32 | Self::F64 => "floats",
            Self::Bool => "truth values",
            Self::String => "strings",
            Self::Array => "arrays",
            _ => "integers",
        }
    }
}

/// An array in a file's metadata: a view of its bytes, read element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    element: ValueKind,
    length: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements as integers. `None` unless they are integers of any width, or truth values.
    pub fn integers(&self) -> Option<impl ExactSizeIterator<Item = i128> + 'a> {
        let kind = self.element;
        let fits = !matches!(kind, ValueKind::F32 | ValueKind::F64 | ValueKind::String | ValueKind::Array);
        fits.then(|| self.bytes.chunks_exact(kind.least_bytes()).map(move |chunk| integer(kind, chunk)))
    }

    /// The elements as floats. `None` unless they are floats.
    pub fn floats(&self) -> Option<impl ExactSizeIterator<Item = f64> + 'a> {
        let kind = self.element;
        let fits = matches!(kind, ValueKind::F32 | ValueKind::F64);
        fits.then(|| self.bytes.chunks_exact(kind.least_bytes()).map(move |chunk| float(kind, chunk)))
    }

    /// The elements as strings, not checked to be UTF-8. `None` unless they are strings.
    pub fn strings(&self) -> Option<Strings<'a>> {
        (self.element == ValueKind::String).then_some(Strings { bytes: self.bytes, left: self.length })
    }
}

/// The strings of an array, one after another.
///
/// The lengths were checked when the file was parsed. They are checked again on each step, because another
/// process may write to the file meanwhile: then the strings after that place are empty.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let split = self.bytes.split_first_chunk::<8>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
        });
        let (string, rest) = split.unwrap_or_default();
        self.bytes = rest;
        Some(string)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

/// Reads the type and the value of `key`.
pub(super) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Stored, GgufError> {
    let what = || format!("the value of {key}");
    match kind(cursor, key)? {
        ValueKind::Array => array(cursor, key),
        ValueKind::String => {
            let length = cursor.u64(what)?;
            let start = cursor.position();
            cursor.take(length, what)?;
            Ok(Stored::String(start..cursor.position()))
        }
        ValueKind::Bool => Ok(Stored::Bool(cursor.take(1, what)? != [0])),
        kind @ (ValueKind::F32 | ValueKind::F64) => {
            Ok(Stored::Float(float(kind, cursor.take(kind.least_bytes() as u64, what)?)))
        }
        kind => Ok(Stored::Integer(integer(kind, cursor.take(kind.least_bytes() as u64, what)?))),
    }
}

fn kind(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueKind, GgufError> {
    let offset = cursor.position();
    let found = cursor.u32(|| format!("the type of {key}"))?;
    ValueKind::from_u32(found).ok_or_else(|| {
        cursor.error(offset, Problem::UnknownType { what: format!("the value of {key}"), found })
    })
}

fn array(cursor: &mut Cursor<'_>, key: &str) -> Result<Stored, GgufError> {
    let offset = cursor.position();
    let element = kind(cursor, key)?;
    if element == ValueKind::Array {
        return Err(cursor.error(offset, Problem::NestedArray { what: format!("the value of {key}") }));
    }
    let what = || format!("the array {key}");
    let length = cursor.count(element.least_bytes(), usize::MAX, what)?;
    let start = cursor.position();
    if element == ValueKind::String {
        for index in 0..length {
            let what = || format!("string {index} of {key}");
            let bytes = cursor.u64(what)?;
            cursor.take(bytes, what)?;
        }
    } else {
        // Cannot overflow: `count` has seen that the file holds them.
        cursor.take((length * element.least_bytes()) as u64, what)?;
    }
    Ok(Stored::Array { element, length, range: start..cursor.position() })
}

/// The integer in `bytes`, which hold exactly one value of `kind`.
fn integer(kind: ValueKind, bytes: &[u8]) -> i128 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    match kind {
        ValueKind::I8 => i128::from(unsigned as i8),
        ValueKind::I16 => i128::from(unsigned as i16),
        ValueKind::I32 => i128::from(unsigned as i32),
        ValueKind::I64 => i128::from(unsigned as i64),
        _ => i128::from(unsigned),
    }
}

/// The float in `bytes`, which hold exactly one value of `kind`.
fn float(kind: ValueKind, bytes: &[u8]) -> f64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    if kind == ValueKind::F64 { f64::from_bits(bits) } else { f64::from(f32::from_bits(bits as u32)) }
}
