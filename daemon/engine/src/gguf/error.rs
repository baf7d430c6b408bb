//! Errors of GGUF files.

use std::fmt;
use std::ops::Range;

/// A GGUF file that cannot be used, and where it goes wrong.
///
/// Displayed as one line: file, offset, what was found against what was expected, and what to do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{file}: {problem} (at byte {offset}); {}", problem.remedy())]
pub struct GgufError {
    /// Name of the file as the user knows it.
    pub file: String,
    /// Where in the file the refused field begins, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// The ways in which a GGUF file can be unusable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The first four bytes are not the magic.
    #[error("starts with {} instead of \"GGUF\"", Ascii(.found))]
    NotGguf {
        /// The first bytes of the file, at most four.
        found: Vec<u8>,
    },
    /// Written on a big-endian machine.
    #[error("is a big-endian GGUF file; only little-endian ones are read")]
    BigEndian,
    /// A version this parser does not know.
    #[error("has GGUF version {0}; versions 2 and 3 are read")]
    Version(u32),
    /// The file ends inside of a field.
    #[error("truncated: {what} needs bytes {}..{}, file has {file_size}", .needs.start, .needs.end)]
    Truncated {
        /// The field, in words.
        what: String,
        /// The bytes that the field would take, as offsets in the file.
        needs: Range<u64>,
        /// Size of the file.
        file_size: u64,
    },
    /// More items than the rest of the file can hold, or than any model has.
    #[error("{what} claims {found} items; at most {limit} are possible here")]
    TooMany {
        /// The field, in words.
        what: String,
        /// The count in the file.
        found: u64,
        /// The largest count that the file's size and our limits admit.
        limit: u64,
    },
    /// A name of a length that no name has.
    #[error("{what} is {found} bytes long; 1 to {limit} are allowed")]
    NameLength {
        /// The field, in words.
        what: String,
        /// The length in the file.
        found: u64,
        /// The longest that is allowed.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// The field, in words.
        what: String,
    },
    /// A name that cannot be printed.
    #[error("{what} is not UTF-8 text without control characters")]
    NotText {
        /// The field, in words.
        what: String,
    },
    /// Two metadata entries or two tensors of one name.
    #[error("{what} occurs twice")]
    Duplicate {
        /// The name, with what it names.
        what: String,
    },
    /// A number outside of its enumeration.
    #[error("{what} has unknown type {found}")]
    UnknownType {
        /// The field, in words.
        what: String,
        /// The number in the file.
        found: u32,
    },
    /// An array of arrays; no known writer makes one.
    #[error("{what} is an array of arrays, which is not supported")]
    NestedArray {
        /// The field, in words.
        what: String,
    },
    /// The alignment of tensor data is no usable power of two.
    #[error("general.alignment is {found}; a power of two from 8 to 65536 is expected")]
    Alignment {
        /// The value in the file.
        found: u64,
    },
    /// One part of a model that was split into several files.
    #[error("is one of {parts} parts of a split model")]
    Split {
        /// How many parts there are.
        parts: u64,
    },
    /// A tensor of an impossible shape.
    #[error("tensor {tensor} {detail}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// What is impossible about it.
        detail: String,
    },
    /// A tensor whose data starts off the alignment.
    #[error("tensor {tensor} starts {found} bytes into the data, which is no multiple of {alignment}")]
    Misaligned {
        /// Name of the tensor.
        tensor: String,
        /// Its offset from the start of the data.
        found: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Two tensors that share bytes.
    #[error("tensors {first} and {second} overlap")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts inside of it.
        second: String,
    },
    /// A metadata entry of another type than the reader needs.
    #[error("{key} is {found}, {expected} is expected")]
    WrongType {
        /// The key.
        key: String,
        /// What the value is, in words.
        found: String,
        /// What the reader can use, in words.
        expected: &'static str,
    },
    /// A metadata entry that has to be there.
    #[error("has no {key}")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A tensor that has to be there.
    #[error("has no tensor {tensor}")]
    MissingTensor {
        /// Name of the tensor.
        tensor: String,
    },
}

impl Problem {
    /// What the user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotGguf { .. } => "name a .gguf file, or convert this one with llama.cpp's converter",
            Self::BigEndian => "convert it with gguf_convert_endian from the gguf Python package",
            Self::Version(_) | Self::UnknownType { .. } | Self::NestedArray { .. } => {
                "convert the model again with a current llama.cpp"
            }
            Self::Truncated { .. } => "download or copy it again",
            Self::Split { .. } => "join the parts with llama-gguf-split --merge FIRST_PART OUTPUT",
            Self::WrongType { .. } | Self::MissingKey { .. } | Self::MissingTensor { .. } => {
                "convert the model again; its converter left this out or wrote it differently"
            }
            _ => "the file is damaged or was not made by a GGUF writer: get it again",
        }
    }
}

/// Shows bytes as quoted ASCII with escapes.
struct Ascii<'a>(&'a [u8]);

impl fmt::Display for Ascii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
