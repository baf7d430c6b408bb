//! Synthetic models of odd shapes against the slow reference.

use std::sync::atomic::{AtomicBool, Ordering};

use slmscope_engine::clock::Monotonic;
use slmscope_engine::error::{EngineError, LoadError};
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::setup::{self, ExecutorKind, Setup, executor_is_available};
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, LatentAttention, Layer, Mixer, Norm, Positions,
    QkNorm, Residual, Rope, RopePairing, RopeScaling,
};

use crate::passes::{feed, load, rms_over_std, setups};
use crate::reference::Reference;

/// A llama with an odd number of heads and shapes that no block divides.
pub(crate) fn llama() -> DecoderSpec {
    let norm = Norm::rms(1e-5);
    let rope = Positions::Rope(Rope::plain(10_000.0, 8, RopePairing::Adjacent));
    let layer = Layer {
        residual: Residual::PreNorm,
        residual_scale: None,
        attn_norm: norm,
        mixer: Mixer::Attention(Attention { scale: 0.353, ..Attention::plain(9, 3, 8, rope) }),
        attn_post_norm: None,
        ffn_norm: Some(norm),
        ffn: Ffn::gated(100, Activation::Silu),
        ffn_post_norm: None,
    };
    DecoderSpec {
        vocab: 61,
        hidden: 72,
        max_context: 64,
        embedding: Embedding::plain(72),
        layers: vec![layer; 3],
        final_norm: Some(norm),
        head: Head::plain(true),
    }
}

/// Changes every attention of `spec`, told the number of its layer.
pub(crate) fn each_attention(spec: &mut DecoderSpec, mut change: impl FnMut(usize, &mut Attention)) {
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        layer.mixer.attention_mut().into_iter().for_each(|attention| change(index, attention));
    }
}

/// Biases, halves, a head of its own, rotary angles of llama 3 and heads that turn in part.
pub(crate) fn qwen2() -> DecoderSpec {
    let mut spec = llama();
    spec.head.tied = false;
    each_attention(&mut spec, |_, attention| {
        (attention.q_heads, attention.kv_heads, attention.head_dim) = (7, 1, 12);
        attention.qkv_bias = true;
        attention.positions = Positions::Rope(Rope {
            scaling: RopeScaling::Llama3 { factor: 4.0, low: 1.0, high: 4.0, original_context: 32 },
            ..Rope::plain(500.0, 8, RopePairing::Halves)
        });
    });
    spec
}

/// Windows shorter than the prompt beside a global layer, norms everywhere, heads wider than the stream's
/// share, a scaled embedding.
pub(crate) fn gemma3() -> DecoderSpec {
    let mut spec = llama();
    spec.embedding.scale = Some(72.0_f32.sqrt());
    let norm = Norm::rms(1e-6);
    for layer in &mut spec.layers {
        (layer.attn_post_norm, layer.ffn_post_norm) = (Some(norm), Some(norm));
        layer.ffn.activation = Activation::GeluTanh;
    }
    each_attention(&mut spec, |index, attention| {
        (attention.q_heads, attention.kv_heads, attention.head_dim) = (4, 2, 32);
        attention.qk_norm = Some(QkNorm::Head(norm));
        attention.window = (index != 1).then_some(5);
        let (theta, scaling) =
            if index == 1 { (1e6, RopeScaling::Linear { factor: 8.0 }) } else { (1e4, RopeScaling::None) };
        attention.positions =
            Positions::Rope(Rope { scaling, ..Rope::plain(theta, 32, RopePairing::Halves) });
    });
    spec
}

/// Rows that every block divides.
pub(crate) fn wide() -> DecoderSpec {
    let mut spec = llama();
    (spec.hidden, spec.embedding.width) = (256, 256);
    spec.layers.iter_mut().for_each(|layer| layer.ffn.dim = 512);
    each_attention(&mut spec, |_, attention| {
        (attention.q_heads, attention.kv_heads, attention.head_dim) = (8, 4, 32);
        attention.positions = Positions::Rope(Rope::plain(10_000.0, 32, RopePairing::Adjacent));
    });
    spec
}

