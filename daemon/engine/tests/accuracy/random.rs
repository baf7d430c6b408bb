//! Models nobody has trained: every axis of a spec drawn at random, against the slow reference. What holds for
//! these holds for other sizes, head counts and windows of the architectures that exist.

use slmscope_engine::model::Model;
use slmscope_engine::session::Session;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Gain, Head, LatentAttention, Layer, LearnedPositions,
    Mixer, Norm, NormKind, Positions, QkNorm, Recurrent, Residual, Rope, RopePairing, RopeScaling,
};
use slmscope_profiles::stats::SplitMix;

use crate::passes::{feed, load, rms_over_std, setups};
use crate::reference::Reference;

const MODELS: u64 = 120;
const TOKENS: u32 = 19;

struct Draw(SplitMix);

impl Draw {
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.below(choices.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.0.below(one_in) == 0
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        self.chance(2).then_some(value)
    }

    fn norm(&mut self) -> Norm {
        let kind = self.of(&[NormKind::Rms, NormKind::Layer]);
        let gain = self.of(&[Gain::Plain, Gain::Plain, Gain::PlusOne, Gain::Absent]);
        Norm { kind, eps: 1e-5, gain, bias: gain != Gain::Absent && self.chance(2) }
    }

    fn norm_with_gain(&mut self) -> Norm {
        let norm = self.norm();
        if norm.gain == Gain::Absent { Norm { gain: Gain::Plain, ..norm } } else { norm }
    }

    fn rope(&mut self, dim: u32) -> Rope {
        let pairs = dim as usize / 2;
        let scaling = match self.0.below(7) {
            0 => RopeScaling::Linear { factor: 2.5 },
            1 => RopeScaling::Llama3 { factor: 4.0, low: 1.0, high: 4.0, original_context: 32 },
            2 => RopeScaling::Factors((0..pairs).map(|pair| 1.0 + pair as f32).collect()),
            3 => RopeScaling::LongRope {
                short: vec![1.1; pairs],
                long: (0..pairs).map(|pair| 1.0 + 0.5 * pair as f32).collect(),
                original_context: self.of(&[8, 64]),
                magnitude: 1.2,
            },
            4 if dim > 2 => RopeScaling::DynamicNtk { trained_context: self.of(&[7, 64]) },
            _ => RopeScaling::None,
        };
        let pairing = self.of(&[RopePairing::Halves, RopePairing::Adjacent]);
        Rope { theta: self.of(&[10_000.0, 500.0]), dim, pairing, scaling }
    }

    fn attention(&mut self) -> Attention {
        let kv_heads = self.of(&[1, 2, 3]);
        let q_heads = kv_heads * self.of(&[1, 2, 5]);
        let head_dim = self.of(&[4, 10, 16]);
        let positions = match self.0.below(4) {
            0 => Positions::None,
            1 => Positions::Alibi,
            _ => {
                let dim = self.of(&[2, 4, head_dim]);
                Positions::Rope(self.rope(dim))
            }
        };
        let norm = self.norm_with_gain();
        let qk_norm = match self.0.below(3) {
            0 => Some(QkNorm::Head(norm)),
            1 => Some(QkNorm::All(norm)),
            _ => None,
        };
        Attention {
            q_heads,
            kv_heads,
            head_dim,
            qkv_bias: self.chance(2),
            out_bias: self.chance(2),
            clip: self.chance(3).then_some(0.7),
            qk_norm,
            positions,
            window: self.chance(3).then_some(5),
            scale: self.of(&[0.2, 0.5]),
            softcap: self.chance(3).then_some(1.5),
            log_n: self.chance(4).then_some(6),
        }
    }

    fn mixer(&mut self) -> Mixer {
        match self.0.below(5) {
            0 => {
                let rope_dim = self.of(&[2, 6]);
                Mixer::Latent(LatentAttention {
                    heads: self.of(&[1, 3, 4]),
                    q_rank: self.of(&[7, 12]),
                    kv_rank: self.of(&[5, 8]),
                    nope_dim: self.of(&[3, 8]),
                    rope_dim,
                    value_dim: self.of(&[4, 9]),
                    norm: self.norm_with_gain(),
                    rope: self.rope(rope_dim),
                    scale: 0.3,
                })
            }
            1 => {
                let (blocks, length) = (self.of(&[1, 3]), self.of(&[4, 7]));
                Mixer::Recurrent(Recurrent { width: blocks * length, conv: self.of(&[1, 2, 4]), blocks })
            }
            _ => Mixer::Attention(self.attention()),
        }
    }

