//! The element formats of ggml, with the sizes that decide where a tensor ends.

use slmscope_profiles::format::WeightFormat;

/// How the elements of a tensor are stored. All formats that ggml has numbers for, also those that no
/// executor here can run: a file is described before it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, non_camel_case_types, reason = "ggml's own names say what there is to say")]
pub enum GgmlType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    I8,
    I16,
    I32,
    I64,
    F64,
    IQ1_M,
    BF16,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
    Q1_0,
}

/// Number in files, type, name, elements per block, bytes per block. The numbers left out were taken back
/// by ggml (4, 5, 31–33, 36–38: removed layouts).
const TABLE: [(u32, GgmlType, &str, u64, u64); 34] = [
    (0, GgmlType::F32, "f32", 1, 4),
    (1, GgmlType::F16, "f16", 1, 2),
    (2, GgmlType::Q4_0, "q4_0", 32, 18),
    (3, GgmlType::Q4_1, "q4_1", 32, 20),
    (6, GgmlType::Q5_0, "q5_0", 32, 22),
    (7, GgmlType::Q5_1, "q5_1", 32, 24),
    (8, GgmlType::Q8_0, "q8_0", 32, 34),
    (9, GgmlType::Q8_1, "q8_1", 32, 36),
    (10, GgmlType::Q2_K, "q2_K", 256, 84),
    (11, GgmlType::Q3_K, "q3_K", 256, 110),
    (12, GgmlType::Q4_K, "q4_K", 256, 144),
    (13, GgmlType::Q5_K, "q5_K", 256, 176),
    (14, GgmlType::Q6_K, "q6_K", 256, 210),
    (15, GgmlType::Q8_K, "q8_K", 256, 292),
    (16, GgmlType::IQ2_XXS, "iq2_xxs", 256, 66),
    (17, GgmlType::IQ2_XS, "iq2_xs", 256, 74),
    (18, GgmlType::IQ3_XXS, "iq3_xxs", 256, 98),
    (19, GgmlType::IQ1_S, "iq1_s", 256, 50),
    (20, GgmlType::IQ4_NL, "iq4_nl", 32, 18),
    (21, GgmlType::IQ3_S, "iq3_s", 256, 110),
    (22, GgmlType::IQ2_S, "iq2_s", 256, 82),
    (23, GgmlType::IQ4_XS, "iq4_xs", 256, 136),
    (24, GgmlType::I8, "i8", 1, 1),
    (25, GgmlType::I16, "i16", 1, 2),
    (26, GgmlType::I32, "i32", 1, 4),
    (27, GgmlType::I64, "i64", 1, 8),
    (28, GgmlType::F64, "f64", 1, 8),
    (29, GgmlType::IQ1_M, "iq1_m", 256, 56),
    (30, GgmlType::BF16, "bf16", 1, 2),
    (34, GgmlType::TQ1_0, "tq1_0", 256, 54),
    (35, GgmlType::TQ2_0, "tq2_0", 256, 66),
    (39, GgmlType::MXFP4, "mxfp4", 32, 17),
    (40, GgmlType::NVFP4, "nvfp4", 64, 36),
    (41, GgmlType::Q1_0, "q1_0", 128, 18),
];

impl GgmlType {
    /// The type with this number in files. `None` for numbers that ggml does not use (any more).
    pub fn from_u32(number: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == number).map(|row| row.1)
    }

    /// Its number in files.
    pub fn as_u32(self) -> u32 {
        self.row().0
    }

    /// Its name as ggml prints it: `q4_K`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Elements that are stored together; the length of a row is a multiple of it. At least 1.
    pub fn block_size(self) -> u64 {
        self.row().3
    }

    /// Bytes that one block takes.
    pub fn type_size(self) -> u64 {
        self.row().4
    }

    /// Bytes that `elements` take. `None` if they are no whole number of blocks or the product overflows.
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        let (_, _, _, block, size) = *self.row();
        if elements.is_multiple_of(block) { (elements / block).checked_mul(size) } else { None }
    }

    /// The same format in the vocabulary of model specs. `None` for what those do not know, because no
    /// executor runs it.
    pub fn format(self) -> Option<WeightFormat> {
        WeightFormat::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(self.name()))
    }

    fn row(self) -> &'static (u32, Self, &'static str, u64, u64) {
        // The table lists the types in the order of their declaration; a test holds it to that.
        &TABLE[self as usize]
    }
}

impl From<WeightFormat> for GgmlType {
    fn from(format: WeightFormat) -> Self {
        match format {
            WeightFormat::F32 => Self::F32,
            WeightFormat::F16 => Self::F16,
            WeightFormat::Bf16 => Self::BF16,
            WeightFormat::Q4_0 => Self::Q4_0,
            WeightFormat::Q4_1 => Self::Q4_1,
            WeightFormat::Q5_0 => Self::Q5_0,
            WeightFormat::Q5_1 => Self::Q5_1,
            WeightFormat::Q8_0 => Self::Q8_0,
            WeightFormat::Q2K => Self::Q2_K,
            WeightFormat::Q3K => Self::Q3_K,
            WeightFormat::Q4K => Self::Q4_K,
            WeightFormat::Q5K => Self::Q5_K,
            WeightFormat::Q6K => Self::Q6_K,
        }
    }
}

impl std::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.1 as usize, index, "{}", row.2);
            assert_eq!(GgmlType::from_u32(row.0), Some(row.1));
        }
    }

    #[test]
    fn removed_and_unknown_numbers_are_refused() {
        for number in [4, 5, 31, 33, 36, 38, 42, u32::MAX] {
            assert_eq!(GgmlType::from_u32(number), None);
        }
    }

    #[test]
    fn every_weight_format_has_its_type_and_the_same_sizes() {
        for format in WeightFormat::ALL {
            let row = TABLE.iter().find(|row| row.1.format() == Some(format));
            let found = row.map(|row| (row.3, row.4));
            assert_eq!(found, Some((format.block_elements(), format.block_bytes())), "{format}");
            assert_eq!(GgmlType::from(format).format(), Some(format));
        }
    }

    #[test]
    fn bytes_of_counts_whole_blocks_only() {
        assert_eq!(GgmlType::Q4_K.bytes_of(512), Some(288));
        assert_eq!(GgmlType::Q4_K.bytes_of(500), None);
        assert_eq!(GgmlType::F32.bytes_of(u64::MAX), None);
    }
}
