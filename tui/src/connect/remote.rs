//! A daemon on another machine: its socket through `ssh HOST slmscope proxy`.
//!
//! ```text
//! client ── socket pair ── ssh ══ sshd ── slmscope proxy ── socket of the daemon
//! ```
//!
//! Nothing runs on the host but the daemon and, while the connection lasts, the proxy. Open files do not cross ssh: see
//! [`fetch`](Remote::fetch).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use slmscope_profiles::display::excerpt;
use slmscope_profiles::wire::{Method, WireError};

use crate::proxy::{FileAnswer, MAX_ANSWER};

/// Most bytes of ssh's standard error that are kept: its last words say why it ended.
const MAX_SAID: usize = 4096;
/// How long ssh may take to end once its output has ended.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Time between two looks at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs its arguments, with signals of the keyboard ignored.
const SHELL: &str = "trap '' INT QUIT
command -v \"$1\" >/dev/null || { echo \"slmscope: $1, which is to reach it, is not on this machine\" >&2; exit 1; }
exec \"$@\"";

/// A machine, as ssh names it: `board`, `user@board`, or a `Host` of ssh's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

/// A word that is no host.
#[derive(Debug, thiserror::Error)]
#[error("a host is named as for ssh, such as pi5 or anna@pi5")]
pub struct NoHost;

impl FromStr for Host {
    type Err = NoHost;

