//! Numbers as values of flags.

use std::num::NonZeroUsize;
use std::str::FromStr;

/// The text is no whole number, or one that is out of range.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number from {least} to {most}")]
pub struct NotWhole {
    least: u64,
    most: u64,
}

fn parse<T: FromStr>(text: &str, least: u64, most: u64) -> Result<T, NotWhole> {
    text.parse().map_err(|_| NotWhole { least, most })
}

/// A number of tokens, repetitions or seconds.
///
/// # Errors
/// If it is none.
pub fn count(text: &str) -> Result<u32, NotWhole> {
    parse(text, 0, u32::MAX.into())
}

/// A seed or the number of a job.
///
/// # Errors
/// If it is none.
pub fn long(text: &str) -> Result<u64, NotWhole> {
    parse(text, 0, u64::MAX)
}

/// A number of threads.
///
/// # Errors
/// If it is none.
pub fn threads(text: &str) -> Result<NonZeroUsize, NotWhole> {
    parse(text, 1, usize::MAX as u64)
}

/// The text is no length of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number with its unit, such as 60s, 5m, 12h or 7d")]
pub struct BadTime;

/// A length of time in seconds: `60s`, `5m`, `12h`, `7d`; without a unit it is seconds.
///
/// # Errors
/// If it is none.
pub fn seconds(text: &str) -> Result<u64, BadTime> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let unit = units.iter().find_map(|&(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, unit) = unit.unwrap_or((text, 1));
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(BadTime)
}

/// The text is no share.
#[derive(Debug, thiserror::Error)]
#[error("not a share; write it like 0.5% or 0.005")]
pub struct BadShare;

/// A share: a percentage, or a number from 0 to 1.
///
/// # Errors
/// If it is no number.
pub fn share(text: &str) -> Result<f64, BadShare> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    number.trim().parse::<f64>().map(|number| number * scale).map_err(|_| BadShare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_number_is_told_the_range() {
        assert_eq!(count("7"), Ok(7));
        for wrong in ["0.1", "-1", "abc", "", "4294967296"] {
            let told = count(wrong).map_err(|error| error.to_string());
            assert_eq!(told, Err("write a whole number from 0 to 4294967295".to_owned()), "{wrong}");
        }
        assert_eq!(
            ["60s", "5m", "2h", "7d", "9"].map(seconds),
            [Ok(60), Ok(300), Ok(7_200), Ok(604_800), Ok(9)]
        );
        for wrong in ["", "s", "-1s", "1.5h", "1w", "18446744073709551615d", "é"] {
            assert_eq!(seconds(wrong), Err(BadTime), "{wrong}");
        }
        assert_eq!(threads("0"), Err(NotWhole { least: 1, most: usize::MAX as u64 }));
        assert!(long("18446744073709551615").is_ok() && long("abc").is_err());
    }
}
