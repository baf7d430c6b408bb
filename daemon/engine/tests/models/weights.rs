//! Weights of a file: damaged ones, and those that are kept in another format than the file's.

use std::sync::atomic::AtomicBool;

use slmscope_engine::setup;
use slmscope_engine::weights::Loading;

use crate::gguf_builder::Field;
use crate::{GgufFixture, llama, logits};

/// The error that loading gives, as people read it.
fn load_error(fixture: &GgufFixture) -> String {
    let never = AtomicBool::new(false);
    match fixture.open().unwrap().load(8, &setup::native(), &mut Loading::new(&never, &mut |_, _| ())) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn numbers_that_are_none_are_found_while_loading() {
    for (name, at) in [("blk.1.attn_norm.weight", 5), ("output_norm.weight", 31), ("token_embd.weight", 1279)]
    {
        for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut fixture = GgufFixture::new("llama").weights(&llama());
            let tensor = fixture.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
            tensor.3[4 * at..][..4].copy_from_slice(&wild.to_le_bytes());
            let text = load_error(&fixture);
            let says = format!("is {wild}, a finite number is expected");
            assert!(text.contains(&format!("tensor {name}: the number at byte ")), "{text}");
            assert!(text.contains(&says), "{text}");
        }
    }
    let mut fixture = GgufFixture::new("llama").weights(&llama());
    let tensor = fixture.tensors.iter_mut().find(|tensor| tensor.0 == "blk.0.attn_q.weight").unwrap();
    // q4_0: 18 bytes for 32 elements, the scale first.
    (tensor.2, tensor.3) = (2, vec![0; 32 * 18]);
    let mut right = GgufFixture { tensors: fixture.tensors.clone(), ..GgufFixture::new("llama") };
    assert!(logits(&right.open().unwrap()).iter().all(|logit| logit.is_finite()));
    let tensor = right.tensors.iter_mut().find(|tensor| tensor.0 == "blk.0.attn_q.weight").unwrap();
    tensor.3[7 * 18..][..2].copy_from_slice(&[0, 0xfc]);
    let text = load_error(&right);
    assert!(text.contains("blk.0.attn_q.weight: the scale at byte ") && text.contains("is -inf"), "{text}");
}

/// Blocks of one scale and `quants` numbers: what `block` makes of scale and quants, one behind the other.
fn blocks(count: usize, quants: usize, block: impl Fn(f32, &[i8]) -> Vec<u8>) -> Vec<u8> {
    let of = |index: usize| {
        let quants: Vec<_> = (0..quants).map(|at| ((index * 37 + at * 11) % 255) as u8 as i8).collect();
        // Exact in f16.
        block((index % 7 + 1) as f32 / 2048.0, &quants)
    };
    (0..count).flat_map(of).collect()
}

fn bytes_of(quants: &[i8]) -> Vec<u8> {
    quants.iter().map(|quant| quant.cast_unsigned()).collect()
}

#[test]
fn q8_1_is_kept_in_q8_0_to_the_bit() {
    let half = |scale: f32| half::f16::from_f32(scale).to_le_bytes();
    let q8_0 = |scale: f32, quants: &[i8]| [&half(scale)[..], &bytes_of(quants)].concat();
    // The sum is not read.
    let q8_1 = |scale: f32, quants: &[i8]| [&half(scale)[..], &[0xff; 2], &bytes_of(quants)].concat();
    let mut fixture = GgufFixture::new("llama").weights(&llama());
    // Query, key and value of the first layer in one tensor; 64 rows of one block.
    fixture
        .tensors
        .retain(|(name, ..)| !["q", "k", "v"].map(|part| format!("blk.0.attn_{part}.weight")).contains(name));
    let stored = |kind: u32, data: Vec<u8>| {
        let qkv = ("blk.0.attn_qkv.weight".to_owned(), vec![32, 64], kind, data);
        GgufFixture { tensors: [fixture.tensors.clone(), vec![qkv]].concat(), ..GgufFixture::new("llama") }
    };
    let plain = stored(8, blocks(64, 32, q8_0)).open().unwrap();
    let mut with_sums = stored(9, blocks(64, 32, q8_1));
    let kept = with_sums.open().unwrap();
    assert_eq!(kept.plan().tensors, plain.plan().tensors);
    assert_eq!(logits(&kept), logits(&plain));
    assert!(plain.notes().is_empty());
    assert_eq!(kept.notes(), ["tensors in q8_1 that are kept in q8_0, without loss: 3"]);

    with_sums.tensors.last_mut().unwrap().3[40 * 36..][..2].copy_from_slice(&[0, 0x7c]);
    let text = load_error(&with_sums);
    assert!(
        text.contains("tensor blk.0.attn_k.weight: the scale at byte ") && text.contains("is inf"),
        "{text}"
    );
}

#[test]
fn q8_k_is_kept_in_f32() {
    let q8_k =
        |scale: f32, quants: &[i8]| [&scale.to_le_bytes()[..], &bytes_of(quants), &[0xff; 32]].concat();
    let f32s = |scale: f32, quants: &[i8]| {
        quants.iter().flat_map(|&quant| (scale * f32::from(quant)).to_le_bytes()).collect()
    };
    let mut spec = llama();
    spec.layers.iter_mut().for_each(|layer| layer.ffn.dim = 512);
    let fixture = || GgufFixture::new("llama").with("feed_forward_length", Field::U32(512)).weights(&spec);
    let stored = |kind: u32, data: Vec<u8>| {
        let mut fixture = fixture();
        let down = fixture.tensors.iter_mut().find(|tensor| tensor.0 == "blk.1.ffn_down.weight").unwrap();
        (down.2, down.3) = (kind, data);
        fixture
    };
    // 32 rows of two blocks.
    let plain = stored(0, blocks(64, 256, f32s)).open().unwrap();
    let mut quantized = stored(15, blocks(64, 256, q8_k));
    let kept = quantized.open().unwrap();
    assert_eq!(kept.plan().tensors, plain.plan().tensors);
    assert_eq!(logits(&kept), logits(&plain));
    assert_eq!(kept.notes(), ["tensors in q8_K that are kept in f32, without loss: 1"]);

    let down = quantized.tensors.iter_mut().find(|tensor| tensor.0 == "blk.1.ffn_down.weight").unwrap();
    down.3[3 * 292..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let text = load_error(&quantized);
    assert!(text.contains("tensor blk.1.ffn_down.weight: element 256 of row 1 is NaN"), "{text}");
}
