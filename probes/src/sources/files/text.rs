//! Numbers as small files spell them.

/// A decimal integer with blanks around it.
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse().ok()
}

/// The share in `NN@FREQUENCYHz` or `NN %`, 0 to 1.
pub(crate) fn percent(bytes: &[u8]) -> Option<f64> {
    percent_points(bytes).map(|points| points / 100.0)
}

/// The number in such a text, 0 to 100.
pub(crate) fn percent_points(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let text = text.split_once('@').map_or(text, |(percent, _)| percent);
    let percent: f64 = text.strip_suffix('%').unwrap_or(text).trim().parse().ok()?;
    percent.is_finite().then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_or_nothing() {
        assert_eq!(integer(b" -40\n"), Some(-40));
        assert_eq!(integer(b"32760 ma"), None);
        assert_eq!(integer(b"18446744073447456768"), None);
        assert_eq!(integer(b""), None);
    }

    #[test]
    fn a_load_is_the_part_before_the_clock() {
        assert_eq!(percent(b"11@528000000Hz\n"), Some(0.11));
        assert_eq!(percent(b"12 %\n"), Some(0.12));
        assert_eq!(percent(b"7"), Some(0.07));
        assert_eq!(percent(b"@528000000Hz"), None);
        assert_eq!(percent(b"inf"), None);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"11@528000000Hz", |text| {
            assert!(percent(text).is_none_or(f64::is_finite));
            let _ = integer(text);
        });
    }
}
