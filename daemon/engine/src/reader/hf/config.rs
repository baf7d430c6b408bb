//! `config.json`: typed access to its keys, whose names have changed over the years.

use serde_json::{Map, Value};
use slmscope_profiles::model_files::{CONFIG, max_bytes};

use super::multimodal;
use crate::error::LoadError;

/// A parsed file: the keys of its text model.
pub(super) struct Parsed {
    map: Map<String, Value>,
    /// What messages set in front of a key: the part of the file that the keys are from.
    within: &'static str,
}

/// A parsed configuration, or a part of it.
#[derive(Clone, Copy)]
pub(super) struct Config<'a> {
    /// What messages call the file.
    pub(super) file: &'a str,
    within: &'static str,
    map: &'a Map<String, Value>,
}

/// Parses the text of a configuration.
pub(super) fn parse(file: &str, text: &[u8]) -> Result<Parsed, LoadError> {
    let problem = |problem: String| LoadError::Config { file: file.to_owned(), problem };
    if let Some(limit) = max_bytes(CONFIG).filter(|&limit| text.len() as u64 > limit) {
        return Err(problem(format!("has {} bytes, and no real one exceeds {limit}", text.len())));
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(match multimodal::text_model(&map) {
            Some(text) => Parsed { map: text, within: "text_config." },
            None => Parsed { map, within: "" },
        }),
        Ok(_) => Err(problem("is no JSON object; it begins at byte 0".to_owned())),
        Err(error) => Err(problem(format!("is no JSON: {error}"))),
    }
}

impl<'a> Config<'a> {
    pub(super) fn new(file: &'a str, parsed: &'a Parsed) -> Self {
        Self { file, within: parsed.within, map: &parsed.map }
    }

    pub(super) fn problem(&self, problem: String) -> LoadError {
        LoadError::Config { file: self.file.to_owned(), problem }
    }

    pub(super) fn unsupported(&self, what: String, remedy: &'static str) -> LoadError {
        LoadError::Unsupported { file: self.file.to_owned(), what, remedy }
    }

    /// The first of `keys` that is there and not null.
    pub(super) fn find(&self, keys: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        keys.iter().find_map(|&key| Some((key, self.map.get(key).filter(|value| !value.is_null())?)))
    }

    fn typed<T>(
        &self,
        keys: &[&'static str],
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        let Some((key, value)) = self.find(keys) else { return Ok(None) };
        let wrong =
            || self.problem(format!("{} is {}, {expected} is expected", self.key(key), value_text(value)));
        read(value).map(Some).ok_or_else(wrong)
    }

    pub(super) fn number(&self, keys: &[&'static str]) -> Result<Option<u32>, LoadError> {
        self.typed(keys, "an integer from 0 to 2^32 - 1", integer)
    }

    pub(super) fn need(&self, keys: &[&'static str]) -> Result<u32, LoadError> {
        self.number(keys)?.ok_or_else(|| self.problem(format!("has no {}", self.key(&keys.join(" or ")))))
    }

    /// Whether the text model is one of several parts.
    pub(super) fn has_parts(&self) -> bool {
        !self.within.is_empty()
    }

    /// A key as messages name it.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.within)
    }

    pub(super) fn float(&self, keys: &[&'static str]) -> Result<Option<f32>, LoadError> {
        self.typed(keys, "a finite number", finite)
    }

    pub(super) fn flag(&self, keys: &[&'static str]) -> Result<Option<bool>, LoadError> {
        self.typed(keys, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, keys: &[&'static str]) -> Result<Option<&'a str>, LoadError> {
        self.typed(keys, "a text", Value::as_str)
    }

    pub(super) fn numbers(&self, keys: &[&'static str]) -> Result<Option<Vec<u32>>, LoadError> {
        self.typed(keys, "a list of integers", |value| value.as_array()?.iter().map(integer).collect())
    }

    pub(super) fn floats(&self, keys: &[&'static str]) -> Result<Option<Vec<f32>>, LoadError> {
        self.typed(keys, "a list of finite numbers", |value| value.as_array()?.iter().map(finite).collect())
    }

    pub(super) fn texts(&self, keys: &[&'static str]) -> Result<Option<Vec<&'a str>>, LoadError> {
        self.typed(keys, "a list of texts", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    pub(super) fn part(&self, keys: &[&'static str]) -> Result<Option<Self>, LoadError> {
        let map = self.typed(keys, "an object", Value::as_object)?;
        Ok(map.map(|map| Self { map, ..*self }))
    }
}

fn integer(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn finite(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32).filter(|number| number.is_finite())
}

/// A value as a message shows it: short, whatever the file holds.
pub(super) fn value_text(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}
