//! A column of a table: the values of a JSON array, which are kept as text until it is written.

use std::fmt::Display;
use std::io::{self, Write};

use super::blocks::Blocks;

/// Values, as they stand in an array.
#[derive(Default)]
pub(super) struct Column {
    text: Blocks,
    length: u64,
}

impl Column {
    /// Adds a value, which is written as JSON.
    pub(super) fn push(&mut self, value: impl Display) -> io::Result<()> {
        let separator = if self.length == 0 { "" } else { "," };
        self.length += 1;
        self.text.add(|text| write!(text, "{separator}{value}"))
    }

    /// How many values it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes `"name":[values],`.
    pub(super) fn write(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        write!(out, "\"{name}\":[")?;
        self.text.each(|text| out.write_all(text))?;
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
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"squares\":[{expected}],"));
        assert_eq!(column.length(), 50_000);
    }
}
