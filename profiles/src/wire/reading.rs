//! Reading a client's request, and saying what is wrong with one that cannot be read: which field, what it holds and what
//! is expected there, in the words of the wire. What a client sent is repeated in at most [`MAX_ECHO`] bytes.

mod wording;

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Method, Request};
use crate::display::excerpt;
use wording::{hint, is_unknown, plain, shown};

/// Bytes of a client's text that an error repeats.
pub const MAX_ECHO: usize = 200;

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", field.as_ref().map_or_else(String::new, |field| format!("{field}: ")))]
pub struct BadRequest {
    /// The request's id, for the answer; `None` if it has none that can be read.
    pub id: Option<u64>,
    /// The protocol that the client states, if it does.
    pub protocol: Option<u32>,
    /// The field at fault; `None` if it is the request as a whole.
    pub field: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl BadRequest {
    /// A message that is no object at all.
    pub(super) fn no_object(problem: impl Into<String>) -> Self {
        Self { id: None, protocol: None, field: None, problem: problem.into() }
    }
}

/// Reads a request from its fields.
pub(super) fn request(fields: Fields) -> Result<Request, BadRequest> {
    let (mut id, mut protocol, mut methods) = (None, None, Vec::new());
    for (name, value) in fields.0 {
        match name.as_str() {
            "id" => id = Some(value),
            "protocol" => protocol = Some(value),
            _ => methods.push((name, value)),
        }
    }
    let mut bad = BadRequest::no_object("");
    bad.id = whole_number(&bad, "id", id, u64::MAX)?;
    bad.protocol = whole_number(&bad, "protocol", protocol, u64::from(u32::MAX))?.map(|number| number as u32);
    let whole = |problem| BadRequest { problem, ..bad.clone() };
    let Some((name, body)) = methods.pop() else {
        return Err(whole(format!("it names no request; {}", known_requests())));
    };
    if let Some((other, _)) = methods.last() {
        let [other, name] = [other, &name].map(|name| excerpt(name, MAX_ECHO / 4));
        return Err(whole(format!(
            "it holds more than one request (`{other}` and `{name}`); send each on a line of its own"
        )));
    }
    let method = method(&name, body).map_err(|(field, problem)| match field {
        Some(field) => field_error(&bad, &field, problem),
        None => whole(problem),
    })?;
    Ok(Request { id: bad.id, protocol: bad.protocol, method })
}

fn field_error(of: &BadRequest, field: &str, problem: String) -> BadRequest {
    BadRequest { field: Some(excerpt(field, MAX_ECHO / 2)), problem, ..of.clone() }
}

/// The number in field `name` of a request, of which `of` is known.
fn whole_number(
    of: &BadRequest,
    name: &str,
    value: Option<Value>,
    max: u64,
) -> Result<Option<u64>, BadRequest> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let number = value.as_u64().filter(|&number| number <= max);
    let problem = || format!("the {name} is a whole number from 0 to {max}, not {}", shown(&value));
    number.map(Some).ok_or_else(|| field_error(of, name, problem()))
}

/// The request of this name, or the field at fault and what is wrong with it.
fn method(name: &str, body: Value) -> Result<Method, (Option<String>, String)> {
    // A list would be read as the fields in their order.
    let is_request =
        || !read::<Method>(json!({ name: {} })).is_err_and(|error| is_unknown(&error.to_string()));
    if !body.is_object() && is_request() {
        return Err((Some(name.to_owned()), format!("an object is expected, not {}", shown(&body))));
    }
    if let Some(list) = body.get("workload").filter(|workload| workload.is_array()) {
        return Err((Some("workload".to_owned()), format!("an object is expected, not {}", shown(list))));
    }
    let whole = json!({ name: body });
    let method: Method = serde_path_to_error::deserialize(&whole).map_err(|error| {
        let text = error.inner().to_string();
        if is_unknown(&text) && error.path().iter().next().is_none() {
            let hint = hint(name, text.split_once(", ").map_or("", |(_, known)| known));
            let name = excerpt(name, MAX_ECHO / 2);
            return (None, format!("`{name}` is no request{hint}; {}", known_requests()));
        }
        let path = error.path().to_string();
        let field = path.strip_prefix(name).unwrap_or(&path).trim_start_matches('.');
        let field = field.strip_prefix("workload.").unwrap_or(field);
        let problem = plain(&text, at(&whole, error.path()));
        (Some(if field.is_empty() { name } else { field }.to_owned()), problem)
    })?;
    if let Method::Subscribe(subscribe) = &method {
        subscribe.validate().map_err(|error| (Some(error.field), error.problem))?;
    }
    Ok(method)
}

