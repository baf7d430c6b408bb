//! A reading position in the bytes of a file whose lengths may all be wrong.

use super::error::{GgufError, Problem};

/// Reads little-endian fields one after another; every read is checked against the end of the file.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self { file, bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// An error at `offset`.
    pub(super) fn error(&self, offset: usize, problem: Problem) -> GgufError {
        GgufError { file: self.file.to_owned(), offset: offset as u64, problem }
    }

    /// The next `length` bytes. `what` names them if the file ends before.
    pub(super) fn take(&mut self, length: u64, what: impl FnOnce() -> String) -> Result<&'a [u8], GgufError> {
        let rest = &self.bytes[self.position..];
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(taken) => {
                self.position += taken.len();
                Ok(taken)
            }
            None => Err(self.truncated(length, what())),
        }
    }

    fn truncated(&self, length: u64, what: String) -> GgufError {
        let start = self.position as u64;
        let needs = start..start.saturating_add(length);
        self.error(self.position, Problem::Truncated { what, needs, file_size: self.bytes.len() as u64 })
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: impl FnOnce() -> String,
    ) -> Result<[u8; N], GgufError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N as u64, what())),
        }
    }

    pub(super) fn u32(&mut self, what: impl FnOnce() -> String) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: impl FnOnce() -> String) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of items that take at least `item_bytes` each: refused where the file cannot hold them or
    /// where there are more than `most`.
    pub(super) fn count(
        &mut self,
        item_bytes: usize,
        most: usize,
        what: impl Fn() -> String,
    ) -> Result<usize, GgufError> {
        let offset = self.position;
        let found = self.u64(|| format!("the length of {}", what()))?;
        let limit = (self.remaining() / item_bytes).min(most);
        match usize::try_from(found).ok().filter(|&count| count <= limit) {
            Some(count) => Ok(count),
            None => Err(self.error(offset, Problem::TooMany { what: what(), found, limit: limit as u64 })),
        }
    }

    /// A length-prefixed UTF-8 name of 1 to `limit` bytes without control characters.
    pub(super) fn name(&mut self, limit: u64, what: impl Fn() -> String) -> Result<&'a str, GgufError> {
        let offset = self.position;
        let length = self.u64(&what)?;
        if length == 0 || length > limit {
            return Err(self.error(offset, Problem::NameLength { what: what(), found: length, limit }));
        }
        let bytes = self.take(length, &what)?;
        let name = std::str::from_utf8(bytes).ok().filter(|name| !name.contains(char::is_control));
        name.ok_or_else(|| self.error(offset, Problem::NotText { what: what() }))
    }
}
