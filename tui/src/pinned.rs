//! Outputs that tests compare byte for byte with stored files.
//!
//! `tests/pinned/` has what commands print at 80 columns, over constructed machines and the stored run `run.json`:
//! rows of a real run with the times of a constructed machine, whose books close. A test makes the text with
//! [`terminal`] and calls [`check`]. Where a difference is meant, set `SLMSCOPE_UPDATE_SNAPSHOTS=1`, run the test again
//! and read the difference before it is committed.

use std::path::{Path, PathBuf};

use slmscope_profiles::result::RunResult;

use crate::style::Style;
use crate::width::columns;

/// Columns of the terminal that outputs are pinned for.
const COLUMNS: usize = 80;

/// A terminal of that width without colours.
pub fn terminal() -> Style {
    Style::narrow(COLUMNS)
}

fn path(file: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Compares `text` with the file `tests/pinned/name`, and asserts that it fits the terminal.
pub fn check(name: &str, text: &str) {
    compare(&Path::new("tests/pinned").join(name), text);
    let wide: Vec<_> = text.lines().filter(|line| columns(line) > COLUMNS).collect();
    assert!(wide.is_empty(), "{name} is wider than {COLUMNS} columns:\n{}", wide.join("\n"));
}

/// Compares `text` with a file of this package.
pub fn compare(file: &Path, text: &str) {
    let path = path(file);
    if std::env::var_os("SLMSCOPE_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stored, text, "{} differs; read it, then set SLMSCOPE_UPDATE_SNAPSHOTS=1", file.display());
}

/// The stored run.
pub fn run() -> RunResult {
    let text = std::fs::read_to_string(path(Path::new("tests/pinned/run.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}
