//! How the rows of a tensor lie in a checkpoint: alone, as a part of a fused tensor, or transposed.

use slmscope_profiles::spec::DecoderSpec;
use slmscope_profiles::spec::tensors::TensorSpec;

/// Where a tensor of the spec is among the rows of one in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TensorPart {
    /// All of it.
    Whole,
    /// One of query, key and value, one behind the other.
    Qkv(usize),
    /// One of query, key and value of each head, head by head.
    QkvByHead(usize),
    /// One of gate and up, one behind the other.
    GateUp(usize),
    /// As `Whole`, stored with inputs as rows.
    Turned,
    /// As `Qkv`, stored with inputs as rows.
    TurnedQkv(usize),
    /// Square blocks, each stored with inputs as rows.
    TurnedBlocks,
}

/// How the rows of a tensor lie in the file: row `r` begins at an element and goes on in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    part: TensorPart,
    /// Elements of a row of the spec's tensor.
    columns: usize,
    /// Rows of the whole tensor in the file, counted as outputs.
    total: usize,
    /// Outputs before this part.
    first: usize,
    /// Elements of a head, or of a block.
    length: usize,
}

impl Layout {
    /// The layout of `part` of a tensor, which belongs to `layer` of `spec`.
    pub(super) fn new(
        part: TensorPart,
        layer: Option<usize>,
        spec: &DecoderSpec,
        tensor: &TensorSpec,
    ) -> Self {
        // A vector of biases is a column: one element for each output.
        let (rows, columns) = shape(tensor);
        let block = layer.and_then(|layer| spec.layers.get(layer));
        let attention = block.and_then(|block| block.mixer.attention());
        let dim = block.map_or(0, |block| block.ffn.dim as usize);
        let heads = attention.map(|a| [a.q_width(), a.kv_width(), a.kv_width()].map(|width| width as usize));
        let head_dim = attention.map_or(0, |attention| attention.head_dim as usize);
        let (first, total, length) = match (part, heads) {
            (TensorPart::Qkv(index) | TensorPart::TurnedQkv(index), Some(widths)) => {
                (widths[..index].iter().sum(), widths.iter().sum(), 0)
            }
            (TensorPart::QkvByHead(_), Some(widths)) => (0, widths.iter().sum(), head_dim),
            (TensorPart::GateUp(index), _) => (index * dim, 2 * dim, 0),
            (TensorPart::TurnedBlocks, _) => (0, rows, columns),
            _ => (0, rows, 0),
        };
        Self { part, columns, total, first, length }
    }

    /// Elements of the whole tensor in the file.
    pub(super) fn elements(&self) -> usize {
        self.total * self.columns
    }

    /// Whether a tensor of this shape can be it: lengths of 1 do not count, and blocks may be apart.
    pub(super) fn fits(&self, shape: &[u64]) -> bool {
        if matches!(self.part, TensorPart::TurnedBlocks) || self.columns == 1 {
            return true;
        }
        let shape: Vec<u64> = shape.iter().copied().filter(|&length| length != 1).collect();
        let (rows, columns) = (self.total as u64, self.columns as u64);
        match self.part {
            TensorPart::Turned | TensorPart::TurnedQkv(_) => shape == [columns, rows],
            _ => shape == [rows, columns].into_iter().filter(|&length| length != 1).collect::<Vec<_>>(),
        }
    }

    /// The shape that it must have, in words.
    pub(super) fn expected(&self) -> String {
        match self.part {
            _ if self.columns == 1 => format!("[{}]", self.total),
            TensorPart::Turned | TensorPart::TurnedQkv(_) => format!("[{}, {}]", self.columns, self.total),
            _ => format!("[{}, {}]", self.total, self.columns),
        }
    }

    /// Where row `row` begins and how far its elements are apart, in elements of the file's tensor.
    pub(crate) fn run(&self, row: usize) -> (usize, usize) {
        match self.part {
            // Biases of turned matrices are not turned: with one column both are the same.
            TensorPart::Turned | TensorPart::TurnedQkv(_) => (self.first + row, self.total),
            TensorPart::QkvByHead(index) => {
                let (head, within) = (row / self.length, row % self.length);
                ((head * 3 + index) * self.length * self.columns + within * self.columns, 1)
            }
            TensorPart::TurnedBlocks => {
                let (block, output) = (row / self.length, row % self.length);
                (block * self.length * self.length + output, self.length)
            }
            TensorPart::Whole | TensorPart::Qkv(_) | TensorPart::GateUp(_) => {
                ((self.first + row) * self.columns, 1)
            }
        }
    }

    /// The first element, where all rows lie one behind the other.
    pub(crate) fn contiguous(&self) -> Option<usize> {
        let in_order = matches!(self.part, TensorPart::Whole | TensorPart::Qkv(_) | TensorPart::GateUp(_));
        (in_order
            || (self.columns == 1 && matches!(self.part, TensorPart::Turned | TensorPart::TurnedQkv(_))))
        .then_some(self.first * self.columns)
    }
}

/// Outputs and inputs of a tensor: a vector has one input.
pub(crate) fn shape(tensor: &TensorSpec) -> (usize, usize) {
    match (tensor.rows, tensor.columns) {
        (1, columns) => (columns as usize, 1),
        (rows, columns) => (rows as usize, columns as usize),
    }
}
