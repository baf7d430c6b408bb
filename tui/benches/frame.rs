//! What the dashboard costs while it is left open. `cargo bench -p slmscope --bench frame`; ends with an error if a screen
//! takes more than 2 ms of CPU time a frame at 200×60 (2 % of a core at 10 Hz), or if a screen that does not change
//! writes anything.
//!
//! The real program in a real terminal, on a daemon that runs a small model in a loop. Read from outside: what the
//! scheduler counted for the program's threads while a screen was shown.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../tests/support/pty.rs"]
mod pty;

const ROWS: u16 = 60;
const COLUMNS: u16 = 200;
/// CPU time of a frame, at most.
const BAR: Duration = Duration::from_millis(2);
/// Frames in a second.
const FRAMES: f64 = 10.0;
/// How long each screen is measured.
const TIME: Duration = Duration::from_secs(10);
/// How long a screen has to settle once it is opened.
const SETTLES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let program = env!("CARGO_BIN_EXE_slmscope");
    let slmscope = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("SLMSCOPE_SOCKET", &socket).env("XDG_STATE_HOME", dir.path());
        command
    };
    let mut daemon = slmscope(&["daemon", "--socket", &socket.display().to_string()]).spawn().unwrap();
    while !socket.exists() {
        thread::sleep(Duration::from_millis(10));
    }
    let tiny =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens/gguf/llama-q4_0.gguf");
    let tiny = tiny.display().to_string();
    assert!(slmscope(&["submit", &tiny, "-p", "32", "-n", "64", "--loop"]).status().unwrap().success());
    let is_ok = measure(program, &socket, dir.path());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(program: &str, socket: &Path, state: &Path) -> bool {
    let (mut pty, mut child, parts) = pty::Pty::start(program.as_ref(), (ROWS, COLUMNS), |command| {
        command.current_dir(state).env("SLMSCOPE_SOCKET", socket);
        command.env("XDG_STATE_HOME", state).env("XDG_CONFIG_HOME", state);
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
    });
    let pid = child.id();
    let written = Arc::new(AtomicU64::new(0));
    let counted = written.clone();
    thread::spawn(move || {
        for part in parts {
            counted.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
    });
    let mut press = |key: &str| {
        pty.keys.write_all(key.as_bytes()).unwrap();
        thread::sleep(SETTLES);
    };
    press("");
    let mut is_ok = true;
    for screen in ["1 Live", "2 Ops", "3 Timeline", "4 Roofline", "5 Memory", "6 Hardware"] {
        press(&screen[..1]);
        let (cpu, bytes, seconds) = during(pid, &written);
        let frame = cpu.div_f64(seconds * FRAMES);
        is_ok &= frame <= BAR;
        println!(
            "{screen:<12} {:6.3} ms a frame, {:5.2} % of a core, {:8.0} bytes/s",
            frame.as_secs_f64() * 1e3,
            cpu.as_secs_f64() / seconds * 100.0,
            bytes as f64 / seconds
        );
    }
    // Frozen: nothing that is shown changes.
    press(" ");
    let (cpu, bytes, seconds) = during(pid, &written);
    let share = cpu.as_secs_f64() / seconds * 100.0;
    println!("{:<12} {share:5.2} % of a core, {bytes} bytes in {seconds:.0} s", "paused");
    is_ok &= bytes == 0;
    press("q");
    child.wait().unwrap();
    assert_eq!(pty.settings(), pty.before, "the terminal is as it was before");
    println!("bars: {BAR:?} of CPU time a frame at {COLUMNS}×{ROWS}, 0 bytes while nothing changes");
    is_ok
}

/// CPU time of the process, bytes that it wrote and seconds that passed, over [`TIME`].
fn during(pid: u32, written: &AtomicU64) -> (Duration, u64, f64) {
    let (begin, cpu, bytes) = (Instant::now(), cpu_ns(pid), written.load(Ordering::Relaxed));
    // The time that is measured.
    thread::sleep(TIME);
    let ns = cpu_ns(pid) - cpu;
    (Duration::from_nanos(ns), written.load(Ordering::Relaxed) - bytes, begin.elapsed().as_secs_f64())
}

/// CPU time of all threads of a process, ns.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap());
    let thread = |task: fs::DirEntry| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter_map(thread).sum()
}
