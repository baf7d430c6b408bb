use super::*;

/// A worker with the process id 7 in a tree, on a machine of two CPUs.
struct Process {
    dir: tempfile::TempDir,
    source: Threads,
    worker: WorkerPid,
}

impl Process {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::tree(dir.path()).unwrap();
        let (mut catalogue, worker) = (Catalogue::default(), WorkerPid::default());
        let source = Threads::new(&root, &mut catalogue, &worker, 2);
        Self { dir, source, worker }
    }

    fn write(&self, thread: u32, file: &str, text: &str) {
        let folder = self.dir.path().join(format!("proc/7/task/{thread}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }

    fn thread(&self, thread: u32, name: &str, account: &str) {
        self.write(thread, "comm", &format!("{name}\n"));
        self.write(thread, "schedstat", account);
    }

    fn end(&self, thread: u32) {
        std::fs::remove_dir_all(self.dir.path().join(format!("proc/7/task/{thread}"))).unwrap();
    }

    /// Wait, slices, then `engine-main`, `engine-1`, `engine-ray`, `candle-bp` and `other`.
    fn read(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        self.source.read(&mut values);
        values.into_iter().map(|(_, value)| value).collect()
    }
}

const NONE: Value = Value::Absent(ReasonCode::Vanished);

#[test]
fn threads_come_and_end_and_their_sum_never_falls() {
    let mut process = Process::new();
    process.thread(7, "engine-main", "1000000000 5000000 10\n");
    process.thread(9, "loader", "2000000000 0 4\n");
    assert!(process.read().iter().all(|&value| value == Value::Absent(ReasonCode::NoSuchInterface)));
    process.worker.set(Some(7));
    let values = process.read();
    assert_eq!(values[..3], [0.005, 14.0, 1.0].map(Value::Present));
    assert_eq!(values[3..], [NONE, NONE, NONE, Value::Present(2.0)], "no second engine thread");
    process.end(9);
    process.thread(7, "engine-main", "1500000000 6000000 12\n");
    process.source.readings = 0;
    let values = process.read();
    assert_eq!(values[..3], [0.006, 16.0, 1.5].map(Value::Present));
    assert_eq!(values[6], Value::Present(2.0), "what an ended thread used is not forgotten");
    process.worker.set(Some(8));
    assert!(process.read().iter().all(|&value| value == NONE));
}

/// The worker has other threads, whose numbers are between those of its engine threads.
#[test]
fn every_engine_thread_is_seen_by_name_whatever_other_threads_there_are() {
    let mut process = Process::new();
    for (thread, name, ns) in [
        (7, "engine-main", 900),
        (8, "control", 10),
        (9, "tokenizer", 20),
        (10, "engine-ray-1", 30),
        (11, "candle-bp-0", 1),
        (12, "candle-bp-1", 2),
        (13, "engine-1", 800),
        (14, "engine-9", 5),
    ] {
        process.thread(thread, name, &format!("{ns}000000000 0 1\n"));
    }
    process.worker.set(Some(7));
    let values = process.read();
    assert_eq!(values[2..], [900.0, 800.0, 30.0, 3.0, 35.0].map(Value::Present));
}

#[test]
fn a_thread_that_gets_its_name_after_it_was_found_is_counted_by_it() {
    let mut process = Process::new();
    process.thread(7, "engine-main", "1000000000 0 1\n");
    process.thread(8, "engine-main", "2000000000 0 1\n");
    process.worker.set(Some(7));
    assert_eq!(process.read()[2..4], [Value::Present(3.0), NONE], "it still has its parent's name");
    process.write(8, "comm", "engine-1\n");
    assert_eq!(process.read()[2..4], [1.0, 2.0].map(Value::Present));
}

#[test]
fn names_that_only_look_like_those_of_engine_threads_are_others() {
    for name in ["engine-", "engine-x", "engine-0", "engine--1", "engine-99", "xengine-1", "", "\u{1b}"] {
        assert_eq!(Role::of(name.as_bytes(), 4), Role::Other, "{name}");
    }
}

#[test]
fn threads_are_counted_behind_the_name() {
    let stat = b"7 (a) b) S 1 7 7 0 -1 4194304 150 0 7 0 5 6 0 0 20 0 12 0 999";
    assert_eq!(thread_count(stat), Some(12));
    assert_eq!(thread_count(b"7 (a) S 1"), None);
}

#[test]
fn accounts_that_are_not_kept_are_none() {
    assert_eq!(parse(b"0 0 0\n"), None);
    assert_eq!(parse(b"1 2\n"), None);
    assert_eq!(parse(b"1 x 3\n"), None);
    assert_eq!(parse(b"1 2 3\n"), Some(Account { run_ns: 1, wait_ns: 2, slices: 3 }));
}

#[test]
fn noise_is_refused() {
    crate::tests::noise::against(b"1000000000 5000000 10\n", |text| {
        assert_ne!(parse(text), Some(Account::default()));
    });
}
