//! The mapped files of a model: weights, tokenizer, chat template and identity are read from them.

use std::fs::File;
use std::sync::Arc;

use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::model_files::{CONFIG, ModelFiles, ModelFilesError, check_size};

use crate::error::LoadError;
use crate::gguf::{GgufError, GgufFile};
use crate::hash::identity_hash;
use crate::map::{MapError, MappedFile};
use crate::model::Model;
use crate::tokenizer::{ChatTemplate, Tokenizer, TokenizerError};

/// The mapped files of a model; clones share them. The header of a GGUF file is parsed once, when it is opened.
#[derive(Clone)]
pub enum MappedModel {
    /// One GGUF file.
    Gguf(Arc<GgufFile>),
    /// The files of a Hugging Face directory, each with its name in it.
    Directory(Arc<[(String, Arc<MappedFile>)]>),
}

/// Why the files of a model cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Fewer files than names.
    #[error("{0}: no open file came with the name")]
    NoFile(String),
    /// A file that cannot be mapped.
    #[error(transparent)]
    Map(Box<MapError>),
    /// A file that is too large.
    #[error("the model {name} {cause}")]
    Files {
        /// The model.
        name: String,
        /// What is wrong with its files.
        cause: ModelFilesError,
    },
    /// A header that cannot be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
}

impl From<MapError> for OpenError {
    fn from(error: MapError) -> Self {
        Self::Map(Box::new(error))
    }
}

