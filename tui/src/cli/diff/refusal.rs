//! Why recordings are not compared.

use std::process::ExitCode;

use slmscope_profiles::compare::Obstacle;
use slmscope_profiles::display::{self, ABSENT};

use crate::failure::Failure;

/// Names what differs, and how to compare all the same.
pub(super) fn refused(obstacles: &[Obstacle]) -> Failure {
    let named: Vec<String> = obstacles.iter().map(both).collect();
    let message = format!("not comparable, other {}; --force compares them all the same", named.join(", "));
    Failure { message: Some(message), code: ExitCode::from(3) }
}

/// `threads (1 and 2)`.
pub(super) fn both(Obstacle { what, a, b }: &Obstacle) -> String {
    let show = |value: &Option<String>| display::printable(value.as_deref().unwrap_or(ABSENT)).into_owned();
    let [a, b] = told_apart(&show(a), &show(b));
    format!("{what} ({a} and {b})")
}

/// Letters of a hash that are enough where they differ.
const HASH_LETTERS: usize = 8;

/// Two values as far as it takes to tell them apart: hashes at their beginning, all else whole.
fn told_apart(a: &str, b: &str) -> [String; 2] {
    let is_hash =
        |text: &str| text.len() > 2 * HASH_LETTERS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let shown = HASH_LETTERS.max(same + 1);
    [a, b].map(|text| match text.get(..shown).filter(|_| is_hash(text)) {
        Some(beginning) => format!("{beginning}…"),
        None => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of 64 digits were printed.
    #[test]
    fn hashes_are_shown_as_far_as_they_differ() {
        let (a, b) = ("0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4));
        let obstacle = Obstacle { what: "model", a: Some(a.clone()), b: Some(b) };
        let told = refused(&[obstacle]).message.unwrap_or_default();
        assert!(told.starts_with("not comparable, other model (01234567… and fedcba98…); --force"), "{told}");
        let alike = format!("{}ffff", &a[..60]);
        assert_eq!(told_apart(&a, &alike)[0], format!("{}…", &a[..61]));
        assert_eq!(told_apart("q4_0", "q8_0"), ["q4_0", "q8_0"]);
        assert_eq!(told_apart(ABSENT, &a), [ABSENT, "01234567…"]);
    }
}
