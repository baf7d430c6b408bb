//! Hugging Face checkpoints: spec from `config.json`, tensors from safetensors files.
//!
//! Rows that lie in the file as the spec wants them are read in place. Rows that are interleaved, transposed or
//! misaligned, and those in another format than the run asks for, are converted one by one while they are loaded.

mod config;
mod families;
mod keys;
mod layout;
mod multimodal;
mod names;
mod rope;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::model_files::{CONFIG, INDEX, SINGLE};
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::TensorSpec;

use crate::error::LoadError;
use crate::map::MappedFile;
use crate::quantize::{quantize, widen};
use crate::safetensors::index::Index;
use crate::safetensors::{TensorInfo, TensorSet};
use crate::weights::{Loading, TensorBytes};
use config::Config;
use families::Family;
use layout::{Layout, TensorPart};
use names::Stored;

/// What a table's first byte must be a multiple of to be read as it lies.
const ALIGNMENT: usize = 4;

/// A checkpoint, understood.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) spec: DecoderSpec,
    /// Every tensor of the spec, by name.
    pub(crate) tensors: HashMap<String, Place>,
    /// What of the files is not read.
    pub(crate) notes: Vec<String>,
}

/// A tensor of the spec in a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    file: Arc<MappedFile>,
    /// What messages call it: its name there, and what it is read as.
    called: String,
    /// Bytes of the tensor in the file that it is, or is a part of.
    range: std::ops::Range<usize>,
    /// How it is stored there.
    stored: WeightFormat,
    layout: Layout,
    /// How it is wanted.
    pub(crate) format: WeightFormat,
}

/// Reads the checkpoint in `files`, each with its name in the folder; weights are wanted in `format`, or as
/// they are stored.
///
/// # Errors
/// Missing files, unknown families and features; missing, misshaped and left-over tensors.
pub(crate) fn read(
    files: &[(String, Arc<MappedFile>)],
    format: Option<WeightFormat>,
) -> Result<Description, LoadError> {
    let config_file = need(files, CONFIG)?;
    let parsed = config::parse(config_file.name(), config_file.bytes())?;
    let config = Config::new(config_file.name(), &parsed);
    let family = families::find(config)?;
    let set = tensor_set(files)?;
    let spec = spec(family, config, &set)?;

    let mut used = HashSet::new();
    let mut tensors = HashMap::new();
    for tensor in spec.tensors() {
        let place = place(family, config, &spec, &set, &tensor, format, &mut used)?;
        tensors.insert(tensor.name, place);
    }
    let left = set.tensors().map(TensorInfo::name).filter(|name| !used.contains(*name));
    let (images, extra): (Vec<_>, Vec<_>) = left
        .filter(|name| !is_ignored(family, config, &spec, name))
        .partition(|name| config.has_parts() && multimodal::is_for_images(name));
    // The lowest name, whatever the order of the map.
    if let Some((file, info)) = extra.into_iter().min().and_then(|name| set.tensor(name)) {
        let what = format!("{}, which this family's computation does not use,", at(info));
        return Err(unsupported(file, what, "choose a checkpoint without it"));
    }
    let notes = match images.len() {
        0 => Vec::new(),
        count => vec![format!("tensors for images, which are not read: {count}")],
    };
    Ok(Description { spec, tensors, notes })
}

/// A tensor and where its bytes begin.
fn at(info: &TensorInfo) -> String {
    format!("tensor {} (at byte {})", info.name(), info.range().start)
}

fn unsupported(file: &MappedFile, what: String, remedy: &'static str) -> LoadError {
    LoadError::Unsupported { file: file.name().to_owned(), what, remedy }
}

/// The spec of a configuration alone, as far as no tensor is needed to know it: a head of its own and
/// feed-forwards that every layer has are assumed.
///
/// # Errors
/// See [`LoadError`].
pub fn config_spec(file: &str, text: &[u8]) -> Result<DecoderSpec, LoadError> {
    let parsed = config::parse(file, text)?;
    let config = Config::new(file, &parsed);
    checked(config, families::find(config)?.spec(config, &|_| true)?)
}

fn spec(family: &Family, config: Config<'_>, set: &TensorSet) -> Result<DecoderSpec, LoadError> {
    let present = |name: &str| {
        let stored = stored(family, config, name);
        stored.is_some_and(|stored| stored.names.iter().any(|name| set.tensor(name).is_some()))
    };
    checked(config, family.spec(config, &present)?)
}

/// What `tensor` is called in the checkpoint. `None` if the family has no such tensor.
fn stored(family: &Family, config: Config<'_>, tensor: &str) -> Option<Stored> {
    let mut stored = family.names.find(tensor)?;
    if config.has_parts() {
        let others: Vec<_> = stored.names.iter().flat_map(|name| multimodal::spellings(name)).collect();
        stored.names.extend(others);
    }
    Some(stored)
}

fn checked(config: Config<'_>, spec: DecoderSpec) -> Result<DecoderSpec, LoadError> {
    spec.validate().map_err(|contradiction| config.contradiction(contradiction))?;
    Ok(spec)
}

