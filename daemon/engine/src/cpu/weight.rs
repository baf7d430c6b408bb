//! A weight tensor as the steps use it: its bytes in place, small tensors as f32 values.

use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::plan::{NormWeights, Op, Plan, TensorId};
use slmscope_profiles::spec::tensors::TensorSpec;
use slmscope_profiles::spec::{Gain, NormKind};

use crate::error::LoadError;
use crate::kernels::{self, Kernels, Matrix};
use crate::ops::norm::NormRule;
use crate::ops::recurrent::rate;
use crate::weights::{Loading, TensorBytes};

/// A tensor of the plan.
enum Weight {
    /// Multiplied or looked up; read in place in its own format.
    Stored { bytes: TensorBytes, format: WeightFormat, columns: usize },
    /// Gains, biases, filters, decays.
    Small(Vec<f32>),
}

/// All weights of a plan.
pub(super) struct Weights {
    weights: Vec<Weight>,
}

impl Weights {
    pub(super) fn load(
        plan: &Plan,
        loading: &mut Loading<'_>,
        mut tensor_bytes: impl FnMut(usize, &mut Loading<'_>) -> Result<TensorBytes, LoadError>,
    ) -> Result<Self, LoadError> {
        let mut weights = Vec::with_capacity(plan.tensors.len());
        for (id, (tensor, format)) in plan.tensors.iter().enumerate() {
            let bytes = tensor_bytes(id, loading)?;
            if tensor.role.is_small() {
                let mut values = vec![0.0; tensor.elements() as usize];
                kernels::dequantize(*format, bytes.as_slice(), &mut values);
                weights.push(Weight::Small(values));
            } else {
                weights.push(Weight::Stored { bytes, format: *format, columns: tensor.columns as usize });
            }
        }
        let mut weights = Self { weights };
        weights.prepare(plan);
        Ok(weights)
    }

    /// Bytes that a tensor keeps in memory.
    pub(super) fn memory(tensor: &TensorSpec, format: WeightFormat) -> u64 {
        if tensor.role.is_small() { 4 * tensor.elements() } else { tensor.bytes(format) }
    }

    /// Applies once what every step would otherwise apply to small tensors again.
    fn prepare(&mut self, plan: &Plan) {
        for step in &plan.steps {
            let mut one_more = |norm: &NormWeights| {
                if let (Gain::PlusOne, Some(gain)) = (norm.norm.gain, norm.gain) {
                    self.small_mut(gain).iter_mut().for_each(|gain| *gain += 1.0);
                }
            };
            match &step.op {
                Op::Norm { weights, .. } | Op::Add { norm: Some(weights), .. } => one_more(weights),
                Op::HeadNorm { parts } => parts.iter().for_each(|part| one_more(&part.weights)),
                Op::Scan { decay, .. } => {
                    self.small_mut(*decay).iter_mut().for_each(|decay| *decay = rate(*decay));
                }
                _ => {}
            }
        }
    }

    fn small_mut(&mut self, id: TensorId) -> &mut [f32] {
        match &mut self.weights[id as usize] {
            Weight::Small(values) => values,
            Weight::Stored { .. } => unreachable!("the plan names a small tensor here"),
        }
    }

    /// The values of a small tensor.
    pub(super) fn small(&self, id: TensorId) -> &[f32] {
        match &self.weights[id as usize] {
            Weight::Small(values) => values,
            Weight::Stored { .. } => unreachable!("the plan names a small tensor here"),
        }
    }

    /// A matrix or table.
    pub(super) fn matrix(&self, id: TensorId) -> Matrix<'_> {
        match &self.weights[id as usize] {
            Weight::Stored { bytes, format, columns } => {
                Matrix { format: *format, bytes: bytes.as_slice(), columns: *columns }
            }
            Weight::Small(_) => unreachable!("the plan names a matrix or table here"),
        }
    }

    /// A norm with its parameters.
    pub(super) fn norm(&self, weights: &NormWeights) -> NormRule<'_> {
        NormRule {
            centered: weights.norm.kind == NormKind::Layer,
            eps: weights.norm.eps,
            gain: weights.gain.map(|gain| self.small(gain)),
            bias: weights.bias.map(|bias| self.small(bias)),
        }
    }
}

/// Rows of a matrix from `first` on as f32 values, as many as `out` has room for.
pub(super) fn widened(kernels: Kernels, matrix: Matrix<'_>, first: usize, out: &mut [f32]) {
    let (bytes, count) = (matrix.row_bytes(), out.len() / matrix.columns);
    kernels.dequantize(matrix.format, &matrix.bytes[first * bytes..][..count * bytes], out);
}
