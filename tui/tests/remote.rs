//! `--host`: a program in the place of ssh runs the proxy on this machine.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Daemon, Running, slmscope, stand_in_for_ssh, text, tiny_model, write_program};

const SHORT: [&str; 8] = ["--prompt", "8", "--generate", "5", "--repetitions", "2", "--overhead", "off"];

/// The host `board`.
struct Board {
    daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Board {
    fn start() -> Self {
        let (daemon, folder) = (Daemon::start(), tempfile::tempdir().expect("a temporary folder"));
        stand_in_for_ssh(&folder.path().join("ssh"), &daemon.socket());
        Self { daemon, folder }
    }

    /// A client elsewhere.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = slmscope(arguments);
        command
            .args(["--host", "board"])
            .env("SLMSCOPE_SSH", self.folder.path().join("ssh"))
            .env("XDG_STATE_HOME", self.folder.path().join("state"));
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.client(arguments).output().expect("the client starts")
    }

    /// What a command that succeeds prints.
    fn printed(&self, arguments: &[&str]) -> String {
        let ended = self.output(arguments);
        assert!(ended.status.success(), "{arguments:?}: {}", text(&ended.stderr));
        text(&ended.stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.printed(arguments)).expect("JSON")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn a_run_on_a_host_is_followed_recorded_and_read_from_here() {
    let board = Board::start();
    // The path is one on the host; the proxy opens the file there.
    let result = board.json(&[&["run", &tiny_model(), "--json"][..], &SHORT].concat());
    assert_eq!(
        (result["status"].as_str(), result["model"]["source"].as_str()),
        (Some("complete"), Some("gguf"))
    );
    let session = result["recorded"]["session"].as_u64().expect("it is recorded there").to_string();
    let socket = board.daemon.socket().display().to_string();
    assert_eq!(board.json(&["status", "--json"])["socket"].as_str(), Some(socket.as_str()));
    assert_eq!(board.json(&["jobs", "--json"])["jobs"][0]["state"], "done");
    assert!(!board.json(&["doctor", "--json"])["channels"].as_array().expect("a list").is_empty());
    // Sessions are files there, whose content is fetched.
    assert!(board.printed(&["sessions"]).contains("llama-q4_0.gguf"));
    let info = board.json(&["sessions", "info", &session, "--json"]);
    assert_eq!(info["jobs"][0]["run_id"], result["run_id"]);
    board.printed(&["sessions", "verify", "latest"]);
    assert!(board.printed(&["report", &session]).contains("llama-q4_0"));
    let same = board.output(&["diff", &session, &session]);
    assert!(same.status.success(), "{}", text(&same.stderr));
    let trace = board.path("a.pftrace");
    board.printed(&["export", &session, "-o", &trace.display().to_string()]);
    assert!(trace.metadata().expect("it was written").len() > 1000);
}

#[test]
fn what_a_loop_on_a_host_did_of_late_is_saved_here() {
    let board = Board::start();
    let tiny = tiny_model();
    let mut following =
        Running::start(board.client(&[&["run", &tiny, "--loop", "--json"][..], &SHORT].concat()));
    assert_eq!(following.result()["status"], "complete");
    let saved = board.path("late.mcap").display().to_string();
    board.printed(&["record", &saved, "--last", "60s"]);
    let verified = slmscope(&["sessions", "info", &saved, "--json"]).output().expect("the client starts");
    let info: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert!(info["op_events"].as_u64() > Some(0), "{info}");
    following.signal("INT");
    assert_eq!(following.last()["status"], "cancelled");
}

#[test]
fn the_job_of_a_client_that_is_killed_ends_on_the_host() {
    let board = Board::start();
    let mut states = board.daemon.lines("{\"subscribe\":{\"channels\":[],\"ops\":\"off\"}}\n");
    let tiny = tiny_model();
    let mut following =
        Running::start(board.client(&[&["run", &tiny, "--loop", "--json"][..], &SHORT].concat()));
    assert_eq!(following.result()["status"], "complete");
    following.child.kill().expect("it runs");
    following.child.wait().expect("it ends");
    while states.frame("job")["state"] != "cancelled" {}
}

#[test]
fn a_proxy_whose_client_is_gone_ends_though_the_daemon_says_nothing() {
    let board = Board::start();
    let mut proxy = board.daemon.client(&["proxy"]);
    let mut proxy = proxy.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = proxy.stdin.take().expect("piped");
    input.write_all(b"{\"status\":{}}\n").expect("it reads");
    drop(input);
    let mut output = BufReader::new(proxy.stdout.take().expect("piped"));
    let mut answered = String::new();
    while !answered.contains("slmscope.status/1") {
        assert!(output.read_line(&mut answered).expect("it answers") > 0, "{answered}");
    }
    drop(output);
    assert!(proxy.wait().expect("it ends").code().is_some());
}

#[test]
fn a_host_that_is_not_reached_is_named_with_the_reason_and_the_remedy() {
    let board = Board::start();
    let said = |ssh: &str, host: &str| {
        let mut command = slmscope(&["status", "--host", host]);
        let ended = command.env("SLMSCOPE_SSH", ssh).output().expect("the client starts");
        assert_eq!(ended.status.code(), Some(1));
        text(&ended.stderr)
    };
    let script = |name: &str, script: &str| {
        write_program(&board.path(name), &format!("#!/bin/sh\n{script}\n"));
        board.path(name).display().to_string()
    };
    let ssh = board.path("ssh").display().to_string();
    assert_eq!(said(&ssh, "nowhere"), "slmscope: nowhere: ssh: Could not resolve hostname nowhere\n");
    assert!(
        said("/no/ssh -p 2222", "board").contains("board: /no/ssh, which is to reach it, is not on this")
    );
    let without = script("without", "PATH=/var/empty exec /bin/sh -c \"$2\"");
    assert!(said(&without, "board").contains("board: slmscope is not found there; install it where"));
    let idle = script(
        "idle",
        &format!("export SLMSCOPE_SOCKET=none; exec {} proxy", env!("CARGO_BIN_EXE_slmscope")),
    );
    assert!(said(&idle, "board").contains("board: no daemon runs there; start one with `slmscoped`"));
    let old = script("old", "echo \"error: unrecognized subcommand 'proxy'\" >&2; exit 2");
    assert!(said(&old, "board").contains("update it, so that both are of the same version"));
    let chatty = script("chatty", "echo Welcome to this board; cat >/dev/null");
    assert!(said(&chatty, "board").contains("the shell there must print nothing by itself"));
    // A daemon of another protocol.
    let hello = r#"'{"hello":{"protocol":[9,9],"version":"9","uid":0,"capabilities":[]}}'"#;
    let other = script("other", &format!("head -c 8 >/dev/null; {}", packed(hello)));
    let said = said(&other, "board");
    assert!(said.contains("protocol 9 to 9") && said.contains("update the client"), "{said}");
}

/// A shell command that prints a frame of a daemon.
fn packed(json: &str) -> String {
    use slmscope_profiles::wire::codec::{Codec, Envelope};
    let frame: Value = serde_json::from_str(json.trim_matches('\'')).expect("JSON");
    let bytes = Codec::MessagePack.encode(Envelope::Frame, &frame);
    let octal: Vec<String> = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{}'", octal.concat())
}

#[test]
fn what_does_not_work_on_a_host_says_why() {
    let board = Board::start();
    for (arguments, code, told) in [
        (&["run", "hf:org/name"][..], 2, "files do not go through ssh"),
        (&["run", "/no/such.gguf"], 1, "cannot open the model file /no/such.gguf: No such file"),
        (&["run", "smollm2-135"], 1, "a file on the host is written as a path"),
        (&["run", "--private"], 2, "cannot be that of --host"),
        (&["sessions", "info", "77"], 1, "77"),
        (&["status", "--host=-oProxyCommand=x"], 2, "a host is named as for ssh"),
    ] {
        let ended = board.output(arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains(told), "{arguments:?}: {}", text(&ended.stderr));
    }
}
