//! What is refused: each error names the file, the key or tensor as the file has it, and its place.

use std::sync::atomic::AtomicBool;

use serde_json::json;
use slmscope_engine::error::LoadError;
use slmscope_engine::model::Model;
use slmscope_engine::setup;
use slmscope_engine::weights::Loading;
use slmscope_profiles::format::{KvFormat, WeightFormat};

use crate::fixture::{DirectoryFixture, directory, llama, safetensors};

#[test]
fn mixtures_of_experts_are_named_whatever_the_family() {
    for (family, key) in [
        ("llama", "num_local_experts"),
        ("mixtral", "num_local_experts"),
        ("granitemoe", "num_local_experts"),
        ("phimoe", "num_local_experts"),
        ("qwen2_moe", "num_experts"),
        ("qwen3_moe", "num_experts"),
        ("olmoe", "num_experts"),
        ("deepseek_v2", "n_routed_experts"),
        ("ernie4_5_moe", "moe_num_experts"),
    ] {
        let fixture = DirectoryFixture::llama().with("model_type", family.into());
        let refusal = fixture.with(key, 8.into()).refusal();
        let says = format!("m/config.json: mixture of experts: not supported ({key} = 8); ");
        assert!(refusal.starts_with(&says), "{refusal}");
    }
    let inner = DirectoryFixture::llama().with("model_type", "dbrx".into());
    let refusal = inner.with("ffn_config", json!({"moe_num_experts": 16})).refusal();
    assert!(refusal.contains("not supported (moe_num_experts = 16)"), "{refusal}");
    assert!(DirectoryFixture::llama().with("num_experts", 0.into()).open().is_ok());
}

#[test]
fn contradictions_name_the_keys_of_the_file_and_are_said_once() {
    for (key, value, says) in [
        (
            "num_key_value_heads",
            3,
            "num_attention_heads, num_key_value_heads: 4 query heads cannot share 3 key/value heads (layer 0)",
        ),
        (
            "num_key_value_heads",
            64,
            "num_attention_heads, num_key_value_heads: 4 query heads cannot share 64",
        ),
        ("num_attention_heads", 0, "num_attention_heads, num_key_value_heads: 0 query heads"),
        (
            "num_attention_heads",
            5,
            "hidden_size, num_attention_heads: a width of 32 is no multiple of 5 heads",
        ),
        ("max_position_embeddings", 0, "max_position_embeddings: 0 is outside 1 to "),
        ("intermediate_size", 0, "intermediate_size: 0 is outside 1 to "),
        ("num_hidden_layers", 0, "num_hidden_layers: 0 is outside 1 to "),
        ("head_dim", 5000, "head_dim, hidden_size, num_attention_heads: 5000 is outside 1 to "),
    ] {
        let error = DirectoryFixture::llama().with(key, value.into()).open().err().unwrap();
        assert!(error.to_string().starts_with(&format!("m/config.json: {says}")), "{error}");
        let causes = std::error::Error::source(&error);
        assert!(causes.is_none(), "{error}: {causes:?}");
    }
    let mut fixture = DirectoryFixture::llama();
    fixture.config.as_object_mut().unwrap().remove("max_position_embeddings");
    assert!(fixture.refusal().contains("has no max_position_embeddings or "), "{}", fixture.refusal());
}

#[test]
fn tensors_are_refused_in_the_file_that_has_them() {
    let extra = DirectoryFixture::llama().and("model.layers.0.foo", "F32", &[2], 8).refusal();
    assert!(extra.starts_with("m/model.safetensors: tensor model.layers.0.foo (at byte "), "{extra}");

    let mut fixture = DirectoryFixture::llama();
    let norm = fixture.tensor("model.norm.weight");
    (norm.1, norm.3) = ("F64", vec![0; 32 * 8]);
    let refusal = fixture.refusal();
    assert!(refusal.starts_with("m/model.safetensors: tensor model.norm.weight (at byte "), "{refusal}");
    assert!(refusal.contains(") of type F64 is not supported"), "{refusal}");

    let mut fixture = DirectoryFixture::llama();
    fixture.tensors.retain(|tensor| tensor.0 != "model.layers.0.mlp.up_proj.weight");
    let says = "m/model.safetensors: tensor model.layers.0.mlp.up_proj.weight (48 x 32) is missing";
    assert!(fixture.refusal().starts_with(says), "{}", fixture.refusal());
}

