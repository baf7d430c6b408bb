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

#[cfg(test)]
mod tests {
    use super::*;

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
