//! Words on the wire and on the command line.
//!
//! Open lists keep words that a reader does not know, so that a newer writer can add some. Closed lists refuse
//! them, and name those that they know.

use crate::display::excerpt;

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
    /// `word` is no `what`; those are `known`.
    pub(crate) fn new(what: &'static str, word: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        let known: Vec<_> = known.into_iter().collect();
        Self { what, word: excerpt(word, 100), known: known.join(", "), hint: String::new() }
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
