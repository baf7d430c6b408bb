//! What the settings add to jobs, and jobs that the settings ask for.

use serde_json::json;

use super::TestDaemon;
use crate::config::Config;
use crate::schedule::{Entry, Queue};

#[test]
fn an_entry_of_the_schedule_is_a_job_that_belongs_to_no_client() {
    let daemon = TestDaemon::start();
    let entry: Entry = toml::from_str(
        "name = \"nightly\"\nmodel = \"smollm2-135m\"\nat_start = true\nworkload = { prompt = 0, generate = 4, \
         repetitions = 1, warmup = 0, overhead = \"off\" }",
    )
    .unwrap();
    let mut watching = daemon.watch();
    let mut queue = &*daemon.daemon;
    let job = queue.submit(&entry).unwrap();
    queue.count(&entry, "run");
    watching.job(job, "done");
    assert!(!queue.is_open(job));
    let page = daemon.http("GET /metrics HTTP/1.1\r\n\r\n");
    assert!(page.contains("slmscope_scheduled_runs_total{entry=\"nightly\",outcome=\"run\"} 1\n"), "{page}");
    let unknown = Entry { model: "/etc/passwd".to_owned(), ..entry };
    assert!(queue.submit(&unknown).is_err(), "no folder of models is set");
}

#[test]
fn jobs_that_do_not_say_have_the_threads_and_the_budget_of_the_settings() {
    let daemon = TestDaemon::start();
    let settings = Config { threads: 1, overhead_budget: 0.5, ..Config::default() };
    assert!(daemon.daemon.reload(settings).is_empty(), "neither needs a restart");
    let mut client = daemon.watch();
    let job = client.submit(&json!({}));
    let workload = client.job(job, "done")["workload"].take();
    assert_eq!((workload["threads"].as_u64(), workload["overhead_budget"].as_f64()), (Some(1), Some(0.5)));
    let job = client.submit(&json!({"threads": 2, "overhead_budget": 0.25}));
    let workload = client.job(job, "done")["workload"].take();
    assert_eq!((workload["threads"].as_u64(), workload["overhead_budget"].as_f64()), (Some(2), Some(0.25)));
}
