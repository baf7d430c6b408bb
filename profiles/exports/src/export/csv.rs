//! Rows as comma-separated text (RFC 4180): a line of names first, an empty field where there is no value.

use std::io::{self, BufWriter, Write};

use super::tables::{Cell, Column, Rows};

/// Writes rows.
pub(crate) struct CsvRows<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> CsvRows<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(1 << 16, out) }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if !text.contains(['"', ',', '\n', '\r']) {
            return self.out.write_all(text.as_bytes());
        }
        write!(self.out, "\"{}\"", text.replace('"', "\"\""))
    }
}

impl<W: Write> Rows for CsvRows<W> {
    fn begin(&mut self, columns: &'static [Column]) -> io::Result<()> {
        let names: Vec<Cell<'_>> = columns.iter().map(|&(name, _)| Cell::Text(name)).collect();
        self.row(&names)
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.out.write_all(b",")?;
            }
            match *cell {
                Cell::Absent => {}
                Cell::Integer(number) => write!(self.out, "{number}")?,
                Cell::Real(number) => write!(self.out, "{number}")?,
                Cell::Text(text) => self.text(text)?,
            }
        }
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::ColumnKind;
    use super::*;

    #[test]
    fn texts_with_commas_and_quotes_are_quoted_and_absent_values_are_empty() {
        let mut out = Vec::new();
        let mut rows = CsvRows::new(&mut out);
        rows.begin(&[("a", ColumnKind::Text), ("b_ns", ColumnKind::Integer), ("c", ColumnKind::Real)])
            .unwrap();
        rows.row(&["x,\"y\"\n".into(), 7_u64.into(), 0.25.into()]).unwrap();
        rows.row(&["é".into(), Cell::Absent, f64::NAN.into()]).unwrap();
        rows.finish().unwrap();
        drop(rows);
        assert_eq!(String::from_utf8(out).unwrap(), "a,b_ns,c\n\"x,\"\"y\"\"\n\",7,0.25\né,,\n");
    }
}
