//! `model.safetensors.index.json`: which file of a sharded checkpoint has which tensor.

use std::collections::HashMap;

use super::error::{Problem, SafeTensorsError};
use super::header::{LONGEST_NAME, check_name};
use super::json::Json;
use crate::sanitize::sanitize;

/// The limit on shards; no checkpoint has so many.
const MAX_SHARDS: usize = 4096;

/// The index of a sharded checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    file: String,
    shards: Vec<String>,
    /// Number of the shard of every tensor.
    map: HashMap<Box<str>, usize>,
}

impl Index {
    /// Parses `text`, a whole index file which messages call `file`.
    ///
    /// # Errors
    /// Anything but the JSON of an index, and shards that are not files beside it.
    pub fn parse(text: &[u8], file: &str) -> Result<Self, SafeTensorsError> {
        let mut json = Json::new(text, 0, file);
        let mut index = Self { file: file.to_owned(), shards: Vec::new(), map: HashMap::new() };
        let mut numbers = HashMap::new();
        let mut found = false;
        json.object("the index", |json, _, name| match name.as_ref() {
            "weight_map" => {
                found = true;
                json.object("weight_map", |json, at, tensor| {
                    check_name(json, at, &tensor)?;
                    let shard_at = json.offset();
                    let shard = json.string(&format!("the file of tensor {tensor}"))?;
                    let next = index.shards.len();
                    let known = numbers.get(shard.as_ref()).copied();
                    if known.is_none() {
                        if let Some(problem) = refused(&shard, next) {
                            return Err(json.error_at(shard_at, problem));
                        }
                        index.shards.push(shard.to_string());
                        numbers.insert(shard.into_owned(), next);
                    }
                    let number = known.unwrap_or(next);
                    if index.map.insert(tensor.as_ref().into(), number).is_some() {
                        let tensor = tensor.into_owned();
                        return Err(json.error_at(at, Problem::Duplicate { tensor }));
                    }
                    Ok(())
                })
            }
            // Sizes and the like, which are read from the files themselves.
            name => json.skip(&sanitize(name), 0),
        })?;
        json.end("the index")?;
        if found && !index.shards.is_empty() {
            Ok(index)
        } else {
            Err(json.error_at(0, Problem::Shards("has no tensors in a weight_map".to_owned())))
        }
    }

    /// What messages call the index.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The names of the files beside the index, in the order of their first tensors.
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// All tensors with the number of their shard, in no particular order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, usize)> {
        self.map.iter().map(|(name, &shard)| (name.as_ref(), shard))
    }
}

/// Why an index may not name the file `shard`, if so; `before` is the number of files that it named before.
fn refused(shard: &str, before: usize) -> Option<Problem> {
    let name = (1..=LONGEST_NAME).contains(&shard.len()) && !shard.contains(char::is_control);
    let plain = name && !shard.contains(['/', '\\']) && !shard.starts_with('.');
    if !plain {
        return Some(Problem::Shards(format!("names `{}`, which is no file beside it", sanitize(shard))));
    }
    (before == MAX_SHARDS).then(|| Problem::Shards(format!("names more than {MAX_SHARDS} files")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Index, String> {
        Index::parse(text.as_bytes(), "model.safetensors.index.json").map_err(|error| error.to_string())
    }

    #[test]
    fn shards_and_tensors_are_read() {
        let index = parse(
            r#"{"metadata": {"total_size": 1.5e3, "x": [null, true, {}]},
                "weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#,
        );
        let index = index.unwrap();
        assert_eq!(index.shards(), ["one.safetensors", "two.safetensors"]);
        let mut tensors: Vec<_> = index.tensors().collect();
        tensors.sort_unstable();
        assert_eq!(tensors, [("a", 0), ("b", 1), ("c", 0)]);
    }

    #[test]
    fn files_elsewhere_and_other_json_are_refused() {
        for (text, says) in [
            ("{}", "no tensors in a weight_map"),
            (r#"{"weight_map": {}}"#, "no tensors in a weight_map"),
            (r#"{"weight_map": {"a": "../b.safetensors"}}"#, "no file beside it (at byte 21)"),
            (r#"{"weight_map": {"a": ""}}"#, "no file beside it"),
            (r#"{"weight_map": {"a": "b", "a": "c"}}"#, "tensor a occurs twice"),
            (r#"{"weight_map": {"a": 7}}"#, "the file of tensor a: a string is expected, `7}}` found"),
            (r#"{"weight_map": ["a"]}"#, "weight_map: `{` is expected"),
            (r#"{"weight_map": {"a": "b"}} x"#, "the end is expected, `x` found"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let deep = format!("{{\"metadata\": {}", "[".repeat(100_000));
        assert!(parse(&deep).unwrap_err().contains("deep"));
    }
}