/// Keys and values out of one latent vector.
fn latent() -> DecoderSpec {
    let mut spec = llama();
    let norm = Norm::rms(1e-6);
    for layer in &mut spec.layers {
        layer.mixer = Mixer::Latent(LatentAttention {
            heads: 5,
            q_rank: 48,
            kv_rank: 40,
            nope_dim: 12,
            rope_dim: 8,
            value_dim: 16,
            norm,
            rope: Rope::plain(10_000.0, 8, RopePairing::Adjacent),
            scale: 0.22,
        });
    }
    spec
}

pub(crate) fn ids(spec: &DecoderSpec, count: u32) -> Vec<u32> {
    (0..count).map(|index| (index * 37 + index * index * 5 + 3) % spec.vocab).collect()
}

fn expected(spec: &DecoderSpec, format: WeightFormat, ids: &[u32]) -> Vec<Vec<f32>> {
    Reference::new(spec, format, 5, ids.len() as u32).feed(ids)
}

pub(crate) fn model(spec: &DecoderSpec, format: WeightFormat, kv: KvFormat) -> Model {
    Model::synthetic(spec.clone(), format, 5, kv).unwrap()
}

#[test]
fn plain_weights_match_the_reference_whole_in_chunks_and_one_by_one() {
    for (name, spec) in [("llama", llama()), ("qwen2", qwen2()), ("gemma3", gemma3())] {
        for format in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16] {
            let ids = ids(&spec, 23);
            let expected = expected(&spec, format, &ids);
            for setup in setups() {
                let mut session = load(&model(&spec, format, KvFormat::F32), 23, &setup);
                for rows in [1, 2, 7, 23] {
                    session.rewind(0);
                    let found = feed(&mut session, &ids, rows);
                    let at_ends: Vec<_> = expected.chunks(rows).map(|c| c[c.len() - 1].clone()).collect();
                    let distance = rms_over_std(&found, &at_ends);
                    assert!(distance < 1e-5, "{name} {format} in chunks of {rows}, {setup:?}: {distance}");
                }
            }
        }
    }
}

/// How far logits may be from those of a cache in f32 of the same engine, in standard deviations (root mean
/// square).
const F16_CACHE: f64 = 0.002;
const Q8_CACHE: f64 = 0.02;

#[test]
fn a_narrow_cache_moves_logits_little() {
    for (name, spec) in [("llama", llama()), ("gemma3", gemma3()), ("wide", wide()), ("latent", latent())] {
        let ids = ids(&spec, 50);
        for setup in setups() {
            let logits =
                |kv, rows| feed(&mut load(&model(&spec, WeightFormat::F32, kv), 50, &setup), &ids, rows);
            for rows in [1, 50] {
                let expected = logits(KvFormat::F32, rows);
                let distance = rms_over_std(&logits(KvFormat::F16, rows), &expected);
                assert!(distance < F16_CACHE && distance > 0.0, "{name} {setup:?}: {distance}");
                if setup.executor == ExecutorKind::Cpu {
                    let distance = rms_over_std(&logits(KvFormat::Q8_0, rows), &expected);
                    assert!(distance < Q8_CACHE && distance > 0.0, "{name} {setup:?}: {distance} in q8_0");
                }
            }
        }
    }
}

#[test]
fn candle_refuses_a_cache_in_bytes() {
    let setup = Setup { executor: ExecutorKind::Candle, ..setup::native() };
    let model = model(&llama(), WeightFormat::F32, KvFormat::Q8_0);
    let cancel = AtomicBool::new(false);
    let refused = model.load(8, &setup, &mut Loading::new(&cancel, &mut |_, _| ()));
    let wanted = if executor_is_available(ExecutorKind::Candle) {
        matches!(refused, Err(LoadError::Kernel { .. }))
    } else {
        matches!(refused, Err(LoadError::Executor(_)))
    };
    assert!(wanted);
}

#[test]
fn every_format_keeps_variance_and_matches_the_reference() {
    let spec = wide();
    let ids = ids(&spec, 9);
    for format in WeightFormat::ALL {
        let expected = expected(&spec, format, &ids);
        for setup in setups() {
            let mut session = load(&model(&spec, format, KvFormat::F32), 9, &setup);
            let found = feed(&mut session, &ids, 1);
            let count = (found.len() * found[0].len()) as f32;
            let deviation = (found.iter().flatten().map(|logit| logit * logit).sum::<f32>() / count).sqrt();
            assert!((0.5..2.0).contains(&deviation), "{format}: deviation {deviation}");
            let distance = rms_over_std(&found, &expected);
            // The kernels of block formats round activations to 8 bits, in blocks of 32 or 256: 0.02 to 0.036.
            let limit = if format.block_elements() == 1 { 1e-5 } else { 0.045 };
            assert!(distance < limit, "{format}, {setup:?}: {distance}");
            session.rewind(0);
            let chunk = rms_over_std(&feed(&mut session, &ids, 9), &expected[8..]);
            assert!(chunk < 1.5 * limit, "{format}, {setup:?}: {chunk} in one chunk");
        }
    }
}

