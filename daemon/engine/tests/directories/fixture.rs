//! Directories to be: a configuration, and tensors under the names of a family.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use slmscope_engine::clock::Monotonic;
use slmscope_engine::error::LoadError;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::setup;
use slmscope_engine::synthetic::generate;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Embedding, Ffn, Head, Layer, Mixer, Norm, Positions, Residual, Rope,
    RopePairing,
};

/// A tensor of a checkpoint: name, type, shape, bytes.
pub(crate) type Stored = (String, &'static str, Vec<u64>, Vec<u8>);

pub(crate) struct DirectoryFixture {
    pub(crate) config: Value,
    pub(crate) tensors: Vec<Stored>,
}

impl DirectoryFixture {
    /// The small llama of [`llama`] with synthetic f32 weights of seed 3.
    pub(crate) fn llama() -> Self {
        Self::new(llama_config(), &llama(), llama_name)
    }

    /// Tensors of `spec` under the names that `name` gives; those of one name are one tensor, in this order.
    pub(crate) fn new(config: Value, spec: &DecoderSpec, name: impl Fn(&str) -> String) -> Self {
        let mut tensors: Vec<Stored> = Vec::new();
        let cancel = AtomicBool::new(false);
        for tensor in spec.tensors() {
            let mut report = |_, _| ();
            let mut loading = Loading::new(&cancel, &mut report);
            let data = generate(&tensor, WeightFormat::F32, 3, &mut loading).unwrap();
            let (rows, columns) = (u64::from(tensor.rows), u64::from(tensor.columns));
            let name = name(&tensor.name);
            if let Some((_, _, shape, whole)) = tensors.iter_mut().find(|known| known.0 == name) {
                shape[0] += rows;
                whole.extend(data.as_slice());
                continue;
            }
            let shape = if rows == 1 { vec![columns] } else { vec![rows, columns] };
            tensors.push((name, "F32", shape, data.as_slice().to_vec()));
        }
        Self { config, tensors }
    }

    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    pub(crate) fn and(mut self, name: &str, dtype: &'static str, shape: &[u64], bytes: usize) -> Self {
        self.tensors.push((name.to_owned(), dtype, shape.to_vec(), vec![0; bytes]));
        self
    }

    /// The tensor of that name, to be changed.
    pub(crate) fn tensor(&mut self, name: &str) -> &mut Stored {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }

    pub(crate) fn open(&self) -> Result<Model, LoadError> {
        self.open_in(None)
    }

    /// The model with weights brought into a format.
    pub(crate) fn open_in(&self, format: Option<WeightFormat>) -> Result<Model, LoadError> {
        let weights = safetensors(&self.tensors);
        let files = [("config.json", self.config.to_string().into_bytes()), ("model.safetensors", weights)];
        directory(&files, format)
    }

    /// The error that opening gives, as people read it.
    pub(crate) fn refusal(&self) -> String {
        self.open().err().expect("it is refused").to_string()
    }
}

/// The model in these files; messages call them by their names in the folder `m`.
pub(crate) fn directory(files: &[(&str, Vec<u8>)], format: Option<WeightFormat>) -> Result<Model, LoadError> {
    let map = |(name, bytes): &(&str, Vec<u8>)| {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        ((*name).to_owned(), Arc::new(MappedFile::new(file, format!("m/{name}")).unwrap()))
    };
    let files: Vec<_> = files.iter().map(map).collect();
    Model::directory(&files, format, KvFormat::F32)
}

pub(crate) fn safetensors(tensors: &[Stored]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]}),
        );
    }
    let mut header = Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// Two layers of what every family has.
pub(crate) fn llama() -> DecoderSpec {
    let norm = Norm::rms(1e-5);
    let rope = Positions::Rope(Rope::plain(10_000.0, 8, RopePairing::Halves));
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

pub(crate) fn llama_config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64, "vocab_size": 40,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    })
}

/// What Llama's checkpoints call a tensor.
pub(crate) fn llama_name(ours: &str) -> String {
    renamed(
        ours,
        "model.layers",
        &[
            ("token_embd", "model.embed_tokens"),
            ("output_norm", "model.norm"),
            ("output", "lm_head"),
            ("attn_norm", "input_layernorm"),
            ("attn_q", "self_attn.q_proj"),
            ("attn_k", "self_attn.k_proj"),
            ("attn_v", "self_attn.v_proj"),
            ("attn_q_norm", "self_attn.q_norm"),
            ("attn_k_norm", "self_attn.k_norm"),
            ("attn_output", "self_attn.o_proj"),
            ("ffn_norm", "post_attention_layernorm"),
            ("ffn_gate", "mlp.gate_proj"),
            ("ffn_up", "mlp.up_proj"),
            ("ffn_down", "mlp.down_proj"),
        ],
    )
}

/// A name of the spec with its parts replaced by those of `names`.
pub(crate) fn renamed(ours: &str, blocks: &str, names: &[(&str, &str)]) -> String {
    let theirs = |stem: &str| names.iter().find(|(known, _)| *known == stem).unwrap().1;
    let (rest, ending) = ours.rsplit_once('.').unwrap();
    match rest.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, stem)) => format!("{blocks}.{layer}.{}.{ending}", theirs(stem)),
        None => format!("{}.{ending}", theirs(rest)),
    }
}

/// The directory means `spec`, and its weights compute what the same ones compute without files.
pub(crate) fn means(fixture: &DirectoryFixture, spec: &DecoderSpec) {
    let model = fixture.open().unwrap();
    assert_eq!(model.spec(), spec);
    let made = Model::synthetic(spec.clone(), WeightFormat::F32, 3, KvFormat::F32).unwrap();
    assert_eq!(logits(&model), logits(&made));
}

pub(crate) fn logits(model: &Model) -> Vec<f32> {
    let never = AtomicBool::new(false);
    let mut session = model.load(8, &setup::native(), &mut Loading::new(&never, &mut |_, _| ())).unwrap();
    let mut recorder = Recorder::new(session.plan().steps.len());
    session.forward(&[1, 7, 39, 0, 5], &mut recorder, &Monotonic, &never).unwrap();
    session.logits().to_vec()
}
