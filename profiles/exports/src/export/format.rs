//! The formats: what each holds, what opens it, and how it is made.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use slmscope_profiles::phase::Phase;

use super::csv::CsvRows;
use super::firefox::Firefox;
use super::folded::{Folded, Measure};
use super::json::Json;
use super::openmetrics::OpenMetrics;
use super::parquet::ParquetRows;
use super::perfetto::Perfetto;
use super::pprof::Pprof;
use super::speedscope::Speedscope;
use super::tables::{TableName, Tables};
use super::timeline::Timeline;
use super::{Export, Filter, chrome::Chrome};

/// A format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Perfetto's protobuf.
    Perfetto,
    /// Chrome's trace events, JSON.
    Chrome,
    /// pprof, gzip.
    Pprof,
    /// speedscope's JSON.
    Speedscope,
    /// Firefox Profiler's JSON, gzip.
    Firefox,
    /// Stacks, a line each.
    Folded(Measure),
    /// A flame graph.
    Flamegraph(Measure),
    /// A table, comma-separated.
    Csv(TableName),
    /// A table, by columns.
    Parquet(TableName),
    /// The result.
    Json,
    /// Metrics with time stamps.
    OpenMetrics,
}

impl Format {
    /// All formats, those of which there are several with the first of each.
    pub const ALL: [Self; 11] = [
        Self::Perfetto,
        Self::Chrome,
        Self::Pprof,
        Self::Speedscope,
        Self::Firefox,
        Self::Folded(Measure::Time),
        Self::Flamegraph(Measure::Time),
        Self::Csv(TableName::Events),
        Self::Parquet(TableName::Events),
        Self::Json,
        Self::OpenMetrics,
    ];

    /// Its name in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Perfetto => "perfetto",
            Self::Chrome => "chrome",
            Self::Pprof => "pprof",
            Self::Speedscope => "speedscope",
            Self::Firefox => "firefox",
            Self::Folded(_) => "folded",
            Self::Flamegraph(_) => "flamegraph",
            Self::Csv(_) => "csv",
            Self::Parquet(_) => "parquet",
            Self::Json => "json",
            Self::OpenMetrics => "openmetrics",
        }
    }

    /// The end of the names that its files usually have.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Perfetto => "pftrace",
            Self::Chrome => "trace.json",
            Self::Pprof => "pb.gz",
            Self::Speedscope => "speedscope.json",
            Self::Firefox => "firefox.json.gz",
            Self::Folded(_) => "folded",
            Self::Flamegraph(_) => "svg",
            Self::Csv(_) => "csv",
            Self::Parquet(_) => "parquet",
            Self::Json => "json",
            Self::OpenMetrics => "om",
        }
    }

    /// What it holds.
    pub fn holds(self) -> &'static str {
        match self {
            Self::Perfetto => "phases, tokens, layers, ops, readings over time",
            Self::Chrome => "the same as JSON, three times as large",
            Self::Pprof => "time, events, bytes, FLOPs by module, layer, op",
            Self::Speedscope => "tokens, layers and ops, in order or added up",
            Self::Firefox => "stacks over time, tokens, readings, energy",
            Self::Folded(_) => "stacks of module, layer, op, a line each (--by)",
            Self::Flamegraph(_) => "the same as a picture (--by)",
            Self::Csv(_) => "one table (--table)",
            Self::Parquet(_) => "one table with the types of its columns (--table)",
            Self::Json => "what `slmscope run --json` printed",
            Self::OpenMetrics => "readings, tokens and ops as metrics with times",
        }
    }

    /// What opens it.
    pub fn opened_by(self) -> &'static str {
        match self {
            Self::Perfetto => "ui.perfetto.dev, trace_processor",
            Self::Chrome => "chrome://tracing, ui.perfetto.dev, Spall",
            Self::Pprof => "go tool pprof",
            Self::Speedscope => "speedscope",
            Self::Firefox => "profiler.firefox.com",
            Self::Folded(_) => "flamegraph.pl, inferno, speedscope",
            Self::Flamegraph(_) => "a web browser",
            Self::Csv(_) => "spreadsheets, pandas, DuckDB",
            Self::Parquet(_) => "pandas, polars, DuckDB",
            Self::Json => "jq, scripts",
            Self::OpenMetrics => "Prometheus: promtool tsdb create-blocks-from openmetrics",
        }
    }

    /// Whether it is text, which may be shown in a terminal.
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Perfetto | Self::Pprof | Self::Firefox | Self::Parquet(_))
    }

    /// Whether it adds events up. Where it does, what is not measured (warm-up, and what recording costs) is left out
    /// unless it is asked for.
    pub fn is_sum(self) -> bool {
        matches!(self, Self::Pprof | Self::Folded(_) | Self::Flamegraph(_))
    }

    /// Begins an export into `out`.
    pub fn export<'a>(self, out: impl Write + 'a) -> Box<dyn Export + 'a> {
        match self {
            Self::Perfetto => Box::new(Timeline::new(Perfetto::new(out))),
            Self::Chrome => Box::new(Timeline::new(Chrome::new(out))),
            Self::Pprof => Box::new(Pprof::new(out)),
            Self::Speedscope => Box::new(Speedscope::new(out)),
            Self::Firefox => Box::new(Firefox::new(out)),
            Self::Folded(measure) => Box::new(Folded::new(out, measure, false)),
            Self::Flamegraph(measure) => Box::new(Folded::new(out, measure, true)),
            Self::Csv(table) => Box::new(Tables::new(CsvRows::new(out), table)),
            Self::Parquet(table) => Box::new(Tables::new(ParquetRows::new(out), table)),
            Self::Json => Box::new(Json::new(out)),
            Self::OpenMetrics => Box::new(OpenMetrics::new(out)),
        }
    }

    /// The filter for this format: one that adds events up leaves out what is not measured unless phases are named.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Filter {
        if self.is_sum() && filter.phases.is_empty() {
            return Filter { phases: vec![Phase::Prefill, Phase::Decode], ..filter };
        }
        filter
    }

    /// The format that a file's name ends with; `None` if it says none.
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ends = |format: &Self| {
            let end = name.len().checked_sub(format.extension().len() + 1)?;
            (name.is_char_boundary(end) && name[end..].strip_prefix('.')? == format.extension())
                .then_some(end)
        };
        // Of `a.trace.json` the longer end counts.
        Self::ALL
            .into_iter()
            .filter_map(|format| Some((ends(&format)?, format)))
            .min_by_key(|found| found.0)
            .map(|found| found.1)
    }

    /// Whether it is one of several tables.
    pub fn has_tables(self) -> bool {
        matches!(self, Self::Csv(_) | Self::Parquet(_))
    }

    /// Whether it is weighed by one of several measures.
    pub fn has_measures(self) -> bool {
        matches!(self, Self::Folded(_) | Self::Flamegraph(_))
    }

    /// The same with this table or measure, where it has one.
    #[must_use]
    pub fn with(self, table: Option<TableName>, measure: Option<Measure>) -> Self {
        match self {
            Self::Csv(old) => Self::Csv(table.unwrap_or(old)),
            Self::Parquet(old) => Self::Parquet(table.unwrap_or(old)),
            Self::Folded(old) => Self::Folded(measure.unwrap_or(old)),
            Self::Flamegraph(old) => Self::Flamegraph(measure.unwrap_or(old)),
            other => other,
        }
    }
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{0}`; `--format list` explains those that there are")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
