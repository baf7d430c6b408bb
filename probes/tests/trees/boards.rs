//! Trees of real machines, kept outside the repository; `SLMSCOPE_BOARDS` names their folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slmscope_probes::fdinfo::Clients;
use slmscope_probes::{Root, discover, doctor};
use slmscope_profiles::channel::Kind;
use slmscope_profiles::doctor::DoctorReport;

use crate::expected::{EXPECTED, Expectation};
use crate::tree::{check, has, reason, row, value};

fn boards() -> Option<PathBuf> {
    let folder = std::env::var_os("SLMSCOPE_BOARDS").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: SLMSCOPE_BOARDS names no folder of captured trees");
    }
    folder
}

fn report(folder: &Path, board: &str) -> DoctorReport {
    doctor(&Root::tree(&folder.join(board)).unwrap(), None)
}

#[test]
fn every_board_has_every_family_and_no_value_from_nothing() {
    let Some(folder) = boards() else { return };
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let report = doctor(&Root::tree(&path).unwrap(), None);
        check(&report);
        for row in report.channels.iter().filter(|row| row.value.is_some()) {
            // Every number comes from a file that can be read there; a product names its first factor.
            let file = row.source.split([' ']).next().unwrap().trim_start_matches('/');
            let root = Root::tree(&path).unwrap();
            assert!(root.read(file, 64).is_ok_and(|bytes| !bytes.is_empty()), "{}: {row:?}", path.display());
        }
        let values = report.channels.iter().filter(|row| row.value.is_some()).count();
        println!("{}: {values} of {} channels have a value", path.display(), report.channels.len());
    }
}

#[test]
fn every_tree_says_what_its_files_hold() {
    let Some(folder) = boards() else { return };
    for (board, rows) in EXPECTED {
        if !folder.join(board).is_dir() {
            println!("skipped: no tree `{board}`");
            continue;
        }
        let report = report(&folder, board);
        for (id, says) in *rows {
            match says {
                Expectation::Value(number) => {
                    assert_eq!(value(&report, id), Some(*number), "{board}: {id}");
                }
                Expectation::Reason(code) => {
                    assert_eq!(reason(&report, id), *code, "{board}: {id}");
                }
                Expectation::Covers(scope) => {
                    assert_eq!(row(&report, id).scope.to_string(), *scope, "{board}: {id}");
                }
                Expectation::Is(class) => {
                    assert_eq!(row(&report, id).class, *class, "{board}: {id}");
                }
                Expectation::Nothing => {
                    assert!(!has(&report, id), "{board}: {id}");
                }
            }
        }
    }
}

#[test]
fn cores_and_boards_are_recognised() {
    let Some(folder) = boards() else { return };
    let of = |board: &str| report(&folder, board).board;
    let cores =
        |board: &str| of(board).cores.into_iter().map(|kind| (kind.name, kind.cpus)).collect::<Vec<_>>();
    let names = |board: &str| cores(board).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        cores("intel-i7-1370p-arc-a380-i915"),
        [("P-core".to_owned(), (0..12).collect()), ("E-core".to_owned(), (12..20).collect::<Vec<u32>>())]
    );
    assert_eq!(
        names("arm64-snapdragon8gen2-android"),
        ["Cortex-X3", "Cortex-A715", "Cortex-A710", "Cortex-A510"]
    );
    assert_eq!(names("nvidia-gb10"), ["Cortex-X925", "Cortex-A725"]);
    assert_eq!(names("raspberry-pi-5b"), ["Cortex-A76"]);
    for (board, profile) in [
        ("jetson-agx-orin-jp5", "jetson-agx-orin"),
        ("jetson-nano-jp4-constructed", "jetson-nano"),
        ("jetson-orin-nano-jp5", "jetson-orin-nano"),
        ("jetson-orin-nano-super-jp6", "jetson-orin-nano-super"),
        ("orangepi5-rk3588s", "orange-pi-5"),
        ("raspberry-pi-4b-ups", "raspberry-pi-4"),
        ("raspberry-pi-5b", "raspberry-pi-5"),
        ("flipper-one-rk3576", "flipper-one"),
    ] {
        assert_eq!(of(board).profile.as_deref(), Some(profile), "{board}");
    }
    assert_eq!(of("jetson-orin-nano-super-jp6").memory_bytes_per_s, Some(102.4e9));
    assert_eq!(of("vm-virtualbox-2cpu").profile, None);
}

#[test]
fn clients_of_graphics_devices_count_once() {
    let Some(folder) = boards() else { return };
    let root = Root::tree(&folder.join("drm-fdinfo-samples")).unwrap();
    let all = |pids: &[u32]| {
        let mut clients = Clients::of(&root, pids).unwrap();
        clients.read().unwrap().cloned().collect::<Vec<_>>()
    };
    let one = |pid| {
        let clients = all(&[pid]);
        assert_eq!(clients.len(), 1, "{pid}");
        clients.into_iter().next().unwrap()
    };
    // Two descriptors of one client.
    assert_eq!(one(2217).engines["gfx"].busy_ns, Some(107_322_799));
    assert_eq!(one(2217).memory_bytes(), Some((2068 + 8192) * 1024));
    // The model of an integrated processor lies in the machine's memory.
    assert_eq!(one(3001).memory["gtt"].own(), Some(25_258_000 * 1024));
    let xe = one(4100);
    assert_eq!((xe.engines["ccs"].count(), xe.engines["rcs"].cycles), (4, Some(28_257_900)));
    assert_eq!(xe.memory["vram0"].own(), Some((23_992 - 16 * 1024) * 1024), "without what is shared");
    assert_eq!(one(4200).engines["video"].count(), 2);
    assert_eq!(one(4300).device, None);
    assert_eq!(one(4600).engines["csd"].busy_ns, Some(998_000_000));
    assert!(all(&[5000]).is_empty(), "no graphics device");
    assert_eq!(all(&[2217, 2217, 4600, 5000]).len(), 2, "forks share their clients");
}

#[test]
fn counters_know_their_own_ranges() {
    let Some(folder) = boards() else { return };
    let channels = discover(&Root::tree(&folder.join("intel-server-4s-smp01")).unwrap()).channels;
    let ranges: BTreeMap<_, _> = channels
        .iter()
        .filter_map(|channel| match channel.kind {
            Kind::Counter { range: Some(range) } => Some((channel.id.as_str(), range)),
            _ => None,
        })
        .collect();
    assert_eq!(ranges.get("energy.package-2"), Some(&262_143.328_85));
    assert_eq!(ranges.get("energy.dram-2"), Some(&65_712.999_613));
}
