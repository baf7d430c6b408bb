//! `slmscope doctor` as it is typed.

mod support;

use std::fs;

use serde_json::Value;
use support::{output, text};

/// A tree with two CPUs and a battery.
fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |file: &str, content: &str| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("room for it");
        fs::write(path, content).expect("room for it");
    };
    write(
        "proc/stat",
        "cpu  100 0 50 800 0 0 0 0 0 0\ncpu0 50 0 25 400 0 0 0 0 0 0\ncpu1 50 0 25 400 0 0 0 0 0 0\n",
    );
    write("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n");
    write("sys/class/power_supply/BAT0/type", "Battery\n");
    write("sys/class/power_supply/BAT0/status", "Discharging\n");
    write("sys/class/power_supply/BAT0/power_now", "5000000\n");
    write("sys/class/power_supply/BAT0/capacity", "83\n");
    folder
}

fn doctor(more: &[&str]) -> (Option<i32>, String, String) {
    let ended = output(&[&["doctor"], more].concat());
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

#[test]
fn the_summary_fits_a_screen_and_a_group_lists_its_channels() {
    let tree = tree();
    let root = tree.path().to_str().expect("a temporary folder has a plain name");
    let (code, summary, error) = doctor(&["--root", root]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{summary}");
    for word in ["can be measured", "cannot be measured", "power.board 5.00 W", "temperature", "doctor all"] {
        assert!(summary.contains(word), "{word}: {summary}");
    }
    assert!(summary.contains("battery 83 %"), "{summary}");
    let (_, group, _) = doctor(&["--root", root, "power"]);
    assert!(group.contains("power.battery.BAT0.level") && group.contains("83.0 %"), "{group}");
    assert!(!group.contains("mem.total") && !group.contains("can be measured"), "{group}");
    let (_, all, _) = doctor(&["--root", root, "all"]);
    assert!(all.contains("can be measured") && all.contains("mem.total"), "{all}");
    for shown in [summary, group, all] {
        let wide = shown.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{shown}");
    }
}

#[test]
fn what_is_required_is_judged_first_and_ends_with_exit_code_4() {
    let tree = tree();
    let root = tree.path().to_str().expect("a temporary folder has a plain name");
    let (code, shown, error) = doctor(&["--root", root, "--require", "power,temp"]);
    assert_eq!((code, error.as_str()), (Some(4), "slmscope: no reading of temp\n"), "{shown}");
    let lines: Vec<_> = shown.lines().take(3).collect();
    assert!(lines[0].contains("required") && lines[1].contains("yes") && lines[2].contains("NO"), "{shown}");
    assert_eq!(doctor(&["--root", root, "--require", "power"]).0, Some(0));
    let (code, shown, _) = doctor(&["--root", root, "--require", "power", "--json"]);
    let report: Value = serde_json::from_str(&shown).expect("one JSON object");
    assert_eq!((code, &report["schema"]), (Some(0), &"slmscope.doctor/1".into()));
}

#[test]
fn a_root_that_is_no_tree_is_refused_without_its_content() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "root:x:0:0:root:/root:/bin/bash\n".repeat(40)).expect("room for it");
    for path in [secret.as_path(), folder.path(), std::path::Path::new("/dev/zero")] {
        let path = path.to_str().expect("a temporary folder has a plain name");
        let (code, shown, error) = doctor(&["--root", path]);
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{error}");
        assert!(error.contains(path) && !error.contains("bin/bash"), "{error}");
    }
}

#[test]
fn a_capture_is_written_and_read_again() {
    let tree = tree();
    let root = tree.path().to_str().expect("a temporary folder has a plain name");
    let capture = tree.path().join("capture.tar").display().to_string();
    let (code, shown, error) = doctor(&["--root", root, "--bundle", &capture]);
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.contains("capture.tar"), "{shown}");
    let (code, shown, error) = doctor(&["--root", &capture, "power"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.contains("83.0 %"), "{shown}");
    assert_eq!(doctor(&["--bundle", &capture, "--json"]).0, Some(2));
    assert_eq!(doctor(&["mood"]).0, Some(2));
}
