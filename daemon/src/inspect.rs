//! A model's files in this process: what they hold, without bringing weights into memory.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, bail};
use slmscope_engine::gguf::Gguf;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::tokenizer::{Tokenizer, TokenizerError};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::DecoderSpec;

/// What a model's files hold.
pub struct Inspected {
    /// What the model computes.
    pub spec: DecoderSpec,
    /// Its steps, with the weights as they will lie in memory and keys and values in f16.
    pub plan: Arc<Plan>,
    /// Tensors that are left out, or kept in another format than the file's.
    pub notes: Vec<String>,
}

/// Reads the headers of `files`, which `model` names in their order. `format` is what a directory's weights are
/// brought into.
///
/// # Errors
/// Files that hold no model that this engine runs, and a format for a file whose weights have theirs.
pub fn inspect(
    model: &ModelRef,
    files: Vec<File>,
    format: Option<WeightFormat>,
) -> anyhow::Result<Inspected> {
    let files = ModelFiles::map(model, files)?;
    if let (ModelFiles::Gguf(file), Some(format)) = (&files, format) {
        bail!(
            "{} keeps the formats that its weights are stored in: leave --format {format} out",
            file.name()
        );
    }
    let model = files.model(format, KvFormat::F16)?;
    Ok(Inspected {
        spec: model.spec().clone(),
        plan: Arc::clone(model.plan()),
        notes: model.notes().to_vec(),
    })
}

/// A model's mapped files.
#[derive(Clone)]
pub(crate) enum ModelFiles {
    Gguf(Arc<MappedFile>),
    Directory(Vec<(String, Arc<MappedFile>)>),
}

impl ModelFiles {
    /// Maps `files`, in the order of the names in `model`.
    pub(crate) fn map(model: &ModelRef, files: Vec<File>) -> anyhow::Result<Self> {
        let name = model.name();
        if let Some(names) = model.directory_files() {
            let map = |(file, within): (File, String)| {
                let mapped = MappedFile::new(file, format!("{name}/{within}"))?;
                Ok((within, Arc::new(mapped)))
            };
            let files: anyhow::Result<Vec<_>> = files.into_iter().zip(names).map(map).collect();
            return Ok(Self::Directory(files?));
        }
        let file = files.into_iter().next();
        let file = file.with_context(|| format!("{name} is no file or directory"))?;
        Ok(Self::Gguf(Arc::new(MappedFile::new(file, name)?)))
    }

    /// The model in them; a directory's weights in `format`, or as they are stored.
    pub(crate) fn model(&self, format: Option<WeightFormat>, kv: KvFormat) -> anyhow::Result<Model> {
        Ok(match self {
            Self::Gguf(file) => Model::gguf(Arc::clone(file), kv)?,
            Self::Directory(files) => Model::directory(files, format, kv)?,
        })
    }

    /// `None` if the model comes without a tokenizer.
    pub(crate) fn tokenizer(&self) -> anyhow::Result<Option<Tokenizer>> {
        let read = match self {
            Self::Gguf(file) => Tokenizer::from_gguf(&Gguf::parse(file.bytes(), file.name())?),
            Self::Directory(files) => Tokenizer::from_directory(files),
        };
        match read {
            Ok(tokenizer) => Ok(Some(tokenizer)),
            Err(TokenizerError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
