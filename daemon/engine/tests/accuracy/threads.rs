//! Whatever the number of threads, every instruction set gives the same bits each time: how work is shared out must
//! not change the order of sums.

use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{
    Attention, DecoderSpec, LatentAttention, Layer, Mixer, Norm, Positions, Recurrent, Rope, RopePairing,
};

use crate::passes::{feed, load, setups};
use crate::synthetic::{gemma3, ids, model, qwen2, wide};

/// A prompt that is read at once, and a long one, behind which a token's attention is cut in two.
const PROMPT: u32 = 61;
const LONG_PROMPT: u32 = 300;
/// Tokens that follow one by one.
const MORE: u32 = 3;

/// A layer of every mixer, of rows that every block divides: all keys by rotary positions and by slopes, a window,
/// a latent row, a recurrence.
fn mixed() -> DecoderSpec {
    let mut spec = DecoderSpec { max_context: LONG_PROMPT + MORE, ..wide() };
    let rope = |dim| Rope::plain(10_000.0, dim, RopePairing::Adjacent);
    let attention = |positions| Attention::plain(8, 4, 32, positions);
    let mixers = [
        Mixer::Attention(attention(Positions::Rope(rope(32)))),
        Mixer::Attention(attention(Positions::Alibi)),
        Mixer::Attention(Attention { window: Some(17), ..attention(Positions::Rope(rope(32))) }),
        Mixer::Latent(LatentAttention {
            heads: 8,
            q_rank: 256,
            kv_rank: 256,
            nope_dim: 32,
            rope_dim: 16,
            value_dim: 32,
            norm: Norm::rms(1e-6),
            rope: rope(16),
            scale: 0.14,
        }),
        Mixer::Recurrent(Recurrent { width: 256, conv: 4, blocks: 4 }),
    ];
    let layer = spec.layers[0].clone();
    spec.layers = mixers.into_iter().map(|mixer| Layer { mixer, ..layer.clone() }).collect();
    spec
}

/// Holds what more threads compute after `prompt` tokens against what one does, with weights in `format` and a cache
/// in `kv`.
fn check(spec: &DecoderSpec, prompt: u32, format: WeightFormat, kv: KvFormat) {
    let capacity = prompt + MORE;
    let ids = ids(spec, capacity);
    let (prompt, rest) = ids.split_at(prompt as usize);
    let model = model(spec, format, kv);
    for setup in setups().into_iter().filter(|setup| setup.executor == ExecutorKind::Cpu) {
        let logits = |threads: usize| {
            let setup = Setup { threads: threads.try_into().unwrap(), ..setup };
            let mut session = load(&model, capacity, &setup);
            [feed(&mut session, prompt, prompt.len()), feed(&mut session, rest, 1)]
        };
        let one = logits(1);
        for threads in [2, 5] {
            assert!(logits(threads) == one, "{format}, {kv:?}, {threads} threads, {}", setup.isa);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for kv in KvFormat::ALL {
        check(&qwen2(), PROMPT, WeightFormat::F32, kv);
        check(&gemma3(), PROMPT, WeightFormat::F16, kv);
    }
    for (format, kv) in WeightFormat::ALL.into_iter().zip(KvFormat::ALL.into_iter().cycle()) {
        check(&mixed(), PROMPT, format, kv);
    }
    check(&mixed(), LONG_PROMPT, WeightFormat::Q4_0, KvFormat::F16);
}
