//! A message of a stream: a record, a summary or talk, without a level of nesting to tell which.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Talk;
use crate::record::Record;
use crate::summary::Summary;

/// A message of the daemon that answers nothing. On the wire it is what it holds: an object with one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// What a file stores too.
    Record(Record),
    /// Derived from records; never stored.
    Summary(Summary),
    /// From this daemon to this client.
    Talk(Talk),
}

/// The key of a summary.
const SUMMARY: &str = "summary";

impl From<Record> for Frame {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

impl From<Summary> for Frame {
    fn from(summary: Summary) -> Self {
        Self::Summary(summary)
    }
}

impl From<Talk> for Frame {
    fn from(talk: Talk) -> Self {
        Self::Talk(talk)
    }
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(record) => record.serialize(serializer),
            Self::Summary(summary) => serializer.serialize_newtype_variant("Frame", 1, SUMMARY, summary),
            Self::Talk(talk) => talk.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FrameVisitor)
    }
}

struct FrameVisitor;

impl<'de> Visitor<'de> for FrameVisitor {
    type Value = Frame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose one key names a kind of record or talk, or is `summary`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Frame, A::Error> {
        let key: String = map.next_key()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
        if key == SUMMARY {
            return map.next_value().map(Frame::Summary);
        }
        let is_talk = Talk::KEYS.contains(&&*key);
        let message = MapAccessDeserializer::new(Begun { key: Some(key), map });
        if is_talk {
            Talk::deserialize(message).map(Frame::Talk)
        } else {
            Record::deserialize(message).map(Frame::Record)
        }
    }
}

/// A map whose first key was read already: gives it again, and then the rest.
struct Begun<A> {
    key: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Begun<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.key.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
