//! The report on every channel: one reading, or two where a difference is needed.
//!
//! Between the two, cheap sources are read repeatedly, to see how often they have a new value.

mod rows;

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use slmscope_profiles::channel::{ReasonCode, Sample};
use slmscope_profiles::doctor::{DoctorReport, DoctorRow, SCHEMA};

use crate::catalogue::Interface;
use crate::inventory::discover;
use crate::machine::clock::{monotonic_ns, thread_cpu_ns};
use crate::machine::reader::user;
use crate::machine::root::Root;
use crate::sampler::track::Track;
use crate::source::{Lane, Pace, Source};

pub use rows::rows;

/// Time between the two readings.
const APART: Duration = Duration::from_millis(250);

/// The limit on reading; sources that have not answered by then are absent. Discovery comes before and is not in it:
/// it takes milliseconds, half a second for each driver that hangs, and 1.2 s for NVIDIA's library if that hangs.
const BUDGET: Duration = Duration::from_millis(1900);

/// Sources that take no longer than this are read every so often in between.
const CHEAP: Duration = Duration::from_micros(200);
const OFTEN: Duration = Duration::from_millis(2);

/// Reads every channel of the machine twice, 250 ms apart; under a tree, where nothing moves, once. `worker` is
/// the process that the worker's channels are about, if one runs.
pub fn doctor(root: &Root, worker: Option<u32>) -> DoctorReport {
    let inventory = discover(root);
    inventory.worker.set(worker);
    let rounds = if root.is_live() { 2 } else { 1 };
    let samples = read(inventory.lanes, rounds);
    let now_ns = root.is_live().then(monotonic_ns);
    let mut channels = rows(&inventory.channels, &samples, now_ns);
    for (row, interface) in channels.iter_mut().zip(&inventory.interfaces) {
        name_the_error(root, row, interface);
    }
    DoctorReport {
        schema: SCHEMA.to_owned(),
        root: root.path().display().to_string(),
        user: user(),
        board: inventory.board,
        channels,
    }
}

/// A sample says that a read failed, and not how: the file is read once more for the system's words.
fn name_the_error(root: &Root, row: &mut DoctorRow, interface: &Interface) {
    let (Some(reason), Interface::File(path)) = (&mut row.reason, interface) else { return };
    if matches!(reason.code, ReasonCode::ReadError | ReasonCode::NotSupported)
        && let Some(words) = root.why_unread(path)
    {
        reason.detail = format!("/{path}: {words}");
    }
}

/// Each source has a thread: if one hangs, only its own channels have no value.
fn read(lanes: Vec<Lane>, rounds: u32) -> Vec<Sample> {
    let end = Instant::now() + BUDGET;
    let (sender, receiver) = mpsc::channel();
    for mut source in lanes.into_iter().flat_map(|lane| lane.sources) {
        let sender = sender.clone();
        let body = move || read_source(source.as_mut(), rounds, &sender);
        if let Err(error) = thread::Builder::new().name("doctor".to_owned()).spawn(body) {
            tracing::warn!(%error, "Cannot start a thread; its channels are absent.");
        }
    }
    drop(sender);
    let mut samples = Vec::new();
    while let Ok(sample) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        samples.push(sample);
    }
    samples
}

fn read_source(source: &mut dyn Source, rounds: u32, sender: &Sender<Sample>) {
    source.set_pace(Pace::Workload);
    let mut tracks: Vec<Track> =
        source.channels().into_iter().map(|channel| Track::new(channel, None)).collect();
    let begin = Instant::now();
    for round in 0..rounds {
        // Rates and shares need two readings, and the time between them.
        thread::sleep((begin + APART * round).saturating_duration_since(Instant::now()));
        let (started, cpu) = (Instant::now(), thread_cpu_ns());
        let mut values = Vec::new();
        source.read(&mut values);
        let (t_ns, cost_ns) = (monotonic_ns(), thread_cpu_ns().saturating_sub(cpu));
        let is_cheap = started.elapsed() <= CHEAP;
        let updates = tracks.iter().map(|track| (track.channel, track.update_ns()));
        let sample =
            Sample { t_ns, cost_ns, values, other_update_ns: updates.collect(), ..Sample::default() };
        if sender.send(sample).is_err() {
            return;
        }
        if is_cheap && round + 1 < rounds {
            watch(source, &mut tracks, begin + APART * (round + 1));
        }
    }
}

/// Reads the source again and again until shortly before `until`.
fn watch(source: &mut dyn Source, tracks: &mut [Track], until: Instant) {
    let mut values = Vec::new();
    while Instant::now() + OFTEN < until {
        values.clear();
        source.read(&mut values);
        let t_ns = monotonic_ns();
        for &(channel, value) in &values {
            if let Some(track) = tracks.iter_mut().find(|track| track.channel == channel) {
                track.see(t_ns, value);
            }
        }
        // Files of the kernel do not say when they change.
        thread::sleep(OFTEN);
    }
}
