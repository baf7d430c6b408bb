//! The files of a model: which of a directory's files make it, and how many and how large they may be.
//!
//! The client opens files for its user, the daemon opens paths that it may, and the worker maps what comes. All of
//! them ask here, so that they agree. Nothing is opened here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::job::ModelRef;
use crate::model::ModelSource;

/// Most files that travel with a request: the kernel carries a bounded number of open files in one message, and the
/// first one to a worker takes the op ring along.
pub const MAX_FILES: usize = 63;
/// Most files that a directory may hold: one of more is no model's.
pub const MAX_NAMES: usize = 10_000;
/// What the model computes.
pub const CONFIG: &str = "config.json";
/// Which shard holds which tensor.
pub const INDEX: &str = "model.safetensors.index.json";
/// All weights in one file.
pub const SINGLE: &str = "model.safetensors";
/// What describes a tokenizer and how to generate, where it is there.
const SIDE_FILES: [&str; 11] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "qwen.tiktoken",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

/// The files of one model by name: one GGUF file, or the files of one Hugging Face directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFiles {
    /// The directory as the user knows it; `None` for a file that was named alone.
    directory: Option<String>,
    /// Names within it; one for a GGUF file.
    files: Vec<String>,
}

impl ModelFiles {
    /// A GGUF file, by the name that the user knows it by.
    pub fn gguf(name: impl Into<String>) -> Self {
        Self { directory: None, files: vec![name.into()] }
    }

    /// The model among `names`, the names in `directory`. Where [`Self::needs_shards`], its shards are still
    /// missing.
    ///
    /// # Errors
    /// If there is no model, or more than one.
    pub fn select(directory: &str, names: &BTreeSet<String>) -> Result<Self, ModelFilesError> {
        if names.len() > MAX_NAMES {
            return Err(ModelFilesError::TooManyNames);
        }
        let ending = |end: &str| names.iter().filter(|name| name.ends_with(end)).cloned().collect::<Vec<_>>();
        let files = |files| Ok(Self { directory: Some(directory.to_owned()), files });
        let weights = [INDEX, SINGLE].into_iter().find(|&name| names.contains(name));
        if let Some(weights) = weights.filter(|_| names.contains(CONFIG)) {
            let side = SIDE_FILES.into_iter().filter(|&name| names.contains(name));
            return files([CONFIG].into_iter().chain(side).chain([weights]).map(str::to_owned).collect());
        }
        let found = ending(".gguf");
        match found.len() {
            1 => files(found),
            0 if !names.contains(CONFIG) => Err(ModelFilesError::NoModel),
            0 if !ending(".bin").is_empty() => Err(ModelFilesError::Pickles),
            0 => Err(ModelFilesError::NoWeights),
            _ => Err(ModelFilesError::SeveralGguf(found)),
        }
    }

    /// The files that a request names: one file, or several that are all named `directory/file`.
    ///
    /// # Errors
    /// If they are none, too many, or not of one directory.
    pub fn from_names(names: &[String]) -> Result<Self, ModelFilesError> {
        match names {
            [] => Err(ModelFilesError::NotOneModel),
            [file] => Ok(Self::gguf(file)),
            _ if names.len() > MAX_FILES => Err(ModelFilesError::TooManyFiles(names.len())),
            [first, ..] => {
                let (directory, _) = first.rsplit_once('/').ok_or(ModelFilesError::NotOneModel)?;
                let within = |name: &String| {
                    let (found, file) = name.rsplit_once('/')?;
                    (found == directory && !file.is_empty()).then(|| file.to_owned())
                };
                let files = names.iter().map(within).collect::<Option<_>>();
                let files = files.ok_or(ModelFilesError::NotOneModel)?;
                Ok(Self { directory: Some(directory.to_owned()), files })
            }
        }
    }

    /// Whether the weights are in shards that [`Self::add_shards`] has to name.
    pub fn needs_shards(&self) -> bool {
        self.files.last().is_some_and(|name| name == INDEX)
    }

