//! Named spans: time inside a token that is in no op, by name.
//!
//! A batch carries a list of them; which names there are is open. Those that this build writes have a number
//! each, their place in [`SpanName::KNOWN`]: it stands for the name where names are too long (the op ring).
//! Names are added at the end only.

use serde::{Deserialize, Serialize};

use crate::words::open_words;

open_words! {
    /// What a named span is about.
    pub enum SpanName {
        /// Choosing the next id from the logits.
        Sample = "sample",
        /// Handing work to a device, on the host's lane.
        Submit = "submit",
        /// Waiting for a device, on the host's lane.
        Wait = "wait",
        /// From the begin of the token to the device's first time stamp, on the device's lane.
        Launch = "launch",
        /// From the device's last time stamp to the logits, on the device's lane.
        Readback = "readback",
    }
}

impl SpanName {
    /// The name that has this number; `None` if no known one has.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::KNOWN.get(usize::from(number)).cloned()
    }

    /// Its number; `None` for names that this build does not know.
    pub fn number(&self) -> Option<u8> {
        Self::KNOWN.iter().position(|known| known == self).map(|at| at as u8)
    }
}

/// Time under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSpan {
    /// What it was spent on.
    pub name: SpanName,
    /// ns
    pub ns: u64,
}

/// The most names that one list holds: more are a damaged record.
pub const MAX_NAMES: usize = 64;

/// Adds `ns` under `name` to a list that has each name once; `false` if the list is full. Does not allocate
/// while the list has room for a known name.
pub fn add(spans: &mut Vec<NamedSpan>, name: &SpanName, ns: u64) -> bool {
    if let Some(span) = spans.iter_mut().find(|span| span.name == *name) {
        span.ns = span.ns.saturating_add(ns);
        return true;
    }
    let has_room = spans.len() < MAX_NAMES;
    if has_room {
        spans.push(NamedSpan { name: name.clone(), ns });
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_of_names_are_fixed() {
        let words: Vec<&str> = SpanName::KNOWN.iter().map(SpanName::as_str).collect();
        assert_eq!(words[..5], ["sample", "submit", "wait", "launch", "readback"]);
        for (number, name) in (0..).zip(SpanName::KNOWN) {
            assert_eq!((name.number(), SpanName::from_number(number).as_ref()), (Some(number), Some(name)));
            assert_eq!(SpanName::from(name.as_str()), *name);
        }
        assert_eq!(SpanName::from_number(u8::MAX), None);
        assert_eq!(SpanName::from("dream").number(), None);
    }
}
