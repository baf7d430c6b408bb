//! Numbers as text for people: three significant digits and a unit. `—` stands for an absent value, `0` for zero.
//!
//! Amounts of memory have binary prefixes (`KiB`), traffic and rates have decimal ones (`kB`, `GB/s`). Everything
//! that prints a ratio as a percentage calls one of the three functions here, which differ in their decimals.
//! Numbers that are not finite print as absent.

mod text;

use crate::channel::Unit;

pub use text::{excerpt, printable};

/// Printed where there is no value.
pub const ABSENT: &str = "—";

/// `value` as `show` prints it, or [`ABSENT`].
pub fn or_absent<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| ABSENT.to_owned(), show)
}

/// A duration in ns: `812 ns`, `4.56 ms`, `12.0 s`, `2 m 05 s`, `1 h 02 m`.
pub fn duration(ns: u64) -> String {
    let seconds = ns.saturating_add(500_000_000) / 1_000_000_000;
    match seconds {
        3600.. => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
        120.. => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ if ns < 1000 => format!("{ns} ns"),
        _ => scaled(ns as f64, 1000.0, &["ns", "µs", "ms", "s"]),
    }
}

/// Milliseconds without the unit, for columns and charts headed `ms`.
pub fn milliseconds(ns: f64) -> String {
    significant(ns / 1e6)
}