#[test]
fn a_missing_shard_or_tensor_is_the_indexs_affair() {
    let fixture = DirectoryFixture::llama();
    let (first, second) = fixture.tensors.split_at(5);
    let mut map: serde_json::Map<_, _> =
        first.iter().map(|tensor| (tensor.0.clone(), "a.safetensors".into())).collect();
    map.extend(second.iter().map(|tensor| (tensor.0.clone(), "b.safetensors".into())));
    let index = json!({"weight_map": map}).to_string().into_bytes();
    let config = ("config.json", fixture.config.to_string().into_bytes());
    let index = ("model.safetensors.index.json", index);
    let (a, b) = (("a.safetensors", safetensors(first)), ("b.safetensors", safetensors(second)));
    assert!(directory(&[config.clone(), index.clone(), a.clone(), b.clone()], None).is_ok());
    let missing = directory(&[config, index.clone(), a.clone()], None).err().unwrap().to_string();
    let says = "the checkpoint has no b.safetensors, which m/model.safetensors.index.json names";
    assert!(missing.starts_with(says), "{missing}");

    let more = fixture.with("num_hidden_layers", 3.into());
    let files = [("config.json", more.config.to_string().into_bytes()), index, a, b];
    let missing = directory(&files, None).err().unwrap().to_string();
    let says = "m/model.safetensors.index.json: tensor model.layers.2.input_layernorm.weight ";
    assert!(missing.starts_with(says), "{missing}");
}

/// The error that loading gives, as people read it.
fn load_error(model: &Model) -> String {
    let never = AtomicBool::new(false);
    let loaded = model.load(8, &setup::native(), &mut Loading::new(&never, &mut |_, _| ()));
    loaded.err().expect("it is refused").to_string()
}

#[test]
fn numbers_that_are_none_are_told_under_the_names_of_the_file() {
    let wild = |fixture: &mut DirectoryFixture, name: &str, format| {
        fixture.tensor(name).3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        load_error(&fixture.open_in(format).unwrap())
    };
    let name = "model.layers.0.mlp.up_proj.weight";
    let error = wild(&mut DirectoryFixture::llama(), name, None);
    assert!(
        error.starts_with(&format!("m/model.safetensors: tensor {name}: the number at byte ")),
        "{error}"
    );
    let error = wild(&mut DirectoryFixture::llama(), name, Some(WeightFormat::Q8_0));
    let says = format!("m/model.safetensors: tensor {name}: element 0 of row 0 is NaN");
    assert!(error.starts_with(&says), "{error}");

    // Part of a tensor, read where it lies.
    let mut fixture = DirectoryFixture::llama().with("model_type", "phi3".into());
    let (qkv, gate_up) =
        ("model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.mlp.gate_up_proj.weight");
    let fused = |ours: &str| match ours {
        "blk.0.attn_q.weight" | "blk.0.attn_k.weight" | "blk.0.attn_v.weight" => qkv.to_owned(),
        "blk.0.ffn_gate.weight" | "blk.0.ffn_up.weight" => gate_up.to_owned(),
        other => crate::fixture::llama_name(other),
    };
    let mut spec = llama();
    spec.layers.truncate(1);
    fixture = DirectoryFixture::new(fixture.config, &spec, fused).with("num_hidden_layers", 1.into());
    assert!(fixture.open().is_ok());
    let error = wild(&mut fixture, qkv, None);
    assert!(
        error.contains(&format!("tensor {qkv} (read as blk.0.attn_q.weight): the number at byte ")),
        "{error}"
    );
}

#[test]
fn synthetic_models_speak_of_the_spec() {
    let mut spec = llama();
    spec.hidden = 0;
    let error = Model::synthetic(spec, WeightFormat::F32, 3, KvFormat::F32).err().unwrap();
    assert!(matches!(error, LoadError::Spec { .. }));
    assert!(error.to_string().starts_with("synthetic model: hidden: 0 is outside 1 to "), "{error}");
}
