//! A sleeping graphics card stays asleep: the kernel counts what is opened and read.

use rustix::fs::inotify;
use slmscope_profiles::channel::{ReasonCode, Value};

use super::Board;

const DEVICE: &str = "sys/devices/pci0000:00/0000:00:03.1/0000:0b:00.0";

/// A card with its monitor, as amdgpu and xe show them.
fn card(files: &[(&str, &str)]) -> Board {
    let board = Board::new(&[]);
    for (file, text) in files {
        board.set(&format!("{DEVICE}/{file}"), text);
    }
    board.link("sys/class/drm/card0", "../../devices/pci0000:00/0000:00:03.1/0000:0b:00.0/drm/card0");
    board.link(&format!("{DEVICE}/drm/card0/device"), "../..");
    board.link(&format!("{DEVICE}/hwmon/hwmon3/device"), "../..");
    board.link("sys/class/hwmon/hwmon3", "../../devices/pci0000:00/0000:00:03.1/0000:0b:00.0/hwmon/hwmon3");
    board
}

pub(super) fn amd(status: &str, state: &str) -> Board {
    card(&[
        ("power/runtime_status", status),
        ("power_state", state),
        ("gpu_busy_percent", "40"),
        ("mem_busy_percent", "7"),
        ("mem_info_vram_used", "1000"),
        ("mem_info_gtt_used", "500"),
        ("hwmon/hwmon3/name", "amdgpu"),
        ("hwmon/hwmon3/freq1_input", "800000000"),
        ("hwmon/hwmon3/power1_average", "21000000"),
        ("hwmon/hwmon3/power1_label", "PPT"),
        ("hwmon/hwmon3/temp1_input", "44000"),
        ("hwmon/hwmon3/temp1_label", "edge"),
        ("hwmon/hwmon3/temp1_fault", "0"),
        ("hwmon/hwmon3/fan1_input", "900"),
    ])
}

/// Opens and reads of the card's files, but for those that may be read and the monitor's name, which is no
/// register.
struct Watch(rustix::fd::OwnedFd);

impl Watch {
    fn new(board: &Board) -> Self {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
        let mut folders = vec![board.path(DEVICE)];
        let mut watched = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
                let harmless =
                    ["runtime_status", "power_state", "name"].iter().any(|name| path.ends_with(name));
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && !harmless {
                    let flags = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
                    inotify::add_watch(&fd, path, flags).unwrap();
                    watched += 1;
                }
            }
        }
        assert!(watched > 3);
        Self(fd)
    }

    fn touches(&self) -> usize {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        std::iter::from_fn(|| reader.next().ok().map(|_| ())).count()
    }
}

#[test]
fn of_a_card_that_sleeps_no_file_is_opened() {
    for (status, state) in [("suspended\n", "D3cold\n"), ("suspending\n", "D0\n"), ("active\n", "D3hot\n")] {
        let board = amd(status, state);
        let watch = Watch::new(&board);
        let mut machine = board.start();
        let values = machine.read();
        machine.read();
        assert_eq!(watch.touches(), 0, "{status}");
        for id in [
            "gpu0.busy",
            "gpu0.memory_used",
            "gpu0.power",
            "gpu0.clock",
            "temp.amdgpu_edge",
            "fan.amdgpu_fan1",
        ] {
            assert_eq!(values[id], Value::Absent(ReasonCode::GatedOrAsleep), "{id}");
        }
        // Awake, the same sources read what they left alone.
        board.set(&format!("{DEVICE}/power/runtime_status"), "active\n");
        board.set(&format!("{DEVICE}/power_state"), "D0\n");
        let values = machine.read();
        assert_eq!(values["gpu0.busy"], Value::Present(0.4));
        assert_eq!(values["gpu0.memory_used"], Value::Present(1500.0));
        assert_eq!(values["gpu0.power"], Value::Present(21.0));
        assert_eq!(values["temp.amdgpu_edge"], Value::Present(44.0));
        assert!(watch.touches() > 0, "the watch sees what is read");
        // And asleep again: what is open is not read.
        board.set(&format!("{DEVICE}/power/runtime_status"), "suspended\n");
        assert_eq!(machine.read()["gpu0.busy"], Value::Absent(ReasonCode::GatedOrAsleep));
        assert_eq!(watch.touches(), 0);
    }
}

#[test]
fn a_card_is_called_the_same_asleep_and_awake() {
    let ids = |board: Board| {
        let channels = board.start().channels;
        channels.into_iter().map(|channel| channel.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(amd("suspended\n", "D3cold\n")), ids(amd("active\n", "D0\n")));
}

#[test]
fn an_intel_card_chooses_its_counter_when_it_wakes() {
    let board = card(&[
        ("power/runtime_status", "suspended\n"),
        ("tile0/gt0/freq0/act_freq", "400\n"),
        ("tile0/gt0/gtidle/idle_residency_ms", "90000\n"),
        ("hwmon/hwmon3/name", "xe"),
        ("hwmon/hwmon3/energy1_input", "0\n"),
        ("hwmon/hwmon3/energy2_input", "7000000\n"),
        ("hwmon/hwmon3/temp2_input", "50000\n"),
    ]);
    let watch = Watch::new(&board);
    let mut machine = board.start();
    assert_eq!(machine.read()["gpu0.energy"], Value::Absent(ReasonCode::GatedOrAsleep));
    assert_eq!(watch.touches(), 0);
    board.set(&format!("{DEVICE}/power/runtime_status"), "active\n");
    let values = machine.read();
    assert_eq!(values["gpu0.energy"], Value::Present(7.0));
    assert_eq!(values["gpu0.idle.time"], Value::Present(90.0));
    assert_eq!(values["gpu0.clock"], Value::Present(400e6));
    assert_eq!(values["temp.xe_pkg"], Value::Present(50.0));
    // The first counter begins to count: it has another origin, so the choice stands.
    board.set(&format!("{DEVICE}/hwmon/hwmon3/energy1_input"), "5\n");
    assert_eq!(machine.read()["gpu0.energy"], Value::Present(7.0));
}
