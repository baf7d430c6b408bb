//! Engine threads against cores.

use slmscope_profiles::doctor::CoreKind;
use slmscope_profiles::finding::FindingCode;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::host::Host;
use slmscope_profiles::hygiene::ThreadTime;
use slmscope_profiles::result::RunResult;

use super::{codes, figure, host, only, result};

fn on(host: Host, threads: u32) -> RunResult {
    let mut result = result();
    (result.host, result.engine.threads) = (Some(host), Some(threads));
    result
}

#[test]
fn more_threads_than_cpus_are_too_many() {
    assert_eq!(only(&on(host(), 3)).reason, "3 engine threads on 2 CPUs");
    assert!(codes(&on(host(), 2)).is_empty());
    assert!(codes(&on(Host::default(), 2)).is_empty(), "the number of CPUs is not known");
}

#[test]
fn siblings_share_a_core() {
    let smt = |cores| Host { logical_cpus: 8, physical_cores: cores, ..host() };
    let found = only(&on(smt(Some(4)), 6));
    assert_eq!(found.code, FindingCode::SmtSiblings);
    assert!(found.advice.contains("--threads 4"));
    assert!(codes(&on(smt(Some(4)), 4)).is_empty());
    assert!(codes(&on(smt(None), 6)).is_empty());
    assert_eq!(only(&on(smt(Some(4)), 9)).code, FindingCode::TooManyThreads, "said once");
}

#[test]
fn fast_cores_wait_for_slow_ones() {
    let kind = |name: &str, cpus: std::ops::Range<u32>, capacity| CoreKind {
        name: name.to_owned(),
        cpus: cpus.collect(),
        capacity,
    };
    let board = |core_kinds| Host { logical_cpus: 8, physical_cores: Some(8), core_kinds, ..host() };
    let big_little = || vec![kind("Cortex-A76", 4..8, Some(1024)), kind("Cortex-A55", 0..4, Some(400))];
    let found = only(&on(board(big_little()), 8));
    assert_eq!(found.code, FindingCode::EfficiencyCores);
    assert!(found.reason.contains("4 CPUs of Cortex-A76: the others are Cortex-A55"), "{found:?}");
    assert!(found.advice.contains("--threads 4"));
    assert!(codes(&on(board(big_little()), 4)).is_empty());
    let hybrid = vec![kind("P-core", 0..4, None), kind("E-core", 4..8, None)];
    assert_eq!(only(&on(board(hybrid), 5)).code, FindingCode::EfficiencyCores);
    let equal = vec![kind("Cortex-A72", 0..4, Some(1024)), kind("Cortex-A73", 4..8, Some(1024))];
    assert!(codes(&on(board(equal), 8)).is_empty());
}

#[test]
fn a_thread_that_was_kept_off_its_cpu_is_a_straggler() {
    let time = |name: &str, percent: u64| ThreadTime {
        name: name.to_owned(),
        cpu_ns: percent,
        wall_ns: 100,
        waited_ns: None,
    };
    let mut result = result();
    result.threads =
        vec![time("engine-main", 99), time("engine-1", 82), time("engine-2", 98), time("idle", 0)];
    let found = only(&result);
    assert_eq!(found.code, FindingCode::Straggler);
    assert!(found.reason.starts_with("thread engine-1 was on a CPU 82 % of the time"), "{found:?}");
    result.engine.executor = "candle".to_owned();
    assert!(codes(&result).is_empty(), "its threads sleep between steps");
    result.engine.executor = "cpu".to_owned();
    result.threads = vec![time("engine-main", 99), time("engine-1", 95)];
    assert!(codes(&result).is_empty());
    result.threads = vec![time("engine-main", 40), time("engine-1", 20)];
    assert!(codes(&result).is_empty(), "all of them were idle for long");
    result.threads = vec![ThreadTime { wall_ns: 0, ..time("engine-main", 0) }, time("engine-1", 95)];
    assert!(codes(&result).is_empty());
}

#[test]
fn a_thread_that_waited_for_a_cpu_longer_than_the_others_is_a_straggler_whatever_the_load() {
    let time = |name: &str, cpu_ns: u64, waited_ns: u64| ThreadTime {
        name: name.to_owned(),
        cpu_ns,
        wall_ns: 100,
        waited_ns: Some(waited_ns),
    };
    let mut result = result();
    result.host = Some(host());
    // None of them ran all the time, and other processes use a core.
    result.hygiene.other_load = Some(0.5);
    result.threads = vec![
        time("engine-main", 70, 5),
        time("engine-1", 40, 45),
        time("engine-2", 71, 9),
        time("idle", 0, 99),
    ];
    let found = findings(&result);
    let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [FindingCode::ForeignLoad, FindingCode::Straggler]);
    assert!(
        found[1]
            .reason
            .starts_with("thread engine-1 waited for a CPU 53 % of the time it could run, the others 9 %")
    );
    let wait = 45.0 / 85.0;
    assert!((figure(&found[1], "its wait for a CPU, of the time it could run") - wait).abs() < 1e-9);
    let longest = figure(&found[0], "longest wait of an engine thread for a CPU, of the time it could run");
    assert!((longest - wait).abs() < 1e-9);
    result.engine.executor = "candle".to_owned();
    assert_eq!(findings(&result).len(), 2, "who sleeps does not wait for a CPU");
    // A load that delays all of them alike makes no straggler.
    result.threads = vec![time("engine-main", 50, 45), time("engine-1", 50, 40)];
    assert_eq!(findings(&result).len(), 1);
    // One that sleeps more than the others waits less, and no less of the time in which it could run.
    result.threads = vec![time("engine-main", 25, 73), time("engine-1", 6, 23)];
    assert_eq!(findings(&result).len(), 1);
    result.threads = vec![time("engine-main", 90, 1), time("engine-1", 9, 9)];
    assert_eq!(findings(&result).len(), 1, "a tenth of the time is not lost");
    result.threads = vec![time("engine-main", 70, 5), time("engine-1", 40, 45)];
    assert_eq!(findings(&result).len(), 2);
    result.engine.threads = Some(3);
    let codes: Vec<_> = findings(&result).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [FindingCode::ForeignLoad, FindingCode::TooManyThreads], "they wait for each other");
    result.engine.threads = None;
    result.threads.truncate(1);
    assert_eq!(findings(&result).len(), 1, "one thread has no other");
}
