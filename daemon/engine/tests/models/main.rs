//! From a GGUF file to a model: what is read, and what is refused by name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fixtures/gguf_builder.rs"]
mod gguf_builder;
mod weights;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gguf_builder::{Field, whole};
use slmscope_engine::clock::Monotonic;
use slmscope_engine::error::LoadError;
use slmscope_engine::gguf::GgufFile;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::setup;
use slmscope_engine::synthetic::generate;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, Layer, Mixer, Norm, Positions, QkNorm,
    Residual, Rope, RopePairing, RopeScaling,
};

/// A file to be: fields without their architecture's prefix, and tensors with name, shape, type, data.
struct GgufFixture {
    architecture: &'static str,
    fields: Vec<(&'static str, Field<'static>)>,
    plain: Vec<(&'static str, Field<'static>)>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

impl GgufFixture {
    /// Two layers of a model with every figure that all architectures have.
    fn new(architecture: &'static str) -> Self {
        let fields = vec![
            ("block_count", Field::U32(2)),
            ("context_length", Field::U32(64)),
            ("embedding_length", Field::U32(32)),
            ("feed_forward_length", Field::U32(48)),
            ("attention.head_count", Field::U32(4)),
            ("attention.head_count_kv", Field::U32(2)),
            ("attention.layer_norm_rms_epsilon", Field::F32(1e-5)),
            ("rope.freq_base", Field::F32(50_000.0)),
        ];
        Self { architecture, fields, plain: Vec::new(), tensors: Vec::new() }
    }

    fn with(mut self, key: &'static str, field: Field<'static>) -> Self {
        self.fields.retain(|(name, _)| *name != key);
        self.fields.push((key, field));
        self
    }

    /// A key without the architecture's prefix.
    fn plain(mut self, key: &'static str, field: Field<'static>) -> Self {
        self.plain.push((key, field));
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.fields.retain(|(name, _)| *name != key);
        self
    }

    fn tensor(mut self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), 0, data));
        self
    }

    /// Adds the tensors that `spec` names, with synthetic f32 weights of seed 3.
    fn weights(mut self, spec: &DecoderSpec) -> Self {
        let cancel = AtomicBool::new(false);
        for tensor in spec.tensors() {
            let mut report = |_, _| ();
            let mut loading = Loading::new(&cancel, &mut report);
            let data = generate(&tensor, WeightFormat::F32, 3, &mut loading).unwrap();
            let shape = match tensor.rows {
                1 => vec![u64::from(tensor.columns)],
                rows => vec![u64::from(tensor.columns), u64::from(rows)],
            };
            self.tensors.push((tensor.name, shape, 0, data.as_slice().to_vec()));
        }
        self
    }

    fn open(&self) -> Result<Model, LoadError> {
        let keys: Vec<_> =
            self.fields.iter().map(|(key, field)| (format!("{}.{key}", self.architecture), field)).collect();
        let mut fields = vec![("general.architecture", Field::Str(self.architecture))];
        fields.extend(keys.iter().map(|(key, field)| (key.as_str(), (*field).clone())));
        fields.extend(self.plain.iter().cloned());
        let mut stored = tempfile::NamedTempFile::new().unwrap();
        stored.write_all(&whole(&fields, &self.tensors)).unwrap();
        let file = GgufFile::open(Arc::new(MappedFile::open(stored.path()).unwrap()))?;
        Model::gguf(&file, KvFormat::F32)
    }

    /// The error that opening gives, as people read it.
    fn refusal(&self) -> String {
        match self.open() {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }
}

/// What [`GgufFixture::new`] describes for the llama architecture.
fn llama() -> DecoderSpec {
    let norm = Norm::rms(1e-5);
    let rope = Positions::Rope(Rope::plain(50_000.0, 8, RopePairing::Adjacent));
    let layer = Layer {
        residual: Residual::PreNorm,
        residual_scale: None,
        attn_norm: norm,
        mixer: Mixer::Attention(Attention::plain(4, 2, 8, rope)),
        attn_post_norm: None,
        ffn_norm: Some(norm),
        ffn: Ffn::gated(48, Activation::Silu),
        ffn_post_norm: None,
    };
    DecoderSpec {
        vocab: 40,
        hidden: 32,
        max_context: 64,
        embedding: Embedding::plain(32),
        layers: vec![layer; 2],
        final_norm: Some(norm),
        head: Head::plain(true),
    }
}

/// Changes every attention of `spec`, told the number of its layer.
fn each_attention(spec: &mut DecoderSpec, mut change: impl FnMut(usize, &mut Attention)) {
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        layer.mixer.attention_mut().into_iter().for_each(|attention| change(index, attention));
    }
}

/// The same for every rotary embedding.
fn each_rope(spec: &mut DecoderSpec, mut change: impl FnMut(usize, &mut Rope)) {
    each_attention(spec, |index, attention| {
        attention.rope_mut().into_iter().for_each(|rope| change(index, rope));
    });
}

