//! A model's files in this process: what they hold, without bringing weights into memory.

use std::fs::File;
use std::sync::Arc;

use slmscope_engine::error::LoadError;
use slmscope_engine::mapped_model::{MappedModel, OpenError};
use slmscope_profiles::admission::ModelFacts;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::model_files::{ModelFiles, ModelFilesError};
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

/// Why a model's files cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The names are not those of one model.
    #[error("{name} {cause}")]
    Names {
        /// The model.
        name: String,
        /// What is wrong with them.
        cause: ModelFilesError,
    },
    /// The files cannot be mapped.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A format for a file that has its own.
    #[error("{file} keeps the formats that its weights are stored in: leave --format {format} out")]
    Format {
        /// The file.
        file: String,
        /// What was asked for.
        format: WeightFormat,
    },
    /// The engine does not run the model.
    #[error(transparent)]
    Load(#[from] LoadError),
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
) -> Result<Inspected, InspectError> {
    let files = map(model, files)?;
    if let (MappedModel::Gguf(file), Some(format)) = (&files, format) {
        return Err(InspectError::Format { file: file.map().name().to_owned(), format });
    }
    let model = files.model(format, KvFormat::F16)?;
    Ok(Inspected {
        spec: model.spec().clone(),
        plan: Arc::clone(model.plan()),
        notes: model.notes().to_vec(),
    })
}

/// What of the model in `files`, which `model` names in their order, decides which workloads it can run.
///
/// # Errors
/// As [`inspect`].
pub fn facts(
    model: &ModelRef,
    files: Vec<File>,
    format: Option<WeightFormat>,
) -> Result<ModelFacts, InspectError> {
    let files = map(model, files)?;
    let read = files.model(format, KvFormat::F16)?;
    Ok(ModelFacts {
        name: model.name().to_owned(),
        max_context: read.spec().max_context,
        has_tokenizer: files.has_tokenizer(),
        has_template: files.has_chat_template(),
    })
}

/// Maps `files`, which `model` names in their order.
pub(crate) fn map(model: &ModelRef, files: Vec<File>) -> Result<MappedModel, InspectError> {
    let names = match model {
        ModelRef::Descriptors(names) => names.as_slice(),
        // Nothing came with it.
        ModelRef::Catalogue(_) | ModelRef::Path(_) => &[],
    };
    let names = ModelFiles::from_names(names)
        .map_err(|cause| InspectError::Names { name: model.name().to_owned(), cause })?;
    Ok(MappedModel::open(&names, files)?)
}
