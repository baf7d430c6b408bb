//! Each flag that is seen only by running the program: with it the program does what it does not without it.

mod rows;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use slmscope_exports::recording::{Entry, Event, Reader, Writer};
use slmscope_profiles::result::RunResult;
use support::{Daemon, output, slmscope, text, tiny_model};

use rows::{ROWS, Row, WEIGHTS};

/// What rows name in braces.
struct Prepared {
    folder: tempfile::TempDir,
    daemon: Daemon,
    words: BTreeMap<&'static str, String>,
    /// Paths that were given out.
    given: usize,
}

impl Prepared {
    fn new() -> Self {
        let daemon = Daemon::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens/gguf");
        let at = |name: &str| folder.path().join(name);
        record(&at("a.mcap"), "1");
        record(&at("b.mcap"), "2");
        change(&at("a.mcap"), &at("dirty.mcap"), |result| result.hygiene.clean = Some(false));
        change(&at("a.mcap"), &at("longer.mcap"), |result| result.workload.generate += 1);
        let swept = at("swept").display().to_string();
        let fails = output(&["sweep", &tiny_model(), "--axis", "depth=99999", "-o", &swept]);
        assert_eq!(fails.status.code(), Some(1), "{}", text(&fails.stderr));
        let deep = at("deep.mcap").display().to_string();
        let words = ["run", &tiny_model(), "-p", "8", "-n", "200", "-r", "2", "--overhead", "off"];
        let ended = output(&[&words[..], &["--record", &deep]].concat());
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        let whole = fs::read(at("a.mcap")).expect("it was written");
        fs::write(at("cut.mcap"), &whole[..whole.len() - 40]).expect("room for it");
        make_tree(&at("tree"));
        support::stand_in_for_ssh(&at("ssh"), &daemon.socket());
        let path = |path: PathBuf| path.display().to_string();
        let words = BTreeMap::from([
            ("tiny", tiny_model()),
            ("q8", path(goldens.join("llama-q8_0.gguf"))),
            ("golden", path(goldens.join("llama-q4_0.json"))),
            ("other", path(goldens.join("llama-q8_0.json"))),
            ("a", path(at("a.mcap"))),
            ("b", path(at("b.mcap"))),
            ("cut", path(at("cut.mcap"))),
            ("dirty", path(at("dirty.mcap"))),
            ("longer", path(at("longer.mcap"))),
            ("tree", path(at("tree"))),
            ("swept", swept),
            ("deep", deep),
            ("old", path(at("old"))),
            ("socket", path(daemon.socket())),
            ("job", submit(&daemon, &[])),
            ("loop", submit(&daemon, &["--loop", "--pause", "3600"])),
        ]);
        let prepared = Self { folder, daemon, words, given: 0 };
        let wait = prepared.daemon.client(&["result", &prepared.words["job"], "--wait"]).output();
        assert!(wait.expect("the client starts").status.success());
        prepared.wait_for_the_loop();
        prepared
    }

    /// Waits until the loop is between two turns, where it stays.
    fn wait_for_the_loop(&self) {
        let mut states = self.daemon.lines("{\"subscribe\":{\"channels\":[],\"ops\":\"off\"}}\n");
        let number: u64 = self.words["loop"].parse().expect("a number");
        while {
            let job = states.frame("job");
            job["job"].as_u64() != Some(number) || job["turns"].as_u64() == Some(0)
        } {}
    }

    /// `word` with what stands for its braces; `{new}` is another path each time.
    fn word(&self, word: &str) -> String {
        let new = self.folder.path().join(format!("new-{}", self.given)).display().to_string();
        let words = self.words.iter().map(|(name, value)| (*name, value));
        words
            .chain([("new", &new)])
            .fold(word.to_owned(), |word, (name, value)| word.replace(&format!("{{{name}}}"), value))
    }

    /// What a command line prints, with its exit code, and what it was to show.
    fn run(&mut self, row: &Row, more: &[&str]) -> (String, String) {
        self.given += 1;
        fs::write(self.folder.path().join("old"), "what was there before").expect("room for it");
        let words: Vec<String> = row.command.split_whitespace().map(str::to_owned).collect();
        let words = words.into_iter().chain(more.iter().map(|word| self.word(word))).collect::<Vec<_>>();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let asks = ["status", "jobs", "result", "record", "cancel", "proxy"].contains(&row.command);
        let mut command = if asks { self.daemon.client(&words) } else { slmscope(&words) };
        let ended = command.env("SLMSCOPE_SSH", self.folder.path().join("ssh")).output();
        let ended = ended.expect("the program starts");
        let code = ended.status.code().expect("it ends by itself");
        let said = format!("{}{}exit code {code}\n", text(&ended.stdout), text(&ended.stderr));
        (said, self.word(row.shows))
    }
}

/// Records a short run on so many threads.
fn record(file: &Path, threads: &str) {
    let (tiny, file) = (tiny_model(), file.display().to_string());
    let short = ["-p", "8", "-n", "5", "-r", "3", "--overhead", "off", "-t", threads];
    let ended = output(&[&["run", &tiny, "--record", &file][..], &short].concat());
    assert!(ended.status.success(), "{}", text(&ended.stderr));
}

/// Copies a recording with another result.
fn change(from: &Path, to: &Path, change: fn(&mut RunResult)) {
    let mut writer = Writer::new(fs::File::create(to).expect("room for it")).expect("room for it");
    for event in Reader::new(fs::File::open(from).expect("it is there")).expect("a recording") {
        let Event::Entry(mut entry) = event.expect("it can be read") else { panic!("it is whole") };
        if let Entry::Result { result, .. } = &mut entry {
            change(result);
        }
        writer.write(&entry).expect("room for it");
    }
    writer.finish().expect("room for it");
}

/// A machine on its battery, as a tree.
fn make_tree(folder: &Path) {
    for (file, content) in [
        ("proc/stat", "cpu  100 0 50 800 0 0 0 0 0 0\ncpu0 50 0 25 400 0 0 0 0 0 0\n"),
        ("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n"),
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/status", "Discharging\n"),
        ("sys/class/power_supply/BAT0/power_now", "5000000\n"),
        ("sys/class/power_supply/BAT0/capacity", "83\n"),
    ] {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("room for it");
        fs::write(path, content).expect("room for it");
    }
}

/// Queues a short job and returns its number.
fn submit(daemon: &Daemon, more: &[&str]) -> String {
    let tiny = tiny_model();
    let short = ["submit", &tiny, "-p", "8", "-n", "5", "-r", "3", "--overhead", "off"];
    let ended = daemon.client(&[&short[..], more].concat()).output().expect("the client starts");
    let told = text(&ended.stdout);
    told.strip_prefix("job ").unwrap_or_else(|| panic!("{}", text(&ended.stderr))).trim().to_owned()
}

#[test]
fn each_flag_has_the_effect_that_only_it_has() {
    let mut prepared = Prepared::new();
    let mut wrong = String::new();
    for row in WEIGHTS.iter().chain(ROWS) {
        let (without, shown_without) = prepared.run(row, row.without);
        let (with, shown_with) = prepared.run(row, row.with);
        if without.contains(&shown_without) || !with.contains(&shown_with) {
            let Row { command, flag, shows, .. } = row;
            wrong += &format!("{command} {flag}: {shows}\nwithout:\n{without}\nwith:\n{with}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
