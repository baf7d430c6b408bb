//! The loop of a sweep: each run that is not on the disk yet, one after the other.

use std::path::Path;

use slmscope_profiles::campaign::{Outcome, Point, PointRun, SweepPlan};
use slmscope_profiles::display;

use super::folder::{Disk, SweepFolder};
use crate::failure::Failure;

/// `run 5 of 24: threads 4, format q8_0; about 12 min left`.
fn announcement(
    plan: &SweepPlan,
    point: &Point,
    run: PointRun,
    (number, all): (usize, usize),
    left_ns: Option<u64>,
) -> String {
    let what = point.describe(&plan.varying);
    let what = if what.is_empty() { display::printable(&point.model).into_owned() } else { what };
    let round = if plan.schedule.rounds > 1 { format!(", round {}", run.round) } else { String::new() };
    let left = left_ns.map_or_else(String::new, |ns| format!("; about {} left", display::duration(ns)));
    format!("run {number} of {all}: {}{round}{left}", display::printable(&what))
}

/// How long `left` runs take, if they take as long as those that completed did on average; `None` before the first of them.
fn left_ns(ended: &[Outcome], left: usize) -> Option<u64> {
    let complete = ended.iter().filter(|outcome| outcome.error.is_none());
    let (count, sum) = complete
        .fold((0_u64, 0_u64), |(count, sum), outcome| (count + 1, sum.saturating_add(outcome.took_ns)));
    Some(sum.checked_div(count)?.saturating_mul(left as u64))
}

