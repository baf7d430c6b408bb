//! Amounts as people write them: `4GiB`, `2s`, `500ms`, `0.5J`.

use super::Measure;
use crate::display::excerpt;

/// What an amount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A time, kept in ns; without a unit it is seconds.
    Time,
    /// Memory, kept in bytes.
    Memory,
    /// An energy, kept in J.
    Energy,
    /// A number.
    Number,
}

/// The units of each kind, with what one is of what is kept.
const UNITS: [(Kind, &[(&str, f64)]); 4] = [
    (Kind::Time, &[("", 1e9), ("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10)]),
    (
        Kind::Memory,
        &[
            ("", 1.0),
            ("B", 1.0),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("KiB", 1024.0),
            ("MiB", 1_048_576.0),
            ("GiB", 1_073_741_824.0),
        ],
    ),
    (Kind::Energy, &[("", 1.0), ("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("µJ", 1e-6)]),
    (Kind::Number, &[("", 1.0)]),
];

/// The text is no amount of what is measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no amount of {measure}; write it like {example}")]
pub struct BadAmount {
    text: String,
    measure: &'static str,
    example: &'static str,
}

/// The amount that `text` says, in the unit that figures of `measure` have.
///
/// # Errors
/// If it is no number, below 0, or has a unit of something else.
pub(super) fn parse(text: &str, measure: Measure) -> Result<f64, BadAmount> {
    let kind = measure.kind();
    let units = UNITS.iter().find(|(of, _)| *of == kind).map_or(&[][..], |(_, units)| units);
    let end = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())).map(|(_, scale)| scale);
    let amount = number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale);
    amount.filter(|amount| amount.is_finite()).ok_or_else(|| BadAmount {
        text: excerpt(text, 40),
        measure: measure.name(),
        example: match kind {
            Kind::Time => "2s or 500ms",
            Kind::Memory => "4GiB or 512MiB",
            Kind::Energy => "0.5J or 80mJ",
            Kind::Number => "20",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_the_unit_of_what_is_measured() {
        for (text, measure, amount) in [
            ("2s", Measure::Ttft, 2e9),
            ("1.5", Measure::Ttft, 1.5e9),
            ("500ms", Measure::Ttft, 5e8),
            ("4GiB", Measure::Memory, 4_294_967_296.0),
            ("4 gib", Measure::Memory, 4_294_967_296.0),
            ("1000", Measure::Memory, 1000.0),
            ("80mJ", Measure::JoulesPerToken, 0.08),
            ("20", Measure::Decode, 20.0),
        ] {
            let found = parse(text, measure).unwrap_or_else(|error| panic!("{error}"));
            assert!((found - amount).abs() <= 1e-9 * amount, "{text}: {found}");
        }
    }

    #[test]
    fn what_is_no_amount_is_told_how_it_is_written() {
        for (text, measure) in [
            ("2s", Measure::Memory),
            ("4GiB", Measure::Ttft),
            ("", Measure::Ttft),
            ("-1", Measure::Decode),
            ("1e999", Measure::Decode),
            ("nan", Measure::Decode),
            ("20tok", Measure::Decode),
        ] {
            assert!(parse(text, measure).is_err(), "{text}");
        }
        let told = parse("4Gb/s", Measure::Memory).unwrap_err().to_string();
        assert_eq!(told, "`4Gb/s` is no amount of memory; write it like 4GiB or 512MiB");
    }
}