/// Memory: `812 B`, `1.50 GiB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// Bytes moved: `812 B`, `78.3 MB`.
pub fn traffic(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// Bytes per second: `23.4 GB/s`.
pub fn bytes_per_second(rate: f64) -> String {
    scaled(rate, 1000.0, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"])
}

/// FLOPs per second: `45.1 GFLOP/s`.
pub fn flops_per_second(rate: f64) -> String {
    scaled(rate, 1000.0, &["FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"])
}

/// int8 operations per second: `3.07 TOP/s`.
pub fn ops_per_second(rate: f64) -> String {
    scaled(rate, 1000.0, &["OP/s", "kOP/s", "MOP/s", "GOP/s", "TOP/s", "POP/s"])
}

/// A large number: whole up to 99,999, then `134 M`.
pub fn count(count: u64) -> String {
    if count < 100_000 {
        return count.to_string();
    }
    scaled(count as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
}

/// A number of parameters, with the units that people and flags use: `135M`, `1.07B`.
pub fn parameters(count: u64) -> String {
    scaled(count as f64, 1000.0, &["", "K", "M", "B", "T"]).replace(' ', "")
}

/// A number of things: `1 thread`, `2 threads`.
pub fn plural(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A ratio as a percentage with one decimal: `12.3 %`. Exactly zero is `0 %`; what is smaller than the last decimal
/// is `<0.1 %`.
pub fn share(ratio: f64) -> String {
    percent(ratio, 1)
}

/// As [`share`], without decimals, for narrow cells and estimates: `12 %`.
pub fn rough_share(ratio: f64) -> String {
    percent(ratio, 0)
}

/// As [`share`], with two decimals, for what measuring costs, whose limit is around 1 %: `0.42 %`. A difference may
/// come out below zero where it is smaller than the noise.
pub fn fine_share(ratio: f64) -> String {
    percent(ratio, 2)
}

fn percent(ratio: f64, decimals: usize) -> String {
    let percent = ratio * 100.0;
    let least = 10_f64.powi(-(decimals as i32));
    match () {
        () if !percent.is_finite() => ABSENT.to_owned(),
        () if percent == 0.0 => "0 %".to_owned(),
        () if percent.abs() >= 1e5 => format!("{percent:.1e} %"),
        () if percent.abs() >= least / 2.0 => format!("{percent:.decimals$} %"),
        () if percent > 0.0 => format!("<{least:.decimals$} %"),
        () => format!(">-{least:.decimals$} %"),
    }
}

/// CPU time divided by time, of one core, which is the basis of all shares of CPUs: `104.2 % of one core`.
pub fn of_one_core(ratio: f64) -> String {
    format!("{} of one core", share(ratio))
}

/// A channel's value in its unit: `45.2 °C`, `2.40 GHz`.
pub fn value(value: f64, unit: Unit) -> String {
    let si = |units: &[&str]| scaled(value, 1000.0, units);
    let with = |unit: &str| scaled(value, f64::INFINITY, &[unit]);
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    match unit {
        Unit::Joules => si(&["J", "kJ", "MJ", "GJ"]),
        Unit::Watts => si(&["W", "kW", "MW"]),
        Unit::Volts => with("V"),
        Unit::Amperes => with("A"),
        Unit::Celsius => with("°C"),
        Unit::Hertz => si(&["Hz", "kHz", "MHz", "GHz", "THz"]),
        Unit::Ratio => share(value),
        Unit::Bytes if value >= 0.0 => bytes(value as u64),
        Unit::Bytes => traffic(value),
        Unit::BytesPerSecond => bytes_per_second(value),
        Unit::Seconds if value >= 0.0 => duration((value * 1e9) as u64),
        Unit::Seconds => with("s"),
        Unit::Rpm => with("rpm"),
        Unit::Count if value >= 0.0 && value.fract() == 0.0 => count(value as u64),
        Unit::Count => si(&["", "k", "M", "G", "T", "P"]),
    }
}

/// Three significant digits, never fewer before the point than there are: `0.05`, `1.23`, `45.6`, `12345`.
pub fn significant(value: f64) -> String {
    let size = value.abs();
    match () {
        () if !value.is_finite() => ABSENT.to_owned(),
        () if value == 0.0 => "0".to_owned(),
        () if size < 9.995 => format!("{value:.2}"),
        () if size < 99.95 => format!("{value:.1}"),
        () if size < 1e6 => format!("{value:.0}"),
        () => format!("{value:.2e}"),
    }
}

/// `value` with the unit that leaves it below `base`.
fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = units.first().copied().unwrap_or("");
    for larger in units.iter().skip(1) {
        // What would be rounded up to the base belongs to the next unit.
        if value.abs() < base - 0.5 {
            break;
        }
        value /= base;
        unit = larger;
    }
    match significant(value) {
        absent if absent == ABSENT => absent,
        digits if unit.is_empty() => digits,
        digits => format!("{digits} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_change_unit_where_they_round() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (9_999_999_999, "10.0 s"),
            (119_000_000_000, "119 s"),
            (125_000_000_000, "2 m 05 s"),
            (3_725_000_000_000, "1 h 02 m"),
        ] {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(milliseconds(4_560_000.0), "4.56");
    }

    #[test]
    fn prefixes_are_binary_for_memory_and_decimal_for_traffic() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.00 MiB");
        assert_eq!(traffic(78_300_000.0), "78.3 MB");
        assert_eq!(bytes_per_second(23.4e9), "23.4 GB/s");
        assert_eq!(flops_per_second(45.1e9), "45.1 GFLOP/s");
        assert_eq!(count(99_999), "99999");
        assert_eq!(count(134_515_008), "135 M");
        let sizes = [800, 134_515_008, 1_065_314_304].map(parameters);
        assert_eq!(sizes, ["800", "135M", "1.07B"]);
    }

    #[test]
    fn zero_is_not_absent_and_not_nearly_zero() {
        assert_eq!(share(0.0), "0 %");
        assert_eq!(share(0.0001), "<0.1 %");
        assert_eq!(share(0.1234), "12.3 %");
        assert_eq!(share(1.0), "100.0 %");
        assert_eq!([rough_share(0.95), rough_share(0.004), rough_share(0.0)], ["95 %", "<1 %", "0 %"]);
        assert_eq!([fine_share(0.0042), fine_share(-0.0013)], ["0.42 %", "-0.13 %"]);
        assert_eq!([fine_share(0.00001), fine_share(-0.00001)], ["<0.01 %", ">-0.01 %"]);
        assert_eq!([share(1e5), share(f64::NAN)], ["1.0e7 %", ABSENT]);
        assert_eq!(or_absent(None, share), "—");
        assert_eq!(or_absent(Some(0.0), share), "0 %");
        assert_eq!(value(0.0, Unit::Watts), "0 W");
    }

    #[test]
    fn channel_values_carry_their_unit() {
        for (number, unit, text) in [
            (45.25, Unit::Celsius, "45.2 °C"),
            (-3.0, Unit::Celsius, "-3.00 °C"),
            (2.4e9, Unit::Hertz, "2.40 GHz"),
            (0.85, Unit::Volts, "0.85 V"),
            (1200.0, Unit::Rpm, "1200 rpm"),
            (0.5, Unit::Ratio, "50.0 %"),
            (1536.0, Unit::Bytes, "1.50 KiB"),
            (0.25, Unit::Seconds, "250 ms"),
            (7.0, Unit::Count, "7"),
            (0.5, Unit::Count, "0.50"),
        ] {
            assert_eq!(value(number, unit), text);
        }
    }

    #[test]
    fn hostile_numbers_stay_short() {
        use Unit::{Bytes, BytesPerSecond, Celsius, Count, Hertz, Joules, Ratio, Rpm, Seconds, Volts, Watts};
        let units = [Joules, Watts, Volts, Celsius, Hertz, Ratio, Bytes, BytesPerSecond, Seconds, Rpm, Count];
        let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 1e-300, -1e-300];
        for number in numbers {
            for unit in units {
                let text = value(number, unit);
                assert!(text.chars().count() < 20, "{number} {unit:?}: {text}");
                assert_eq!(number.is_finite(), text != ABSENT, "{number} {unit:?}: {text}");
            }
        }
        assert!(duration(u64::MAX).len() < 20 && bytes(u64::MAX).len() < 20 && count(u64::MAX).len() < 20);
    }
}
