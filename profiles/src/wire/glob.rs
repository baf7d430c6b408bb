//! Patterns for ids of channels.

/// Whether `id` matches `pattern`, in which `*` stands for any characters.
pub fn glob_matches(pattern: &str, id: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = id.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Why `pattern` can match no channel's id; `None` if it may.
pub fn glob_problem(pattern: &str) -> Option<&'static str> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.#*".contains(letter);
    if pattern.is_empty() {
        Some("an empty pattern matches no channel; `*` matches all")
    } else if !pattern.chars().all(is_allowed) {
        Some(
            "a pattern is made of letters, digits, `-`, `_`, `.`, `#` and `*`, which stands for any characters",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_can_match_nothing_have_a_problem() {
        for pattern in ["", "[", "cpu.[0-9]", "cpu.?", "cpu *", "\u{1b}", "é", "{a,b}"] {
            assert!(glob_problem(pattern).is_some(), "{pattern}");
        }
        for pattern in ["*", "cpu.*", "energy.package-0", "temp.x86_pkg_temp#2"] {
            assert_eq!(glob_problem(pattern), None);
        }
    }

    #[test]
    fn globs() {
        for (pattern, id, matches) in [
            ("*", "cpu.cpu0", true),
            ("cpu.*", "cpu.cpu0", true),
            ("cpu.*", "temp.cpu", false),
            ("cpu", "cpu.cpu0", false),
            ("*.time", "cpu.cpu0.time", true),
            ("e*-0*", "energy.package-0", true),
            ("aa*a", "aa", false),
            ("", "", true),
        ] {
            assert_eq!(glob_matches(pattern, id), matches, "{pattern} {id}");
        }
    }
}
