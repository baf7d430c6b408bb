//! The folder of a sweep.
//!
//! ```text
//! plan.json            what runs; written before anything runs
//! points/0007-1.mcap   point 7, round 1: the session; has its name once it is whole
//! points/0007-1.json   what became of it; written last
//! table.csv, table.parquet, table.json
//! ```
//!
//! Each file is written under another name, which begins with a dot, and gets its own by one rename: whoever is killed at
//! any moment leaves whole files, and those of another name, which the next one replaces. A session whose `.json` is
//! missing is read, and its result is what became of it: no run that is on the disk is done again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use slmscope_exports::recording::Reader;
use slmscope_exports::session::Session;
use slmscope_profiles::campaign::{OUTCOME_SCHEMA, Outcome, PointRun, SWEEP_SCHEMA, SweepPlan};
use slmscope_profiles::totals::saturating_sum;

use crate::failure::Failure;

const PLAN: &str = "plan.json";
const POINTS: &str = "points";

/// What changes a folder.
pub(super) trait Disk {
    /// Writes a file and waits until it is on the disk.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in place of what has it.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The real one.
#[derive(Debug, Clone, Copy)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
}

/// An open folder, which no other sweep can open meanwhile.
pub(super) struct SweepFolder<D> {
    path: PathBuf,
    pub(super) disk: D,
    /// Holds the lock.
    _plan: File,
}

impl<D: Disk> SweepFolder<D> {
    /// Opens the folder of `plan`, and makes it if it is not there.
    ///
    /// # Errors
    /// If it is that of another sweep or something else, another process uses it, or it cannot be written.
    pub(super) fn open(path: &Path, plan: &SweepPlan, mut disk: D) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", path.display()));
        let plan_file = path.join(PLAN);
        if let Some(kept) = read_plan(&plan_file)? {
            if let Some(difference) = kept.difference(plan) {
                let problem = format!("it holds another sweep: {difference}");
                return Err(failed(&format!("{problem}; name another folder with --output")));
            }
        } else {
            if is_foreign(path).map_err(|error| failed(&error))? {
                let problem = "it is there and holds no sweep; name another folder with --output";
                return Err(failed(&problem));
            }
            fs::create_dir_all(path).map_err(|error| failed(&error))?;
            let text = serde_json::to_string_pretty(plan).map_err(|error| failed(&error))?;
            put(&mut disk, &plan_file, text.as_bytes()).map_err(|error| failed(&error))?;
        }
        fs::create_dir_all(path.join(POINTS)).map_err(|error| failed(&error))?;
        let lock = File::open(&plan_file).map_err(|error| failed(&error))?;
        if lock.try_lock().is_err() {
            return Err(failed(&"another sweep writes into it; wait for its end"));
        }
        Ok(Self { path: path.to_owned(), disk, _plan: lock })
    }

    /// What became of the runs that have ended, in the order of the plan.
    ///
    /// # Errors
    /// If a file cannot be read, or was changed by somebody else.
    pub(super) fn outcomes(&mut self, plan: &SweepPlan) -> Result<Vec<Outcome>, Failure> {
        let found = plan.runs().into_iter().map(|run| self.outcome(run));
        found.filter_map(Result::transpose).collect()
    }

    fn outcome(&mut self, run: PointRun) -> Result<Option<Outcome>, Failure> {
        let path = self.file(run, "json");
        let failed = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", path.display()));
        match fs::read(&path) {
            Ok(bytes) => {
                let outcome: Outcome = serde_json::from_slice(&bytes).map_err(|error| {
                    failed(&format!("{error}; remove it to run this point again, or to read its session"))
                })?;
                let is_own = outcome.run == run && outcome.schema == OUTCOME_SCHEMA;
                if is_own { Ok(Some(outcome)) } else { Err(failed(&"it is not of this run; remove it")) }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.recovered(run),
            Err(error) => Err(failed(&error)),
        }
    }

    /// What became of a run whose session is whole and that was not noted.
    fn recovered(&mut self, run: PointRun) -> Result<Option<Outcome>, Failure> {
        let session = self.session(run);
        let Ok(file) = File::open(&session) else { return Ok(None) };
        let read = Reader::new(file).ok().and_then(|mut reader| Session::read(&mut reader).ok());
        let result = read.filter(|session| session.end.is_complete).and_then(|mut session| {
            let (_, run) = session.take_last_run()?;
            run.result
        });
        let Some(result) = result else { return Ok(None) };
        let took_ns = saturating_sum(result.phases.iter().map(|books| books.wall_ns));
        let outcome = Outcome::new(run, Some(result), None, took_ns);
        self.note(&outcome)?;
        Ok(Some(outcome))
    }

    /// Where the session of a run lies once it is whole.
    fn session(&self, run: PointRun) -> PathBuf {
        self.file(run, "mcap")
    }

    /// Where the session of a run lies while it is written.
    pub(super) fn unfinished(&self, run: PointRun) -> PathBuf {
        hidden(&self.session(run))
    }

    fn file(&self, run: PointRun, end: &str) -> PathBuf {
        self.path.join(POINTS).join(format!("{:04}-{}.{end}", run.point, run.round))
    }

    /// Gives the session of a run its name; without a session nothing is done.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn keep_session(&mut self, run: PointRun) -> Result<(), Failure> {
        let (from, to) = (self.unfinished(run), self.session(run));
        let failed = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", to.display()));
        if from.exists() {
            File::open(&from).and_then(|file| file.sync_data()).map_err(|error| failed(&error))?;
            self.disk.rename(&from, &to).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Removes what an unfinished run left.
    pub(super) fn drop_session(&mut self, run: PointRun) {
        let _ = fs::remove_file(self.unfinished(run));
    }

    /// Notes what became of a run.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn note(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        let path = self.file(outcome.run, "json");
        let failed = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", path.display()));
        let text = serde_json::to_vec(outcome).map_err(|error| failed(&error))?;
        put(&mut self.disk, &path, &text).map_err(|error| failed(&error))
    }

    /// Writes the table in a format.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn write_table(&mut self, extension: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.join("table").with_extension(extension);
        let failed = |error: io::Error| Failure::error(format!("{}: {error}", path.display()));
        put(&mut self.disk, &path, bytes).map_err(failed)
    }
}

/// Writes a file under a hidden name, and gives it its own.
fn put(disk: &mut impl Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = hidden(path);
    disk.write(&part, bytes)?;
    disk.rename(&part, path)
}

/// `.0007-1.mcap` for `0007-1.mcap`.
fn hidden(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}"))
}

/// The plan of a folder; `None` if it has none.
fn read_plan(path: &Path) -> Result<Option<SweepPlan>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", path.display()));
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(&error)),
    };
    let other = "it is no plan of this version; name another folder with --output";
    let plan: SweepPlan =
        serde_json::from_slice(&bytes).map_err(|error| failed(&format!("{other} ({error})")))?;
    if plan.schema == SWEEP_SCHEMA { Ok(Some(plan)) } else { Err(failed(&other)) }
}

/// Whether something is there that no interrupted sweep has left.
fn is_foreign(path: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        if name != POINTS && name.to_string_lossy() != format!(".{PLAN}") {
            return Ok(true);
        }
    }
    Ok(false)
}
