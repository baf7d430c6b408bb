//! How far a right engine may be from a reference.
//!
//! | reference | weights | bound |
//! |---|---|---|
//! | transformers, f32 on the stored values | all | greatest difference 2e-4 of the standard deviation; 5e-4 with recurrent or latent layers, whose sums are longer |
//! | llama.cpp, which rounds activations to the weights' precision | f16, f32 | rms 0.002 |
//! | | bf16 | rms 0.006 |
//! | | quantized | rms 0.03, divergence 0.003 |
//! | exact, f64 on the dequantized weights | quantized | rms 0.025: kernels may round activations to 8 bits |
//! | | others | rms 1e-4 |
//! | exact log-probabilities on real text | quantized | mean 0.16 |
//! | | others | mean 0.005 |

use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::plan::{Op, Plan};
use slmscope_profiles::spec::tensors::Role;
use slmscope_profiles::verify::Tolerances;

use super::golden::Reference;

/// Tolerances for a model of this plan; real text without a `reference` for all logits.
pub(super) fn tolerances(reference: Option<Reference>, plan: &Plan) -> Tolerances {
    let multiplied = |format: &dyn Fn(WeightFormat) -> bool| {
        let matrices =
            plan.tensors.iter().filter(|(tensor, _)| matches!(tensor.role, Role::Matrix | Role::TiedTable));
        matrices.into_iter().any(|(_, stored)| format(*stored))
    };
    let quantized = multiplied(&|format| format.block_elements() > 1);
    let bf16 = multiplied(&|format| format == WeightFormat::Bf16);
    let longer_sums =
        !plan.states.is_empty() || plan.steps.iter().any(|step| matches!(step.op, Op::LatentQuery { .. }));
    let none = Tolerances::default();
    match reference {
        Some(Reference::Transformers) => {
            Tolerances { max_abs_over_std: Some(if longer_sums { 5e-4 } else { 2e-4 }), ..none }
        }
        Some(Reference::LlamaCpp) if quantized => Tolerances {
            rms_over_std: Some(0.03),
            kl_mean: Some(0.003),
            exact_rms_over_std: Some(0.025),
            ..none
        },
        Some(Reference::LlamaCpp) => Tolerances {
            rms_over_std: Some(if bf16 { 0.006 } else { 0.002 }),
            exact_rms_over_std: Some(1e-4),
            ..none
        },
        None => Tolerances { mean_abs_logprob: Some(if quantized { 0.16 } else { 0.005 }), ..none },
    }
}
