//! Memory as the survey counts it, beside which ours can be laid.
//!
//! By its section 4 and figure 11 it is the sum of what llama.cpp printed in summer 2024, at a context of 2048
//! and with Q4_K_M weights; nothing of it is the memory of a process. The rules here give figure 11 back, as
//! the tests of this file show:
//!
//! | part | rule | against figure 11 |
//! |---|---|---|
//! | weights | formats of Q4_K_M, tensor by tensor | to 0.01 MiB, or to the rounding of printed GiB; OpenELM within 1 % |
//! | KV cache | keys and values of 2048 tokens in f16 | to 0.01 MiB |
//! | compute buffer | 512 rows of logits, or the scores of 512 rows in one layer | to 12 MiB |
//! | second table | a tied embedding was loaded twice | with 5 to 12 MiB of buffers that no rule explains |

use serde::Serialize;

use super::{Row, SecondCopy};
use crate::format::WeightFormat;
use crate::spec::tensors::{EMBEDDING, Role, TensorSpec};

/// Context of the survey's runs, tokens.
const CONTEXT: u64 = 2048;
/// Rows that llama.cpp computed at once.
const ROWS: u64 = 512;

/// Bytes of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PaperMemory {
    /// A Q4_K_M file's tensors.
    pub weights: u64,
    /// Keys and values of 2048 tokens in f16.
    pub kv_cache: u64,
    /// Activations of 512 rows, logits of all of them included.
    pub compute_buffer: u64,
    /// A tied embedding's second copy.
    pub second_table: u64,
}

impl PaperMemory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache + self.compute_buffer + self.second_table
    }
}

impl Row {
    /// Memory by the survey's definition, without host buffers of 5 to 12 MiB.
    pub fn paper_memory(&self) -> PaperMemory {
        let spec = self.spec();
        let heads = u64::from(self.attention.q_heads.range().1);
        let (hidden, vocab) = (u64::from(self.hidden), u64::from(self.vocab));
        let logits = ROWS * (vocab + hidden) * 4;
        // Scores and their mask, and four activations of the stream's width.
        let scores = ROWS * (heads * CONTEXT + CONTEXT + 4 * hidden) * 4;
        PaperMemory {
            weights: self.q4_k_m(|layer| layer),
            kv_cache: spec.kv_elements_per_token() * 2 * CONTEXT,
            compute_buffer: logits.max(scores),
            second_table: if self.is_one_table() {
                let width = self.embedding.width.unwrap_or(self.hidden);
                or_fallback(WeightFormat::Q6K, width).bytes(vocab, u64::from(width))
            } else {
                0
            },
        }
    }

    /// Its GGUF file holds no head beside the embedding.
    fn is_one_table(&self) -> bool {
        self.head.tied && self.head.second_copy.is_none()
    }

    /// Bytes of a Q4_K_M file's tensors. `place` is a layer's place among the layers of the file.
    fn q4_k_m(&self, place: impl Fn(u32) -> u32) -> u64 {
        let tensors = self.spec().tensors();
        let format = |tensor: &TensorSpec| {
            let wanted = self.q4_k_m_format(tensor, &place);
            or_fallback(wanted, tensor.columns)
        };
        let head = match self.head.second_copy {
            Some(SecondCopy::Checkpoint | SecondCopy::Gguf) => {
                or_fallback(WeightFormat::Q6K, self.hidden).bytes(self.vocab.into(), self.hidden.into())
            }
            None => 0,
        };
        head + tensors.iter().map(|tensor| tensor.bytes(format(tensor))).sum::<u64>()
    }

