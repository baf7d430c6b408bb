//! Words on the wire and on the command line.
//!
//! Open lists keep words that a reader does not know, so that a newer writer can add some. Closed lists refuse
//! them, and name those that they know.

use crate::display::excerpt;

/// Longest word that is compared with all others, bytes: the time that takes grows with it, and none that is known is
/// nearly as long.
pub(crate) const MAX_COMPARED: usize = 100;

/// The one of `known` that may have been meant by `word`: the first that contains it, or that with the fewest other
/// letters, at most one in three. Case does not count. `None` if none is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    if word.len() > MAX_COMPARED || letters < 3 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let distance = |known: &str| if known.contains(&word) { 0 } else { edit_distance(&word, known) };
    let far = known.into_iter().map(|known| (distance(&known.to_ascii_lowercase()), known));
    far.min_by_key(|(distance, _)| *distance)
        .filter(|&(distance, _)| distance <= letters / 3)
        .map(|near| near.1)
}

/// Levenshtein distance.
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A word that is none of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{word}`{hint}; known: {known}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    known: String,
    hint: String,
}

impl UnknownWord {
    /// `word` is no `what`; those are `known`, of which the nearest is named.
    pub(crate) fn new(what: &'static str, word: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        let known: Vec<_> = known.into_iter().collect();
        let near = nearest(word, known.iter().copied());
        let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
        Self { what, word: excerpt(word, 100), known: known.join(", "), hint }
    }

    /// Adds what may have been meant, as it follows the word: ` (did you mean …?)`.
    pub(crate) fn with_hint(mut self, hint: String) -> Self {
        self.hint = hint;
        self
    }
}

/// An enum of words on the wire with a place for those of a newer build: `Other` holds them as they came.
///
/// Gives the enum `as_str`, `From<&str>`, `Display`, and serde as a string.
macro_rules! open_words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A word that this build does not know, as it was read.
            Other(Box<str>),
        }

        impl $name {
            /// The words that this build knows, in the order of their numbers.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is spelled in JSON.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Other(other.into()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Ok(Self::from(&*word))
            }
        }
    };
}

pub(crate) use open_words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_if_one_is_near() {
        let known = ["prompt", "prompt_text", "generate", "avx512vnni"];
        for (word, near) in [
            ("promt", Some("prompt")),
            ("GENERATE", Some("generate")),
            ("vnni", Some("avx512vnni")),
            ("text", Some("prompt_text")),
            ("sse9", None),
            ("pr", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
        assert_eq!(nearest(&"prompt".repeat(1 << 20), known), None, "not compared");
    }
}
