//! Models nobody has trained: every axis of a spec drawn at random, against the slow reference. What holds for
//! these holds for other sizes, head counts and windows of the architectures that exist.

use slmscope_engine::model::Model;
use slmscope_engine::session::Session;
use slmscope_engine::setup::ExecutorKind;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::tensors::TensorSpec;
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Gain, Head, LatentAttention, Layer, LearnedPositions,
    Mixer, Norm, NormKind, Positions, QkNorm, Recurrent, Residual, Rope, RopePairing, RopeScaling,
};
use slmscope_profiles::stats::SplitMix;

use crate::passes::{feed, load, prompt, rms_over_std, setups};
use crate::reference::Reference;

const MODELS: u64 = 120;
const TOKENS: u32 = 19;
/// Models of each format, and tokens that they see, of [`REAL`] sizes.
const WIDE_MODELS: u64 = 2;
const WIDE_TOKENS: u32 = 37;

/// What sizes are drawn from.
struct Sizes {
    vocab: &'static [u32],
    hidden: &'static [u32],
    /// Of an embedding that is projected.
    embedding: u32,
    kv_heads: &'static [u32],
    head_dim: &'static [u32],
    ffn: &'static [u32],
    q_rank: &'static [u32],
    kv_rank: &'static [u32],
    latent_dim: &'static [u32],
    /// Blocks of a recurrence, and their length.
    blocks: &'static [u32],
    block_length: &'static [u32],
    window: u32,
    context: u32,
}

/// Odd and small: every remainder of every loop.
const SMALL: Sizes = Sizes {
    vocab: &[53],
    hidden: &[18, 32],
    embedding: 10,
    kv_heads: &[1, 2, 3],
    head_dim: &[4, 10, 16],
    ffn: &[11, 40],
    q_rank: &[7, 12],
    kv_rank: &[5, 8],
    latent_dim: &[3, 4, 8, 9],
    blocks: &[1, 3],
    block_length: &[4, 7],
    window: 5,
    context: 64,
};

/// Those of trained models: blocks divide most rows, some widths are several times others, and what is wide in one
/// layer is narrow in the next, so that no buffer is as large as another by chance.
const REAL: Sizes = Sizes {
    vocab: &[515, 1024],
    hidden: &[256, 320, 576],
    embedding: 256,
    kv_heads: &[1, 2, 3],
    head_dim: &[32, 64, 80, 128],
    ffn: &[96, 512, 1408, 2048],
    q_rank: &[96, 256],
    kv_rank: &[64, 256],
    latent_dim: &[32, 64],
    blocks: &[2, 5],
    block_length: &[64, 96],
    window: 21,
    context: 128,
};

