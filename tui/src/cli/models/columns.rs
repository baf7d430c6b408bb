//! The columns of `slmscope models`: what they are called, what they show, and how they sort.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use slmscope_profiles::catalogue::Row;
use slmscope_profiles::display;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::DecoderSpec;

use super::words;
use crate::table::Align;

/// A column, by the name that `--columns` and `--sort` know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Id,
    Family,
    Params,
    Layers,
    Hidden,
    Vocab,
    Attention,
    Context,
    Released,
    /// Bytes of keys and values of one token, in f16.
    Kv,
    Notes,
    /// Bytes of all weights in a format.
    Weights(WeightFormat),
}

/// Shown where nothing else is asked for; they fit 80 columns.
pub const DEFAULT: [Column; 6] = [
    Column::Id,
    Column::Params,
    Column::Attention,
    Column::Context,
    Column::Weights(WeightFormat::Q4_0),
    Column::Kv,
];

const NAMED: [Column; 11] = [
    Column::Id,
    Column::Family,
    Column::Params,
    Column::Layers,
    Column::Hidden,
    Column::Vocab,
    Column::Attention,
    Column::Context,
    Column::Released,
    Column::Kv,
    Column::Notes,
];

/// There is no column of that name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no column `{0}`; the columns are id family params layers hidden vocab attention context released kv \
     notes, and every format, such as q4_0"
)]
pub struct NoColumn(String);

impl FromStr for Column {
    type Err = NoColumn;

    fn from_str(text: &str) -> Result<Self, NoColumn> {
        let named = NAMED.into_iter().find(|column| column.name().eq_ignore_ascii_case(text));
        let weights = || text.parse().ok().map(Self::Weights);
        named.or_else(weights).ok_or_else(|| NoColumn(text.to_owned()))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A model of the list.
pub struct Listed<'a> {
    pub row: &'a Row,
    pub spec: DecoderSpec,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Family => "family",
            Self::Params => "params",
            Self::Layers => "layers",
            Self::Hidden => "hidden",
            Self::Vocab => "vocab",
            Self::Attention => "attention",
            Self::Context => "context",
            Self::Released => "released",
            Self::Kv => "kv",
            Self::Notes => "notes",
            Self::Weights(format) => format.name(),
        }
    }

    /// What stands above it.
    pub fn title(self) -> (&'static str, Align) {
        match self {
            Self::Kv => ("KV/token", Align::Right),
            Self::Id | Self::Family | Self::Attention | Self::Released | Self::Notes => {
                (self.name(), Align::Left)
            }
            _ => (self.name(), Align::Right),
        }
    }

    /// What it shows of a model. A size that ends in `*` is that of a model with rows which the format cannot hold.
    pub fn cell(self, listed: &Listed<'_>) -> String {
        let Listed { row, spec } = listed;
        match self {
            Self::Id => row.id.clone(),
            Self::Family => row.family.clone(),
            Self::Params => display::parameters(spec.params().unique),
            Self::Layers => row.layers.to_string(),
            Self::Hidden => row.hidden.to_string(),
            Self::Vocab => row.vocab.to_string(),
            Self::Attention => words::heads(row),
            Self::Context => row.max_context.to_string(),
            Self::Released => row.released.clone(),
            Self::Kv => display::bytes(kv_bytes(spec)),
            Self::Notes => {
                let uncertain = row.uncertain.as_ref().map(|_| "uncertain");
                let differs = row.paper_differs.as_ref().map(|_| "survey differs");
                [uncertain, differs].into_iter().flatten().collect::<Vec<_>>().join(", ")
            }
            Self::Weights(format) => {
                let mark = if format.is_plain() {
                    ""
                } else if spec.f16_bytes(format) > 0 {
                    "*"
                } else {
                    " "
                };
                format!("{}{mark}", display::bytes(spec.weight_bytes(format)))
            }
        }
    }

    /// The order of two models by it: numbers by size, words by the alphabet.
    pub fn compare(self, a: &Listed<'_>, b: &Listed<'_>) -> Ordering {
        match self.number(a).zip(self.number(b)) {
            Some((a, b)) => a.cmp(&b),
            None => self.cell(a).cmp(&self.cell(b)),
        }
    }

    fn number(self, listed: &Listed<'_>) -> Option<u64> {
        let Listed { row, spec } = listed;
        Some(match self {
            Self::Params => spec.params().unique,
            Self::Layers => row.layers.into(),
            Self::Hidden => row.hidden.into(),
            Self::Vocab => row.vocab.into(),
            Self::Context => row.max_context.into(),
            Self::Kv => kv_bytes(spec),
            Self::Weights(format) => spec.weight_bytes(format),
            Self::Id | Self::Family | Self::Attention | Self::Released | Self::Notes => return None,
        })
    }
}

fn kv_bytes(spec: &DecoderSpec) -> u64 {
    KvFormat::F16.bytes(spec.kv_elements_per_token())
}

/// The value of `--sort`: a column, with a minus before it for the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    column: Column,
    largest_first: bool,
}

impl Order {
    /// The order of two models.
    pub fn compare(self, a: &Listed<'_>, b: &Listed<'_>) -> Ordering {
        let order = self.column.compare(a, b);
        if self.largest_first { order.reverse() } else { order }
    }
}

impl FromStr for Order {
    type Err = NoColumn;

    fn from_str(text: &str) -> Result<Self, NoColumn> {
        let (largest_first, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        Ok(Self { column: name.parse()?, largest_first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_orders_are_read_by_name_without_regard_to_case() {
        for column in NAMED {
            assert_eq!(column.to_string().parse(), Ok(column));
        }
        assert_eq!("Q4_0".parse(), Ok(Column::Weights(WeightFormat::Q4_0)));
        assert_eq!("-Params".parse(), Ok(Order { column: Column::Params, largest_first: true }));
        assert_eq!("mood".parse::<Order>(), Err(NoColumn("mood".to_owned())));
        let told = NoColumn("mood".to_owned()).to_string();
        assert!(NAMED.iter().all(|column| told.contains(column.name())), "{told}");
    }
}
