//! The machine's roofs, measured before and after the measured repetitions by an engine of their own.

use std::io;
use std::time::Duration;

use slmscope_probes::hygiene::{CpuSnapshot, clock_hz};
use slmscope_probes::{Root, available_memory};
use slmscope_profiles::roofline::{RoofSample, RoofSeries, Roofs};
use slmscope_profiles::setup::Setup;
use slmscope_profiles::stats::Estimate;
use slmscope_profiles::workload::ExecutorKind;

use crate::backend::protocol::MeasureRoofs;
use crate::backend::{Backend, Command, Engine, Event, StartError};
use crate::clock::Clock;
use crate::error::with_sources;

/// Samples before the repetitions, and as many after them.
const SAMPLES: u32 = 5;
/// Time that a sample takes, ns.
const SAMPLE_NS: u64 = 100_000_000;
/// Memory that is read: far more than caches hold, and never more than a quarter of what is free.
const BUFFER_BYTES: u64 = 256 << 20;
/// A smaller buffer would measure the caches.
const MIN_BUFFER_BYTES: u64 = 32 << 20;
/// Time after which the measurement is given up.
const DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(25);
/// Polls between two readings of the clock of the CPUs, which interrupts some of them, and of what the hypervisor took:
/// 0.2 s, in which the kernel counts 20 steps a CPU.
const READ_EVERY: u32 = 8;

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
enum RoofsError {
    #[error("the run ended before the roofs were measured")]
    Stopped,
    #[error("too little memory is free to measure its bandwidth")]
    Memory,
    #[error("measuring the roofs took more than {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the engine that measured the roofs is gone")]
    Gone(#[from] io::Error),
}

/// What was measured so far.
#[derive(Default)]
pub(super) struct RoofSamples {
    samples: Vec<RoofSample>,
    /// The same by series: before the measured repetitions, and after them.
    series: Vec<RoofSeries>,
    /// What they were taken with; `None` before the first attempt.
    setup: Option<Setup>,
    /// Why some are missing.
    problem: Option<String>,
}

impl RoofSamples {
    /// Takes samples with the threads and instruction set of `setup`, until `should_stop`, on the machine under
    /// `root`. Where that fails, there are no roofs, with the reason.
    pub(super) fn measure(
        &mut self,
        backend: &dyn Backend,
        clock: &dyn Clock,
        setup: Setup,
        root: &Root,
        should_stop: impl FnMut() -> bool,
    ) {
        let setup = machine_setup(backend, setup);
        self.setup = Some(setup);
        let (mut clocks, mut snapshots) = (Vec::new(), Vec::from_iter(CpuSnapshot::take(root)));
        let mut read_clock = || {
            clocks.extend(clock_hz(root, setup.threads.get()));
            snapshots.extend(CpuSnapshot::take(root));
        };
        match measure(backend, clock, setup, available_memory(root), &mut read_clock, should_stop) {
            Ok(samples) => {
                let (steal, steal_cores) = stolen(&snapshots);
                let clock_hz = Estimate::range(&clocks);
                self.series.push(RoofSeries { clock_hz, steal, steal_cores, ..RoofSeries::of(&samples) });
                self.samples.extend(samples);
            }
            Err(error) => self.problem = Some(with_sources(&error)),
        }
    }