fn qwen(bias: bool) -> DecoderSpec {
    let mut spec = llama();
    spec.head.tied = !bias;
    each_rope(&mut spec, |_, rope| rope.pairing = RopePairing::Halves);
    each_attention(&mut spec, |_, attention| {
        attention.qkv_bias = bias;
        attention.qk_norm = (!bias).then_some(QkNorm::Head(Norm::rms(1e-5)));
    });
    spec
}

fn logits(model: &Model) -> Vec<f32> {
    let never = AtomicBool::new(false);
    let mut session = model.load(8, &setup::native(), &mut Loading::new(&never, &mut |_, _| ())).unwrap();
    let mut recorder = Recorder::new(session.plan().steps.len());
    session.forward(&[1, 7, 39, 0, 5], &mut recorder, &Monotonic, &never).unwrap();
    session.logits().to_vec()
}

/// The file means `spec`, and its weights compute what the same ones compute without a file.
fn means(fixture: GgufFixture, spec: &DecoderSpec) {
    let model = fixture.weights(spec).open().unwrap();
    assert_eq!(model.spec(), spec);
    let made = Model::synthetic(spec.clone(), WeightFormat::F32, 3, KvFormat::F32).unwrap();
    assert_eq!(logits(&model), logits(&made));
}

#[test]
fn llama_and_qwen_are_read() {
    means(GgufFixture::new("llama"), &llama());
    means(GgufFixture::new("qwen2"), &qwen(true));
    means(GgufFixture::new("qwen3"), &qwen(false));
}

#[test]
fn heads_may_be_wider_than_their_share_and_turn_in_part() {
    let mut spec = llama();
    each_attention(&mut spec, |_, attention| (attention.head_dim, attention.scale) = (16, 0.25));
    let fixture = GgufFixture::new("llama").with("attention.key_length", Field::U32(16));
    means(fixture.with("rope.dimension_count", Field::U32(8)), &spec);
}

#[test]
fn rotary_scaling_is_read_from_keys_and_from_factors() {
    let scaled = |scaling: &RopeScaling| {
        let mut spec = llama();
        each_rope(&mut spec, |_, rope| rope.scaling = scaling.clone());
        spec
    };
    let factor = Field::F32(4.0);
    let linear = GgufFixture::new("llama").with("rope.scaling.type", Field::Str("linear"));
    means(linear.with("rope.scaling.factor", factor), &scaled(&RopeScaling::Linear { factor: 4.0 }));

    let factors = vec![1.0, 1.0, 2.5, 8.0];
    let fixture = GgufFixture::new("llama").tensor("rope_freqs.weight", &[4], &factors);
    means(fixture, &scaled(&RopeScaling::Factors(factors)));

    let short = GgufFixture::new("llama").tensor("rope_freqs.weight", &[3], &[1.0; 3]);
    assert!(short.weights(&llama()).refusal().contains("needs 4 divisors"));
}

#[test]
fn gemma3_has_five_windows_and_then_a_global_layer() {
    let mut spec = qwen(false);
    spec.embedding.scale = Some(32.0_f32.sqrt());
    spec.layers = vec![spec.layers[0].clone(); 7];
    for layer in &mut spec.layers {
        (layer.attn_post_norm, layer.ffn_post_norm) = (Some(layer.attn_norm), layer.ffn_norm);
        layer.ffn.activation = Activation::GeluTanh;
    }
    each_attention(&mut spec, |index, attention| attention.window = (index != 5).then_some(3));
    each_rope(&mut spec, |index, rope| match index {
        5 => rope.scaling = RopeScaling::Linear { factor: 8.0 },
        _ => rope.theta = 10_000.0,
    });
    let fixture = GgufFixture::new("gemma3").with("block_count", Field::U32(7));
    let fixture = fixture.with("attention.sliding_window", Field::U32(3));
    means(fixture.with("rope.scaling.factor", Field::F32(8.0)), &spec);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let refused = |key, field| GgufFixture::new("llama").with(key, field).weights(&llama()).refusal();
    for (key, field) in [
        ("attn_logit_softcapping", Field::F32(50.0)),
        ("logit_scale", Field::F32(0.5)),
        ("attention.sliding_window", Field::U32(16)),
        ("attention.value_length", Field::U32(16)),
        ("attention.causal", Field::Bool(false)),
        ("rope.scaling.type", Field::Str("yarn")),
    ] {
        let text = refused(key, field);
        assert!(text.contains(&format!("llama.{key} = ")) && text.contains("not supported"), "{text}");
    }
    let experts = refused("expert_count", Field::U32(8));
    assert!(experts.contains(": mixture of experts: not supported (llama.expert_count = 8); "), "{experts}");
    // Most have an architecture of their own, which is not looked up before.
    for architecture in ["qwen2moe", "qwen3moe", "granitemoe", "mixtral"] {
        let text = GgufFixture::new(architecture).with("expert_count", Field::U32(60)).refusal();
        let says = format!("mixture of experts: not supported ({architecture}.expert_count = 60)");
        assert!(text.contains(&says), "{text}");
    }
    let other = GgufFixture::new("mamba").refusal();
    assert!(other.contains("general.architecture mamba is not supported"), "{other}");
}

