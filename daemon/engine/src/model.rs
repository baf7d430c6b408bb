//! A model that can be loaded: its plan, and the source of its weights.

use std::collections::HashMap;
use std::sync::Arc;

use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::{DecoderSpec, Lengths};

use crate::candle::{self, CandleExecutor};
use crate::cpu::{self, CpuExecutor};
use crate::error::LoadError;
use crate::executor::{EngineMemory, Executor};
use crate::gguf::GgufFile;
use crate::map::MappedFile;
use crate::reader::{gguf, hf};
use crate::session::Session;
use crate::setup::{ExecutorKind, Setup, executor_is_available};
use crate::synthetic;
use crate::weights::{Loading, TensorBytes};

/// A model whose headers are read and checked, but whose weights are not in memory.
pub struct Model {
    spec: DecoderSpec,
    plan: Arc<Plan>,
    source: Source,
    notes: Vec<String>,
}

/// Where the bytes of each tensor are from.
enum Source {
    /// Generated from a seed.
    Synthetic { seed: u64 },
    /// A mapped file and the place of each tensor of the plan in it.
    File { file: Arc<MappedFile>, places: Vec<gguf::Place> },
    /// The files of a checkpoint, and how each tensor of the plan is read from them.
    Checkpoint { places: Vec<hf::Place> },
}

impl Model {
    /// A model of this shape with synthetic weights in `format`. Matrices whose rows its blocks do not divide
    /// are f16; gains and biases are f32.
    ///
    /// # Errors
    /// [`LoadError::Spec`] if the shapes contradict each other.
    pub fn synthetic(
        spec: DecoderSpec,
        format: WeightFormat,
        seed: u64,
        kv: KvFormat,
    ) -> Result<Self, LoadError> {
        spec.validate().map_err(|contradiction| LoadError::Spec {
            model: "synthetic model".to_owned(),
            keys: Vec::new(),
            contradiction,
        })?;
        let plan = Arc::new(Plan::compile(&spec, kv, |tensor| tensor.format_in(format)));
        Ok(Self { spec, plan, source: Source::Synthetic { seed }, notes: Vec::new() })
    }

    /// The model in a GGUF file.
    ///
    /// # Errors
    /// A model that this engine does not run; see [`LoadError`].
    pub fn gguf(file: &GgufFile, kv: KvFormat) -> Result<Self, LoadError> {
        let described = gguf::read(&file.gguf())?;
        let tensors: HashMap<_, _> = described.tensors;
        let plan = Plan::compile(&described.spec, kv, |tensor| tensors[&tensor.name].format);
        let places = plan.tensors.iter().map(|(tensor, _)| tensors[&tensor.name].clone()).collect();
        let (plan, source) = (Arc::new(plan), Source::File { file: Arc::clone(file.map()), places });
        Ok(Self { spec: described.spec, plan, source, notes: described.notes })
    }

    /// The model in a Hugging Face checkpoint: `files` are `config.json` and the safetensors, each with its name
    /// in the folder. Weights are kept as they are stored, or stored anew "in `format`".
    ///
    /// # Errors
    /// Files that are missing or cannot be read, or a model that this engine does not run; see [`LoadError`].
    pub fn directory(
        files: &[(String, Arc<MappedFile>)],
        format: Option<WeightFormat>,
        kv: KvFormat,
    ) -> Result<Self, LoadError> {
        let described = hf::read(files, format)?;
        let plan = Plan::compile(&described.spec, kv, |tensor| described.tensors[&tensor.name].format);
        let places = plan.tensors.iter().map(|(tensor, _)| described.tensors[&tensor.name].clone()).collect();
        let (plan, source) = (Arc::new(plan), Source::Checkpoint { places });
        Ok(Self { spec: described.spec, plan, source, notes: described.notes })
    }

    /// What it computes.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// Notes for the user: tensors that are left out, or that are converted to another format.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The steps of a pass.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The memory that a session for a sequence will take, so that it can be refused before it is allocated.
    pub fn requirements(&self, lengths: impl Into<Lengths>, setup: &Setup) -> EngineMemory {
        let lengths = lengths.into();
        match setup.executor {
            ExecutorKind::Cpu => cpu::requirements(&self.plan, lengths, setup.threads),
            ExecutorKind::Candle => candle::requirements(&self.plan, lengths.total),
        }
    }

    /// Loads the weights and makes room for a sequence.
    ///
    /// # Errors
    /// [`LoadError::Context`] for more tokens than the model was made for, [`LoadError::Cancelled`], and
    /// what the system or the kernels refuse.
    pub fn load(
        &self,
        lengths: impl Into<Lengths>,
        setup: &Setup,
        loading: &mut Loading<'_>,
    ) -> Result<Session, LoadError> {
        let lengths = lengths.into();
        self.check_capacity(lengths.total)?;
        if !executor_is_available(setup.executor) {
            return Err(LoadError::Executor(setup.executor));
        }
        loading.expect(self.plan.weight_bytes());
        let plan = &self.plan;
        let bytes = |id: usize, loading: &mut Loading<'_>| self.tensor_bytes(id, loading);
        let executor: Box<dyn Executor> = match setup.executor {
            ExecutorKind::Cpu => Box::new(CpuExecutor::load(plan, lengths, setup, loading, bytes)?),
            ExecutorKind::Candle => Box::new(CandleExecutor::load(plan, lengths, loading, bytes)?),
        };
        Ok(Session::new(Arc::clone(plan), executor, self.spec.max_context))
    }

    /// The bytes of a tensor of the plan: in place in a file, or generated now.
    fn tensor_bytes(&self, id: usize, loading: &mut Loading<'_>) -> Result<TensorBytes, LoadError> {
        match &self.source {
            Source::Synthetic { seed } => {
                let (tensor, format) = &self.plan.tensors[id];
                let bytes = synthetic::generate(tensor, *format, *seed, loading)?;
                Ok(TensorBytes::Owned(Arc::new(bytes)))
            }
            Source::Checkpoint { places } => places[id].bytes(&self.plan.tensors[id].0, loading),
            Source::File { file, places } => places[id].bytes(&self.plan.tensors[id].0, file, loading),
        }
    }

    fn check_capacity(&self, capacity: u32) -> Result<(), LoadError> {
        let max = self.spec.max_context;
        if (1..=max).contains(&capacity) { Ok(()) } else { Err(LoadError::Context { asked: capacity, max }) }
    }
}