    fn layer(&mut self) -> Layer {
        let residual = self.of(&[
            Residual::PreNorm,
            Residual::PreNorm,
            Residual::PostNorm,
            Residual::Parallel,
            Residual::ParallelSharedNorm,
        ]);
        let post = residual == Residual::PreNorm && self.chance(3);
        let [attn_post_norm, ffn_post_norm] = [(); 2].map(|()| post.then(|| self.norm()));
        let activations =
            [Activation::Silu, Activation::GeluTanh, Activation::Gelu, Activation::Relu, Activation::Relu2];
        Layer {
            residual,
            residual_scale: self.maybe(0.6),
            attn_norm: self.norm(),
            mixer: self.mixer(),
            attn_post_norm,
            ffn_norm: (residual != Residual::ParallelSharedNorm).then(|| self.norm()),
            ffn: Ffn {
                dim: self.of(&[11, 40]),
                gated: self.chance(2),
                activation: self.of(&activations),
                bias: self.chance(2),
                shared_with: None,
            },
            ffn_post_norm,
        }
    }

    fn spec(&mut self) -> DecoderSpec {
        let hidden = self.of(&[18, 32]);
        let width = if self.chance(4) { 10 } else { hidden };
        let mut layers: Vec<_> = (0..3).map(|_| self.layer()).collect();
        if self.chance(3) {
            layers[2].ffn = Ffn { shared_with: Some(0), ..layers[0].ffn };
        }
        let offset = self.of(&[0, 2]);
        DecoderSpec {
            vocab: 53,
            hidden,
            max_context: 64,
            embedding: Embedding {
                width,
                scale: self.maybe(3.0),
                positions: self.maybe(LearnedPositions { rows: 64 + offset, offset }),
                norm: self.chance(3).then(|| self.norm()),
            },
            layers,
            final_norm: (!self.chance(4)).then(|| self.norm()),
            head: Head {
                tied: self.chance(2),
                bias: self.chance(3),
                scale: self.maybe(0.4),
                softcap: self.chance(3).then_some(2.0),
            },
        }
    }
}

#[test]
fn any_spec_matches_the_reference_whole_in_chunks_and_one_by_one() {
    let mut worst: f64 = 0.0;
    for seed in 0..MODELS {
        let spec = Draw(SplitMix(seed)).spec();
        spec.validate().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let ids: Vec<u32> =
            (0..TOKENS).map(|index| (index * 29 + index * index * 3 + 1) % spec.vocab).collect();
        let mut reference = Reference::new(&spec, WeightFormat::F32, 5, TOKENS);
        let expected: Vec<_> = ids.iter().map(|&id| reference.feed(id)).collect();
        let model = Model::synthetic(spec.clone(), WeightFormat::F32, 5, KvFormat::F32).unwrap();
        for setup in setups() {
            let mut session = load(&model, TOKENS, &setup);
            for rows in [1, 3, TOKENS as usize] {
                assert_eq!(session.rewind(0), 0);
                let found = feed(&mut session, &ids, rows);
                let at_ends: Vec<_> = expected.chunks(rows).map(|c| c[c.len() - 1].clone()).collect();
                let distance = rms_over_std(&found, &at_ends);
                worst = worst.max(distance);
                assert!(distance < 1e-4, "seed {seed} in chunks of {rows}, {setup:?}: {distance}\n{spec:#?}");
            }
        }
    }
    eprintln!("{MODELS} models, at most {worst:.1e} from the reference");
}

/// Recurrent state is copied at places that the caller can go back to.
#[test]
fn recurrent_models_go_back_to_kept_places() {
    let mut draw = Draw(SplitMix(1));
    let mut spec = draw.spec();
    spec.layers[1].mixer = Mixer::Recurrent(Recurrent { width: 12, conv: 4, blocks: 3 });
    let model = Model::synthetic(spec, WeightFormat::F32, 5, KvFormat::F32).unwrap();
    for setup in setups() {
        goes_back(load(&model, TOKENS, &setup));
    }
}

fn goes_back(mut session: Session) {
    let ids: Vec<u32> = (0..TOKENS).map(|index| index * 2).collect();
    let first = feed(&mut session, &ids, 1);
    let close = |found: Vec<Vec<f32>>, last: usize| {
        let expected = &first[last + 1 - found.len()..=last];
        assert!(rms_over_std(&found, expected) < 1e-5, "up to token {last}");
    };
    session.rewind(0);
    feed(&mut session, &ids[..6], 6);
    session.keep();
    close(feed(&mut session, &ids[6..9], 3), 8);
    close(feed(&mut session, &ids[9..10], 1), 9);
    // The begin of the last pass, then the kept place, which is the last one before 8.
    assert_eq!(session.rewind(9), 9);
    close(feed(&mut session, &ids[9..10], 1), 9);
    assert_eq!(session.rewind(8), 6);
    close(feed(&mut session, &ids[6..], 1), ids.len() - 1);
    assert_eq!(session.rewind(5), 0);
    close(feed(&mut session, &ids[..1], 1), 0);
}
