//! Results that are kept in folders as daemons, people and broken disks leave them.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use slmscope_profiles::model::ModelSource;
use slmscope_profiles::roofline::RoofSample;
use slmscope_profiles::workload::Workload;

use super::folder::{LAST_JOB, MAX_RESULT};
use super::*;

const LIMITS: Limits = Limits { count: 3, bytes: 1 << 20 };

/// A result of run `run` of model `m`.
fn result(run: u64) -> RunResult {
    let mut result = RunResult::failed("m", ModelSource::Gguf, &Workload::default(), "no");
    (result.status, result.error, result.run_id) = (RunStatus::Complete, None, Some(format!("{run:x}-a")));
    result
}

fn keep(results: &Results, job: JobId, uid: u32, result: &RunResult) {
    results.hold(job, uid, result.clone());
    results.keep(job, result.status.job_state());
}

fn open(folder: &tempfile::TempDir) -> Results {
    Results::in_folder(folder.path().join("state/results"), LIMITS).unwrap()
}

fn jobs(results: &Results) -> Vec<JobId> {
    results.list().iter().map(|kept| kept.job).collect()
}

#[test]
fn a_kept_result_is_found_again_by_job_run_and_age_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(&folder);
    for _ in 0..2 {
        let job = before.next_job(0);
        keep(&before, job, 7, &result(job));
    }
    drop(before);
    let after = open(&folder);
    let path = folder.path().join("state/results");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for (kept, file) in after.files() {
        assert_eq!((mode(&file), kept.uid, kept.state), (0o600, 7, JobState::Done));
        assert!(kept.bytes > 0 && kept.unix_s > 0);
    }
    for (wanted, job) in
        [(Wanted::Job(1), 1), (Wanted::Run("1-a".to_owned()), 1), (Wanted::Job(2), 2), (Wanted::Latest {}, 2)]
    {
        let found = after.get(&wanted, 7).unwrap();
        assert_eq!((found.job, *found.result), (job, result(job)), "{wanted:?}");
    }
    assert_eq!(after.next_job(0), 3, "numbers go on");
    assert!(matches!(after.get(&Wanted::Job(3), 7), Err(NoResult::Job(3))));
    assert!(matches!(after.get(&Wanted::Run("../x".to_owned()), 7), Err(NoResult::Run(_))));
}

#[test]
fn results_are_their_owners_and_roots() {
    let folder = tempfile::tempdir().unwrap();
    let results = open(&folder);
    keep(&results, 1, 7, &result(1));
    keep(&results, 2, 8, &result(2));
    assert_eq!(results.get(&Wanted::Latest {}, 7).unwrap().job, 1);
    assert!(matches!(results.get(&Wanted::Job(2), 7), Err(NoResult::NotYours { job: 2, uid: 8 })));
    assert_eq!(results.get(&Wanted::Job(2), 0).unwrap().job, 2);
    assert!(matches!(results.get(&Wanted::Latest {}, 9), Err(NoResult::None)));
}

#[test]
fn the_oldest_results_go_first_by_number_and_by_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let results = open(&folder);
    for job in 1..=5 {
        keep(&results, job, 7, &result(job));
    }
    assert_eq!(jobs(&results), [3, 4, 5]);
    let one = results.list()[0].bytes;
    let small = Results::in_folder(
        folder.path().join("state/results"),
        Limits { count: 3, bytes: 2 * one + one / 2 },
    );
    let small = small.unwrap();
    keep(&small, 6, 7, &result(6));
    assert_eq!(jobs(&small), [5, 6]);
    assert_eq!(small.next_job(0), 7, "although the counter was never stored");
}

#[test]
fn daemons_that_share_a_folder_never_give_a_number_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(&folder), open(&folder));
    let mut numbers: Vec<JobId> = std::thread::scope(|scope| {
        let take =
            |results| scope.spawn(move || (0..50).map(|_| Results::next_job(results, 0)).collect::<Vec<_>>());
        [take(&one), take(&other)].into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
}

#[test]
fn hostile_and_broken_files_are_refused_by_their_job_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let results = open(&folder);
    keep(&results, 1, 7, &result(1));
    let path = folder.path().join("state/results");
    let at = |job: u64| path.join(format!("{job}_7_done_{job}_m.json"));
    fs::write(at(2), b"{\"schema\":").unwrap();
    fs::write(at(3), "[".repeat(100_000)).unwrap();
    File::create(at(4)).unwrap().set_len(MAX_RESULT + 1).unwrap();
    symlink("/etc/passwd", at(5)).unwrap();
    fs::create_dir(at(6)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at(7),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::write(at(8), [0xff; 64]).unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    for job in 2..=8 {
        let refused = results.get(&Wanted::Job(job), 7).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("the kept result of job {job} cannot be read: ")), "{refused}");
    }
    assert_eq!(results.get(&Wanted::Job(1), 7).unwrap().job, 1);
    assert!(results.earlier_roofs(&Host::default()).is_empty());
    fs::write(path.join(LAST_JOB), "no number").unwrap();
    assert_eq!(results.next_job(0), 9);
    assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
}