/// Runs what is missing: `run_point` measures a point, writes its session into the file that it is given, and says what
/// became of it. With `retry` runs that failed before are done again.
///
/// # Errors
/// If the folder cannot be written, or as `run_point`, whose errors end the sweep.
pub(super) fn drive<D: Disk>(
    plan: &SweepPlan,
    folder: &mut SweepFolder<D>,
    retry: bool,
    mut run_point: impl FnMut(&Point, PointRun, &Path) -> Result<Outcome, Failure>,
) -> Result<(), Failure> {
    let mut ended = folder.outcomes(plan)?;
    let is_ended =
        |run: &PointRun| ended.iter().any(|known| known.run == *run && !(retry && known.error.is_some()));
    let missing: Vec<PointRun> = plan.runs().into_iter().filter(|run| !is_ended(run)).collect();
    for (at, &run) in missing.iter().enumerate() {
        let Some(point) = plan.point(run.point) else { continue };
        let (left, all) = (missing.len() - at, plan.runs().len());
        let said = announcement(plan, point, run, (all - left + 1, all), left_ns(&ended, left));
        note_line!("slmscope: {said}");
        let outcome = if let Some(problem) = &point.problem {
            Outcome::new(run, None, Some(problem.clone()), 0)
        } else {
            let file = folder.unfinished(run);
            let outcome = run_point(point, run, &file);
            if !outcome.as_ref().is_ok_and(|outcome| outcome.error.is_none()) {
                folder.drop_session(run);
            }
            outcome?
        };
        match &outcome.error {
            Some(reason) => note_line!("slmscope:   it did not run: {}", display::printable(reason)),
            None => folder.keep_session(run)?,
        }
        folder.note(&outcome)?;
        ended.push(outcome);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::{fs, io};

    use slmscope_exports::campaign::{TableFormat, write};
    use slmscope_exports::recording::{Entry, Writer};
    use slmscope_profiles::campaign::{Sweep, Swept};
    use slmscope_profiles::model::ModelSource;
    use slmscope_profiles::result::{RunResult, RunStatus};
    use slmscope_profiles::stats::Estimate;

    use super::super::folder::RealDisk;
    use super::*;

    /// A disk that is gone after so many changes: half of the last file is written.
    struct Cut {
        left: usize,
    }

    impl Cut {
        fn spend(&mut self) -> io::Result<()> {
            self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("killed"))?;
            Ok(())
        }
    }

    impl Disk for Cut {
        fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            if let Err(killed) = self.spend() {
                fs::write(path, &bytes[..bytes.len() / 2])?;
                return Err(killed);
            }
            RealDisk.write(path, bytes)
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.spend()?;
            RealDisk.rename(from, to)
        }
    }

    /// 24 points, two of which cannot run.
    fn plan() -> SweepPlan {
        let mut sweep = Sweep::new("a test");
        for (option, values) in [("threads", "1..6"), ("kv", "f16,q8_0"), ("executor", "cpu,candle")] {
            sweep.set(option, values).unwrap();
        }
        let plan = sweep.plan().unwrap();
        assert_eq!(
            (plan.points.len(), plan.points.iter().filter(|one| one.problem.is_some()).count()),
            (24, 6)
        );
        plan
    }

    /// What a scripted engine measures of a point: the same each time.
    fn result(point: &Point) -> RunResult {
        let workload = point.workload.clone().unwrap();
        let rate = f64::from(workload.threads.unwrap()) * 10.0;
        let mut result = RunResult::failed("m", ModelSource::Synthetic, &workload, "");
        (result.status, result.error) = (RunStatus::Complete, None);
        result.run_id = Some(format!("run-{}", point.number));
        result.summary.decode_tokens_per_s = Estimate::of(&[rate]);
        result
    }

    fn recording(result: &RunResult) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        writer.write(&Entry::Result { job: 1, result: Box::new(result.clone()) }).unwrap();
        writer.finish().unwrap();
        bytes
    }

    /// Runs what is missing until the disk is gone. Notes which sessions were whole before each run, so that none of those
    /// is done again.
    fn sweep<D: Disk>(path: &Path, disk: D, runs: &mut BTreeMap<u32, usize>) -> Result<(), Failure> {
        let plan = plan();
        let mut folder = SweepFolder::open(path, &plan, disk)?;
        drive(&plan, &mut folder, false, |point, run, file| {
            let whole = path.join(format!("points/{:04}-{}.mcap", point.number, run.round));
            assert!(!whole.exists(), "point {} is on the disk and runs again", point.number);
            *runs.entry(point.number).or_default() += 1;
            let result = result(point);
            // The daemon's stream is written by this process; it is not whole where the process is killed.
            fs::write(file, recording(&result)).unwrap();
            let error = (point.number == 5).then(|| "the model does not fit".to_owned());
            if error.is_some() {
                return Ok(Outcome::new(run, None, error, 0));
            }
            Ok(Outcome::new(run, Some(Box::new(result)), None, 1_000_000_000))
        })
    }

    /// The table without what a run took.
    fn table(path: &Path) -> String {
        let plan = plan();
        let mut folder = SweepFolder::open(path, &plan, RealDisk).unwrap();
        let mut swept = Swept::of(&plan, folder.outcomes(&plan).unwrap());
        for outcome in &mut swept.outcomes {
            outcome.took_ns = 0;
        }
        let mut bytes = Vec::new();
        write(TableFormat::Csv, &swept, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_sweep_that_is_killed_at_any_write_and_resumed_gives_the_undisturbed_table() {
        let folder = tempfile::tempdir().unwrap();
        let undisturbed = folder.path().join("undisturbed");
        sweep(&undisturbed, RealDisk, &mut BTreeMap::new()).unwrap();
        let expected = table(&undisturbed);
        assert_eq!(expected.lines().count(), 25);
        assert_eq!(expected.matches("the model does not fit").count(), 1);
        // Plan, sessions and notes are some 70 changes.
        for kill_at in [0, 1, 2, 3, 4, 5, 6, 7, 11, 20, 35, 50, 66] {
            let path = folder.path().join(format!("killed-{kill_at}"));
            let mut runs = BTreeMap::new();
            assert!(sweep(&path, Cut { left: kill_at }, &mut runs).is_err(), "{kill_at}");
            sweep(&path, RealDisk, &mut runs).unwrap();
            assert_eq!(table(&path), expected, "killed at {kill_at}");
            let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.len() <= 1, "only the one that was cut: {twice:?}");
        }
    }

    #[test]
    fn a_sweep_that_is_killed_again_and_again_comes_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = BTreeMap::new();
        let kills =
            (0..100).take_while(|_| sweep(folder.path(), Cut { left: 7 }, &mut runs).is_err()).count();
        assert!((5..20).contains(&kills), "{kills}");
        assert!(table(folder.path()).contains("24,1,"));
    }

    #[test]
    fn what_failed_runs_again_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        sweep(folder.path(), RealDisk, &mut BTreeMap::new()).unwrap();
        let plan = plan();
        let mut open = SweepFolder::open(folder.path(), &plan, RealDisk).unwrap();
        let mut again = Vec::new();
        let mut run = |retry| {
            drive(&plan, &mut open, retry, |point, run, _| {
                again.push(point.number);
                Ok(Outcome::new(run, Some(Box::new(result(point))), None, 1))
            })
        };
        run(false).unwrap();
        run(true).unwrap();
        run(true).unwrap();
        assert_eq!(again, [5], "points that cannot be are not tried again");
    }

    #[test]
    fn the_folder_of_another_sweep_or_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep");
        let open = |path: &Path, plan: &SweepPlan| {
            SweepFolder::open(path, plan, RealDisk)
                .err()
                .and_then(|failure| failure.message)
                .unwrap_or_default()
        };
        let first = SweepFolder::open(&path, &plan(), RealDisk).unwrap();
        assert!(open(&path, &plan()).contains("another sweep writes into it"));
        drop(first);
        assert_eq!(open(&path, &plan()), "");
        let mut other = Sweep::new("");
        other.set("threads", "1..2").unwrap();
        let told = open(&path, &other.plan().unwrap());
        assert!(told.contains("it holds another sweep: 2 points, and not 24; name another folder"), "{told}");
        fs::write(path.join("plan.json"), "{}").unwrap();
        assert!(open(&path, &plan()).contains("plan.json: it is no plan of this version"));
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        assert!(open(folder.path(), &plan()).contains("it is there and holds no sweep"));
        assert!(open(&folder.path().join("letter.txt"), &plan()).contains("letter.txt: "));
    }

    #[test]
    fn the_time_left_is_that_of_the_runs_so_far() {
        let run = |point| PointRun { point, round: 1 };
        let plan = plan();
        let took = |point, ns| Outcome::new(run(point), Some(Box::new(result(&plan.points[0]))), None, ns);
        let ended = [took(1, 10_000_000_000), took(2, 20_000_000_000)];
        assert_eq!((left_ns(&ended, 4), left_ns(&[], 4)), (Some(60_000_000_000), None));
        let said = announcement(&plan, &plan.points[2], run(3), (3, 24), left_ns(&ended, 4));
        assert_eq!(said, "run 3 of 24: threads 1, kv q8_0, executor cpu; about 60.0 s left");
    }
}