    fn from_str(word: &str) -> Result<Self, NoHost> {
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        // ssh would take what begins with `-` as an option.
        let is_host = !word.is_empty() && !word.starts_with('-') && !word.contains(is_odd);
        if is_host { Ok(Self(word.to_owned())) } else { Err(NoHost) }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A daemon on another machine, and how it is reached.
#[derive(Debug, Clone)]
pub struct Place {
    /// The machine.
    pub host: Host,
    /// The daemon's socket there; `None` for the usual places.
    pub socket: Option<PathBuf>,
}

/// Whether ssh may ask for a passphrase, or whether a host is known.
static MAY_ASK: AtomicBool = AtomicBool::new(true);

/// From now on ssh asks nothing: the dashboard draws on the terminal.
pub fn ask_nothing() {
    MAY_ASK.store(false, Ordering::Relaxed);
}

/// Why there is no connection to a host, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// ssh, or what is named in its place, is not there.
    #[error("cannot start {program}, which is to reach {host}")]
    Start {
        /// What was to be started.
        program: String,
        /// The machine.
        host: Host,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// ssh has ended.
    #[error("{host}: {}", words(*.status, .said))]
    Ended {
        /// The machine.
        host: Host,
        /// How, if it has.
        status: Option<ExitStatus>,
        /// Its last line on standard error, or the proxy's; may be empty.
        said: String,
    },
}

/// Why ssh ended, in words.
fn words(status: Option<ExitStatus>, said: &str) -> String {
    let code = status.and_then(|status| status.code());
    let own = said.strip_prefix("slmscope: ");
    match (code, own) {
        (_, Some(own)) => own.to_owned(),
        (Some(127), _) => {
            "slmscope is not found there; install it where a shell without a login looks, such as \
                           /usr/local/bin"
                .to_owned()
        }
        // The last line of clap about a command or flag that it does not know.
        (Some(2), _) => {
            "slmscope there does not know `proxy` as this one does; update it, so that both are of the same \
                         version"
                .to_owned()
        }
        _ if !said.is_empty() => said.to_owned(),
        (Some(code), _) => format!("the connection has ended (ssh ended with code {code})"),
        (None, _) => "the connection has ended".to_owned(),
    }
}

/// A connection to a host; it ends when this is dropped.
pub struct Remote {
    place: Place,
    child: Child,
    stream: UnixStream,
    /// The end of what ssh has said on standard error.
    said: Arc<Mutex<Vec<u8>>>,
    /// Hears when it can say no more.
    silent: Receiver<()>,
}

impl Remote {
    /// Connects to the daemon at `place`.
    ///
    /// # Errors
    /// If ssh cannot be started. Whether the host is reached shows with the daemon's first message.
    pub fn open(place: &Place) -> anyhow::Result<(UnixStream, Self)> {
        let remote = Self::start(place, &[])?;
        Ok((remote.stream.try_clone().context("cannot copy a socket")?, remote))
    }

    /// Starts ssh, and on the host the proxy with `flags`.
    fn start(place: &Place, flags: &[&str]) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a socket")?;
        let mut command = ssh(place, flags);
        let program = command.get_program().to_string_lossy().into_owned();
        // Ctrl-C must reach this program alone, which waits for the result of the job that it cancels. ssh leaves the
        // signal ignored if it was at its start, and a shell can do that without unsafe code.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SHELL, "sh"]).arg(command.get_program());
        shell.args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        command = shell;
        let input = theirs.try_clone().context("cannot copy a socket")?;
        command
            .stdin(Stdio::from(OwnedFd::from(input)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped());
        let host = place.host.clone();
        let mut child = command.spawn().map_err(|source| RemoteError::Start { program, host, source })?;
        // The other end is closed here with it, so that its end is seen.
        drop(command);
        let (sender, silent) = mpsc::channel();
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let heard = said.clone();
            let listen = move || {
                keep_end(stderr, &heard);
                let _ = sender.send(());
            };
            std::thread::Builder::new()
                .name("ssh".to_owned())
                .spawn(listen)
                .context("cannot start a thread")?;
        }
        Ok(Self { place: place.clone(), child, stream: ours, said, silent })
    }

    /// The machine.
    pub fn host(&self) -> &Host {
        &self.place.host
    }

    /// Why the connection has ended.
    pub fn ended(&mut self) -> RemoteError {
        let until = Instant::now() + ENDS_WITHIN;
        let status = loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                Ok(status) => break status,
                Err(_) => break None,
            }
        };
        // A connection that ssh keeps for others may hold its standard error open.
        let _ = self.silent.recv_timeout(LOOK_EVERY * 10);
        let said = last_line(&self.said.lock().unwrap_or_else(PoisonError::into_inner));
        RemoteError::Ended { host: self.place.host.clone(), status, said }
    }

    /// Asks the daemon for something whose answer is an open file, and fetches its content into `file`: the proxy on the
    /// host receives the open file.
    ///
    /// # Errors
    /// The outer one if the connection ended before all was there, the inner one if the daemon refused.
    pub fn fetch(
        &self,
        method: &Method,
        file: &mut File,
    ) -> anyhow::Result<Result<serde_json::Value, WireError>> {
        let request = serde_json::to_string(method).context("cannot write the request")?;
        let mut other = Self::start(&self.place, &["--file", &request])?;
        let mut input = BufReader::new(other.stream.try_clone().context("cannot copy a socket")?);
        let mut line = Vec::new();
        input.by_ref().take(MAX_ANSWER).read_until(b'\n', &mut line).context("cannot read from ssh")?;
        if line.last() != Some(&b'\n') {
            return Err(other.ended().into());
        }
        let answer = serde_json::from_slice(&line)
            .with_context(|| format!("{}: the proxy's answer cannot be read", self.place.host))?;
        let (value, bytes) = match answer {
            FileAnswer::Ok { value, bytes } => (value, bytes),
            FileAnswer::Error(refused) => return Ok(Err(refused)),
        };
        let copied = io::copy(&mut input.take(bytes), file).context("cannot write what was fetched")?;
        if copied < bytes {
            let ended = other.ended();
            return Err(anyhow::Error::from(ended).context(format!("fetched {copied} of {bytes} bytes")));
        }
        Ok(Ok(value))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that runs the proxy with `flags` on the host: ssh, or the words of `SLMSCOPE_SSH` in its place.
fn ssh(place: &Place, flags: &[&str]) -> Command {
    let own = std::env::var("SLMSCOPE_SSH").unwrap_or_default();
    let mut words = own.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("ssh"));
    if own.trim().is_empty() {
        // A host that is gone is noticed within half a minute.
        command.args([
            "-T",
            "-o",
            "ConnectTimeout=15",
            "-o",
            "ServerAliveInterval=10",
            "-o",
            "ServerAliveCountMax=3",
        ]);
    }
    command.args(words);
    if !MAY_ASK.load(Ordering::Relaxed) {
        command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
    }
    command.arg(&place.host.0).arg(proxy_command(place.socket.as_deref(), flags));
    command
}