impl MappedModel {
    /// Maps `files`, which are open in the order of their `names`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(names: &ModelFiles, files: impl IntoIterator<Item = File>) -> Result<Self, OpenError> {
        let mut files = files.into_iter();
        let mut mapped = Vec::new();
        for (within, name) in names.within().iter().zip(names.names()) {
            let file = files.next().ok_or_else(|| OpenError::NoFile(name.clone()))?;
            let file = MappedFile::new(file, name)?;
            check_size(within, file.identity().size)
                .map_err(|cause| OpenError::Files { name: names.name(), cause })?;
            mapped.push((within.clone(), Arc::new(file)));
        }
        match names.source() {
            ModelSource::Gguf if mapped.len() == 1 => {
                let (_, file) = mapped.swap_remove(0);
                Ok(Self::Gguf(Arc::new(GgufFile::open(file)?)))
            }
            _ => Ok(Self::Directory(mapped.into())),
        }
    }

    /// The model; a directory's matrices in `format`, or as they are stored.
    ///
    /// # Errors
    /// A model that this engine does not run; see [`LoadError`].
    pub fn model(&self, format: Option<WeightFormat>, kv: KvFormat) -> Result<Model, LoadError> {
        match self {
            Self::Gguf(file) => Model::gguf(file, kv),
            Self::Directory(files) => Model::directory(files, format, kv),
        }
    }

    /// The model's tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`] if it comes without one; the others as [`Tokenizer::from_gguf`] and
    /// [`Tokenizer::from_directory`].
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        match self {
            Self::Gguf(file) => Tokenizer::from_gguf(&file.gguf()),
            Self::Directory(files) => Tokenizer::from_directory(files),
        }
    }

    /// Whether a tokenizer comes with the model. Whether it can be used shows when it is read.
    pub fn has_tokenizer(&self) -> bool {
        match self {
            Self::Gguf(file) => Tokenizer::is_in_gguf(&file.gguf()),
            Self::Directory(files) => Tokenizer::is_in_directory(files),
        }
    }

    /// Whether a chat template comes with the model, likewise.
    pub fn has_chat_template(&self) -> bool {
        !matches!(self.chat_template(), Err(TokenizerError::NoTemplate { .. }))
    }

    /// The model's chat template.
    ///
    /// # Errors
    /// [`TokenizerError::NoTemplate`] if it comes without one; the others if it cannot be used.
    pub fn chat_template(&self) -> Result<ChatTemplate, TokenizerError> {
        match self {
            Self::Gguf(file) => ChatTemplate::from_gguf(&file.gguf()),
            Self::Directory(files) => ChatTemplate::from_directory(files),
        }
    }

    /// Whether a file was written or truncated since it was mapped.
    pub fn has_changed(&self) -> bool {
        self.files().any(|file| file.unchanged().is_err())
    }

    /// The hash that identifies the weights, lower-case hexadecimal. That of a directory is made of its configuration
    /// and weights, by name: tokenizer and templates are not part of it.
    pub fn identity_hash(&self) -> String {
        let files = match self {
            Self::Gguf(file) => return identity_hash(file.map().bytes(), file.gguf().header_length()),
            Self::Directory(files) => files,
        };
        let line = |(name, file): &(String, Arc<MappedFile>)| {
            let counts = name == CONFIG || name.ends_with(".safetensors");
            let bytes = file.bytes();
            counts.then(|| format!("{} {name}\n", identity_hash(bytes, header_length(name, bytes))))
        };
        let mut lines: Vec<String> = files.iter().filter_map(line).collect();
        lines.sort_unstable();
        let text = lines.concat();
        identity_hash(text.as_bytes(), text.len())
    }

    /// Gives back the memory of what a run does not read: headers, configuration, tokenizer files.
    pub fn release_headers(&self) {
        match self {
            Self::Gguf(file) => file.map().release(0..file.gguf().header_length()),
            Self::Directory(files) => {
                for (name, file) in files.iter() {
                    file.release(0..header_length(name, file.bytes()));
                }
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &Arc<MappedFile>> {
        let (one, several) = match self {
            Self::Gguf(file) => (Some(file.map()), &[][..]),
            Self::Directory(files) => (None, &files[..]),
        };
        one.into_iter().chain(several.iter().map(|(_, file)| file))
    }
}

/// Bytes of a directory's file before its weights: all of a file that holds none.
fn header_length(name: &str, bytes: &[u8]) -> usize {
    if !name.ends_with(".safetensors") {
        return bytes.len();
    }
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    usize::try_from(length.saturating_add(8)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::export::{self, ExportOptions};
    use crate::testing::tiny_spec;
    use crate::weights::Loading;
    use slmscope_profiles::spec::DecoderSpec;

    /// The header is overwritten after the file was opened: parsing it again would fail.
    #[test]
    fn a_header_is_parsed_once_for_weights_tokenizer_and_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        let spec = DecoderSpec { vocab: 600, ..tiny_spec() };
        let options = ExportOptions {
            id: "tiny",
            spec: &spec,
            format: WeightFormat::F16,
            seed: 7,
            path: &path,
            replace: false,
        };
        let (never, mut report) = (AtomicBool::new(false), |_, _| ());
        export::write(&options, &mut Loading::new(&never, &mut report)).unwrap();
        let names = ModelFiles::gguf("m.gguf");
        let open = || MappedModel::open(&names, [File::open(&path).unwrap()]);
        let opened = open().unwrap();
        let (tokenizer, hash) = (opened.tokenizer().unwrap(), opened.identity_hash());

        // Magic, version and counts.
        File::options().write(true).open(&path).unwrap().write_all_at(&[0xff; 24], 0).unwrap();
        assert!(matches!(open(), Err(OpenError::Gguf(_))));
        assert!(opened.has_changed());
        let model = opened.model(None, KvFormat::F16).unwrap();
        assert_eq!(model.spec(), &spec);
        let text = "the quick brown fox";
        let ids = opened.tokenizer().unwrap().encode(text, true).unwrap();
        assert_eq!(ids, tokenizer.encode(text, true).unwrap());
        assert!(matches!(opened.chat_template(), Err(TokenizerError::NoTemplate { .. })));
        assert_ne!(opened.identity_hash(), hash, "the bytes are those of the file, not a copy");
        opened.release_headers();
        let mut session =
            model.load(4, &crate::setup::native(), &mut Loading::new(&never, &mut report)).unwrap();
        let mut recorder = crate::recorder::Recorder::new(session.plan().steps.len());
        session.forward(&ids[..2], &mut recorder, &crate::clock::Monotonic, &never).unwrap();
        assert!(session.logits().iter().all(|logit| logit.is_finite()));
    }

    #[test]
    fn files_that_are_missing_or_too_large_are_refused_by_name() {
        let names = ["d/config.json".to_owned(), "d/model.safetensors".to_owned()];
        let names = ModelFiles::from_names(&names).unwrap();
        let sized = |bytes: u64| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(bytes).unwrap();
            file
        };
        let refusal = |files: Vec<File>| MappedModel::open(&names, files).err().unwrap().to_string();
        assert_eq!(refusal(vec![sized(2)]), "d/model.safetensors: no open file came with the name");
        let limit = slmscope_profiles::model_files::max_bytes(CONFIG).unwrap();
        assert!(
            refusal(vec![sized(limit + 1), sized(9)]).starts_with("the model d has a config.json of more")
        );
        assert!(MappedModel::open(&names, [sized(limit), sized(9)]).is_ok());
    }
}
