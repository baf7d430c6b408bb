//! The columns of the table of ops: what they show and how rows are ordered by them.

use std::cmp::Ordering;

use slmscope_profiles::above_roof::AboveRoof;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::roofline::Bound;

use super::row::{Level, Row};
use crate::dashboard::view::table;

/// A column, or an order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Share,
    Change,
    Mean,
    P99,
    Longest,
    Roof,
    Bandwidth,
    Bytes,
    Compute,
    Flops,
    Count,
    Module,
    Format,
    Kind,
    Name,
    Plan,
}

impl Column {
    const ALL: [Self; 16] = [
        Self::Share,
        Self::Change,
        Self::Mean,
        Self::P99,
        Self::Longest,
        Self::Roof,
        Self::Bandwidth,
        Self::Bytes,
        Self::Compute,
        Self::Flops,
        Self::Count,
        Self::Module,
        Self::Format,
        Self::Kind,
        Self::Name,
        Self::Plan,
    ];

    /// The word for the order.
    pub fn title(self) -> &'static str {
        match self {
            Self::Share => "time",
            Self::Change => "change since the pin",
            Self::Mean => "mean",
            Self::P99 => "p99",
            Self::Longest => "max",
            Self::Roof => "share of the roof",
            Self::Bandwidth => "GB/s",
            Self::Bytes => "bytes",
            Self::Compute => "GFLOP/s",
            Self::Flops => "FLOPs",
            Self::Count => "count",
            Self::Module => "module",
            Self::Format => "format",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Plan => "plan order",
        }
    }

    /// The next order.
    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// Whether the order begins with the largest.
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Module | Self::Format | Self::Kind | Self::Name | Self::Plan)
    }

    /// The order of two rows: numbers from the largest, words from `a`.
    pub fn compare(self, a: &Row, b: &Row) -> Ordering {
        let numbers = |value: &dyn Fn(&Row) -> Option<f64>| {
            let number = |row| value(row).unwrap_or(f64::NEG_INFINITY);
            number(b).total_cmp(&number(a))
        };
        let counts = |value: &dyn Fn(&Row) -> Option<u64>| value(b).cmp(&value(a));
        match self {
            Self::Share => b.time_ns().cmp(&a.time_ns()),
            Self::Change => numbers(&Row::change),
            Self::Mean => counts(&Row::mean_ns),
            Self::P99 => b.p99_ns.cmp(&a.p99_ns),
            Self::Longest => counts(&Row::max_ns),
            Self::Roof => numbers(&|row| row.roof().map(|(share, _)| share)),
            Self::Bandwidth => numbers(&Row::bytes_per_second),
            Self::Bytes => numbers(&Row::bytes_per_token),
            Self::Compute => numbers(&Row::flops_per_second),
            Self::Flops => numbers(&Row::flops_per_token),
            Self::Count => counts(&Row::count),
            Self::Module => a.module.cmp(b.module),
            Self::Format => a.format.cmp(&b.format),
            Self::Kind => a.kind.cmp(b.kind),
            Self::Name => a.name.cmp(&b.name),
            Self::Plan => a.place.cmp(&b.place),
        }
    }
}

/// A column of the table: its place and width, the order that it stands for, and its text for a row.
#[derive(Clone, Copy)]
pub struct Field {
    pub column: table::Column,
    pub order: Column,
    pub text: fn(&Row) -> String,
}

const fn field(title: &'static str, width: usize, order: Column, text: fn(&Row) -> String) -> Field {
    let right = !matches!(order, Column::Name | Column::Module | Column::Format | Column::Kind);
    Field { column: table::Column { title, width, right }, order, text }
}

/// Fields in order of importance; a narrow screen shows the first of them.
const FIELDS: [Field; 15] = [
    field("op", 24, Column::Name, name),
    field("share", 7, Column::Share, |row| or_absent(row.share(), display::share)),
    field("time/tok", 9, Column::Share, |row| or_absent(row.time_per_token(), display::duration)),
    field("vs pin", 8, Column::Change, |row| or_absent(row.change(), signed_share)),
    field("mean", 8, Column::Mean, |row| or_absent(row.mean_ns(), display::duration)),
    field("p99", 8, Column::P99, |row| or_absent(row.p99_ns, display::duration)),
    field("max", 8, Column::Longest, |row| or_absent(row.max_ns(), display::duration)),
    field("of roof", 13, Column::Roof, |row| or_absent(row.roof(), |found| reached(found, row.above_roof))),
    field("memory", 9, Column::Bandwidth, |row| or_absent(row.bytes_per_second(), display::bytes_per_second)),
    field("bytes/tok", 9, Column::Bytes, |row| or_absent(row.bytes_per_token(), display::traffic)),
    field("compute", 12, Column::Compute, |row| or_absent(row.flops_per_second(), display::flops_per_second)),
    field("count", 7, Column::Count, |row| or_absent(row.count(), display::count)),
    field("module", 9, Column::Module, |row| row.module.to_owned()),
    field("format", 6, Column::Format, |row| row.format.clone()),
    field("kind", 11, Column::Kind, |row| row.kind.to_owned()),
];

/// Most columns that the names take.
const NAMES: usize = 48;

/// The fields that fit `width`; those in which no row has anything are left out, and free space goes to the names.
pub fn fields(rows: &[Row], width: usize) -> Vec<Field> {
    let mut left = width;
    let mut fields: Vec<Field> = Vec::new();
    let is_empty = |text: &str| text.is_empty() || text == ABSENT;
    for field in FIELDS {
        if rows.iter().all(|row| is_empty(&(field.text)(row))) {
            continue;
        }
        let Some(rest) = left.checked_sub(field.column.width + 1) else { break };
        left = rest;
        fields.push(field);
    }
    if let Some(names) = fields.first_mut() {
        names.column.width = (names.column.width + left).min(NAMES);
    }
    fields
}

fn name(row: &Row) -> String {
    let mark = match (row.opens, row.open) {
        (true, true) => "▾ ",
        (true, false) => "▸ ",
        (false, _) => "  ",
    };
    let mark = if row.level == Level::Total { "" } else { mark };
    format!("{}{mark}{}", "  ".repeat(row.depth), row.name)
}

/// A change with its sign: `+3.2 %`.
fn signed_share(change: f64) -> String {
    let sign = if change > 0.0 { "+" } else { "" };
    format!("{sign}{}", display::share(change))
}

/// `62 % memory`; without the roof's name where neither roof explains the time. Above the roof the reason is there
/// instead.
pub fn reached((share, bound): (f64, Bound), above: Option<AboveRoof>) -> String {
    let percent = display::rough_share(share);
    match (above, bound) {
        (Some(above), _) => format!("{percent} {}", above.short()),
        (None, Bound::Overhead) => percent,
        (None, bound) => format!("{percent} {}", bound.as_str()),
    }
}