    /// Adds the shards that `index` names, the content of [`INDEX`]. It is enough to read one byte more than
    /// [`max_bytes`] allows.
    ///
    /// # Errors
    /// If it is too large or no index, or names files elsewhere or too many.
    pub fn add_shards(&mut self, index: &[u8]) -> Result<(), ModelFilesError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        check_size(INDEX, index.len() as u64)?;
        let index: Index = serde_json::from_slice(index).map_err(|cause| ModelFilesError::Index { cause })?;
        let shards: BTreeSet<String> = index.weight_map.into_values().collect();
        let is_foreign = |name: &&String| name.contains('/') || !name.ends_with(".safetensors");
        if let Some(odd) = shards.iter().find(is_foreign) {
            return Err(ModelFilesError::ForeignShard(odd.clone()));
        }
        let limit = MAX_FILES - SIDE_FILES.len() - 2;
        match shards.len() {
            0 => Err(ModelFilesError::NoShard),
            count if count > limit => Err(ModelFilesError::TooManyShards { count, limit }),
            _ => {
                self.files.extend(shards);
                Ok(())
            }
        }
    }

    /// What a person calls the model: its file, or its directory.
    pub fn name(&self) -> String {
        match (&self.directory, self.source()) {
            (Some(directory), ModelSource::Hf) => directory.clone(),
            _ => self.names().next().unwrap_or_default(),
        }
    }

    /// The names of the files as the user knows them, in the order in which they are opened and travel.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| match &self.directory {
            Some(directory) => format!("{directory}/{file}"),
            None => file.clone(),
        })
    }

    /// The names within the directory, in the same order.
    pub fn within(&self) -> &[String] {
        &self.files
    }

    /// The model as a request names it.
    pub fn to_ref(&self) -> ModelRef {
        ModelRef::Descriptors(self.names().collect())
    }

    /// Where the weights come from.
    pub fn source(&self) -> ModelSource {
        ModelSource::of_files(self.files.len())
    }
}

/// The largest size of the file called `name` in a directory, bytes; `None` for weights, which are not read as one
/// piece. Far beyond all files known, and what a reader can hold in memory several times.
pub fn max_bytes(name: &str) -> Option<u64> {
    Some(match name {
        // Real ones have a few kilobytes.
        CONFIG => 4 << 20,
        // The largest known has 1 MB.
        INDEX => 64 << 20,
        // The largest known has 33 MB.
        "tokenizer.json" | "tokenizer.model" | "qwen.tiktoken" => 256 << 20,
        // The largest known has 2 MB.
        name if SIDE_FILES.contains(&name) => 16 << 20,
        _ => return None,
    })
}

/// Checks that the file called `name` in a directory is not larger than [`max_bytes`].
///
/// # Errors
/// [`ModelFilesError::TooLarge`] if it is.
pub fn check_size(name: &str, bytes: u64) -> Result<(), ModelFilesError> {
    match max_bytes(name) {
        Some(limit) if bytes > limit => Err(ModelFilesError::TooLarge { name: name.to_owned(), limit }),
        _ => Ok(()),
    }
}

