//! A weight tensor in the form in which the steps use it.

use candle_core::quantized::QTensor;
use candle_core::{Device, Result, Tensor};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::plan::{Op, Plan};
use slmscope_profiles::spec::tensors::{Role, TensorSpec};

use super::blocks;
use crate::error::LoadError;
use crate::weights::{AlignedBytes, Loading, PIECE, TensorBytes};

/// A tensor of the plan, ready to be used.
pub(super) enum Weight {
    /// Gains, biases, filters, decays.
    Vector(Tensor),
    /// A matrix as f32 values.
    Plain(Tensor),
    /// Multiplied.
    Matrix(Matrix),
    /// Looked up.
    Table(Table),
    /// Both.
    Tied(Table, Matrix),
}

/// A matrix that activations are multiplied with.
pub(super) enum Matrix {
    /// In blocks, as stored; activations are rounded to 8 bits by the kernels.
    Quantized(QTensor),
    /// f32 values, transposed view. Weights stored in f16 or bf16 are widened when they are loaded: the stock
    /// kernels for these formats would round activations to them.
    Plain(Tensor),
}

/// A matrix whose rows are looked up.
pub(super) enum Table {
    /// As stored.
    Bytes { bytes: TensorBytes, format: WeightFormat, columns: usize },
    /// The f32 values that the LM head multiplies with.
    Plain(Tensor),
}

/// For every tensor of the plan whether a step needs it as f32 values: those that are taken apart by heads or
/// blocks, which the stock kernels cannot multiply as they lie.
pub(super) fn dense(plan: &Plan) -> Vec<bool> {
    let mut dense = vec![false; plan.tensors.len()];
    for step in &plan.steps {
        match &step.op {
            Op::LatentQuery { weight, .. } | Op::LatentValue { weight, .. } => dense[*weight as usize] = true,
            Op::BlockMatMul { parts, .. } => {
                for part in parts {
                    dense[part.weight as usize] = true;
                }
            }
            _ => {}
        }
    }
    dense
}

impl Weight {
    /// `dense`: see [`dense`].
    pub(super) fn load(
        tensor: &TensorSpec,
        format: WeightFormat,
        dense: bool,
        bytes: TensorBytes,
        loading: &mut Loading<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (rows, columns) = (tensor.rows as usize, tensor.columns as usize);
        let quantized = format.block_elements() > 1;
        let refused = LoadError::kernel(&tensor.name);
        let table = |bytes| Table::Bytes { bytes, format, columns };
        match tensor.role {
            role if role.is_small() => {
                let values = dequantize(format, bytes.as_slice()).map_err(LoadError::kernel(&tensor.name))?;
                let values = Tensor::from_vec(values, (rows, columns), &Device::Cpu);
                let flat = values.and_then(|values| if rows == 1 { values.squeeze(0) } else { Ok(values) });
                flat.map(Self::Vector).map_err(refused)
            }
            _ if dense => {
                let values = widen(&tensor.name, format, &bytes, rows * columns, loading)?;
                Tensor::from_vec(values, (rows, columns), &Device::Cpu).map(Self::Plain).map_err(refused)
            }
            Role::Table => Ok(Self::Table(table(bytes))),
            Role::Matrix | Role::TiedTable if quantized => {
                let matrix = blocks::tensor(bytes.clone(), format, rows, columns).map_err(refused)?;
                let matrix = Matrix::Quantized(matrix);
                Ok(if tensor.role == Role::Matrix {
                    Self::Matrix(matrix)
                } else {
                    Self::Tied(table(bytes), matrix)
                })
            }
            _ => {
                let values = widen(&tensor.name, format, &bytes, rows * columns, loading)?;
                let plain = Tensor::from_vec(values, (rows, columns), &Device::Cpu)
                    .and_then(|plain| Ok((plain.t()?, plain)))
                    .map_err(refused)?;
                let matrix = Matrix::Plain(plain.0);
                Ok(if tensor.role == Role::Matrix {
                    Self::Matrix(matrix)
                } else {
                    Self::Tied(Table::Plain(plain.1), matrix)
                })
            }
        }
    }

