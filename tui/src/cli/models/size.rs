//! The value of `--size`: a range of parameter counts.

use std::str::FromStr;

/// A range that includes both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    least: f64,
    most: f64,
}

/// Why a text is no range of parameter counts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSizes {
    /// It has no `..`.
    #[error("write a range with two dots, such as 100M..1B")]
    NoRange,
    /// Its first end is larger than its second.
    #[error("{0} is more than {1}")]
    Reversed(String, String),
    /// One of its ends is not a number with a unit.
    #[error("`{0}` is not a number of parameters; write 500M or 1.5B")]
    NotANumber(String),
}

impl Sizes {
    /// Whether a model with this many parameters is in the range.
    pub fn holds(self, parameters: u64) -> bool {
        (self.least..=self.most).contains(&(parameters as f64))
    }
}

impl FromStr for Sizes {
    type Err = BadSizes;

    fn from_str(text: &str) -> Result<Self, BadSizes> {
        let (least, most) = text.split_once("..").ok_or(BadSizes::NoRange)?;
        let end = |text: &str, open: f64| if text.is_empty() { Ok(open) } else { parameters(text) };
        let sizes = Self { least: end(least, 0.0)?, most: end(most, f64::INFINITY)? };
        if sizes.least > sizes.most {
            return Err(BadSizes::Reversed(least.to_owned(), most.to_owned()));
        }
        Ok(sizes)
    }
}

/// `500M`, `1.5B`, `800000`.
fn parameters(text: &str) -> Result<f64, BadSizes> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&text[..end], 1e3),
        Some((end, 'm' | 'M')) => (&text[..end], 1e6),
        Some((end, 'b' | 'B' | 'g' | 'G')) => (&text[..end], 1e9),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number * unit),
        _ => Err(BadSizes::NotANumber(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_may_be_open_and_are_included() {
        let holds = |text: &str, parameters| text.parse::<Sizes>().unwrap().holds(parameters);
        assert!(holds("100M..1B", 100_000_000) && holds("100M..1B", 1_000_000_000));
        assert!(!holds("100M..1B", 1_000_000_001) && holds("..0.5b", 1) && holds("2B..", u64::MAX));
        assert!(holds("..", 7) && holds("1000..2k", 1500));
        for wrong in ["", "1B", "2B..1B", "-1..", "x..", "..1T", "nan..", "é.."] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }
}