#[test]
fn what_a_daemon_that_was_killed_was_writing_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/results");
    drop(open(&folder));
    // No process has this number: the kernel's largest is 2^22.
    let (abandoned, own) = (path.join(".part-9999999"), path.join(format!(".part-{}", std::process::id())));
    fs::write(&abandoned, "{").unwrap();
    fs::write(&own, "{").unwrap();
    drop(open(&folder));
    assert!(!abandoned.exists() && own.exists());
}

#[test]
fn a_folder_of_somebody_else_or_a_link_is_not_used_and_an_open_one_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    drop(Results::in_folder(path.clone(), LIMITS).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(Results::in_folder(link, LIMITS), Err(FolderError::Problem(..))));
    fs::write(folder.path().join("file"), "").unwrap();
    let under_file = Results::in_folder(folder.path().join("file/results"), LIMITS);
    assert!(matches!(under_file, Err(FolderError::Create(..))));
}

#[test]
fn without_a_folder_the_last_results_stay_in_memory_and_with_a_limit_of_none_nothing_does() {
    let results = Results::in_memory(LIMITS);
    for job in 1..=20 {
        keep(&results, job, 7, &result(job));
    }
    assert_eq!(jobs(&results), (13..=20).collect::<Vec<_>>());
    assert_eq!(results.get(&Wanted::Job(20), 7).unwrap().job, 20);
    let none = Results::in_memory(Limits { count: 0, ..LIMITS });
    none.hold(1, 7, result(1));
    assert_eq!(none.get(&Wanted::Job(1), 7).unwrap().job, 1, "while the job runs");
    none.keep(1, JobState::Done);
    assert!(none.list().is_empty());
}

#[test]
fn a_turn_that_was_cut_short_does_not_replace_a_complete_one_and_a_failure_does() {
    let results = Results::in_memory(LIMITS);
    let turn = |run, status| RunResult { status, ..result(run) };
    let shown = || results.get(&Wanted::Job(1), 7).unwrap().result.run_id.unwrap();
    results.hold(1, 7, turn(1, RunStatus::Cancelled));
    results.hold(1, 7, turn(2, RunStatus::Complete));
    results.hold(1, 7, turn(3, RunStatus::Cancelled));
    assert_eq!(shown(), "2-a");
    results.hold(1, 7, turn(4, RunStatus::Failed));
    results.keep(1, JobState::Failed);
    assert_eq!((shown(), results.list()[0].state), ("4-a".to_owned(), JobState::Failed));
}

#[test]
fn earlier_roofs_are_those_of_this_machine_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::in_folder(folder.path().join("r"), Limits { count: 9, bytes: 1 << 20 }).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let (cpu_model, logical_cpus) = (name("a processor"), 4);
    let host = Host { name: name("here"), cpu_model, logical_cpus, ..Host::default() };
    let roofs = |read_bytes| {
        let sample = RoofSample { at_ns: 1, read_bytes, f32_flops: 1.0, int8_ops: 1.0 };
        Roofs::of(&[sample], 2, "avx2", 2)
    };
    let with = |job, host: &Host, roofs| {
        keep(&results, job, 7, &RunResult { host: Some(host.clone()), roofs, ..result(job) });
    };
    let updated = Host { kernel: Some("7.1".to_owned()), ..host.clone() };
    let other = Host { logical_cpus: 8, ..host.clone() };
    with(1, &host, roofs(1e9));
    with(2, &updated, roofs(2e9));
    with(3, &other, roofs(3e9));
    with(4, &host, Roofs::absent("no"));
    with(5, &Host { name: name("there"), ..host.clone() }, roofs(5e9));
    with(6, &Host { name: None, ..host.clone() }, roofs(6e9));
    let found = results.earlier_roofs(&host);
    let reads: Vec<_> = found.iter().map(|roofs| roofs.read_bytes_per_s.unwrap().median).collect();
    assert_eq!(reads, [6e9, 2e9, 1e9]);
}
