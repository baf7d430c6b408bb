//! The models that slmscope ships descriptions of: real shapes, so that synthetic weights cost what real ones cost.
//!
//! Each file under `profiles/models/` describes one family as a list of `[[model]]` tables, whose fields
//! [`Row`] documents. What all models of the file have in common is said once, in the table `[shared]`: it is
//! merged into each of them. Unknown fields are refused when the files are read, which a test does for all.
//!
//! A new model is a new `[[model]]`; a new family is a new file and its name in the list below. Gains of norms
//! are plain, as in GGUF files, and so are the pairs that rotary positions turn.

mod build;
mod find;
mod kind;
mod paper;
mod reading;
mod row;

use std::sync::OnceLock;

pub use find::find;
pub use kind::AttentionKind;
pub use paper::PaperMemory;
pub use row::{
    AttentionRow, EmbeddingRow, FfnRow, HeadRow, LatentRow, NormRow, PerLayer, QkNormRow, RecurrentRow,
    ResidualRow, RopeRow, Row, SecondCopy, SurveyList, WindowRow,
};

/// The model that runs when none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m";

macro_rules! families {
    ($($family:literal)*) => {
        &[$(($family, include_str!(concat!("../models/", $family, ".toml")))),*]
    };
}

/// Families and their files.
#[rustfmt::skip]
const FAMILIES: &[(&str, &str)] = families!(
    "amd-llama" "bloom" "cerebras-gpt" "danube2" "danube3" "dclm" "dolly" "fox" "galactica" "gemma" "gemma2"
    "gemma3" "gpt2" "granite" "lamini-gpt" "llama3" "minicpm" "minicpm3" "minima" "minitron" "mobilellama"
    "mobilellm" "mobillama" "olmo" "openelm" "opt" "phi" "phi3" "pythia" "qwen" "qwen1.5" "qwen2" "qwen3"
    "recurrentgemma" "sheared-llama" "smollm" "smollm2" "smollm3" "stablelm" "tinyllama"
);

/// All models, by family and size.
pub fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let read = |&(family, text)| match reading::family(text) {
            Ok(rows) => rows,
            Err(error) => unreachable!("a test reads all embedded files; {family}.toml: {error}"),
        };
        FAMILIES.iter().flat_map(read).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;

    #[test]
    fn every_file_is_listed_and_says_its_family() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
        let files: HashSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        assert_eq!(files, FAMILIES.iter().map(|(family, _)| format!("{family}.toml")).collect());
        for (family, text) in FAMILIES {
            let rows = reading::family(text).unwrap_or_else(|e| panic!("{family}.toml: {e}"));
            assert!(rows.iter().all(|row| row.family == *family), "{family}.toml");
        }
    }

    /// `bloom-1b1` and `bloom-560m` differ in the size alone, so they are of one family.
    #[test]
    fn models_that_differ_in_size_alone_are_of_one_family() {
        let without_size = |id: &str| {
            let is_size = |part: &&str| {
                part.starts_with(|c: char| c.is_ascii_digit()) && part.ends_with(['m', 'b', '1'])
            };
            id.split('-').filter(|part| !is_size(part)).collect::<Vec<_>>().join("-")
        };
        let mut families = std::collections::HashMap::new();
        for row in rows() {
            let family = families.entry(without_size(&row.id)).or_insert(&row.family);
            assert_eq!(*family, &row.family, "{}", row.id);
        }
        assert!(families.len() < rows().len() - 30, "sizes are recognised: {families:?}");
    }

    #[test]
    fn every_row_is_a_valid_model_with_a_name_of_its_own() {
        let mut ids = HashSet::new();
        for row in rows() {
            assert!(ids.insert(&row.id), "{} twice", row.id);
            row.spec().validate().unwrap_or_else(|e| panic!("{}: {e}", row.id));
        }
        assert!(find(DEFAULT_MODEL).is_ok());
    }
}
