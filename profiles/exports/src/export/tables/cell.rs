//! Columns, the values of a row, and formats of rows.

use std::io;

/// What a column holds. Any value may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers from 0.
    Integer,
    /// Numbers.
    Real,
    /// Text.
    Text,
}

/// A column: its name, which ends in its unit, and what it holds.
pub type Column = (&'static str, ColumnKind);

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// There is none.
    Absent,
    /// A whole number.
    Integer(u64),
    /// A number.
    Real(f64),
    /// Text.
    Text(&'a str),
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u16> for Cell<'_> {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        if number.is_finite() { Self::Real(number) } else { Self::Absent }
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// A format of rows.
pub(crate) trait Rows {
    /// The columns, before the first row.
    fn begin(&mut self, columns: &'static [Column]) -> io::Result<()>;
    /// A row, with a value for each column.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;
    /// The end.
    fn finish(&mut self) -> io::Result<()>;
}
