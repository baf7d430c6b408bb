//! Tensors that a test makes, and the files it writes them to.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::safetensors::SafeTensors;
use slmscope_profiles::format::KvFormat;
use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::Role;
use slmscope_profiles::stats::SplitMix;

/// Values row by row; the first length of the shape counts the rows.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// By name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

impl Tensor {
    pub(crate) fn vector(values: Vec<f32>) -> Self {
        Self { shape: vec![values.len()], values }
    }

    /// Its rows in another order.
    pub(crate) fn reordered(&self, order: impl Iterator<Item = usize>) -> Self {
        let length = self.values.len() / self.shape[0];
        let values = order.flat_map(|row| &self.values[row * length..][..length]).copied().collect();
        Self { shape: self.shape.clone(), values }
    }

    /// All rows of the parts, one part behind the other.
    pub(crate) fn stacked(parts: &[Self]) -> Self {
        let mut shape = parts[0].shape.clone();
        shape[0] = parts.iter().map(|part| part.shape[0]).sum();
        Self { shape, values: parts.iter().flat_map(|part| part.values.clone()).collect() }
    }

    /// Rows as columns; what is no matrix stays.
    pub(crate) fn transposed(&self) -> Self {
        let [rows, columns] = self.shape[..] else { return self.clone() };
        let values = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
        Self { shape: vec![columns, rows], values: values.map(|at| self.values[at]).collect() }
    }

    pub(crate) fn map(&self, change: impl Fn(f32) -> f32) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|value| change(*value)).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

/// Random weights for every tensor of `spec`, of a size that carries signals through.
pub(crate) fn random(spec: &DecoderSpec, seed: u64) -> Tensors {
    let mut random = SplitMix(seed);
    // Between -1 and 1.
    let mut number = || (random.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let tensors = spec.tensors().into_iter().map(|tensor| {
        let (rows, columns) = (tensor.rows as usize, tensor.columns as usize);
        let (centre, width) = match tensor.role {
            Role::Gain => (1.0, 0.4),
            Role::GainLessOne | Role::Bias => (0.0, 0.4),
            Role::Filter => (0.0, 1.0),
            Role::Decay => (-3.0, 1.0),
            Role::Table | Role::TiedTable => (0.0, 1.7),
            Role::Matrix => (0.0, 1.3 * (3.0 / columns as f32).sqrt()),
        };
        let values = (0..rows * columns).map(|_| centre + width * number()).collect();
        let shape = if rows == 1 { vec![columns] } else { vec![rows, columns] };
        (tensor.name, Tensor { shape, values })
    });
    tensors.collect()
}

/// As the reference takes them.
pub(crate) fn widened(tensors: &Tensors) -> HashMap<String, Vec<f64>> {
    let wide = |tensor: &Tensor| tensor.values.iter().copied().map(f64::from).collect();
    tensors.iter().map(|(name, tensor)| (name.clone(), wide(tensor))).collect()
}

/// The model of a configuration and a safetensors file with `tensors`.
pub(crate) fn directory(config: &Value, tensors: &Tensors) -> Model {
    let mut header = Map::new();
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let begin = data.len();
        data.extend(tensor.bytes());
        let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let weights = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    let config = config.to_string();
    let files = [("config.json", config.as_bytes()), ("model.safetensors", &weights[..])]
        .map(|(name, bytes)| (name.to_owned(), mapped(name, bytes)));
    Model::directory(&files, None, KvFormat::F32).unwrap_or_else(|error| panic!("{error}: {config}"))
}

/// The tensors of a safetensors file in bf16.
pub(crate) fn read_bf16(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::parse(bytes, "weights").unwrap();
    let tensors = file.tensors().iter().map(|tensor| {
        let shape: Vec<_> = tensor.shape().iter().map(|&length| length as usize).collect();
        let halves = file.data(tensor).as_chunks::<2>().0.iter();
        let values = halves.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16)).collect();
        (tensor.name().to_owned(), Tensor { shape, values })
    });
    tensors.collect()
}

/// Tensors as the builder of GGUF files takes them: name, lengths in ggml's order, type, bytes.
pub(crate) fn for_gguf(tensors: &Tensors) -> Vec<(String, Vec<u64>, u32, Vec<u8>)> {
    let entry = |(name, tensor): (&String, &Tensor)| {
        let lengths = tensor.shape.iter().rev().map(|&length| length as u64).collect();
        (name.clone(), lengths, 0, tensor.bytes())
    };
    tensors.iter().map(entry).collect()
}

/// Bytes in a file that has no name in any folder.
pub(crate) fn mapped(name: &str, bytes: &[u8]) -> Arc<MappedFile> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(MappedFile::new(file, name).unwrap())
}
