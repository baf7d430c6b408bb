//! The value of `--size`: a range of parameter counts.

use std::str::FromStr;

/// A range that includes both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    least: f64,
    most: f64,
}

impl Sizes {
    /// Whether a model with this many parameters is in the range.
    pub fn holds(self, parameters: u64) -> bool {
        (self.least..=self.most).contains(&(parameters as f64))
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").ok_or("a range has two dots, as in 100M..1B")?;
        let end = |text: &str, open: f64| if text.is_empty() { Ok(open) } else { parameters(text) };
        let sizes = Self { least: end(least, 0.0)?, most: end(most, f64::INFINITY)? };
        if sizes.least > sizes.most {
            return Err(format!("{least} is more than {most}"));
        }
        Ok(sizes)
    }
}

/// `500M`, `1.5B`, `800000`.
fn parameters(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&text[..end], 1e3),
        Some((end, 'm' | 'M')) => (&text[..end], 1e6),
        Some((end, 'b' | 'B' | 'g' | 'G')) => (&text[..end], 1e9),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number * unit),
        _ => Err(format!("`{text}` is no number of parameters; write 500M or 1.5B")),
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
