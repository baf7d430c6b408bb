//! A column of a table: the values of a JSON array, which are kept compressed until it is written.

use std::fmt::Display;
use std::io::{self, Write};

/// Text that is compressed at a time.
const BLOCK: usize = 1 << 16;

/// Values, as they stand in an array.
#[derive(Default)]
pub(super) struct Column {
    /// The last values.
    text: Vec<u8>,
    /// Those before them, each with its length.
    blocks: Vec<(Vec<u8>, usize)>,
    length: u64,
}

impl Column {
    /// Adds a value, which is written as JSON.
    pub(super) fn push(&mut self, value: impl Display) -> io::Result<()> {
        let separator = if self.length == 0 { "" } else { "," };
        write!(self.text, "{separator}{value}")?;
        self.length += 1;
        if self.text.len() >= BLOCK {
            self.blocks.push((zstd::bulk::compress(&self.text, 1)?, self.text.len()));
            self.text.clear();
        }
        Ok(())
    }

    /// How many values it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes `"name":[values],`.
    pub(super) fn write(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        write!(out, "\"{name}\":[")?;
        for (block, length) in &self.blocks {
            out.write_all(&zstd::bulk::decompress(block, *length)?)?;
        }
        out.write_all(&self.text)?;
        out.write_all(b"],")
    }
}

/// Writes `"name":[values],` of values that are known.
pub(super) fn array(
    name: &str,
    values: impl IntoIterator<Item = impl Display>,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, "\"{name}\":[")?;
    for (at, value) in values.into_iter().enumerate() {
        write!(out, "{}{value}", if at == 0 { "" } else { "," })?;
    }
    out.write_all(b"],")
}

/// Writes `"name":[value,value],` of one value so many times.
pub(super) fn same(name: &str, value: &str, length: u64, out: &mut impl Write) -> io::Result<()> {
    array(name, (0..length).map(|_| value), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_column_is_written_as_it_was_filled() {
        let (mut column, mut expected) = (Column::default(), String::new());
        for number in 0..50_000_u64 {
            column.push(number * number).unwrap();
            expected.push_str(&format!("{}{}", if number == 0 { "" } else { "," }, number * number));
        }
        let mut out = Vec::new();
        column.write("squares", &mut out).unwrap();
        assert!(column.blocks.len() > 1, "it is longer than a block");
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"squares\":[{expected}],"));
        assert_eq!(column.length(), 50_000);
    }
}
