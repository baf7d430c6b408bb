//! `diff --floor`: how much runs of the same thing differ here, and where that is kept.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use slmscope_profiles::compare::{Floor, KnownFloor, MIN_RUNS, obstacles};
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::result::RunResult;

use super::recording::Recording;
use crate::failure::{Failure, print, print_json};

const SCHEMA: &str = "slmscope.floors/1";

/// The file is a few hundred bytes a floor.
const MAX_BYTES: u64 = 1 << 20;

/// What the file holds, and what `diff --floor --json` prints.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Floors {
    schema: String,
    floors: Vec<KnownFloor>,
}

/// Measures the floor with recordings of the same thing, and keeps it.
pub(super) fn measure(recordings: &[Recording], json: bool) -> Result<(), Failure> {
    let Some(first) = recordings.first().filter(|_| recordings.len() >= MIN_RUNS) else {
        return Err(Failure::usage(format!("--floor: name at least {MIN_RUNS} recordings of the same run")));
    };
    for other in recordings {
        let found = obstacles(&first.result, &other.result);
        if !found.is_empty() {
            return Err(super::refusal::refused(&found));
        }
    }
    let measured: Vec<KnownFloor> = super::PHASES
        .into_iter()
        .filter_map(|phase| {
            let runs: Vec<_> = recordings.iter().map(|one| one.repetitions(phase).to_vec()).collect();
            KnownFloor::new(&first.result, phase, Floor::of(&runs)?)
        })
        .collect();
    if measured.is_empty() {
        return Err(Failure::error(
            "no phase has op events in all of them, or they do not say on which machine they ran",
        ));
    }
    let path =
        path().ok_or_else(|| Failure::error("nowhere to keep the floor: set XDG_STATE_HOME or HOME"))?;
    let mut kept = read()?;
    kept.retain(|old| !measured.iter().any(|new| is_same_place(old, new)));
    kept.extend(measured.iter().cloned());
    write(&path, kept)?;
    if json {
        return print_json(&Floors { schema: SCHEMA.to_owned(), floors: measured });
    }
    for known in &measured {
        print(&format!("{}\n", describe(known)))?;
    }
    print(&format!("kept in {}; `slmscope diff A B` on this machine counts it in\n", path.display()))
}

/// The floor that was measured for `phase` of runs like `result`; `None` if none was.
pub(in crate::cli) fn known(result: &RunResult, phase: Phase) -> Result<Option<KnownFloor>, Failure> {
    Ok(read()?.into_iter().find(|known| known.holds_for(result, phase)))
}

/// `decode: runs of the same thing differ by 1.8 % (standard deviation of 4 runs of m, q8_0, on board)`.
pub(super) fn describe(known: &KnownFloor) -> String {
    let machine =
        known.machine.as_deref().or(known.cpu_model.as_deref()).unwrap_or("a machine without a name");
    format!(
        "{}: runs of the same thing differ by {} (standard deviation of {} runs of {}, {}, on {})",
        known.phase.as_str(),
        display::fine_share(known.floor.share),
        known.floor.runs,
        display::printable(&known.model),
        known.format.as_deref().unwrap_or(ABSENT),
        display::printable(machine),
    )
}

fn is_same_place(a: &KnownFloor, b: &KnownFloor) -> bool {
    let place = |known: &KnownFloor| {
        let machine = (known.machine.clone(), known.cpu_model.clone(), known.logical_cpus);
        (machine, known.threads, known.executor.clone(), known.phase)
    };
    place(a) == place(b)
}

fn path() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("slmscope/floors.json"))
}

fn read() -> Result<Vec<KnownFloor>, Failure> {
    let Some(path) = path() else { return Ok(Vec::new()) };
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::error(format!("{}: {error}", path.display()))),
    }
    let floors: Result<Floors, _> = serde_json::from_str(&text);
    let remedy = "remove it, or measure without it: --no-floor";
    floors
        .map(|found| found.floors)
        .map_err(|error| Failure::error(format!("{}: {error}; {remedy}", path.display())))
}

fn write(path: &std::path::Path, floors: Vec<KnownFloor>) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::error(format!("cannot write {}: {error}", path.display()));
    let text = serde_json::to_string_pretty(&Floors { schema: SCHEMA.to_owned(), floors })
        .map_err(|error| failed(&error))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    // Whoever reads meanwhile finds the old file or the new one.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).map_err(|error| failed(&error))
}