/// What stands at `path`; `None` if nothing does.
fn at<'a>(value: &'a Value, path: &serde_path_to_error::Path) -> Option<&'a Value> {
    use serde_path_to_error::Segment;
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { variant } => value.get(variant),
        Segment::Unknown => None,
    })
}

/// The requests that there are, as a sentence.
fn known_requests() -> String {
    // The list is that of the type itself, so that it cannot be out of date.
    let refusal = read::<Method>(json!({ "": {} }));
    let known = refusal.err().map(|error| error.to_string()).unwrap_or_default();
    let known = known.split_once("expected one of ").map_or("", |(_, known)| known);
    format!("the requests are {}", known.replace('`', ""))
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value)
}

/// The fields of an object in their order, those that come twice too.
pub(super) struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;

    fn refused(json: &str) -> BadRequest {
        Codec::Json.request(json.as_bytes()).expect_err(json)
    }

    /// Requests that cannot be read: each with its id, the field at fault, and a part of what is said of it.
    const BAD: &[(&str, Option<u64>, &str, &str)] = &[
        (
            r#"{"id":7,"subscribe":{"max_hz":"fast"}}"#,
            Some(7),
            "max_hz",
            "a number is expected, not the text `fast`",
        ),
        (r#"{"subscribe":{"channels":"cpu.*"},"id":8}"#, Some(8), "channels", "a list is expected"),
        (
            r#"{"id":9,"subscribe":{"channels":["a",5]}}"#,
            Some(9),
            "channels[1]",
            "a string is expected, not 5",
        ),
        (r#"{"id":1,"subscribe":{"ops":"dreams"}}"#, Some(1), "ops", "`off`, `summary`, `raw`"),
        (
            r#"{"id":1,"subscribe":{"herz":5}}"#,
            Some(1),
            "herz",
            "there is no `herz`; there are channels, max_hz, ops",
        ),
        (r#"{"id":1,"subscribe":[]}"#, Some(1), "subscribe", "an object is expected, not a list"),
        (r#"{"id":2,"cancel":{"job":-1}}"#, Some(2), "job", "a whole number is expected, not -1"),
        (r#"{"id":2,"cancel":{}}"#, Some(2), "cancel", "missing field `job`"),
        (
            r#"{"id":3,"submit":{"model":{"catalogue":"m"},"workload":{"threads":99999999999}}}"#,
            Some(3),
            "threads",
            "from 0 to 4294967295 is expected, not 99999999999",
        ),
        (
            r#"{"id":3,"submit":{"model":{"catalogue":"m"},"workload":{"promt":1}}}"#,
            Some(3),
            "promt",
            "there is no `promt` (did you mean prompt?)",
        ),
        (r#"{"id":3,"submit":{"model":"m"}}"#, Some(3), "model", "catalogue"),
        (
            r#"{"id":3,"submit":{"model":{"catalogue":"m"},"workload":{"isa":"sse9"}}}"#,
            Some(3),
            "isa",
            "sse9",
        ),
        (
            r#"{"id":3,"submit":{"model":{"catalogue":"m"},"workload":{"isa":"avx9"}}}"#,
            Some(3),
            "isa",
            "unknown instruction set `avx9` (did you mean avx2?); known: scalar, avx2",
        ),
        (
            r#"{"id":3,"submit":{"model":{"catalogue":"m"},"workload":{"format":"q4_k_m"}}}"#,
            Some(3),
            "format",
            "unknown weight format `q4_k_m` (a mixture of formats that llama.cpp writes into files; here all \
             matrices have one format, and q4_k is the nearest)",
        ),
        (
            r#"{"id":3,"submit":{"model":{"catalogue":"m"},"workload":{"kv":"f8"}}}"#,
            Some(3),
            "kv",
            "unknown KV cache format `f8`; known: f32, f16, q8_0",
        ),
        (r#"{"id":3,"submit":{"model":{"catalog":"m"}}}"#, Some(3), "model", "did you mean catalogue?"),
        (r#"{"id":-4,"jobs":{}}"#, None, "id", "a whole number from 0"),
        (r#"{"id":"x","jobs":{}}"#, None, "id", "not the text `x`"),
    ];

    #[test]
    fn a_bad_request_keeps_its_id_and_names_field_and_expectation() {
        for (json, id, field, words) in BAD {
            let bad = refused(json);
            let said = bad.to_string();
            assert_eq!((bad.id, bad.field.as_deref()), (*id, Some(*field)), "{json}: {said}");
            assert!(said.contains(words), "{json}: {said}");
        }
    }

    #[test]
    fn no_name_of_a_type_is_in_an_error() {
        for json in [
            r#"{"id":1,"subscribe":5}"#,
            r#"{"id":1,"subscribe":{"channels":{}}}"#,
            r#"{"id":1,"submit":{"model":5}}"#,
            r#"{"id":1,"submit":{"model":{"catalogue":"m"},"workload":[]}}"#,
            r#"{"id":1,"submit":{"model":{"catalogue":"m"},"workload":{"executor":5}}}"#,
            r#"{"id":1,"submit":{"model":{"catalogue":"m"},"workload":{"loop":5}}}"#,
            r#"{"id":1,"submit":{"model":{"catalogue":"m"},"detach":"yes"}}"#,
            r#"{"id":1,"cancel":5}"#,
            r#"{"id":1,"submit":{"model":{}}}"#,
            r#"{"id":1,"jobs":null}"#,
            r#"{"id":1,"dance":{}}"#,
            r#""jobs""#,
        ] {
            let said = refused(json).to_string();
            let types = [
                "struct",
                "enum",
                "variant",
                "Method",
                "Subscribe",
                "ModelRef",
                "Workload",
                "u32",
                "f64",
                "serde",
            ];
            assert!(!types.iter().any(|name| said.contains(name)), "{json}: {said}");
        }
    }

    #[test]
    fn an_error_repeats_little_of_what_came_and_none_of_its_control_characters() {
        let long = format!("\\u001b[2J{}", "x".repeat(5 << 20));
        for json in [
            format!(r#"{{"id":1,"{long}":{{}}}}"#),
            format!(r#"{{"id":1,"subscribe":{{"{long}":1}}}}"#),
            format!(r#"{{"id":1,"subscribe":{{"max_hz":"{long}"}}}}"#),
            format!(r#"{{"id":1,"subscribe":{{"ops":"{long}"}}}}"#),
            format!(r#"{{"id":1,"subscribe":{{"channels":["{long}"]}}}}"#),
            format!(r#"{{"id":1,"submit":{{"model":{{"{long}":1}}}}}}"#),
            format!(r#"{{"id":1,"submit":{{"model":{{"catalogue":"m"}},"workload":{{"isa":"{long}"}}}}}}"#),
            format!(r#"{{"id":"{long}","jobs":{{}}}}"#),
            format!(r#"{{"jobs":{{}},"{long}":{{}}}}"#),
            format!(r#""{long}""#),
        ] {
            let bad = refused(&json);
            let said = bad.to_string();
            let echoed = said.matches('x').count();
            assert!(echoed <= MAX_ECHO && said.len() < 1000, "{} bytes: {said:.300}", said.len());
            assert!(!said.contains(char::is_control), "{said:.300}");
            assert!(bad.field.is_none_or(|field| field.len() <= MAX_ECHO));
        }
    }

    #[test]
    fn unknown_doubled_and_missing_requests_are_refused_by_name() {
        let said = |json| refused(json).to_string();
        let unknown = said(r#"{"id":1,"dance":{}}"#);
        assert!(unknown.contains("`dance` is no request; the requests are subscribe, "), "{unknown}");
        let near = said(r#"{"id":1,"job":{}}"#);
        assert!(near.contains("`job` is no request (did you mean jobs?); the requests"), "{near}");
        for known in ["submit", "cancel", "jobs", "status", "doctor"] {
            assert!(unknown.contains(known), "{unknown}");
        }
        assert!(said(r#"{"id":1}"#).contains("names no request"));
        for json in [r#"{"jobs":{},"status":{}}"#, r#"{"jobs":{},"jobs":{}}"#, r#"{"jobs":{},"comment":"x"}"#]
        {
            let bad = refused(json);
            assert!(bad.problem.contains("more than one request (`jobs` and `"), "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_or_no_object_is_told_so() {
        for (json, words) in [
            ("[1]", "a request is one JSON object"),
            ("5", "a request is one JSON object"),
            ("{", "not JSON"),
            ("hello", "not JSON"),
        ] {
            assert!(refused(json).to_string().contains(words), "{}", refused(json));
        }
    }
}