    /// The roofs for repetitions that ended at `now_ns`. There are none if some samples are missing.
    pub(super) fn roofs(&self, now_ns: u64) -> Roofs {
        match (&self.problem, self.setup) {
            (Some(problem), _) => Roofs::absent(problem),
            (None, Some(setup)) if !self.samples.is_empty() => {
                let mut series = self.series.iter().map(|one| Box::new(*one));
                let (before, after) = (series.next(), series.next());
                let threads = setup.threads.get() as u32;
                Roofs { before, after, ..Roofs::of(&self.samples, threads, setup.isa.name(), now_ns) }
            }
            (None, _) => Roofs::absent(&RoofsError::Stopped.to_string()),
        }
    }
}

/// What the hypervisor took between the first and the last of `snapshots`, as a share of all CPUs, and of one core from
/// each of them to the next.
fn stolen(snapshots: &[CpuSnapshot]) -> (Option<f64>, Option<Estimate>) {
    let whole = snapshots.first().zip(snapshots.last()).and_then(|(begin, end)| end.steal_share(begin));
    let part = |pair: &[CpuSnapshot]| match pair {
        [older, newer] => Some(newer.steal_share(older)? * f64::from(newer.cpus)),
        _ => None,
    };
    let parts: Vec<f64> = snapshots.windows(2).filter_map(part).collect();
    (whole, Estimate::range(&parts))
}

/// The setup that uses all that the machine can do: candle's instruction set is fixed when it is compiled.
fn machine_setup(backend: &dyn Backend, setup: Setup) -> Setup {
    let isa = if setup.executor == ExecutorKind::Cpu { setup.isa } else { backend.best_isa() };
    Setup { executor: ExecutorKind::Cpu, isa, ..setup }
}

fn measure(
    backend: &dyn Backend,
    clock: &dyn Clock,
    setup: Setup,
    free: Option<u64>,
    read_clock: &mut dyn FnMut(),
    should_stop: impl FnMut() -> bool,
) -> Result<Vec<RoofSample>, RoofsError> {
    let buffer_bytes = free.map_or(BUFFER_BYTES, |free| BUFFER_BYTES.min(free / 4));
    if buffer_bytes < MIN_BUFFER_BYTES {
        return Err(RoofsError::Memory);
    }
    // A process of its own: the buffer would count as the model's memory otherwise.
    let mut engine = backend.start(setup)?;
    let request = MeasureRoofs { setup, buffer_bytes, samples: SAMPLES, sample_ns: SAMPLE_NS };
    let samples = await_samples(engine.as_mut(), clock, request, read_clock, should_stop);
    engine.kill();
    samples
}

fn await_samples(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    request: MeasureRoofs,
    read_clock: &mut dyn FnMut(),
    mut should_stop: impl FnMut() -> bool,
) -> Result<Vec<RoofSample>, RoofsError> {
    let deadline_ns = clock.now_ns() + DEADLINE.as_nanos() as u64;
    engine.send(&Command::MeasureRoofs(request), &[])?;
    for poll in 1_u32.. {
        if should_stop() {
            return Err(RoofsError::Stopped);
        }
        if clock.now_ns() >= deadline_ns {
            return Err(RoofsError::Deadline);
        }
        match engine.next_event(POLL)? {
            Some(Event::Roofs(samples)) => return Ok(samples),
            Some(Event::Failed { message }) => return Err(RoofsError::Failed(message)),
            _ => {}
        }
        if poll.is_multiple_of(READ_EVERY) {
            read_clock();
        }
    }
    Err(RoofsError::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted;

    #[test]
    fn what_the_hypervisor_took_has_a_range_of_one_core() {
        let at = |ms: u64, steal_s| CpuSnapshot {
            t_ns: ms * 1_000_000,
            cpus: 4,
            busy_s: 0.0,
            steal_s,
            interrupts_s: 0.0,
            forks: None,
        };
        let (whole, cores) = stolen(&[at(0, 1.0), at(200, 1.1), at(400, 1.1), at(600, 1.3)]);
        assert!((whole.unwrap() - 0.125).abs() < 1e-9, "{whole:?}");
        let cores = cores.unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(cores.low, 0.0) && near(cores.median, 0.5) && near(cores.high, 1.0), "{cores:?}");
        assert_eq!((cores.count, cores.level), (3, None));
        assert_eq!(stolen(&[at(0, 1.0)]), (None, None), "no time passed");
        assert_eq!(stolen(&[]), (None, None));
    }

    #[test]
    fn a_machine_that_was_not_measured_completely_has_no_roofs() {
        let sample = RoofSample { at_ns: 1, read_bytes: 1.0, f32_flops: 1.0, int8_ops: 1.0 };
        let setup = scripted::token().load.setup;
        let series = vec![RoofSeries::of(&[sample])];
        let mut samples = RoofSamples { samples: vec![sample], series, setup: Some(setup), problem: None };
        let roofs = samples.roofs(3);
        assert!(roofs.before.is_some() && roofs.after.is_none());
        assert_eq!((roofs.samples, roofs.threads, roofs.age_ns, roofs.reason), (1, 1, Some(2), None));
        samples.problem = Some("gone".to_owned());
        assert_eq!(samples.roofs(3), Roofs::absent("gone"));
        assert!(RoofSamples::default().roofs(3).reason.is_some());
    }
}
