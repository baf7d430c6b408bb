//! Errors of safetensors files.

/// A safetensors file or index that cannot be used, and where it goes wrong.
///
/// Displayed as one line: file, what was found against what was expected, offset, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem} (at byte {offset}); {}", problem.remedy())]
pub struct SafeTensorsError {
    /// Name of the file as the user knows it.
    pub file: String,
    /// Where in the file the refused field begins, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// The ways in which a safetensors file can be unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Too short to hold the length of the header.
    #[error("has {file_size} bytes; a safetensors file has at least 10")]
    TooShort {
        /// Size of the file.
        file_size: u64,
    },
    /// Another format.
    #[error(
        "is no safetensors file: a header length of 2 to 100000000 and then \"{{\" are expected, the length \
         would be {length}"
    )]
    NotSafeTensors {
        /// The first eight bytes as a number.
        length: u64,
    },
    /// The file ends inside a field.
    #[error("truncated: {what} ends at byte {needs}, file has {file_size}")]
    Truncated {
        /// The field, in words.
        what: String,
        /// Where it would end.
        needs: u64,
        /// Size of the file.
        file_size: u64,
    },
    /// The header is no JSON, or not the JSON of this format.
    #[error("{what}: {expected} is expected, {found} found")]
    Json {
        /// The field, in words.
        what: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A field of a tensor's entry that is missing, twice there or unknown.
    #[error("tensor {tensor}: field {field} {problem}")]
    Field {
        /// Name of the tensor.
        tensor: String,
        /// Name of the field.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name that is no valid name of a tensor.
    #[error("a tensor is called `{name}`; 1 to {limit} bytes without control characters are expected")]
    Name {
        /// The name, shortened.
        name: String,
        /// The longest that is allowed.
        limit: usize,
    },
    /// Two tensors of one name.
    #[error("tensor {tensor} occurs twice")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// An element type that the format does not have.
    #[error("tensor {tensor} has unknown dtype {found}")]
    UnknownDtype {
        /// Name of the tensor.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// A shape that is impossible, or does not match the data.
    #[error("tensor {tensor} {detail}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// What is impossible about it.
        detail: String,
    },
    /// Two tensors that share bytes.
    #[error("tensors {first} and {second} overlap")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts inside of it.
        second: String,
    },
    /// Bytes that belong to no tensor.
    #[error("{bytes} bytes of data before {before} belong to no tensor")]
    Gap {
        /// How many.
        bytes: u64,
        /// The tensor behind them, or the end of the file.
        before: String,
    },
    /// An index that names something other than a file of its directory, or files that do not match it.
    #[error("{0}")]
    Shards(String),
}

impl Problem {
    /// What the user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TooShort { .. } | Self::NotSafeTensors { .. } => {
                "name a .safetensors file or the directory that holds one"
            }
            Self::Truncated { .. } => "download or copy it again",
            Self::UnknownDtype { .. } => "convert the model to F32, F16 or BF16",
            Self::Shards(_) => "download the whole repository again",
            _ => "the file is damaged or was not made by a safetensors writer: get it again",
        }
    }
}
