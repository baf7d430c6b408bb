//! The daemon as systemd starts it: told its socket and where it reports, without systemd itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longer than anything here takes on any machine; without it a failed test would hang.
const PATIENCE: Duration = Duration::from_mins(2);

fn daemon(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slmscoped"));
    command.env("XDG_STATE_HOME", folder).env("SLMSCOPE_LOG", "info").stderr(Stdio::piped());
    command
}

/// Sends a signal by its name.
fn signal(child: &Child, name: &str) {
    let sent =
        Command::new("kill").args(["-s", name, &child.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

/// Waits until the daemon has reported all of these, in any order.
fn await_reports(socket: &UnixDatagram, wanted: &[&str]) {
    let mut all = String::new();
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error} after: {all}"));
        all.push_str(std::str::from_utf8(&buffer[..length]).expect("it is text"));
        if wanted.iter().all(|report| all.contains(report)) {
            return;
        }
    }
}

#[test]
fn systemd_is_told_of_readiness_rounds_reloading_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let notices = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notices.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = folder.path().join("slmscope.toml");
    std::fs::write(&config, "energy_hz = 50\n").unwrap();
    let mut child = daemon(folder.path())
        .args(["--socket".as_ref(), folder.path().join("socket").as_os_str()])
        .args(["--config".as_ref(), config.as_os_str()])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        // The first round is reported, and those of each eighth of this: rarely, since a full queue blocks the sender.
        .env("WATCHDOG_USEC", "80000000")
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut logged = move |wanted: &str| log.find(|line| line.contains(wanted)).expect(wanted);

    await_reports(&notices, &["READY=1", "WATCHDOG=1"]);

    std::fs::write(&config, "energy_hz = 60\nresults_mib = 70\n").unwrap();
    signal(&child, "HUP");
    await_reports(&notices, &["RELOADING=1"]);
    assert!(logged("need a restart").contains("results_mib"));

    std::fs::write(&config, "energy_hz = 0\n").unwrap();
    signal(&child, "HUP");
    assert!(logged("the old ones hold").contains("energy_hz is 0"));

    signal(&child, "TERM");
    await_reports(&notices, &["STOPPING=1"]);
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

/// As systemd passes a socket: descriptor 3, and the number of the process that it is for.
#[test]
fn a_socket_that_systemd_passes_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passed");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" 3<&0 </dev/null",
            env!("CARGO_BIN_EXE_slmscoped"),
        ])
        .env("XDG_STATE_HOME", folder.path())
        .stdin(OwnedFd::from(listener))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"{\"id\":1,\"status\":{}}\n").unwrap();
    let lines = BufReader::new(client).lines();
    let mut answers = lines.map(Result::unwrap).filter(|line| line.contains("\"re\":1"));
    assert!(answers.next().unwrap().contains("\"slmscope\""));
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
    assert!(path.exists(), "the socket is systemd's");
}

/// The answer to a request for metrics, with this header.
fn scrape(address: std::net::SocketAddr, header: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\n{header}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Two sockets: that of clients, and one of TCP for metrics, whose readers need a token.
#[test]
fn metrics_are_served_on_a_tcp_socket_that_systemd_passes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config, token) =
        (folder.path().join("passed"), folder.path().join("slmscope.toml"), folder.path().join("token"));
    std::fs::write(&config, format!("metrics_token_file = {token:?}\n")).unwrap();
    std::fs::write(&token, "secret\n").unwrap();
    let clients = UnixListener::bind(&path).unwrap();
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = metrics.local_addr().unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" --config \"$1\" 3<&0 4<&1 </dev/null >/dev/null",
            env!("CARGO_BIN_EXE_slmscoped"),
        ])
        .arg(&config)
        .env("XDG_STATE_HOME", folder.path())
        .stdin(OwnedFd::from(clients))
        .stdout(OwnedFd::from(metrics))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(scrape(address, "").unwrap().starts_with("HTTP/1.1 401 "), "no token was sent");
    let answer = scrape(address, "Authorization: Bearer secret\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\nslmscope_build_info{"), "{answer}");
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"{\"id\":1,\"status\":{}}\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "no request but those for metrics is read: {answer}");
    assert!(UnixStream::connect(&path).is_ok());
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
}

#[test]
fn settings_are_checked_without_serving() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("slmscope.toml");
    let check = |text: &str| -> Output {
        std::fs::write(&config, text).unwrap();
        daemon(folder.path()).arg("--check-config").arg("--config").arg(&config).output().unwrap()
    };
    assert!(check(include_str!("../../systemd/slmscope.toml")).status.success());
    let refused = check("energy_hertz = 5\n");
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("slmscope.toml") && text.contains("did you mean `energy_hz`?"), "{text}");
}