struct Draw(SplitMix, &'static Sizes);

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
        let kv_heads = self.of(self.1.kv_heads);
        let q_heads = kv_heads * self.of(&[1, 2, 5]);
        let head_dim = self.of(self.1.head_dim);
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
            window: self.chance(3).then_some(self.1.window),
            scale: self.of(&[0.7, 1.0]) / (head_dim as f32).sqrt(),
            softcap: self.chance(3).then_some(1.5),
            log_n: self.chance(4).then_some(6),
        }
    }

    fn mixer(&mut self) -> Mixer {
        match self.0.below(5) {
            0 => {
                let (rope_dim, nope_dim) = (self.of(&[2, 6, 16]), self.of(self.1.latent_dim));
                Mixer::Latent(LatentAttention {
                    heads: self.of(&[1, 3, 4]),
                    q_rank: self.of(self.1.q_rank),
                    kv_rank: self.of(self.1.kv_rank),
                    nope_dim,
                    rope_dim,
                    value_dim: self.of(self.1.latent_dim),
                    norm: self.norm_with_gain(),
                    rope: self.rope(rope_dim),
                    scale: 1.0 / ((nope_dim + rope_dim) as f32).sqrt(),
                })
            }
            1 => {
                let (blocks, length) = (self.of(self.1.blocks), self.of(self.1.block_length));
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
                dim: self.of(self.1.ffn),
                gated: self.chance(2),
                activation: self.of(&activations),
                bias: self.chance(2),
                shared_with: None,
            },
            ffn_post_norm,
        }
    }

    fn spec(&mut self) -> DecoderSpec {
        let hidden = self.of(self.1.hidden);
        let width = if self.chance(4) { self.1.embedding } else { hidden };
        let context = self.1.context;
        let mut layers: Vec<_> = (0..3).map(|_| self.layer()).collect();
        if self.chance(3) {
            layers[2].ffn = Ffn { shared_with: Some(0), ..layers[0].ffn };
        }
        let offset = self.of(&[0, 2]);
        DecoderSpec {
            vocab: self.of(self.1.vocab),
            hidden,
            max_context: context,
            embedding: Embedding {
                width,
                scale: self.maybe(3.0),
                positions: self.maybe(LearnedPositions { rows: context + offset, offset }),
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

/// How far the executors are from the reference, and our kernels from each other.
#[derive(Default)]
struct Distances {
    reference: f64,
    ours: f64,
}

/// The greatest distances of the spec of `seed` over all setups, in chunks of every kind; each is below its limit.
fn distances(
    seed: u64,
    sizes: &'static Sizes,
    format: WeightFormat,
    tokens: u32,
    limits: &Distances,
) -> Distances {
    let spec = Draw(SplitMix(seed), sizes).spec();
    spec.validate().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let ids = prompt(tokens, spec.vocab);
    let expected = Reference::new(&spec, format, 5, tokens).feed(&ids);
    let model = Model::synthetic(spec.clone(), format, 5, KvFormat::F32).unwrap();
    let (mut worst, mut first) = (Distances::default(), None);
    // Built with debug assertions, candle's kernels refuse rows of an odd number of blocks that they compute right.
    let odd = |(tensor, format): &(TensorSpec, WeightFormat)| {
        format.block_elements() == 32 && !(tensor.columns / 32).is_multiple_of(2)
    };
    let for_candle = !model.plan().tensors.iter().any(odd);
    for setup in setups().into_iter().filter(|setup| setup.executor == ExecutorKind::Cpu || for_candle) {
        let mut session = load(&model, tokens, &setup);
        for rows in [1, 3, tokens as usize] {
            assert_eq!(session.rewind(0), 0);
            let found = feed(&mut session, &ids, rows);
            let at_ends =
                |all: &[Vec<f32>]| all.chunks(rows).map(|c| c[c.len() - 1].clone()).collect::<Vec<_>>();
            let what = || format!("seed {seed} {format} in chunks of {rows}, {setup:?}\n{spec:#?}");
            let distance = rms_over_std(&found, &at_ends(&expected));
            assert!(distance < limits.reference, "{distance} from the reference: {}", what());
            worst.reference = worst.reference.max(distance);
            if setup.executor == ExecutorKind::Cpu {
                let first = first.get_or_insert_with(|| found.clone());
                let distance = rms_over_std(&found, &at_ends(first));
                assert!(
                    distance < limits.ours,
                    "{distance} from the first setup, token by token: {}",
                    what()
                );
                worst.ours = worst.ours.max(distance);
            }
        }
    }
    worst
}

#[test]
fn any_spec_matches_the_reference_whole_in_chunks_and_one_by_one() {
    let mut worst: f64 = 0.0;
    for seed in 0..MODELS {
        let limits = Distances { reference: 1e-4, ours: 1e-4 };
        worst = worst.max(distances(seed, &SMALL, WeightFormat::F32, TOKENS, &limits).reference);
    }
    eprintln!("{MODELS} models, at most {worst:.1e} from the reference");
}

#[test]
fn every_format_holds_in_models_of_real_widths() {
    for (index, format) in WeightFormat::ALL.into_iter().enumerate() {
        // The kernels of block formats round activations to 8 bits. Models of random weights carry that far, the
        // further the sharper their attention is; the same rounding everywhere keeps our kernels close together.
        let limits = match format.block_elements() {
            1 => Distances { reference: 1e-4, ours: 1e-4 },
            _ => Distances { reference: 0.15, ours: 0.02 },
        };
        let mut worst = Distances::default();
        for model in 0..WIDE_MODELS {
            let found =
                distances(1000 + WIDE_MODELS * index as u64 + model, &REAL, format, WIDE_TOKENS, &limits);
            worst.reference = worst.reference.max(found.reference);
            worst.ours = worst.ours.max(found.ours);
        }
        eprintln!("{format}: at most {:.1e} from the reference, {:.1e} apart", worst.reference, worst.ours);
    }
}

/// Recurrent state is copied at places that the caller can go back to.
#[test]
fn recurrent_models_go_back_to_kept_places() {
    let mut draw = Draw(SplitMix(1), &SMALL);
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