    /// The format that Q4_K_M gives a tensor whose rows are long enough.
    fn q4_k_m_format(&self, tensor: &TensorSpec, place: impl Fn(u32) -> u32) -> WeightFormat {
        let (layer, name) = match tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, name)) => (layer.parse().unwrap_or(0), name),
            None => (0, tensor.name.as_str()),
        };
        let fused = self.attention.fused_qkv;
        match name {
            _ if tensor.role.is_small() || tensor.role == Role::Table && name != EMBEDDING => {
                WeightFormat::F32
            }
            EMBEDDING if self.is_one_table() => WeightFormat::Q6K,
            "output.weight" => WeightFormat::Q6K,
            "attn_q.weight" | "attn_k.weight" | "attn_v.weight" if fused => WeightFormat::Q5K,
            "attn_v.weight" | "ffn_down.weight" if has_more_bits(place(layer), self.layers) => {
                WeightFormat::Q6K
            }
            _ => WeightFormat::Q4K,
        }
    }
}

/// The first and last eighth of the layers, and every third between.
fn has_more_bits(layer: u32, layers: u32) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// What llama.cpp takes for rows that k-quants do not divide.
fn or_fallback(format: WeightFormat, columns: u32) -> WeightFormat {
    match format {
        _ if format.divides(columns.into()) => format,
        WeightFormat::Q4K => WeightFormat::Q5_0,
        WeightFormat::Q5K => WeightFormat::Q5_1,
        WeightFormat::Q6K => WeightFormat::Q8_0,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::find;

    struct Bar {
        row: &'static Row,
        weights: f64,
        /// Weights are printed GiB times 1000.
        rounded: bool,
        kv: f64,
        compute: f64,
        other: f64,
    }

    fn figure_11() -> Vec<Bar> {
        let text = include_str!("../../tests/data/figure11.tsv");
        let bar = |line: &str| {
            let mut fields = line.split('\t');
            let row = find(fields.next().unwrap()).unwrap();
            let [weights, kv, compute, other] = [(); 4].map(|()| fields.next().unwrap().parse().unwrap());
            let rounded = weights >= 1130.0;
            let weights = if rounded { weights * 1.024 } else { weights };
            Bar { row, weights, rounded, kv, compute, other }
        };
        text.lines().filter(|line| !line.starts_with('#')).skip(1).map(bar).collect()
    }

    fn mib(bytes: u64) -> f64 {
        bytes as f64 / f64::from(1 << 20)
    }

    #[test]
    fn figure_11_follows_from_the_rules() {
        let bars = figure_11();
        assert_eq!(bars.len(), 22);
        for Bar { row, weights, rounded, kv, compute, other } in bars {
            let ours = row.paper_memory();
            let id = &row.id;
            assert!((mib(ours.kv_cache) - kv).abs() < 0.01, "{id}: KV {} MiB, not {kv}", mib(ours.kv_cache));
            let near = match rounded {
                true => 5.2,
                false if row.family == "openelm" => weights / 100.0,
                false => 0.01,
            };
            let ours_weights = mib(ours.weights);
            assert!((ours_weights - weights).abs() < near, "{id}: weights {ours_weights} MiB, not {weights}");
            let ours_compute = mib(ours.compute_buffer);
            assert!((ours_compute - compute).abs() <= 12.0, "{id}: {ours_compute} MiB, not {compute}");
            // What printed GiB leave out of the weights, the figure has in "other".
            let lost = if rounded { weights - weights / 1.024 } else { 0.0 };
            let host = other - lost - mib(ours.second_table);
            assert!((5.0..12.5).contains(&host), "{id}: {host} MiB of host buffers");
        }
    }

    /// Why OpenELM's weights differ: its layers have widths of their own, and the files of that time counted
    /// layers in the order of their names (0, 1, 10, 11, … 2), so others got more bits.
    #[test]
    fn openelm_files_counted_layers_by_name() {
        for Bar { row, weights, rounded, .. } in figure_11() {
            if row.family != "openelm" || rounded {
                continue;
            }
            let mut names: Vec<u32> = (0..row.layers).collect();
            names.sort_by_key(u32::to_string);
            let place = |layer| names.iter().position(|&name| name == layer).unwrap() as u32;
            let ours = mib(row.q4_k_m(place));
            assert!((ours - weights).abs() < 0.01, "{}: {ours} MiB, not {weights}", row.id);
        }
    }
}
