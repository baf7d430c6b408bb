use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use slmscope_profiles::channel::ReasonCode;

use super::*;

fn board() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("proc/stat", "cpu  300 0 0 900 50\ncpu0 300 0 0 900 50\n");
    file("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2400.0\nSerial\t\t: 10000000a1b2c3d4\n");
    file("proc/sys/kernel/hostname", "clarasdesk\n");
    file("proc/7/stat", "7 (secret) S\n");
    file("sys/firmware/devicetree/base/model", "Own Board\0");
    file("sys/devices/virtual/thermal/thermal_zone0/type", "cpu-thermal\n");
    file("sys/devices/virtual/thermal/thermal_zone0/temp", "48000\n");
    file("sys/devices/platform/psu/power_supply/b-a0:b1:c2:d3:e4:f5/type", "Battery\n");
    file("sys/devices/platform/psu/power_supply/b-a0:b1:c2:d3:e4:f5/status", "Discharging\n");
    file("sys/devices/platform/psu/power_supply/b-a0:b1:c2:d3:e4:f5/power_now", "7000000\n");
    for (link, target) in [
        ("sys/class/thermal/thermal_zone0", "../../devices/virtual/thermal/thermal_zone0"),
        (
            "sys/class/power_supply/b-a0:b1:c2:d3:e4:f5",
            "../../devices/platform/psu/power_supply/b-a0:b1:c2:d3:e4:f5",
        ),
        ("proc/device-tree", "/sys/firmware/devicetree/base"),
    ] {
        let path = dir.path().join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }
    dir
}

fn captured(dir: &tempfile::TempDir) -> (Captured, Vec<u8>) {
    let mut out = Vec::new();
    let captured = capture(&Root::tree(dir.path()).unwrap(), &mut out).unwrap();
    (captured, out)
}

fn unpacked(bytes: &[u8]) -> io::Result<tempfile::TempDir> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    unpack(file.path())
}

#[test]
fn a_capture_says_the_same_as_the_machine() {
    let dir = board();
    let (captured, bytes) = captured(&dir);
    assert!(captured.files >= 6 && captured.redacted >= 3, "{captured:?}");
    let copy = unpacked(&bytes).unwrap();
    let rows = |path: &Path| {
        let report = doctor(&Root::tree(path).unwrap(), None);
        let rows = report.channels.into_iter().map(|row| (row.quantity, row.unit, row.value, row.class));
        (report.board, rows.collect::<Vec<_>>())
    };
    assert_eq!(rows(copy.path()), rows(dir.path()));
    let report = doctor(&Root::tree(copy.path()).unwrap(), None);
    assert!(report.channels.iter().any(|row| row.value == Some(48.0)));
    assert!(report.channels.iter().any(|row| row.value == Some(7.0)), "{:?}", report.channels);
}

/// The user who runs the tests may be able to read all files, so the failures come from a capture's list.
#[test]
fn what_cannot_be_read_fails_alike_in_a_capture() {
    let dir = board();
    let file = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("sys/class/powercap/intel-rapl:0/name", "package-0\n");
    file("sys/class/powercap/intel-rapl:0/energy_uj", "");
    file("proc/pressure/cpu", "");
    file("sys/devices/virtual/thermal/thermal_zone1/type", "gpu-thermal\n");
    file("sys/devices/virtual/thermal/thermal_zone1/temp", "");
    symlink(
        "../../devices/virtual/thermal/thermal_zone1",
        dir.path().join("sys/class/thermal/thermal_zone1"),
    )
    .unwrap();
    fs::create_dir_all(dir.path().join("sys/kernel/debug")).unwrap();
    file(
        failed::FILE,
        "open 13 sys/class/powercap/intel-rapl:0/energy_uj\nread 95 proc/pressure/cpu\nnonsense\n\
         read 11 sys/class/thermal/thermal_zone1/temp\nopen 13 sys/kernel/debug\nread 0 proc/stat\n\
         open 13 sys/not/there\n",
    );
    let reasons = |path: &Path| {
        let report = doctor(&Root::tree(path).unwrap(), None);
        let reason = |id: &str| {
            let row = report.channels.iter().find(|row| row.id == id);
            row.unwrap_or_else(|| panic!("no {id}")).reason.as_ref().map(|reason| reason.code)
        };
        ["energy.package-0", "psi.cpu.some", "temp.gpu-thermal", "temp.cpu-thermal"].map(reason)
    };
    let expected =
        [Some(ReasonCode::Permission), Some(ReasonCode::NotSupported), Some(ReasonCode::GatedOrAsleep), None];
    assert_eq!(reasons(dir.path()), expected);
    let (captured, bytes) = captured(&dir);
    assert!(captured.failed >= 3, "{captured:?}");
    let copy = unpacked(&bytes).unwrap();
    assert_eq!(reasons(copy.path()), expected);
}

#[test]
fn a_file_that_hangs_is_left_empty_and_late_in_a_capture() {
    let dir = board();
    let never = Arc::new(Mutex::new(()));
    let held = never.lock().unwrap();
    let mut root = Root::tree(dir.path()).unwrap();
    let temp = "sys/devices/virtual/thermal/thermal_zone0/temp";
    root.stuck = (vec![temp], never.clone());
    let late = failure(&root, temp).unwrap();
    drop(held);
    assert_eq!((late.stage, late.errno), (Stage::Read, Errno::TIMEDOUT));
    let list = dir.path().join(failed::FILE);
    fs::write(list, format!("{late} sys/class/thermal/thermal_zone0/temp\n")).unwrap();
    let report = doctor(&Root::tree(dir.path()).unwrap(), None);
    let row = report.channels.iter().find(|row| row.id == "temp.cpu-thermal").unwrap();
    assert_eq!(row.reason.as_ref().unwrap().code, ReasonCode::Deadline);
}

#[test]
fn nothing_that_identifies_the_machine_is_in_it() {
    let (_, bytes) = captured(&board());
    for secret in ["10000000a1b2c3d4", "a0:b1:c2:d3:e4:f5", "clarasdesk", "secret"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[test]
fn this_machine_can_be_captured() {
    let mut out = Vec::new();
    let captured = capture(&Root::live().unwrap(), &mut out).unwrap();
    assert!(captured.files > 0);
    let copy = unpacked(&out).unwrap();
    assert!(copy.path().join("proc/stat").is_file());
}

#[test]
fn what_is_no_capture_is_refused() {
    for bytes in [&b""[..], b"neither this nor that", &[7; 2048]] {
        let error = unpacked(bytes).unwrap_err();
        assert!(error.to_string().contains("not a tar archive"), "{error}");
    }
    let mut archive = Builder::new(Vec::new());
    let mut device = header(EntryType::Char, 0o644);
    archive.append_data(&mut device, "sys/zero", io::empty()).unwrap();
    assert!(unpacked(&archive.into_inner().unwrap()).unwrap_err().to_string().contains("neither"));
}

#[test]
fn a_capture_cannot_write_outside_its_folder() {
    let target = tempfile::tempdir().unwrap();
    let mut archive = Builder::new(Vec::new());
    let mut link = header(EntryType::Symlink, 0o777);
    archive.append_link(&mut link, "sys", target.path()).unwrap();
    let mut file = header(EntryType::Regular, 0o644);
    file.set_size(4);
    archive.append_data(&mut file, "sys/evil", &b"evil"[..]).unwrap();
    assert!(unpacked(&archive.into_inner().unwrap()).is_err());
    assert!(!target.path().join("evil").exists());
}
