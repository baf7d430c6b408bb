//! Times as `cron` spells them: minute, hour, day of the month, month, day of the week. UTC, so that no hour of a day is
//! missing or comes twice.
//!
//! | field | range | |
//! |---|---|---|
//! | minute | 0–59 | a field is `*`, a number, a range `1-5`, a list `1,3`, and steps `*/15` or `8-18/2` |
//! | hour | 0–23 | |
//! | day | 1–31 | where both days are given, either is enough |
//! | month | 1–12 | |
//! | weekday | 0–7 | 0 and 7 are Sunday |

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// When something is due, to the minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    /// A bit for each minute, hour, day, month and weekday that is meant.
    fields: [u64; 5],
    /// Both days were restricted.
    either_day: bool,
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Too few fields, or too many.
    #[error("`{0}` has {1} fields, and needs 5: minute, hour, day, month, weekday, such as `30 3 * * *`")]
    Fields(String, usize),
    /// A field that cannot be read, or is out of its range.
    #[error(
        "`{field}` is no {name}: write *, numbers from {low} to {high}, ranges, lists or steps, such as 1-5 or */15"
    )]
    Field {
        /// As it was written.
        field: String,
        /// What it stands for.
        name: &'static str,
        /// The lowest number.
        low: u32,
        /// The highest.
        high: u32,
    },
    /// Such a day does not exist.
    #[error("`{0}` is never: no such month has that day")]
    Never(String),
}

const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)];

impl Cron {
    /// Whether it is due in this minute, counted from 1970.
    pub fn is_due(&self, minute: i64) -> bool {
        let Ok(time) = Timestamp::from_second(minute.saturating_mul(60)) else { return false };
        let time = time.to_zoned(TimeZone::UTC);
        let now = [
            time.minute() as u32,
            time.hour() as u32,
            time.day() as u32,
            time.month() as u32,
            time.weekday().to_sunday_zero_offset() as u32,
        ];
        let [is_minute, is_hour, is_day, is_month, is_weekday] =
            [0, 1, 2, 3, 4].map(|field| self.fields[field] & (1 << now[field]) != 0);
        let is_today = if self.either_day { is_day || is_weekday } else { is_day && is_weekday };
        is_minute && is_hour && is_month && is_today
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if words.len() != FIELDS.len() {
            let count = words.len();
            return Err(CronError::Fields(text, count));
        }
        let mut fields = [0; 5];
        for ((bits, word), (name, low, high)) in fields.iter_mut().zip(&words).zip(FIELDS) {
            let wrong = || CronError::Field { field: (*word).to_owned(), name, low, high };
            *bits = word
                .split(',')
                .try_fold(0, |bits, part| Some(bits | of_part(part, low, high)?))
                .ok_or_else(wrong)?;
        }
        // Sunday has two numbers.
        fields[4] |= (fields[4] >> 7) & 1;
        let is_given = |field: usize| !words.get(field).is_some_and(|word| word.starts_with('*'));
        let either_day = is_given(2) && is_given(4);
        // In the longest months; a weekday may come on any date.
        let longest = |month: u32| {
            if month == 2 { 29 } else { 30 + u32::from([1, 3, 5, 7, 8, 10, 12].contains(&month)) }
        };
        let first_day = fields[2].trailing_zeros();
        if !either_day && !(1..=12).any(|month| fields[3] & (1 << month) != 0 && first_day <= longest(month))
        {
            return Err(CronError::Never(text));
        }
        Ok(Self { text, fields, either_day })
    }
}

/// The bits of one part of a list; `None` if it cannot be read.
fn of_part(part: &str, low: u32, high: u32) -> Option<u64> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, step.parse::<u32>().ok().filter(|&step| step > 0)?),
        None => (part, 1),
    };
    let number = |word: &str| word.parse::<u32>().ok().filter(|number| (low..=high).contains(number));
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (low, high),
        Some((first, last)) => (number(first)?, number(last)?),
        // `5/15` goes on to the end, as cron has it.
        None if part.contains('/') => (number(range)?, high),
        None => (number(range)?, number(range)?),
    };
    (first <= last)
        .then(|| (first..=last).step_by(step as usize).fold(0, |bits, number| bits | (1 << number)))
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        Cron::try_from(text.to_owned()).unwrap()
    }

    fn minute(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_second() / 60
    }

    #[test]
    fn times_are_due_in_their_minute_alone() {
        for (text, due, not_due) in [
            ("30 3 * * *", "2026-11-30T03:30:00Z", "2026-11-30T03:31:00Z"),
            ("*/15 8-18/2 * * *", "2026-11-30T10:45:00Z", "2026-11-30T11:45:00Z"),
            ("0 0 1 1,7 *", "2026-07-01T00:00:00Z", "2026-06-01T00:00:00Z"),
            // A Monday.
            ("0 6 * * 1-5", "2026-11-30T06:00:00Z", "2026-11-29T06:00:00Z"),
            ("0 6 * * 7", "2026-11-29T06:00:00Z", "2026-11-30T06:00:00Z"),
            ("5/20 * * * *", "2026-11-30T06:45:00Z", "2026-11-30T06:40:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z", "2027-03-01T00:00:00Z"),
        ] {
            assert!(cron(text).is_due(minute(due)), "{text} at {due}");
            assert!(!cron(text).is_due(minute(not_due)), "{text} at {not_due}");
        }
    }

    #[test]
    fn either_of_two_days_is_enough() {
        let both = cron("0 0 13 * 5");
        assert!(both.is_due(minute("2026-12-13T00:00:00Z")), "a Sunday, the 13th");
        assert!(both.is_due(minute("2026-12-04T00:00:00Z")), "a Friday, the 4th");
        assert!(!both.is_due(minute("2026-12-14T00:00:00Z")));
    }

    #[test]
    fn what_is_no_time_is_refused_by_field() {
        for (text, message) in [
            ("30 3 * *", "has 4 fields, and needs 5"),
            ("60 3 * * *", "`60` is no minute: write *, numbers from 0 to 59"),
            ("0 3 0 * *", "`0` is no day: write *, numbers from 1 to 31"),
            ("0 5-3 * * *", "`5-3` is no hour"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("0 0 * jan *", "`jan` is no month"),
            ("0 0 30 2 *", "is never"),
            ("0 0 31 4,6 *", "is never"),
        ] {
            let refused = Cron::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }
}