#[test]
fn a_rewound_session_repeats_itself() {
    let spec = gemma3();
    let ids = ids(&spec, 12);
    for setup in setups() {
        let mut session = load(&model(&spec, WeightFormat::F32, KvFormat::F16), 12, &setup);
        let first = feed(&mut session, &ids, 1);
        session.rewind(6);
        assert_eq!(session.context(), 6);
        assert_eq!(feed(&mut session, &ids[6..], 1), first[6..]);
        session.reserve(20).unwrap();
        assert_eq!(session.context(), 0);
        assert_eq!(feed(&mut session, &ids, 1), first);
    }
}

#[test]
fn memory_is_what_was_announced_and_the_cache_what_the_run_needs() {
    let model = model(&wide(), WeightFormat::Q4_0, KvFormat::F16);
    for setup in setups() {
        let needed = model.requirements(40, &setup);
        assert_eq!(load(&model, 40, &setup).memory(), needed);
        assert_eq!(needed.weights, model.plan().weight_bytes());
        let per_token = 3 * 2 * 128 * 2;
        let (tokens, tables) = match setup.executor {
            ExecutorKind::Candle => ([40, 40], 40 * 32 * 4),
            // Keys in whole blocks of positions; angles of one chunk.
            ExecutorKind::Cpu => ([48, 40], 40 * 32 * 4),
        };
        assert_eq!(needed.kv, tokens.iter().map(|tokens| tokens * per_token / 2).sum::<u64>());
        assert_eq!(needed.tables, tables);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_session_as_it_was() {
    let spec = llama();
    let model = model(&spec, WeightFormat::F32, KvFormat::F32);
    let (cancel, mut report) = (AtomicBool::new(false), |_, _| ());
    for setup in setups() {
        let refused = model.load(65, &setup, &mut Loading::new(&cancel, &mut report));
        assert!(matches!(refused, Err(LoadError::Context { asked: 65, max: 64 })));

        let mut session = load(&model, 8, &setup);
        let mut recorder = Recorder::new(session.plan().steps.len());
        let mut pass = |ids: &[u32], cancel: bool| {
            let result = session.forward(ids, &mut recorder, &Monotonic, &AtomicBool::new(cancel));
            (result, session.context())
        };
        assert!(matches!(pass(&[1, 61], false), (Err(EngineError::Token { id: 61, vocab: 61 }), 0)));
        assert!(matches!(pass(&[1; 9], false), (Err(EngineError::Context { needed: 9, capacity: 8 }), 0)));
        assert!(matches!(pass(&[], false), (Err(EngineError::Rows { rows: 0, .. }), 0)));
        assert!(matches!(pass(&[0; 600], false), (Err(EngineError::Rows { rows: 600, .. }), 0)));
        assert!(matches!(pass(&[1; 3], true), (Err(EngineError::Cancelled), 0)));
        assert!(matches!(pass(&[1; 3], false), (Ok(()), 3)));
        let failed = pass(&[1; 6], false);
        assert!(matches!(failed, (Err(EngineError::Context { needed: 9, capacity: 8 }), 3)));
    }
}

#[test]
fn loading_reports_its_way_and_can_be_cancelled() {
    let model = model(&wide(), WeightFormat::Q8_0, KvFormat::F32);
    let (cancel, mut seen) = (AtomicBool::new(false), Vec::new());
    let mut report = |done, total| seen.push((done, total));
    model.load(4, &setup::native(), &mut Loading::new(&cancel, &mut report)).unwrap();
    assert!(seen.is_sorted() && seen.iter().all(|(_, total)| *total == model.plan().weight_bytes()));

    let mut report = |_, _| cancel.store(true, Ordering::Relaxed);
    let cancelled = model.load(4, &setup::native(), &mut Loading::new(&cancel, &mut report));
    assert!(matches!(cancelled, Err(LoadError::Cancelled)));
}