#[test]
fn figures_that_cannot_be_are_refused() {
    let refused = |key, field| GgufFixture::new("llama").with(key, field).weights(&llama()).refusal();
    let most = "outside 1 to";
    for (key, value, names, says) in [
        ("block_count", u32::MAX, &["block_count"][..], " = 4294967295"),
        ("block_count", 0, &["block_count"], "0 is outside 1 to"),
        ("attention.head_count", 0, &["attention.head_count", "attention.head_count_kv"], "0 query heads"),
        (
            "attention.head_count_kv",
            3,
            &["attention.head_count", "attention.head_count_kv"],
            "share 3 key/value heads",
        ),
        (
            "attention.head_count",
            6,
            &["embedding_length", "attention.head_count"],
            "32 is no multiple of 6 heads",
        ),
        ("attention.key_length", u32::MAX, &["attention.key_length"], most),
        ("embedding_length", 1 << 20, &["embedding_length"], most),
        ("feed_forward_length", 0, &["feed_forward_length"], most),
        ("context_length", 0, &["context_length"], most),
        ("rope.dimension_count", 7, &["rope.dimension_count"], "7 of 8"),
    ] {
        let text = refused(key, Field::U32(value));
        assert_eq!(text.matches(says).count(), 1, "{key}: {text}");
        for name in names {
            assert!(text.contains(&format!("llama.{name} ")), "{key}: {text}");
        }
        // A figure too large to go on with has no offset: no spec was made of it.
        assert!(value == u32::MAX || text.contains(" (at byte "), "{key}: {text}");
    }
    let missing = GgufFixture::new("llama").without("block_count").weights(&llama()).refusal();
    assert!(missing.contains("llama.block_count"), "{missing}");
    let infinite = refused("rope.freq_base", Field::F32(f32::INFINITY));
    assert!(infinite.contains("llama.rope.freq_base"), "{infinite}");
}

#[test]
fn a_tokenizer_of_another_size_is_refused() {
    let tokens = |count| Field::Strs(vec!["t"; count]);
    let refused =
        GgufFixture::new("llama").plain("tokenizer.ggml.tokens", tokens(39)).weights(&llama()).refusal();
    let says = "tokenizer.ggml.tokens counts 39 tokens, the tensor token_embd.weight (at byte ";
    assert!(refused.contains(says) && refused.contains(") has 40 rows"), "{refused}");
    assert!(
        GgufFixture::new("llama").plain("tokenizer.ggml.tokens", tokens(40)).weights(&llama()).open().is_ok()
    );
}

#[test]
fn a_count_of_tokens_that_is_not_the_embeddings_is_refused() {
    let sized = |size| GgufFixture::new("llama").with("vocab_size", Field::U32(size)).weights(&llama());
    for size in [39, 41] {
        let refused = sized(size).refusal();
        assert!(refused.contains(&format!("llama.vocab_size counts {size} tokens")), "{refused}");
    }
    assert!(sized(40).open().is_ok());
}

#[test]
fn tensors_must_be_the_ones_of_the_architecture() {
    let mut fixture = GgufFixture::new("llama").weights(&llama());
    let place = fixture.tensors.iter().position(|tensor| tensor.0 == "blk.1.ffn_up.weight").unwrap();

    let removed = fixture.tensors.remove(place);
    let text = fixture.refusal();
    assert!(text.contains("blk.1.ffn_up.weight (48 x 32) is missing"), "{text}");

    fixture.tensors.push((removed.0.clone(), vec![48, 32], 0, removed.3.clone()));
    let text = fixture.refusal();
    assert!(text.contains("tensor blk.1.ffn_up.weight (at byte "), "{text}");
    assert!(text.contains(") has 32 rows of 48, 48 rows of 32 expected"), "{text}");

    fixture.tensors.pop();
    // iq4_nl, 18 bytes for 32 elements.
    fixture.tensors.push((removed.0.clone(), vec![32, 48], 20, vec![0; 48 * 18]));
    let text = fixture.refusal();
    assert!(text.contains("blk.1.ffn_up.weight (at byte ") && text.contains(") in iq4_nl"), "{text}");

    fixture.tensors.pop();
    fixture.tensors.push(removed);
    let text = fixture.tensor("blk.1.attn_sinks.weight", &[32], &[0.0; 32]).refusal();
    assert!(text.contains("tensor blk.1.attn_sinks.weight (at byte "), "{text}");
}