/// Why files are no model. Messages follow the directory's name, and hold their causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFilesError {
    /// No configuration and no GGUF file.
    #[error("holds neither {CONFIG} nor a .gguf file")]
    NoModel,
    /// Weights that run code when they are read.
    #[error(
        "holds its weights only as PyTorch pickles, which run code when they are read: convert them to safetensors \
         or GGUF"
    )]
    Pickles,
    /// A configuration without weights.
    #[error("holds neither {SINGLE} nor {INDEX} with its shards")]
    NoWeights,
    /// Several GGUF files, in their order.
    #[error("holds several .gguf files, name one of them: {}", .0.join(", "))]
    SeveralGguf(Vec<String>),
    /// More names than [`MAX_NAMES`].
    #[error("holds more than {MAX_NAMES} files: name a directory that holds one model")]
    TooManyNames,
    /// Files of different directories, or none.
    #[error("is not one .gguf file or the files of one directory, each named with it")]
    NotOneModel,
    /// More files than [`MAX_FILES`].
    #[error("has {0} files, and at most {MAX_FILES} can be opened at once")]
    TooManyFiles(usize),
    /// A file that is larger than [`max_bytes`].
    #[error("has a {name} of more than {limit} bytes, which no real one has: fetch it again")]
    TooLarge {
        /// Which file.
        name: String,
        /// The most that it may have.
        limit: u64,
    },
    /// The index is no JSON of an index.
    #[error("has a {INDEX} that is no index of shards: {cause}; fetch it again")]
    Index {
        /// What the JSON's reader said.
        cause: serde_json::Error,
    },
    /// The index names what lies elsewhere or is no safetensors file.
    #[error("has a {INDEX} that names `{0}`, which is no safetensors file of the directory: fetch it again")]
    ForeignShard(String),
    /// The index names nothing.
    #[error("has a {INDEX} that names no shard: fetch it again")]
    NoShard,
    /// More shards than can be opened.
    #[error("has its weights in {count} shards, and at most {limit} can be opened at once: save it in fewer")]
    TooManyShards {
        /// Shards that the index names.
        count: usize,
        /// The most.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(names: &[&str]) -> Result<ModelFiles, ModelFilesError> {
        ModelFiles::select("d", &names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_model_is_found_among_other_files() {
        let within = |names: &[&str]| select(names).unwrap().within().to_vec();
        assert_eq!(
            within(&["README.md", "config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin"]),
            ["config.json", "tokenizer.json", "model.safetensors"]
        );
        assert_eq!(
            within(&["config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors", INDEX]),
            ["config.json", INDEX]
        );
        assert_eq!(
            within(&["config.json", "model.safetensors", "adapter_model.safetensors"]),
            ["config.json", "model.safetensors"]
        );
        let file = select(&["config.json", "m.gguf"]).unwrap();
        assert_eq!(
            (file.name(), file.source(), file.within()),
            ("d/m.gguf".to_owned(), ModelSource::Gguf, &["m.gguf".to_owned()][..])
        );
    }

    #[test]
    fn what_is_no_model_says_what_is_missing() {
        let error = |names: &[&str]| select(names).unwrap_err().to_string();
        assert!(error(&["a.txt"]).contains("neither config.json nor a .gguf"));
        assert!(error(&["config.json", "pytorch_model.bin"]).contains("pickles"));
        assert!(
            error(&["config.json", "adapter_model.safetensors"]).contains("neither model.safetensors nor")
        );
        assert!(error(&["a.gguf", "b.gguf"]).contains("a.gguf, b.gguf"));
        let many: BTreeSet<String> = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
        assert!(matches!(ModelFiles::select("d", &many), Err(ModelFilesError::TooManyNames)));
    }

    #[test]
    fn an_index_names_files_of_its_own_directory() {
        let shards = |index: &[u8]| {
            let mut files = select(&["config.json", INDEX]).unwrap();
            assert!(files.needs_shards());
            files.add_shards(index).map(|()| files.within()[2..].to_vec()).map_err(|error| error.to_string())
        };
        let index = |entries: &str| shards(format!("{{\"weight_map\": {{{entries}}}}}").as_bytes());
        let two = r#""a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors""#;
        assert_eq!(index(two).unwrap(), ["m-1.safetensors", "m-2.safetensors"]);
        assert!(index(r#""a": "../../secret.safetensors""#).unwrap_err().contains("secret"));
        assert!(index(r#""a": "weights.bin""#).unwrap_err().contains("weights.bin"));
        assert!(index("").unwrap_err().contains("no shard"));
        assert!(shards(b"[]").unwrap_err().contains("no index"));
        let many: Vec<String> = (0..60).map(|n| format!("\"{n}\": \"{n}.safetensors\"")).collect();
        assert!(index(&many.join(",")).unwrap_err().contains("60 shards"));
        let large = vec![b' '; max_bytes(INDEX).unwrap() as usize + 1];
        assert!(shards(&large).unwrap_err().contains("more than 67108864 bytes"));
    }

    #[test]
    fn several_files_are_a_directory_and_one_is_itself() {
        let model = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            ModelFiles::from_names(&names)
        };
        let names = ["org/name/config.json", "org/name/model.safetensors"];
        let directory = model(&names).unwrap();
        assert_eq!((directory.name(), directory.source()), ("org/name".to_owned(), ModelSource::Hf));
        assert_eq!(directory.within(), ["config.json", "model.safetensors"]);
        assert_eq!(directory.names().collect::<Vec<_>>(), names);
        let file = model(&["a/b.gguf"]).unwrap();
        assert_eq!(
            (file.name(), file.source(), file),
            ("a/b.gguf".to_owned(), ModelSource::Gguf, ModelFiles::gguf("a/b.gguf"))
        );
        for mixed in [&["a/config.json", "b/c.safetensors"][..], &["config.json", "c"], &["a/b", "a/"], &[]] {
            assert!(matches!(model(mixed), Err(ModelFilesError::NotOneModel)), "{mixed:?}");
        }
        let many: Vec<String> = (0..=MAX_FILES).map(|number| format!("d/{number}")).collect();
        assert!(matches!(ModelFiles::from_names(&many), Err(ModelFilesError::TooManyFiles(64))));
    }
}
