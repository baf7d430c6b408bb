//! Rows as Parquet (<https://parquet.apache.org/docs/file-format>): a file of columns, with their types, which data
//! frames read without guessing.
//!
//! ```text
//! PAR1  row group: a page of each column  row group ...  metadata  its length  PAR1
//! ```
//!
//! Every column is optional: INT64, DOUBLE, or BYTE_ARRAY of UTF-8, in plain encoding, compressed with zstd. The whole
//! of what is needed is small; a library for it would take longer to build than all of this crate.

use std::io::{self, Write};

use super::proto::varint;
use super::tables::{Cell, Column, ColumnKind, Rows};
use super::thrift::structure;

const MAGIC: &[u8] = b"PAR1";

/// Rows of a group, which are kept in memory until it is full.
const GROUP_ROWS: usize = 1 << 16;

/// Numbers of Parquet's enumerations.
mod code {
    pub const INT64: i32 = 2;
    pub const DOUBLE: i32 = 5;
    pub const BYTE_ARRAY: i32 = 6;
    pub const OPTIONAL: i32 = 1;
    pub const UTF8: i32 = 0;
    pub const PLAIN: i32 = 0;
    pub const RLE: i32 = 3;
    pub const ZSTD: i32 = 6;
    pub const DATA_PAGE: i32 = 0;
}

/// Writes rows.
pub(crate) struct ParquetRows<W: Write> {
    out: W,
    columns: &'static [Column],
    buffers: Vec<Buffer>,
    /// Rows in the buffers.
    rows: usize,
    groups: Vec<Group>,
    /// Bytes that are written.
    offset: u64,
}

/// The values of a column in the group at hand.
#[derive(Default)]
struct Buffer {
    /// Which rows have a value, as runs of a length and a bit.
    runs: Vec<(u64, bool)>,
    /// Values in plain encoding.
    values: Vec<u8>,
}

impl Buffer {
    fn note(&mut self, has_value: bool) {
        match self.runs.last_mut() {
            Some((length, bit)) if *bit == has_value => *length += 1,
            _ => self.runs.push((1, has_value)),
        }
    }

    fn push(&mut self, kind: ColumnKind, cell: Cell<'_>) {
        let number = match (kind, cell) {
            (ColumnKind::Integer, Cell::Integer(number)) => i64::try_from(number).unwrap_or(i64::MAX) as u64,
            (ColumnKind::Real, Cell::Real(number)) => number.to_bits(),
            (ColumnKind::Real, Cell::Integer(number)) => (number as f64).to_bits(),
            (ColumnKind::Text, Cell::Text(text)) => {
                self.note(true);
                self.values.extend_from_slice(&(text.len() as u32).to_le_bytes());
                return self.values.extend_from_slice(text.as_bytes());
            }
            _ => return self.note(false),
        };
        self.note(true);
        self.values.extend_from_slice(&number.to_le_bytes());
    }

    /// The page's content; the buffer is empty then.
    fn page(&mut self) -> Vec<u8> {
        let mut levels = Vec::new();
        for (length, bit) in self.runs.drain(..) {
            varint(&mut levels, length << 1);
            levels.push(u8::from(bit));
        }
        let mut page = Vec::with_capacity(4 + levels.len() + self.values.len());
        page.extend_from_slice(&(levels.len() as u32).to_le_bytes());
        page.append(&mut levels);
        page.append(&mut self.values);
        page
    }
}

/// A row group that is written.
struct Group {
    rows: i64,
    chunks: Vec<Chunk>,
}

/// A column of it.
struct Chunk {
    column: Column,
    rows: i64,
    offset: i64,
    uncompressed: i64,
    compressed: i64,
}

