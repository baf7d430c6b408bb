//! Architectures of GGUF files that no golden file has: the golden checkpoints and those of random sizes, converted
//! by the test as llama.cpp converts them, against the logits of the checkpoints.

use std::path::Path;

use serde_json::Value;
use slmscope_engine::setup;
use slmscope_profiles::spec::{Activation, DecoderSpec, Mixer, Positions, RopeScaling};

use crate::converter::{self as to, Conversion};
use crate::families::draw;
use crate::passes::{feed, load, prompt, rms_over_std, setups, verified};
use crate::reference::Reference;
use crate::tensors::{random, read_bf16, widened};

/// ggml's GELU is the tanh form everywhere. Where a model's is the exact one, this is how far the logits of the
/// converted file may be from its own: greatest difference in standard deviations, 6.0e-4 and 1.0e-3 for the two.
const OTHER_GELU: f64 = 1.2e-3;

/// Golden checkpoints and what they become, with a limit where the checkpoint's own does not hold.
const GOLDENS: [(&str, Conversion, Option<f64>); 21] = [
    ("bloom", to::BLOOM, None),
    ("cerebras-gpt", to::GPT2, Some(OTHER_GELU)),
    ("gemma", to::GEMMA, None),
    ("gemma2", to::GEMMA2, None),
    ("gemma3", to::GEMMA3, None),
    ("gpt2", to::GPT2, None),
    ("llama", to::LLAMA, None),
    ("llama-mha-tied", to::LLAMA, None),
    ("llama3-rope", to::LLAMA, None),
    ("minicpm-granite-form", to::GRANITE, None),
    ("minicpm3", to::MINICPM3, None),
    ("minitron-nemotron", to::NEMOTRON, None),
    ("olmo", to::OLMO, None),
    ("phi", to::PHI2, None),
    ("phi3", to::PHI3, None),
    ("phi3-longrope", to::PHI3, None),
    ("pythia", to::GPT_NEOX, Some(OTHER_GELU)),
    ("qwen2", to::QWEN2, None),
    ("qwen3", to::QWEN3, None),
    ("stablelm", to::STABLELM, None),
    ("stablelm-3b", to::STABLELM, None),
];

fn golden(folder: &str, conversion: &Conversion, limit: Option<f64>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/hf").join(folder);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let config: Value = serde_json::from_slice(&read("config-old.json")).unwrap();
    let model = conversion.model(&config, &read_bf16(&read("model.safetensors")));
    for setup in setups() {
        let report = verified(&model, &folder.join("golden.safetensors"), &setup);
        let case = &report.cases[0];
        eprintln!("{} {:?} {}: {:?}", folder.display(), setup.executor, setup.isa, case.max_abs_over_std);
        let passes = match limit {
            None => report.pass,
            Some(limit) => {
                case.max_abs_over_std.is_some_and(|distance| distance <= limit)
                    && case.greedy_equal
                    && case.prefill.iter().all(|check| check.pass)
            }
        };
        assert!(passes, "{} {setup:?}: {report:#?}", folder.display());
    }
}

#[test]
fn converted_golden_checkpoints_keep_their_logits() {
    for (folder, conversion, limit) in GOLDENS {
        golden(folder, &conversion, limit);
    }
}

const MODELS: usize = 3;
const TOKENS: u32 = 19;
const LIMIT: f64 = 5e-6;

/// Families of [`draw`] and what they become.
const DRAWN: [(&str, Conversion); 19] = [
    ("bloom", to::BLOOM),
    ("gemma", to::GEMMA),
    ("gemma2", to::GEMMA2),
    ("gemma3_text", to::GEMMA3),
    ("gpt2", to::GPT2),
    ("gpt_neox", to::GPT_NEOX),
    ("granite", to::GRANITE),
    ("llama", to::LLAMA),
    ("minicpm", to::MINICPM),
    ("minicpm3", to::MINICPM3),
    ("nemotron", to::NEMOTRON),
    ("olmo", to::OLMO),
    ("phi", to::PHI2),
    ("phi3", to::PHI3),
    ("qwen", to::QWEN),
    ("qwen2", to::QWEN2),
    ("qwen3", to::QWEN3),
    ("smollm3", to::SMOLLM3),
    ("stablelm", to::STABLELM),
];

/// Whether ggml has a way to say what the configuration asks for.
fn can_be_said(config: &Value) -> bool {
    let is = |key: &str, value: Value| config[key] == value;
    match config["model_type"].as_str().unwrap() {
        // The figures of the trained sizes are fixed.
        "minicpm3" => {
            is("scale_emb", 12.0.into()) && is("scale_depth", 1.4.into()) && is("dim_model_base", 256.into())
        }
        "qwen2" => is("use_sliding_window", false.into()),
        "smollm3" => is("no_rope_layer_interval", 4.into()),
        _ => true,
    }
}

/// What ggml computes of it: the tanh form of GELU, one epsilon for all norms, and none of Qwen 1's rules for long
/// contexts.
fn as_in_ggml(mut spec: DecoderSpec) -> DecoderSpec {
    for layer in &mut spec.layers {
        if layer.ffn.activation == Activation::Gelu {
            layer.ffn.activation = Activation::GeluTanh;
        }
        if let Mixer::Latent(latent) = &mut layer.mixer {
            latent.norm = layer.attn_norm;
        }
        if let Mixer::Attention(attention) = &mut layer.mixer {
            attention.log_n = None;
            if let Positions::Rope(rope) = &mut attention.positions
                && let RopeScaling::DynamicNtk { .. } = rope.scaling
            {
                rope.scaling = RopeScaling::None;
            }
        }
    }
    spec
}

#[test]
fn every_architecture_is_read_at_any_size() {
    for (model_type, conversion) in DRAWN {
        let families = (0..1000).map(|seed| (seed, draw(model_type, seed)));
        let mut found = 0;
        for (seed, family) in families.filter(|(_, family)| can_be_said(&family.config)).take(MODELS) {
            found += 1;
            let tensors = random(&family.spec, seed);
            let spec = as_in_ggml(family.spec.clone());
            let ids = prompt(TOKENS, spec.vocab);
            let expected = Reference::with(&spec, widened(&tensors), TOKENS).feed(&ids);
            let model = conversion.model(&family.config, &family.names.checkpoint(&family.spec, &tensors));
            let mut session = load(&model, TOKENS, &setup::native());
            let distance = rms_over_std(&feed(&mut session, &ids, 1), &expected);
            let (config, read) = (&family.config, model.spec());
            assert!(distance < LIMIT, "{distance}: seed {seed}, {config}\nread as {read:#?}\nis {spec:#?}");
        }
        assert_eq!(found, MODELS, "{model_type}");
    }
}
