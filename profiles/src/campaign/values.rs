//! The values of an axis, as people write them: `1..8`, `50..=4096 *2`, `q4_0,q8_0`.
//!
//! | text | values |
//! |---|---|
//! | `1..4`, `1..=4` | 1, 2, 3, 4: both ends are included, with and without `=` |
//! | `0..4096 +1024` | 0, 1024, 2048, 3072, 4096 |
//! | `50..=4096 *2` | 50, 100, 200, 400, 800, 1600, 3200 |
//! | `q4_0,q8_0`, `1..2,8` | each item of the list |

use serde_json::Value;

use super::sweep::{BadSweep, MOST_RUNS};
use crate::display::excerpt;

/// Options whose value is text, whatever is in it.
const TEXTS: [&str; 4] = ["model", "prompt_text", "chat", "cores"];

/// The values that `text` lists for the option `key`.
///
/// # Errors
/// If it lists none, or one of its ranges has no end or too many values.
pub(super) fn of_text(key: &str, text: &str) -> Result<Vec<Value>, BadSweep> {
    if ["prompt_text", "chat"].contains(&key) {
        return Ok(vec![Value::from(text)]);
    }
    let mut values = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        values.extend(item_values(key, item)?);
    }
    if values.is_empty() { Err(BadSweep::NoValues(key.to_owned())) } else { Ok(values) }
}

/// The values that a TOML value stands for: those of a list, of a text with ranges, or itself.
///
/// # Errors
/// As [`of_text`], and if it is of no kind that an option has.
pub(super) fn of_toml(key: &str, value: &toml::Value) -> Result<Vec<Value>, BadSweep> {
    let values = match value {
        toml::Value::Array(items) => {
            let mut values = Vec::new();
            for item in items {
                values.extend(of_one(key, item)?);
            }
            values
        }
        one => of_one(key, one)?,
    };
    if values.is_empty() { Err(BadSweep::NoValues(key.to_owned())) } else { Ok(values) }
}

fn of_one(key: &str, value: &toml::Value) -> Result<Vec<Value>, BadSweep> {
    Ok(match value {
        // A comma in a file's list is part of the name.
        toml::Value::String(text) => item_values(key, text)?,
        // A set of one CPU.
        toml::Value::Integer(number) if key == "cores" => vec![Value::from(number.to_string())],
        toml::Value::Integer(number) => vec![Value::from(*number)],
        toml::Value::Float(number) => vec![Value::from(*number)],
        toml::Value::Boolean(is_so) => vec![Value::from(*is_so)],
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            let value = as_json(value);
            let problem = "write a number, a word, or a list of them".to_owned();
            return Err(BadSweep::BadValue { key: key.to_owned(), value, problem });
        }
    })
}

/// A TOML value as people read it.
pub(super) fn as_json(value: &toml::Value) -> String {
    excerpt(&serde_json::to_string(value).unwrap_or_default(), 60)
}

fn item_values(key: &str, item: &str) -> Result<Vec<Value>, BadSweep> {
    if TEXTS.contains(&key) {
        return Ok(vec![Value::from(item)]);
    }
    if let Some(range) = Range::read(item) {
        return range.values(key, item);
    }
    Ok(vec![match (item.parse::<u64>(), item.parse::<f64>(), item) {
        (Ok(number), ..) => Value::from(number),
        (_, Ok(number), _) if number.is_finite() => Value::from(number),
        (.., "true") => Value::from(true),
        (.., "false") => Value::from(false),
        _ => Value::from(item),
    }])
}

/// A range of whole numbers, both ends included.
struct Range {
    first: u64,
    last: u64,
    step: Step,
}

enum Step {
    Add(u64),
    Times(u64),
}

impl Range {
    /// `1..8`, `1..=8`, with ` +N` or ` *N`; `None` if it is no range.
    fn read(item: &str) -> Option<Self> {
        let (ends, step) = match item.split_once(['+', '*']) {
            None => (item, Step::Add(1)),
            Some((ends, step)) => {
                let number = step.trim().parse().ok()?;
                (ends, if item.contains('*') { Step::Times(number) } else { Step::Add(number) })
            }
        };
        let (first, last) = ends.trim().split_once("..")?;
        let last = last.strip_prefix('=').unwrap_or(last);
        Some(Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()?, step })
    }

    fn next(&self, value: u64) -> Option<u64> {
        let next = match self.step {
            Step::Add(step) => value.checked_add(step),
            Step::Times(factor) => value.checked_mul(factor),
        };
        next.filter(|next| *next > value && *next <= self.last)
    }

    fn values(&self, key: &str, item: &str) -> Result<Vec<Value>, BadSweep> {
        let bad = |problem| BadSweep::BadRange { key: key.to_owned(), text: excerpt(item, 60), problem };
        if self.first > self.last {
            return Err(bad("its first end is above its last"));
        }
        match self.step {
            Step::Add(0) => return Err(bad("a step of 0 has no end")),
            Step::Times(0 | 1) => return Err(bad("a factor below 2 has no end")),
            Step::Times(_) if self.first == 0 => return Err(bad("0 stays 0 times anything: begin above it")),
            Step::Add(step) => {
                let count = u128::from((self.last - self.first) / step) + 1;
                if count > MOST_RUNS as u128 {
                    return Err(BadSweep::TooMany { count });
                }
            }
            // 64 doublings are the longest.
            Step::Times(_) => {}
        }
        let values = std::iter::successors(Some(self.first), |&value| self.next(value));
        Ok(values.map(Value::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u64> {
        of_text("prompt", text).unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
    }

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!(numbers("1..4"), [1, 2, 3, 4]);
        assert_eq!(numbers("1..=4"), [1, 2, 3, 4]);
        assert_eq!(numbers("50..=4096 *2"), [50, 100, 200, 400, 800, 1600, 3200]);
        assert_eq!(numbers("0..4096+1024"), [0, 1024, 2048, 3072, 4096]);
        assert_eq!(numbers("7..7, 9 ,1..2"), [7, 9, 1, 2]);
        assert_eq!(numbers(&format!("{0}..{0} *2", u64::MAX)), [u64::MAX]);
    }

    #[test]
    fn words_and_paths_are_no_ranges() {
        let of = |key, text| of_text(key, text).unwrap();
        assert_eq!(of("format", "q4_0,q8_0"), [Value::from("q4_0"), Value::from("q8_0")]);
        assert_eq!(of("model", "../a.gguf,1..2"), [Value::from("../a.gguf"), Value::from("1..2")]);
        assert_eq!(of("cores", "0-3+6,4-7"), [Value::from("0-3+6"), Value::from("4-7")]);
        assert_eq!(of("cores", "0,1"), [Value::from("0"), Value::from("1")]);
        assert_eq!(of("chat", "one, two"), [Value::from("one, two")]);
        assert_eq!(of("overhead_budget", "0.005"), [Value::from(0.005)]);
        assert_eq!(of("ignore_eos", "true"), [Value::from(true)]);
    }

    #[test]
    fn what_has_no_values_or_no_end_is_refused() {
        for text in ["", " , ", "8..1", "0..8 +0", "1..8 *1", "0..8 *2"] {
            assert!(of_text("prompt", text).is_err(), "{text}");
        }
        let told = of_text("prompt", "1..1000000").unwrap_err().to_string();
        assert!(told.starts_with("1000000 runs are more than"), "{told}");
    }
}
