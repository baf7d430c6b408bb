//! A pass of the `cpu` executor allocates nothing, whatever the model, once the model is loaded.

#![expect(unsafe_code, reason = "counts what the allocator is asked for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::sampler;
use slmscope_engine::setup::{self, Setup};
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, LatentAttention, Layer, Mixer, Norm, Positions,
    Recurrent, Residual, Rope, RopePairing,
};

/// The system's allocator, which counts while it is told to.
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

fn count() {
    if COUNTING.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A model with a layer of each mixer, so that every kind of step runs.
fn spec() -> DecoderSpec {
    let norm = Norm::rms(1e-5);
    let rope = Rope::plain(10_000.0, 32, RopePairing::Halves);
    let layer = |mixer| Layer {
        attn_norm: norm,
        mixer,
        attn_post_norm: Some(norm),
        ffn_norm: Some(norm),
        ffn: Ffn::gated(512, Activation::Silu),
        ffn_post_norm: None,
        residual: Residual::PreNorm,
        residual_scale: None,
    };
    let attention = Attention { qkv_bias: true, ..Attention::plain(8, 2, 32, Positions::Rope(rope.clone())) };
    let latent = LatentAttention {
        heads: 4,
        q_rank: 64,
        kv_rank: 32,
        nope_dim: 16,
        rope_dim: 32,
        value_dim: 24,
        norm,
        rope,
        scale: 0.1,
    };
    let recurrent = Recurrent { width: 64, conv: 4, blocks: 4 };
    DecoderSpec {
        vocab: 300,
        hidden: 256,
        max_context: 512,
        embedding: Embedding::plain(256),
        layers: vec![
            layer(Mixer::Attention(attention)),
            layer(Mixer::Latent(latent)),
            layer(Mixer::Recurrent(recurrent)),
        ],
        final_norm: Some(norm),
        head: Head { tied: true, bias: false, scale: Some(0.5), softcap: Some(30.0) },
    }
}

#[test]
fn a_pass_allocates_nothing() {
    for kv in KvFormat::ALL {
        let format = if kv == KvFormat::F32 { WeightFormat::F32 } else { WeightFormat::Q4_0 };
        let model = Model::synthetic(spec(), format, 1, kv).unwrap();
        let setup = Setup { threads: 2.try_into().unwrap(), ..setup::native() };
        let never = AtomicBool::new(false);
        let mut session = model.load(400, &setup, &mut Loading::new(&never, &mut |_, _| ())).unwrap();
        let mut recorder = Recorder::new(session.plan().steps.len());
        let prompt: Vec<u32> = (0..300).collect();
        session.forward(&prompt[..3], &mut recorder, &Monotonic, &never).unwrap();
        session.rewind(0);

        COUNT.store(0, Ordering::Relaxed);
        COUNTING.store(true, Ordering::Relaxed);
        let mut id = 0;
        let results = [&prompt[..], &prompt[..37]].map(|chunk| {
            recorder.begin(Monotonic.now_ns());
            session.forward(chunk, &mut recorder, &Monotonic, &never)
        });
        for _ in 0..40 {
            recorder.begin(Monotonic.now_ns());
            session.forward(&[id], &mut recorder, &Monotonic, &never).unwrap();
            id = sampler::greedy(session.logits()).unwrap();
        }
        COUNTING.store(false, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(COUNT.load(Ordering::Relaxed), 0, "{format}");
        assert!(recorder.recorded().is_some());
    }
}