/// The safetensors of the checkpoint.
fn tensor_set(files: &[(String, Arc<MappedFile>)]) -> Result<TensorSet, LoadError> {
    let Some(index) = find(files, INDEX) else {
        let single = need(files, SINGLE)?;
        return Ok(TensorSet::single(Arc::clone(single))?);
    };
    let index = Index::parse(index.bytes(), index.name())?;
    let shard = |name: &String| {
        let missing =
            || LoadError::MissingFile { name: name.clone(), named_by: Some(index.file().to_owned()) };
        find(files, name).cloned().ok_or_else(missing)
    };
    let shards = index.shards().iter().map(shard).collect::<Result<_, _>>()?;
    Ok(TensorSet::sharded(&index, shards)?)
}

fn find<'a>(files: &'a [(String, Arc<MappedFile>)], name: &str) -> Option<&'a Arc<MappedFile>> {
    files.iter().find(|(known, _)| known == name).map(|(_, file)| file)
}

fn need<'a>(files: &'a [(String, Arc<MappedFile>)], name: &str) -> Result<&'a Arc<MappedFile>, LoadError> {
    find(files, name).ok_or_else(|| LoadError::MissingFile { name: name.to_owned(), named_by: None })
}

fn place(
    family: &Family,
    config: Config<'_>,
    spec: &DecoderSpec,
    set: &TensorSet,
    tensor: &TensorSpec,
    wanted: Option<WeightFormat>,
    used: &mut HashSet<String>,
) -> Result<Place, LoadError> {
    let Stored { names, part, layer } = stored(family, config, &tensor.name).ok_or_else(|| {
        let what = format!("a tensor {} in family {}", tensor.name, family.model_type);
        config.unsupported(what, "choose a model of another family")
    })?;
    let found = names.iter().find_map(|name| set.tensor(name));
    let (file, info) = found.ok_or_else(|| LoadError::MissingTensor {
        file: set.name().to_owned(),
        tensor: names[0].clone(),
        rows: tensor.rows,
        columns: tensor.columns,
    })?;
    let layout = Layout::new(part, layer, spec, tensor);
    let fits = info.elements() == layout.elements() as u64 && layout.fits(info.shape());
    if !fits {
        return Err(LoadError::Config {
            file: file.name().to_owned(),
            problem: format!(
                "{} has shape {:?}; the configuration makes it {}",
                at(info),
                info.shape(),
                layout.expected()
            ),
        });
    }
    let Some(stored) = info.dtype().format() else {
        let what = format!("{} of type {}", at(info), info.dtype().name());
        return Err(unsupported(file, what, "take a checkpoint in f32, f16 or bf16"));
    };
    used.insert(info.name().to_owned());
    let format = wanted.map_or(stored, |wanted| tensor.format_in(wanted));
    let called = match part {
        TensorPart::Whole => info.name().to_owned(),
        _ => format!("{} (read as {})", info.name(), tensor.name),
    };
    Ok(Place { file: Arc::clone(file), called, range: info.range(), stored, layout, format })
}

/// Whether a tensor may be left over: the table that a tied head is stored as once more, masks and the like.
fn is_ignored(family: &Family, config: Config<'_>, spec: &DecoderSpec, name: &str) -> bool {
    let head = || {
        stored(family, config, "output.weight").is_some_and(|head| head.names.iter().any(|own| own == name))
    };
    (spec.head.tied && head()) || family.names.ignored.iter().any(|end| name.ends_with(end))
}

impl Place {
    /// The bytes of the tensor, in its format: in the map, or put together.
    pub(crate) fn bytes(
        &self,
        tensor: &TensorSpec,
        loading: &mut Loading<'_>,
    ) -> Result<TensorBytes, LoadError> {
        let size = self.stored.bytes(1, 1) as usize;
        let whole = self.file.bytes().get(self.range.clone()).unwrap_or_default();
        if let Some(first) = self.layout.contiguous().filter(|_| self.format == self.stored) {
            let start = self.range.start + first * size;
            let end = start + tensor.bytes(self.stored) as usize;
            let aligned = self.file.bytes().as_ptr().wrapping_add(start).align_offset(ALIGNMENT) == 0;
            if aligned && end <= self.range.end {
                let bytes = TensorBytes::Mapped(Arc::clone(&self.file), start..end);
                bytes.check(&self.called, self.format, loading)?;
                return Ok(bytes);
            }
        }
        // A file that was cut off meanwhile reads as NaN, which is refused.
        let run = |(start, step): (usize, usize), values: &mut [f32]| {
            values.fill(f32::NAN);
            if step == 1 {
                let bytes = whole.get(start * size..(start + values.len()) * size);
                return widen(self.stored, bytes.unwrap_or_default(), values);
            }
            for (index, value) in values.iter_mut().enumerate() {
                let at = (start + index * step) * size;
                widen(self.stored, whole.get(at..at + size).unwrap_or_default(), std::slice::from_mut(value));
            }
        };
        let fill = |row: usize, values: &mut [f32]| {
            if tensor.rows > 1 {
                return run(self.layout.run(row), values);
            }
            for (index, value) in values.iter_mut().enumerate() {
                run((self.layout.run(index).0, 1), std::slice::from_mut(value));
            }
        };
        let named = TensorSpec { name: self.called.clone(), ..tensor.clone() };
        let bytes = quantize(&named, self.format, self.file.name(), fill, loading)?;
        // Else the process would hold the weights twice. Other parts of a fused tensor are fetched again.
        self.file.release(self.range.clone());
        Ok(TensorBytes::Owned(Arc::new(bytes)))
    }
}
