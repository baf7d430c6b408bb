//! Synthetic weights as a GGUF file that other engines load and run, so that two engines can be measured on
//! the same bytes without a download.
//!
//! Weights are generated and written piece by piece: memory does not grow with the model. Before the file gets its
//! name, it is read back and must describe the spec that it was written for.

mod architecture;
mod output;
mod vocabulary;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::TensorSpec;

use crate::error::LoadError;
use crate::gguf::write::{Body, Field, Header};
use crate::gguf::{GgmlType, GgufFile};
use crate::map::{MapError, MappedFile};
use crate::reader::gguf as reader;
use crate::synthetic::{GENERATOR_VERSION, Generator};
use crate::weights::Loading;
use architecture::Described;
use output::Output;

pub use architecture::NoArchitecture;
pub use output::OutputError;

/// Architectures whose files have queries, keys and values in one tensor.
const FUSED_QKV: [&str; 6] = ["bloom", "gpt2", "gptneox", "openelm", "phi3", "qwen"];
/// Architectures whose files have gate and up projection in one tensor.
const FUSED_UP: [&str; 1] = ["phi3"];

/// A file to be written.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions<'a> {
    /// What the model is called.
    pub id: &'a str,
    /// What it computes.
    pub spec: &'a DecoderSpec,
    /// "In" this format: see [`TensorSpec::format_in`].
    pub format: WeightFormat,
    /// The same seed gives the same file.
    pub seed: u64,
    /// Where it goes.
    pub path: &'a Path,
    /// Whether a file that is there may be replaced.
    pub replace: bool,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// Bytes of the file.
    pub bytes: u64,
    /// Tensors in it.
    pub tensors: usize,
    /// Tensors whose rows the format's blocks do not divide; they are in f16.
    pub in_f16: Vec<String>,
    /// What differs from the spec, in words.
    pub notes: Vec<String>,
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No architecture of ggml computes this.
    #[error("{id} has {what}, which no architecture of GGUF files computes; choose another model")]
    Architecture {
        /// The model.
        id: String,
        /// What has none.
        what: NoArchitecture,
    },
    /// The file reads back as another model.
    #[error("{file}: reads back as something else than {id}; this is a fault of slmscope, please report it")]
    Differs {
        /// The file.
        file: String,
        /// The model.
        id: String,
    },
    /// The file cannot be read back.
    #[error("{0}; this is a fault of slmscope, please report it")]
    ReadBack(LoadError),
    /// The file cannot be mapped to be read back.
    #[error(transparent)]
    Map(Box<MapError>),
    /// The system has no place for it, or does not let it be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Cancelled.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A tensor of the file: the tensors of the spec that lie in it, one behind the other.
struct FileTensor {
    name: String,
    format: WeightFormat,
    parts: Vec<TensorSpec>,
}

impl FileTensor {
    /// In ggml's options.
    fn dimensions(&self) -> Vec<u64> {
        let first = self.parts.first();
        let columns = first.map_or(0, |part| u64::from(part.columns));
        if self.parts.iter().all(|part| part.rows == 1) {
            return vec![self.parts.iter().map(|part| u64::from(part.columns)).sum()];
        }
        vec![columns, self.parts.iter().map(|part| u64::from(part.rows)).sum()]
    }
}

/// Writes the file that `options` describe.
///
/// # Errors
/// See [`ExportError`]; nothing is left behind then, and a file that was there is as it was.
pub fn write(options: &ExportOptions<'_>, loading: &mut Loading<'_>) -> Result<Exported, ExportError> {
    let described = architecture::describe(options.spec)
        .map_err(|what| ExportError::Architecture { id: options.id.to_owned(), what })?;
    let tensors = arrange(&described, options.format);
    let header = header(options, &described, &tensors);
    let bytes = header.file_bytes();
    loading.expect(bytes);
    let output = Output::create(options.path, bytes, options.replace)?;
    if let Err(error) = fill(options, header, &described, &tensors, output.file(), loading) {
        return Err(match error {
            Interrupted::Load(error) => error.into(),
            Interrupted::Write(error) => output.refused(error).into(),
        });
    }
    output.sync()?;
    check(options, &described, output.path())?;
    output.publish()?;
    let divided =
        |tensor: &&FileTensor| tensor.format == WeightFormat::F16 && options.format != WeightFormat::F16;
    Ok(Exported {
        architecture: described.architecture,
        bytes,
        tensors: tensors.len() + described.divisors.len(),
        in_f16: tensors.iter().filter(divided).map(|tensor| tensor.name.clone()).collect(),
        notes: described.notes,
    })
}

