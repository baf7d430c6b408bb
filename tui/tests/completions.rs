//! Completions as bash makes them of the script that the program prints.

mod support;

use std::path::Path;
use std::process::Command;

use support::{output, text};

/// What is typed before Tab is pressed; the last word is completed.
const TYPED: [&str; 8] = [
    "slmscope mod",
    "slmscope --so",
    "slmscope run --over",
    "slmscope run --ig",
    "slmscope doctor --re",
    "slmscope completions ",
    "slmscope cancel --",
    "slmscope models --s",
];

/// Asks bash for the completions of each line; the script lies at `$1`.
const ASK: &str = r#"
source "$1"; shift
for line in "$@"; do
  read -ra COMP_WORDS <<<"$line"
  [ "${line: -1}" = " " ] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=()
  _slmscope slmscope "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  echo "$line"
  printf '  %s\n' "${COMPREPLY[@]}"
done
"#;

#[test]
fn completions_of_bash_are_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("slmscope");
    std::fs::write(&script, output(&["completions", "bash"]).stdout).unwrap();
    let asked = Command::new("bash").args(["--norc", "-c", ASK, "bash"]).arg(&script).args(TYPED).output();
    let Ok(asked) = asked else {
        println!("skipped: there is no bash");
        return;
    };
    let found = text(&asked.stdout);
    assert!(asked.stderr.is_empty(), "{}", text(&asked.stderr));
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pinned/completions.txt");
    if std::env::var_os("SLMSCOPE_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&stored, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&stored).unwrap_or_default();
    assert_eq!(found, expected, "read it, then set SLMSCOPE_UPDATE_SNAPSHOTS=1");
}
