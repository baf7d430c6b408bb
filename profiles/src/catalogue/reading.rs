//! From a family's file to its rows.

use serde::Deserialize;
use toml::{Table, Value};

use super::Row;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Merged into each model.
    #[serde(default)]
    shared: Table,
    model: Vec<Table>,
}

/// The models of a family's file.
///
/// # Errors
/// If it is no TOML, or a model lacks a field, has an unknown one or one of a wrong type.
pub(super) fn family(text: &str) -> Result<Vec<Row>, toml::de::Error> {
    let File { shared, model } = toml::from_str(text)?;
    let row = |own| {
        let mut row = shared.clone();
        merge(&mut row, own);
        Row::deserialize(Value::Table(row))
    };
    model.into_iter().map(row).collect()
}

/// Writes `over` over `base`; tables that both have are merged, everything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = r#"
        [shared]
        family = "f"
        hidden = 64
        vocab = 10
        max_context = 16
        norm = { kind = "rms", eps = 1e-5 }
        attention = { q_heads = 4, kv_heads = 2, head_dim = 16 }
        ffn = { dim = 96, gated = true, activation = "silu" }
        head = { tied = true }
        facts_from = "made up"
    "#;

    fn read(model: &str) -> Result<Vec<Row>, String> {
        let head =
            "[[model]]\nhugging_face = \"o/m\"\nreleased = \"2024-01\"\npublished = \"1\"\nlayers = 2\n";
        family(&format!("{SHARED}{head}{model}")).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_model_overrides_single_fields_of_what_is_shared() {
        let rows = read("id = \"a\"\nattention = { kv_heads = 1 }").unwrap();
        let attention = &rows[0].attention;
        assert_eq!((attention.q_heads.at(1), attention.kv_heads.at(1), attention.head_dim), (4, 1, 16));
    }

    #[test]
    fn unknown_and_missing_fields_are_named() {
        assert!(read("id = \"a\"\nheads = 4").unwrap_err().contains("heads"));
        assert!(read("id = \"a\"\nattention = { heads = 4 }").unwrap_err().contains("heads"));
        let scaling = "id = \"a\"\nrope = { theta = 1.0, scaling = { linear = { factor = 2.0, x = 1 } } }";
        assert!(read(scaling).unwrap_err().contains('x'));
        assert!(read("").unwrap_err().contains("id"));
    }
}
