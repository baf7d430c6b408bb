//! Families whose configurations or checkpoints are unlike Llama's, at small sizes of their own.

use serde_json::{Value, json};
use slmscope_engine::reader::hf::config_spec;
use slmscope_profiles::spec::{
    Activation, Attention, DecoderSpec, Gain, Mixer, Norm, NormKind, Positions, QkNorm, Rope, RopePairing,
    RopeScaling,
};

use crate::fixture::{DirectoryFixture, llama, llama_config, llama_name, means, renamed};

fn spec_of(config: &Value) -> DecoderSpec {
    config_spec("config.json", config.to_string().as_bytes()).unwrap()
}

/// The attention of every layer.
fn attentions(spec: &DecoderSpec) -> Vec<&Attention> {
    spec.layers.iter().filter_map(|layer| layer.mixer.attention()).collect()
}

#[test]
fn mobilellm_shares_its_table_whatever_the_other_key_says() {
    let mobile = |shares: bool| {
        let mut spec = llama();
        spec.head.tied = shares;
        let fixture =
            DirectoryFixture::new(llama_config(), &spec, llama_name).with("model_type", "mobilellm".into());
        let fixture = fixture.with("share_embedding", shares.into()).with("layer_sharing", false.into());
        (fixture.with("tie_word_embeddings", false.into()), spec)
    };
    let (shared, spec) = mobile(true);
    means(&shared, &spec);
    // A head that is stored all the same is not looked at.
    means(&shared.and("lm_head.weight", "F32", &[40, 32], 40 * 32 * 4), &spec);
    let (own, spec) = mobile(false);
    means(&own, &spec);
}

#[test]
fn blocks_that_run_twice_are_refused_in_every_family() {
    for family in ["mobilellm", "llama"] {
        let fixture =
            DirectoryFixture::llama().with("model_type", family.into()).with("layer_sharing", true.into());
        let says = "m/config.json: layer_sharing = true is not supported";
        assert!(fixture.refusal().starts_with(says), "{}", fixture.refusal());
    }
}

/// OpenLM at the width 48, whose feed-forwards are 256 wide.
fn open_lm() -> (DirectoryFixture, DecoderSpec) {
    let norm = Norm { kind: NormKind::Layer, eps: 1e-5, gain: Gain::Plain, bias: false };
    let mut spec = llama();
    spec.hidden = 48;
    spec.embedding.width = 48;
    spec.final_norm = Some(norm);
    spec.head.tied = false;
    for layer in &mut spec.layers {
        let rope = Positions::Rope(Rope::plain(10_000.0, 8, RopePairing::Halves));
        let attention = Attention { qk_norm: Some(QkNorm::All(norm)), ..Attention::plain(6, 6, 8, rope) };
        layer.mixer = Mixer::Attention(attention);
        (layer.attn_norm, layer.ffn_norm, layer.ffn.dim) = (norm, Some(norm), 256);
    }
    let config = json!({
        "model_type": "openlm", "dim": 48, "n_layers": 2, "n_heads": 6, "seq_len": 64, "vocab_size": 40,
        "norm_eps": 1e-5, "norm_type": "gain_only_lp_layer_norm", "apply_qk_norm": true, "weight_tying": false,
        "post_embed_norm": false, "ffn_type": "swiglu_torch", "positional_embedding_type": "rotary",
        "moe_freq": 0, "moe_num_experts": 8, "moe_top_k": 2,
    });
    (DirectoryFixture::new(config, &spec, open_lm_name), spec)
}

fn open_lm_name(ours: &str) -> String {
    renamed(
        ours,
        "model.layers",
        &[
            ("token_embd", "model.tok_embeddings"),
            ("output_norm", "model.norm"),
            ("output", "model.output"),
            ("attn_norm", "attention_norm"),
            ("attn_q", "attention.in_proj"),
            ("attn_k", "attention.in_proj"),
            ("attn_v", "attention.in_proj"),
            ("attn_q_norm", "attention.q_norm"),
            ("attn_k_norm", "attention.k_norm"),
            ("attn_output", "attention.out_proj"),
            ("ffn_norm", "ffn_norm"),
            ("ffn_gate", "feed_forward.w12"),
            ("ffn_up", "feed_forward.w12"),
            ("ffn_down", "feed_forward.w3"),
        ],
    )
}

