//! Models by name.

use super::{Row, rows};
use crate::words::{MAX_COMPARED, edit_distance};

/// The model of that name. A name without one: the nearest ids, best first.
///
/// # Errors
/// Up to three ids that the caller may have meant; empty if none is near.
pub fn find(id: &str) -> Result<&'static Row, Vec<&'static str>> {
    if id.len() > MAX_COMPARED {
        return Err(Vec::new());
    }
    let wanted = id.to_ascii_lowercase();
    if let Some(row) = rows().iter().find(|row| row.id == wanted) {
        return Ok(row);
    }
    let mut near: Vec<(usize, &str)> = rows()
        .iter()
        .map(|row| {
            let distance = edit_distance(&wanted, &row.id);
            // Part of a name is a better hint than a few equal letters.
            (if wanted.len() > 2 && row.id.contains(&wanted) { 0 } else { distance }, row.id.as_str())
        })
        .filter(|&(distance, _)| distance <= wanted.chars().count().max(4) / 2)
        .collect();
    near.sort_unstable();
    Err(near.into_iter().take(3).map(|(_, id)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_brings_near_ones() {
        assert_eq!(find("smolm2-135m").unwrap_err()[0], "smollm2-135m");
        assert_eq!(find("SmolLM2-135M").unwrap().id, "smollm2-135m");
        assert!(find("tinyllama").unwrap_err().contains(&"tinyllama-1.1b"));
        assert!(find("zzzzzzzzzzzzzzzzzzzz").unwrap_err().is_empty());
        assert!(rows().iter().all(|row| row.id.len() < MAX_COMPARED));
    }

    /// One of 5 MB kept the daemon busy for minutes.
    #[test]
    fn a_long_name_is_compared_with_none() {
        assert!(find(&"x".repeat(5 << 20)).unwrap_err().is_empty());
    }
}