    /// Bytes that a tensor keeps in memory once it is loaded as `load` does.
    pub(super) fn memory(tensor: &TensorSpec, format: WeightFormat, dense: bool) -> u64 {
        let (stored, widened) = (tensor.bytes(format), 4 * tensor.elements());
        let quantized = format.block_elements() > 1;
        match tensor.role {
            _ if dense => widened,
            Role::Table => stored,
            Role::Matrix | Role::TiedTable if quantized => stored,
            _ => widened,
        }
    }

    pub(super) fn vector(&self) -> &Tensor {
        match self {
            Self::Vector(vector) => vector,
            _ => unreachable!("the plan names a small tensor here"),
        }
    }

    /// The values of a dense matrix.
    pub(super) fn plain(&self) -> Result<&Tensor> {
        match self {
            Self::Plain(values) => Ok(values),
            _ => candle_core::bail!("a matrix that is taken apart was not loaded for that"),
        }
    }

    pub(super) fn matrix(&self) -> &Matrix {
        match self {
            Self::Matrix(matrix) | Self::Tied(_, matrix) => matrix,
            _ => unreachable!("the plan names a tensor of role matrix or tied table here"),
        }
    }

    pub(super) fn table(&self) -> &Table {
        match self {
            Self::Table(table) | Self::Tied(table, _) => table,
            _ => unreachable!("the plan names a tensor of role table or tied table here"),
        }
    }
}

impl Matrix {
    /// `input` times the matrix.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Quantized(matrix) => input.apply_op1_no_bwd(matrix),
            Self::Plain(transposed) => input.matmul(transposed),
        }
    }
}

impl Table {
    /// The rows of `ids`, which are below the number of rows.
    pub(super) fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Plain(table) => table.index_select(&Tensor::new(ids, &Device::Cpu)?, 0),
            Self::Bytes { bytes, format, columns } => {
                let row = format.bytes(1, *columns as u64) as usize;
                let mut stored = AlignedBytes::zeroed(row * ids.len(), "embedded rows")
                    .map_err(candle_core::Error::wrap)?;
                for (place, &id) in stored.as_mut_slice().chunks_exact_mut(row).zip(ids) {
                    place.copy_from_slice(&bytes.as_slice()[id as usize * row..][..row]);
                }
                let values = dequantize(*format, stored.as_slice())?;
                Tensor::from_vec(values, (ids.len(), *columns), &Device::Cpu)
            }
        }
    }
}

/// The values of whole blocks of `format`.
///
/// # Errors
/// Bytes that do not start at a multiple of 4.
pub fn dequantize(format: WeightFormat, bytes: &[u8]) -> Result<Vec<f32>> {
    if bytes.as_ptr().align_offset(align_of::<f32>()) != 0 {
        candle_core::bail!("bytes at {:p} are not aligned for {format}", bytes.as_ptr())
    }
    let blocks = bytes.len() / format.block_bytes() as usize;
    let storage = blocks::dtype(format).from_data(bytes.into());
    match storage.dequantize(blocks * format.block_elements() as usize)? {
        candle_core::CpuStorage::F32(values) => Ok(values),
        other => {
            candle_core::bail!("dequantized to {:?}", candle_core::backend::BackendStorage::dtype(&other))
        }
    }
}

/// The f32 values of a tensor, piece by piece; its bytes are not needed any more then.
fn widen(
    name: &str,
    format: WeightFormat,
    bytes: &TensorBytes,
    elements: usize,
    loading: &mut Loading<'_>,
) -> std::result::Result<Vec<f32>, LoadError> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(elements)
        .map_err(|_| LoadError::Memory { bytes: 4 * elements as u64, what: name.to_owned() })?;
    let block = format.block_bytes() as usize;
    for piece in bytes.as_slice().chunks(PIECE / block * block) {
        values.extend(dequantize(format, piece).map_err(LoadError::kernel(name))?);
        loading.go_on()?;
    }
    bytes.release();
    Ok(values)
}
