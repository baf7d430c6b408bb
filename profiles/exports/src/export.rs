//! Exports: a recording in the formats of other tools.
//!
//! ```text
//! recording ──Entry──▶ Walk ──Item──▶ an Export ──bytes──▶ file
//!                      filter           one file of this folder a format
//! ```
//!
//! [`Walk`] takes the entries of a recording one by one, whether they are read from a file or come from a daemon, and
//! hands on what the [`Filter`] selects. A format keeps what it needs, never all events, so that memory does not grow
//! with the length of a recording. All formats are fed by the same walk: they agree on counts and totals.
//!
//! ```
//! use slmscope_exports::export::{Filter, Format, Walk};
//!
//! let mut trace = Vec::new();
//! let mut walk = Walk::new(Filter::default(), Format::Chrome.export(&mut trace));
//! let counts = walk.finish().unwrap();
//! assert_eq!(counts.events, 0);
//! drop(walk);
//! assert!(trace.starts_with(b"{"));
//! ```

mod chrome;
mod csv;
mod filter;
mod firefox;
mod folded;
mod format;
mod json;
mod names;
mod openmetrics;
mod parquet;
mod perfetto;
mod pprof;
mod proto;
mod readings;
mod runs;
mod speedscope;
mod stacks;
mod tables;
mod thrift;
mod timeline;
mod walk;

pub(crate) use csv::CsvRows;
pub use filter::{Filter, Numbers, UnknownNumbers};
pub use folded::{Measure, difference_svg};
pub use format::{Format, UnknownFormat};
pub(crate) use parquet::ParquetRows;
pub(crate) use readings::Readings;
pub use tables::TableName;
pub(crate) use tables::{Cell, Column, ColumnKind, Rows};
pub use walk::{Batch, Counts, Item, Op, Walk};

use std::io;

/// A format, which takes the items of a recording in their order.
pub trait Export {
    /// Takes the next item.
    ///
    /// # Errors
    /// If the output takes no more.
    fn put(&mut self, item: &Item<'_>) -> io::Result<()>;

    /// Writes what is written when all is known. Nothing is taken afterwards.
    ///
    /// # Errors
    /// If the output takes no more.
    fn finish(&mut self) -> io::Result<()>;
}
