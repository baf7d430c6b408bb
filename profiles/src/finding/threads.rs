//! Engine threads against the cores there are.

use super::{FindingCode, Found, Use};
use crate::display;
use crate::hygiene::ThreadTime;
use crate::result::RunResult;
use crate::stats::median;
use crate::workload::ExecutorKind;

/// Share of the time below which a thread took no part in the work, such as one that waits for signals.
const TOOK_PART: f64 = 0.01;

/// Share of the others' CPU time below which a thread is a straggler.
const STRAGGLER_SHARE: f64 = 0.9;

/// Share of the time in which it could run by which a straggler waited longer for a CPU than the others, and the least
/// share of all time that it waited: as much as [`STRAGGLER_SHARE`] leaves.
const STRAGGLER_WAIT: f64 = 0.1;

const STRAGGLER_ADVICE: &str =
    "Something else uses its CPU: leave a core free with one thread less, or end that program.";

/// Threads and logical CPUs of a run, if both are known.
fn threads(result: &RunResult) -> Option<(u32, u32)> {
    let cpus = result.host.as_ref()?.logical_cpus;
    result.engine.threads.filter(|_| cpus > 0).map(|threads| (threads, cpus))
}

/// Too many threads: more than there are CPUs, so some wait for a CPU while the others wait for them.
pub(super) fn too_many(result: &RunResult) -> Option<Found> {
    let (threads, cpus) = threads(result).filter(|(threads, cpus)| threads > cpus)?;
    Some(
        Found::new(FindingCode::TooManyThreads, Use::Gain, 1.0 - f64::from(cpus) / f64::from(threads))
            .reason(format!("{threads} engine threads on {cpus} CPUs"))
            .figure("engine threads", f64::from(threads), "")
            .figure("CPUs", f64::from(cpus), "")
            .advice("Threads wait for each other; use at most one a core."),
    )
}

/// SMT siblings: more threads than cores, on enough CPUs, so that two of them share the arithmetic units of one core.
pub(super) fn siblings(result: &RunResult) -> Option<Found> {
    let (threads, _) = threads(result).filter(|(threads, cpus)| threads <= cpus)?;
    let cores = result.host.as_ref()?.physical_cores.filter(|&cores| cores > 0 && threads > cores)?;
    Some(
        Found::new(FindingCode::SmtSiblings, Use::Gain, 0.05)
            .reason(format!("{threads} engine threads on {cores} cores: some share the units of one core"))
            .figure("engine threads", f64::from(threads), "")
            .figure("cores", f64::from(cores), "")
            .advice(format!("Compare with --threads {cores}.")),
    )
}

/// Efficiency cores: more threads than cores of the fastest kind, so the fast ones wait for the slow ones at the end of
/// every step.
pub(super) fn efficiency_cores(result: &RunResult) -> Option<Found> {
    let (threads, cpus) = threads(result)?;
    let kinds = &result.host.as_ref()?.core_kinds;
    let [fast, others @ ..] = kinds.as_slice() else { return None };
    let is_slower = |capacity: Option<u32>| match (capacity, fast.capacity) {
        (Some(capacity), Some(fastest)) => capacity < fastest,
        (None, None) => fast.name == "P-core",
        _ => false,
    };
    let slow = others.iter().find(|kind| is_slower(kind.capacity))?;
    let fastest = fast.cpus.len() as u32;
    if fastest == 0 || threads <= fastest || threads > cpus {
        return None;
    }
    Some(
        Found::new(FindingCode::EfficiencyCores, Use::Gain, 0.1)
            .reason(format!(
                "{threads} engine threads on {fastest} CPUs of {}: the others are {}, and every step waits for the slowest",
                fast.name, slow.name
            ))
            .figure("engine threads", f64::from(threads), "")
            .figure("CPUs of the fastest kind", f64::from(fastest), "")
            .advice(format!("Compare with --threads {fastest}.")),
    )
}

/// A straggler: one engine thread waited for a CPU longer than the others; where the kernel does not report waits, one
/// that was on a CPU for less time.
pub(super) fn straggler(result: &RunResult) -> Option<Found> {
    if waits(result).is_some() { waited(result) } else { kept_off(result) }
}

/// Share of the time in which it could run that each engine thread waited for a CPU, the longest first; `None` where one
/// is not known.
pub(super) fn waits(result: &RunResult) -> Option<Vec<(f64, &str)>> {
    let took_part = result.threads.iter().filter(|thread| thread.share().is_some_and(|it| it >= TOOK_PART));
    let waits = took_part.map(|thread| Some((thread.waited()?, thread.name.as_str())));
    let mut waits: Vec<(f64, &str)> = waits.collect::<Option<_>>()?;
    waits.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    Some(waits)
}

/// One engine thread waited for a CPU for a tenth more of the time in which it could run than the others, as the scheduler
/// counts. Holds whatever else the machine does; a load that delays all threads alike makes no straggler. Where there are
/// more threads than CPUs, [`too_many`] says why they wait.
fn waited(result: &RunResult) -> Option<Found> {
    let waits = waits(result).filter(|_| too_many(result).is_none())?;
    let [(longest, name), others @ ..] = waits.as_slice() else { return None };
    let usual = median(&others.iter().map(|(share, _)| *share).collect::<Vec<f64>>())?;
    let (longest, apart) = (*longest, longest - usual);
    let is_long = |thread: &ThreadTime| {
        let waited_ns = thread.waited_ns.unwrap_or(0) as f64;
        thread.name == *name && waited_ns >= STRAGGLER_WAIT * thread.wall_ns as f64
    };
    if apart < STRAGGLER_WAIT || !result.threads.iter().any(is_long) {
        return None;
    }
    Some(
        Found::new(FindingCode::Straggler, Use::Gain, apart)
            .reason(format!(
                "thread {} waited for a CPU {} of the time it could run, the others {}: they did its part or waited \
                 for it",
                display::printable(name),
                display::rough_share(longest),
                display::rough_share(usual)
            ))
            .figure("its wait for a CPU, of the time it could run", longest, "ratio")
            .figure("median of the others", usual, "ratio")
            .advice(STRAGGLER_ADVICE),
    )
}

/// One engine thread was on a CPU for less than 90 % of what the others were, who were on theirs all the time. Threads of
/// our own executor spin between the steps of a token, so one that ran less was kept from running; those of candle sleep
/// between steps, and their times say nothing. Where the others did not run all the time either, this shows nothing.
fn kept_off(result: &RunResult) -> Option<Found> {
    if result.engine.executor != ExecutorKind::Cpu.name() {
        return None;
    }
    let shares = result.threads.iter().filter_map(|thread| Some((thread.share()?, thread.name.as_str())));
    let mut shares: Vec<(f64, &str)> = shares.filter(|(share, _)| *share >= TOOK_PART).collect();
    shares.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let [(lowest, name), others @ ..] = shares.as_slice() else { return None };
    let (lowest, others): (f64, Vec<f64>) = (*lowest, others.iter().map(|(share, _)| *share).collect());
    let usual =
        median(&others).filter(|&usual| usual >= STRAGGLER_SHARE && lowest < STRAGGLER_SHARE * usual)?;
    Some(
        Found::new(FindingCode::Straggler, Use::Gain, usual - lowest)
            .reason(format!(
                "thread {} was on a CPU {} of the time, the others {}: they did its part or waited for it",
                display::printable(name),
                display::rough_share(lowest),
                display::rough_share(usual)
            ))
            .figure("its time on a CPU", lowest, "ratio")
            .figure("median of the others", usual, "ratio")
            .advice(STRAGGLER_ADVICE),
    )
}