impl<W: Write> ParquetRows<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, columns: &[], buffers: Vec::new(), rows: 0, groups: Vec::new(), offset: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.offset += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn end_group(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(());
        }
        let mut chunks = Vec::new();
        for (at, &column) in self.columns.iter().enumerate() {
            let Some(page) = self.buffers.get_mut(at).map(Buffer::page) else { continue };
            let compressed = zstd::bulk::compress(&page, 1)?;
            let mut header = Vec::new();
            structure(&mut header, |out| {
                out.i32(1, code::DATA_PAGE);
                out.i32(2, page.len() as i32);
                out.i32(3, compressed.len() as i32);
                out.structure(5, |out| {
                    out.i32(1, rows as i32);
                    out.i32(2, code::PLAIN);
                    out.i32(3, code::RLE);
                    out.i32(4, code::RLE);
                });
            });
            chunks.push(Chunk {
                column,
                rows: rows as i64,
                offset: self.offset as i64,
                uncompressed: (header.len() + page.len()) as i64,
                compressed: (header.len() + compressed.len()) as i64,
            });
            self.write(&header)?;
            self.write(&compressed)?;
        }
        self.groups.push(Group { rows: rows as i64, chunks });
        Ok(())
    }

    fn metadata(&self) -> Vec<u8> {
        let mut out = Vec::new();
        structure(&mut out, |out| {
            out.i32(1, 1);
            // The first element is the row itself.
            let elements: Vec<Option<&Column>> =
                std::iter::once(None).chain(self.columns.iter().map(Some)).collect();
            out.structures(2, &elements, |out, column| match column {
                None => {
                    out.text(4, "row");
                    out.i32(5, self.columns.len() as i32);
                }
                Some((name, kind)) => {
                    out.i32(1, type_of(*kind));
                    out.i32(3, code::OPTIONAL);
                    out.text(4, name);
                    if *kind == ColumnKind::Text {
                        out.i32(6, code::UTF8);
                    }
                }
            });
            out.i64(3, self.groups.iter().map(|group| group.rows).sum());
            out.structures(4, &self.groups, |out, group| {
                out.structures(1, &group.chunks, |out, chunk| {
                    out.i64(2, chunk.offset);
                    out.structure(3, |out| {
                        out.i32(1, type_of(chunk.column.1));
                        out.i32s(2, &[code::PLAIN, code::RLE]);
                        out.texts(3, &[chunk.column.0]);
                        out.i32(4, code::ZSTD);
                        out.i64(5, chunk.rows);
                        out.i64(6, chunk.uncompressed);
                        out.i64(7, chunk.compressed);
                        out.i64(9, chunk.offset);
                    });
                });
                out.i64(2, group.chunks.iter().map(|chunk| chunk.uncompressed).sum());
                out.i64(3, group.rows);
            });
            out.text(6, concat!("slmscope ", env!("CARGO_PKG_VERSION")));
        });
        out
    }
}

fn type_of(kind: ColumnKind) -> i32 {
    match kind {
        ColumnKind::Integer => code::INT64,
        ColumnKind::Real => code::DOUBLE,
        ColumnKind::Text => code::BYTE_ARRAY,
    }
}

impl<W: Write> Rows for ParquetRows<W> {
    fn begin(&mut self, columns: &'static [Column]) -> io::Result<()> {
        self.columns = columns;
        self.buffers = columns.iter().map(|_| Buffer::default()).collect();
        self.write(MAGIC)
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for ((buffer, &(_, kind)), &cell) in self.buffers.iter_mut().zip(self.columns).zip(cells) {
            buffer.push(kind, cell);
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_group()?;
        let metadata = self.metadata();
        self.write(&metadata)?;
        self.write(&(metadata.len() as u32).to_le_bytes())?;
        self.write(MAGIC)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_which_rows_have_a_value() {
        let mut buffer = Buffer::default();
        for cell in [Cell::Integer(7), Cell::Integer(u64::MAX), Cell::Absent] {
            buffer.push(ColumnKind::Integer, cell);
        }
        let page = buffer.page();
        assert_eq!(page[..8], [4, 0, 0, 0, 2 << 1, 1, 1 << 1, 0]);
        assert_eq!(page[8..16], 7_u64.to_le_bytes());
        assert_eq!(page[16..], i64::MAX.to_le_bytes(), "what no signed number can be is the largest one");
        assert_eq!(buffer.page(), [0, 0, 0, 0], "nothing is left of the group before");
    }
}
