//! Runs the real program: a daemon on a socket of the test, and clients of it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod pty;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// The program, which ignores running daemons unless a test sets its socket, and keeps results apart from the user's.
pub fn slmscope(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slmscope"));
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{}", std::process::id()));
    command
        .env("XDG_STATE_HOME", state)
        .args(arguments)
        .env("SLMSCOPE_SOCKET", "none")
        .env("SLMSCOPE_LOG", "warn")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn output(arguments: &[&str]) -> Output {
    slmscope(arguments).output().expect("the program starts")
}

/// What it printed, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A small model with a real architecture and without a tokenizer.
pub fn tiny_model() -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/engine/tests/goldens/gguf/llama-q4_0.gguf");
    path.canonicalize().expect("the repository has it").display().to_string()
}

/// A daemon in a temporary folder; killed when the test ends.
pub struct Daemon {
    folder: tempfile::TempDir,
    pub child: Child,
}

impl Daemon {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with more options.
    pub fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = serve(folder.path(), more);
        Self { folder, child }
    }

    /// Kills it, and starts another one in its place.
    pub fn restart(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.child = serve(self.folder.path(), &[]);
    }

    /// The folder of the user's state.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("test.sock")
    }

    /// A client of this daemon.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = slmscope(arguments);
        command.env("SLMSCOPE_SOCKET", self.socket()).env("XDG_STATE_HOME", self.state());
        command
    }

    /// Sends `requests`, one JSON object per line, and returns the lines of the answer.
    pub fn lines(&self, requests: &str) -> Lines {
        let mut stream = UnixStream::connect(self.socket()).expect("it listens");
        stream.write_all(requests.as_bytes()).expect("it reads");
        Lines { reader: BufReader::new(stream) }
    }

    /// Its job that has not ended.
    pub fn running_job(&self) -> Value {
        let listed = self.client(&["jobs", "--json"]).output().expect("the client starts");
        let jobs: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let jobs = jobs["jobs"].as_array().expect("a list").clone();
        jobs.into_iter()
            .find(|job| !matches!(job["state"].as_str(), Some("done" | "failed" | "cancelled")))
            .expect("a job runs")
    }
}

/// Writes a program that takes the place of ssh: it knows the host `board`, which is this machine with a daemon on
/// `socket`.
pub fn stand_in_for_ssh(path: &Path, socket: &Path) {
    let folder = Path::new(env!("CARGO_BIN_EXE_slmscope")).parent().expect("it is in a folder");
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = board ] || {{ echo \"ssh: Could not resolve hostname $1\" >&2; exit 255; }}\n\
         export PATH='{}':\"$PATH\" SLMSCOPE_SOCKET='{}'\n\
         exec sh -c \"$2\"\n",
        folder.display(),
        socket.display()
    );
    write_program(path, &script);
}

/// Writes a script that can be run.
pub fn write_program(path: &Path, script: &str) {
    std::fs::write(path, script).expect("room for it");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Starts a daemon whose socket and state are in `folder`, and waits until it listens.
fn serve(folder: &Path, more: &[&str]) -> Child {
    let socket = folder.join("test.sock");
    let mut child = slmscope(&["daemon", "--socket", &socket.display().to_string()])
        .args(more)
        .env("SLMSCOPE_LOG", "info")
        .env("XDG_STATE_HOME", folder.join("state"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon starts");
    // It logs when it listens.
    let stderr = child.stderr.take().expect("piped");
    let mut lines = BufReader::new(stderr).lines();
    let listening = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Listening"));
    assert!(listening, "the daemon ended before it listened");
    std::thread::spawn(move || lines.for_each(drop));
    child
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// JSON lines from the socket.
pub struct Lines {
    reader: BufReader<UnixStream>,
}

impl Iterator for Lines {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line).expect("the daemon writes lines");
        (count > 0).then(|| serde_json::from_str(&line).expect("every line is JSON"))
    }
}

impl Lines {
    /// The value of the next line whose key is `kind`.
    pub fn frame(&mut self, kind: &str) -> Value {
        self.find_map(|line| line.get(kind).cloned()).unwrap_or_else(|| panic!("no {kind} came"))
    }
}

/// A running client whose results are read line by line.
pub struct Running {
    pub child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout }
    }

    /// The next result.
    pub fn result(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints lines");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"))
    }

    /// The first result that is not of a completed turn.
    pub fn last(&mut self) -> Value {
        let results = std::iter::repeat_with(|| self.result()).take(1_000);
        results.into_iter().find(|result| result["status"] != "complete").expect("the loop ends")
    }

    /// All that it still prints.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        rest
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Its exit code and standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        (self.child.wait().expect("it ends").code(), stderr)
    }
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// Waits until a process that is not a child of this one has ended.
pub fn wait_gone(pid: u64) {
    let gone =
        || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    while !gone() {
        std::thread::yield_now();
    }
}
