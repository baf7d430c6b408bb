//! What a daemon costs that nobody looks at. `cargo bench -p slmscope-daemon --bench idle`; ends with an error
//! above 0.2 % of a core. Read from outside: what the scheduler counted for its threads over 60 s.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const BAR: f64 = 0.002;
const TIME: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_slmscoped"))
        .arg("--socket")
        .arg(dir.path().join("socket"))
        .args(["--results", "none"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // What it does once, at its start, is no cost of being idle.
    thread::sleep(Duration::from_secs(3));
    let (begin, before) = (Instant::now(), threads(daemon.id()));
    // The time that is measured: nothing is asked of the daemon in it.
    thread::sleep(TIME);
    let (wall, after) = (begin.elapsed(), threads(daemon.id()));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let mut total = 0;
    for (name, tid, ns) in &after {
        let used = ns - before.iter().find(|(_, known, _)| known == tid).map_or(0, |(.., ns)| *ns);
        total += used;
        println!("{name:16} {:8.1} µs/s", used as f64 / 1e3 / wall.as_secs_f64());
    }
    let share = total as f64 / wall.as_nanos() as f64;
    println!("idle daemon: {:.3} % of a core (at most {:.1} %)", share * 100.0, BAR * 100.0);
    if share <= BAR { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Name, id and CPU time of each thread, ns.
fn threads(pid: u32) -> Vec<(String, String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap());
    let thread = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let ns = schedstat.split(' ').next()?.parse().ok()?;
        Some((name.trim_end().to_owned(), task.file_name().to_string_lossy().into_owned(), ns))
    };
    tasks.filter_map(thread).collect()
}