/// The tensors of the file in the order of the spec, with those joined that the architecture has in one.
fn arrange(described: &Described, format: WeightFormat) -> Vec<FileTensor> {
    let fused_qkv = FUSED_QKV.contains(&described.architecture);
    let fused_up = FUSED_UP.contains(&described.architecture);
    let mut list: Vec<FileTensor> = Vec::new();
    let mut places = HashMap::new();
    for tensor in described.spec.tensors() {
        let mut name = tensor.name.clone();
        if fused_qkv {
            for part in [".attn_q.", ".attn_k.", ".attn_v."] {
                name = name.replace(part, ".attn_qkv.");
            }
        }
        if fused_up {
            name = name.replace(".ffn_gate.", ".ffn_up.");
        }
        let format = tensor.format_in(format);
        let place = *places.entry(name.clone()).or_insert_with(|| {
            list.push(FileTensor { name, format, parts: Vec::new() });
            list.len() - 1
        });
        list[place].parts.push(tensor);
    }
    list
}

fn header(options: &ExportOptions<'_>, described: &Described, tensors: &[FileTensor]) -> Header {
    let mut header = Header::default();
    let description = "Synthetic weights by slmscope: shapes and formats are those of the model, values are \
                       random, text is meaningless";
    for (key, value) in [
        ("general.architecture", described.architecture.into()),
        ("general.type", "model".into()),
        ("general.name", Field::String(format!("{} (synthetic weights)", options.id))),
        ("general.description", description.into()),
        ("general.file_type", file_type(options.format).into()),
        ("general.quantization_version", 2_u32.into()),
        ("slmscope.synthetic.generator", GENERATOR_VERSION.into()),
        ("slmscope.synthetic.seed", Field::String(options.seed.to_string())),
    ] {
        header.key(key, &value);
    }
    for (key, value) in &described.keys {
        header.key(&format!("{}.{key}", described.architecture), value);
    }
    for (key, value) in vocabulary::keys(described.spec.vocab) {
        header.key(key, &value);
    }
    for (name, values) in &described.divisors {
        header.tensor(name, &[values.len() as u64], GgmlType::F32);
    }
    for tensor in tensors {
        header.tensor(&tensor.name, &tensor.dimensions(), tensor.format.into());
    }
    header
}

/// llama.cpp's number for a file in this format; it only names the file to people.
fn file_type(format: WeightFormat) -> u32 {
    match format {
        WeightFormat::F32 => 0,
        WeightFormat::F16 => 1,
        WeightFormat::Q4_0 => 2,
        WeightFormat::Q4_1 => 3,
        WeightFormat::Q8_0 => 7,
        WeightFormat::Q5_0 => 8,
        WeightFormat::Q5_1 => 9,
        WeightFormat::Q2K => 10,
        WeightFormat::Q3K => 11,
        WeightFormat::Q4K => 14,
        WeightFormat::Q5K => 16,
        WeightFormat::Q6K => 18,
        WeightFormat::Bf16 => 32,
    }
}

/// Why filling the file ended early.
enum Interrupted {
    Load(LoadError),
    Write(std::io::Error),
}

/// Writes the header, and the tensors that are no weights.
fn begin<'a>(header: Header, described: &Described, file: &'a File) -> std::io::Result<Body<&'a File>> {
    let mut body = header.begin(file)?;
    for (_, values) in &described.divisors {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        body.write(&bytes)?;
    }
    Ok(body)
}

fn fill(
    options: &ExportOptions<'_>,
    header: Header,
    described: &Described,
    tensors: &[FileTensor],
    file: &File,
    loading: &mut Loading<'_>,
) -> Result<(), Interrupted> {
    let mut body = begin(header, described, file).map_err(Interrupted::Write)?;
    let mut buffer = Vec::new();
    for part in tensors.iter().flat_map(|tensor| tensor.parts.iter().map(|part| (part, tensor.format))) {
        let generator = Generator::new(part.0, part.1, options.seed);
        let mut offset = 0;
        while offset < generator.bytes() {
            let length = generator.piece().min(generator.bytes() - offset);
            buffer.resize(buffer.len().max(length), 0);
            generator.fill(offset, &mut buffer[..length]);
            body.write(&buffer[..length]).map_err(Interrupted::Write)?;
            loading.advance(length).map_err(Interrupted::Load)?;
            offset += length;
        }
    }
    body.finish().map(drop).map_err(Interrupted::Write)
}

/// Reads the file as any other and compares.
fn check(options: &ExportOptions<'_>, described: &Described, path: &Path) -> Result<(), ExportError> {
    let file = MappedFile::open(path).map_err(|error| ExportError::Map(Box::new(error)))?;
    let parsed = GgufFile::open(Arc::new(file)).map_err(|error| ExportError::ReadBack(error.into()))?;
    let read = reader::read(&parsed.gguf()).map_err(ExportError::ReadBack)?;
    if read.spec == described.spec {
        return Ok(());
    }
    Err(ExportError::Differs { file: options.path.display().to_string(), id: options.id.to_owned() })
}

#[cfg(test)]
mod tests;