/// What the host's shell is told to run.
fn proxy_command(socket: Option<&Path>, flags: &[&str]) -> String {
    let socket = socket.map(|socket| format!(" --socket {}", quoted(&socket.to_string_lossy())));
    let flags: Vec<String> = flags.iter().map(|flag| format!(" {}", quoted(flag))).collect();
    format!("slmscope{} proxy{}", socket.unwrap_or_default(), flags.concat())
}

/// `word` as one word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Reads to the end, and keeps the last of it.
fn keep_end(mut stderr: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut part = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut part) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&part[..count]);
        let excess = kept.len().saturating_sub(MAX_SAID);
        kept.drain(..excess);
    }
}

/// The last line that says something.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    excerpt(line, 300)
}

/// Sends what `file` holds after `answer`, for [`Remote::fetch`].
///
/// # Errors
/// If the other end is gone.
pub fn send_file(answer: &FileAnswer, file: Option<(File, u64)>, output: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    if let Some((file, bytes)) = file {
        io::copy(&mut file.take(bytes), output)?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_host_is_no_option_of_ssh() {
        for host in ["pi5", "anna@pi5.local", "10.0.0.7", "fe80::1%eth0"] {
            assert_eq!(host.parse::<Host>().ok(), Some(Host(host.to_owned())));
        }
        for word in ["", "-oProxyCommand=sh", "a b", "a\nb"] {
            assert!(word.parse::<Host>().is_err(), "{word:?}");
        }
    }

    #[test]
    fn what_the_host_s_shell_runs_is_one_command_whatever_the_words_are() {
        assert_eq!(proxy_command(None, &[]), "slmscope proxy");
        let request = r#"{"open_session":{"run":"it's"}}"#;
        let command = proxy_command(Some(Path::new("/run/a b.sock")), &["--file", request]);
        assert_eq!(
            command,
            r#"slmscope --socket '/run/a b.sock' proxy --file '{"open_session":{"run":"it'\''s"}}'"#
        );
        let echoed = Command::new("sh").args(["-c", &command.replace("slmscope", "printf '%s\\n'")]).output();
        let echoed = String::from_utf8(echoed.unwrap().stdout).unwrap();
        assert_eq!(echoed, format!("--socket\n/run/a b.sock\nproxy\n--file\n{request}\n"));
    }

    #[test]
    fn why_a_connection_ended_is_said_in_words_with_the_remedy() {
        let said = |code: i32, said: &str| {
            let (host, status) = ("pi5".parse().unwrap(), Some(ExitStatus::from_raw(code << 8)));
            RemoteError::Ended { host, status, said: said.to_owned() }.to_string()
        };
        assert_eq!(
            said(255, "ssh: Could not resolve hostname pi5"),
            "pi5: ssh: Could not resolve hostname pi5"
        );
        assert_eq!(said(1, "slmscope: no daemon runs there"), "pi5: no daemon runs there");
        assert!(said(127, "sh: 1: slmscope: not found").contains("/usr/local/bin"));
        assert!(said(2, "For more information, try '--help'.").contains("update it"));
        assert!(said(9, "").contains("code 9"));
    }

    #[test]
    fn of_what_ssh_says_the_last_line_is_kept() {
        let banner = "*".repeat(100_000);
        let text = format!("Welcome\n{banner}\nno route\u{1b}[2J to host\n\n");
        let kept = Mutex::default();
        keep_end(text.as_bytes(), &kept);
        let kept = kept.into_inner().unwrap();
        assert_eq!((kept.len(), last_line(&kept).as_str()), (MAX_SAID, "no route[2J to host"));
        assert_eq!(last_line(b""), "");
    }
}