#[test]
fn open_lm_is_read_as_dclm_needs_it() {
    let (fixture, spec) = open_lm();
    let fixture = fixture.and("model.layers.1.attention.pos_embed.inv_freq", "F32", &[4], 16);
    means(&fixture, &spec);

    // The real one, whose spec the catalogue has.
    let config = json!({
        "model_type": "openlm", "dim": 2048, "n_layers": 24, "n_heads": 16, "seq_len": 2048, "vocab_size": 50432,
        "norm_eps": 1e-5, "norm_type": "gain_only_lp_layer_norm", "apply_qk_norm": true, "weight_tying": false,
        "post_embed_norm": false, "ffn_type": "swiglu_torch", "positional_embedding_type": "rotary",
        "moe_freq": 0,
    });
    let row = slmscope_profiles::catalogue::find("dclm-1b").unwrap();
    assert_eq!(spec_of(&config), row.spec());
}

#[test]
fn a_tied_head_that_is_stored_once_more_is_not_looked_at_whatever_its_name() {
    let (untied, mut spec) = open_lm();
    spec.head.tied = true;
    let fixture = DirectoryFixture::new(untied.config, &spec, open_lm_name).with("weight_tying", true.into());
    means(&fixture, &spec);
    means(&fixture.and("model.output.weight", "F32", &[40, 48], 40 * 48 * 4), &spec);
}

#[test]
fn other_parts_of_open_lm_are_refused_by_name() {
    for (key, value) in [
        ("ffn_type", "gemma_geglu"),
        ("positional_embedding_type", "head_rotary"),
        ("norm_type", "fused_rms_norm"),
    ] {
        let refusal = open_lm().0.with(key, value.into()).refusal();
        assert!(refusal.contains(&format!("{key} = {value} is not supported")), "{refusal}");
    }
    let refusal = open_lm().0.with("moe_freq", 2.into()).refusal();
    assert!(refusal.contains("mixture of experts: not supported (moe_freq = 2)"), "{refusal}");
}

/// A Gemma 3 of seven layers, the keys of its text model, and the names of its tensors.
fn gemma3() -> (DecoderSpec, Value) {
    let norm = Norm { gain: Gain::PlusOne, ..Norm::rms(1e-6) };
    let mut spec = llama();
    (spec.final_norm, spec.embedding.scale) = (Some(norm), Some(32.0_f32.sqrt()));
    spec.layers = vec![spec.layers[0].clone(); 7];
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        (layer.attn_norm, layer.ffn_norm) = (norm, Some(norm));
        (layer.attn_post_norm, layer.ffn_post_norm) = (Some(norm), Some(norm));
        layer.ffn.activation = Activation::GeluTanh;
        let global = index == 5;
        let mut rope = Rope::plain(if global { 1e6 } else { 10_000.0 }, 8, RopePairing::Halves);
        if global {
            rope.scaling = RopeScaling::Linear { factor: 8.0 };
        }
        let attention = layer.mixer.attention_mut().unwrap();
        attention.positions = Positions::Rope(rope);
        attention.qk_norm = Some(QkNorm::Head(norm));
        attention.scale = 1.0 / 16.0;
        attention.window = (!global).then_some(3);
    }
    let text = json!({
        "model_type": "gemma3_text", "hidden_size": 32, "num_hidden_layers": 7, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 64,
        "vocab_size": 40, "sliding_window": 3, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    });
    (spec, text)
}

fn gemma3_name(ours: &str) -> String {
    match ours.rsplit_once('.').unwrap().0 {
        stem if stem.ends_with(".post_attention_norm") => {
            format!("model.layers.{}.post_attention_layernorm.weight", layer(stem))
        }
        stem if stem.ends_with(".ffn_norm") => {
            format!("model.layers.{}.pre_feedforward_layernorm.weight", layer(stem))
        }
        stem if stem.ends_with(".post_ffw_norm") => {
            format!("model.layers.{}.post_feedforward_layernorm.weight", layer(stem))
        }
        _ => llama_name(ours),
    }
}

fn layer(stem: &str) -> &str {
    stem.split('.').nth(1).unwrap()
}

