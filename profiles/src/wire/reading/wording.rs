//! What a deserializer says of a message, in the words of the wire.

use serde_json::Value;

use super::MAX_ECHO;
use crate::display::excerpt;
use crate::words::nearest;

/// Whether this is a deserializer's message about a word that is not known.
pub(super) fn is_unknown(message: &str) -> bool {
    message.starts_with("unknown variant ")
}

/// A deserializer's message in the words of the wire; `found` is what stands where it failed.
pub(super) fn plain(message: &str, found: Option<&Value>) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, known) = rest.split_once(", ").unwrap_or((rest, ""));
        let known = known.trim_start_matches("expected one of ").trim_start_matches("expected ");
        let (hint, known) = (hint(name, known), known.replace('`', ""));
        return format!("there is no {}{hint}; there are {known}", excerpt(name, MAX_ECHO / 2));
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (name, known) = rest.split_once(", ").unwrap_or((rest, ""));
        let (hint, known) = (hint(name, known), known.replace('`', ""));
        return format!("{} is not known{hint}; {known}", excerpt(name, MAX_ECHO / 2));
    }
    let mut typed = ["invalid type: ", "invalid value: ", "invalid length "].iter();
    if let Some(rest) = typed.find_map(|start| message.strip_prefix(start))
        && let Some((_, expected)) = rest.rsplit_once(", expected ")
    {
        let found = found.map_or_else(|| "what came".to_owned(), shown);
        return format!("{} is expected, not {found}", expectation(expected));
    }
    excerpt(message, MAX_ECHO * 2)
}

/// The one of `known`, a list of quoted words, that may have been meant by the quoted `word`.
pub(super) fn hint(word: &str, known: &str) -> String {
    let near = nearest(word.trim_matches('`'), known.split('`').skip(1).step_by(2));
    near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"))
}

/// What a deserializer expects, without the names of types.
fn expectation(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" | "map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ if ["enum ", "string or map", "map with a single key", "variant "]
            .iter()
            .any(|start| expected.starts_with(start)) =>
        {
            "a word, or an object with one key,"
        }
        _ if expected.starts_with("tuple ") || expected.starts_with("unit ") => "another kind of value",
        other => other,
    }
}

/// A value, short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => excerpt(&value.to_string(), MAX_ECHO / 2),
        Value::String(text) => format!("the text `{}`", excerpt(text, MAX_ECHO / 2)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
