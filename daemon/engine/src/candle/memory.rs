//! The memory that a plan needs, computed before anything is loaded.

use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::plan::{Op, Plan};
use slmscope_profiles::spec::tensors::{Role, TensorSpec};

use super::PREFILL_ROWS;
use super::attention::Span;
use super::recurrence::Recurrences;
use super::rope::RopeTables;
use super::weight::{Weight, dense};
use crate::executor::EngineMemory;

/// Memory of an executor for `plan` with room for `capacity` tokens. Weights, cache and tables are exact; packed and
/// scratch are what the kernels' present rules and the largest chunk come to.
pub(crate) fn requirements(plan: &Plan, capacity: u32) -> EngineMemory {
    let dense = dense(plan);
    let tensors = || plan.tensors.iter().zip(&dense);
    let weights = tensors().map(|((tensor, format), dense)| Weight::memory(tensor, *format, *dense)).sum();
    let packed =
        tensors().filter(|(_, dense)| !**dense).map(|((tensor, format), _)| packed(tensor, *format)).sum();
    EngineMemory {
        weights,
        packed,
        kv: plan.kv_bytes(u64::from(capacity)),
        scratch: scratch(plan, capacity),
        tables: plan.ropes.iter().map(|rope| RopeTables::bytes(rope, u64::from(capacity))).sum::<u64>()
            + Recurrences::bytes(plan),
    }
}

/// Activations of the largest chunk, and the widest attention: its mask, and scores before and after masking
/// and softmax of which two live at once; keys and values of a narrower cache are widened to be read.
fn scratch(plan: &Plan, capacity: u32) -> u64 {
    let rows = PREFILL_ROWS.min(capacity as usize);
    let span = Span { context: capacity as usize - rows, rows };
    let attention = |op: &Op| match op {
        Op::Attention(op) => {
            let keys = span.seen(op.window).1 as u64;
            let scores = 4 * keys * rows as u64 * (2 * u64::from(op.q_heads) + 1);
            let widened = if plan.kv_format == KvFormat::F32 { 0 } else { op.key_dim + op.value_dim };
            scores + 4 * keys * u64::from(op.kv_heads * widened)
        }
        _ => 0,
    };
    let widest = plan.steps.iter().map(|step| attention(&step.op)).max().unwrap_or(0);
    plan.scratch_bytes(rows as u64) + widest
}

/// candle multiplies some formats from a layout of its own, made on first use and kept beside the weights:
/// tiles of 16 rows × 256 columns, which the matrix has to consist of.
#[cfg(target_arch = "x86_64")]
fn packed(tensor: &TensorSpec, format: WeightFormat) -> u64 {
    let tiles = u64::from(tensor.rows / 16) * u64::from(tensor.columns / 256);
    let fits = tensor.rows.is_multiple_of(16) && tensor.columns.is_multiple_of(256);
    if !fits || !matches!(tensor.role, Role::Matrix | Role::TiedTable) {
        return 0;
    }
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let vnni = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
        || is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2");
    match format {
        // Eight scales and minimums as f32, nibbles.
        WeightFormat::Q4K if avx2 || vnni => tiles * 3072,
        // Sixteen scales as f32, bytes. Only products of several rows use it.
        WeightFormat::Q6K if avx2 || vnni => tiles * 5120,
        // The same blocks in another order.
        WeightFormat::Q8_0 if vnni => tiles * 4352,
        _ => 0,
    }
}

/// Not predicted: on aarch64 the formats that candle packs depend on the CPU's features and shapes.
#[cfg(not(target_arch = "x86_64"))]
fn packed(tensor: &TensorSpec, format: WeightFormat) -> u64 {
    match (tensor.role, format) {
        (
            Role::Matrix | Role::TiedTable,
            WeightFormat::Q4_0
            | WeightFormat::Q4K
            | WeightFormat::Q5K
            | WeightFormat::Q6K
            | WeightFormat::Q8_0,
        ) => tensor.bytes(format),
        _ => 0,
    }
}