#[test]
fn the_text_model_of_a_gemma3_that_sees_is_read_under_old_and_new_names() {
    let (spec, text) = gemma3();
    let whole = json!({"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 8}});
    let today = |ours: &str| gemma3_name(ours).replacen("model.", "model.language_model.", 1);
    let of_old = |ours: &str| format!("language_model.{}", gemma3_name(ours));
    for (fixture, before) in [
        (DirectoryFixture::new(whole.clone(), &spec, today), "model."),
        (DirectoryFixture::new(whole.clone(), &spec, of_old), ""),
    ] {
        let vision = format!("{before}vision_tower.vision_model.head.weight");
        let projector = format!("{before}multi_modal_projector.mm_input_projection_weight");
        let fixture = fixture.and(&vision, "F32", &[2], 8).and(&projector, "BF16", &[2], 4);
        means(&fixture, &spec);
        assert_eq!(fixture.open().unwrap().notes(), ["tensors for images, which are not read: 2"]);
        let refusal = fixture.and("audio_tower.conv.weight", "F32", &[2], 8).refusal();
        assert!(refusal.contains("tensor audio_tower.conv.weight (at byte "), "{refusal}");
    }
    // A text model alone has no business with images.
    let fixture = DirectoryFixture::new(text, &spec, gemma3_name);
    assert!(fixture.open().unwrap().notes().is_empty());
    let refusal = fixture.and("vision_tower.x", "F32", &[2], 8).refusal();
    assert!(refusal.contains("tensor vision_tower.x (at byte "), "{refusal}");
}

#[test]
fn what_a_part_leaves_out_is_the_default_of_its_class() {
    // As in the 4B's repository.
    let spec = spec_of(&json!({
        "model_type": "gemma3", "vision_config": {},
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
    }));
    assert_eq!((spec.vocab, spec.max_context, spec.layers.len()), (262_208, 131_072, 34));
    let attention = attentions(&spec)[0];
    assert_eq!((attention.q_heads, attention.kv_heads, attention.head_dim), (8, 4, 256));
    assert_eq!((attention.window, attention.scale.to_bits()), (Some(1024), (1.0_f32 / 16.0).to_bits()));
}

#[test]
fn errors_within_a_part_name_the_part() {
    let config = json!({"model_type": "gemma3", "text_config": {"hidden_size": "wide"}});
    let error = config_spec("config.json", config.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("text_config.hidden_size is the text \"wide\""), "{error}");
    let quantized = json!({"model_type": "gemma3", "text_config": {}, "quantization_config": {"bits": 4}});
    let error = config_spec("config.json", quantized.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("quantization_config"), "{error}");
}

#[test]
fn qwen1_was_trained_with_one_length_and_runs_up_to_another() {
    let qwen = |trained: Option<u32>| {
        let mut config = json!({
            "model_type": "qwen", "hidden_size": 32, "intermediate_size": 96, "num_attention_heads": 4,
            "num_hidden_layers": 2, "max_position_embeddings": 32_768, "vocab_size": 40, "kv_channels": 8,
            "layer_norm_epsilon": 1e-6, "rotary_emb_base": 10_000, "use_dynamic_ntk": true, "use_logn_attn": true,
        });
        trained.inspect(|&trained| config["seq_length"] = trained.into());
        spec_of(&config)
    };
    for (stated, trained) in [(Some(8192), 8192), (None, 32_768)] {
        let spec = qwen(stated);
        assert_eq!(spec.max_context, 32_768);
        for attention in attentions(&spec) {
            assert_eq!(attention.log_n, Some(trained));
            let Positions::Rope(rope) = &attention.positions else { panic!("it turns") };
            assert_eq!(rope.scaling, RopeScaling::DynamicNtk { trained_context: trained });
        }
    }
}

#[test]
fn dynamic_scaling_is_none_up_to_the_longest_context() {
    let scaled = |scaling: Value| DirectoryFixture::llama().with("rope_scaling", scaling);
    means(&scaled(json!({"type": "dynamic", "factor": 4.0})), &llama());
    means(&scaled(json!({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0})), &llama());
    let limit = json!({"type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 64});
    means(&scaled(limit), &llama());
    // Beyond 16 tokens these would turn otherwise, and this one at every length.
    for other in [
        json!({"type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 16}),
        json!({"type": "dynamic", "factor": 1.0, "alpha": 1000.0}),
    ] {
        let refusal = scaled(other).refusal();
        assert!(refusal.contains("rope scaling dynamic is not supported"), "{refusal}");
    }
}
