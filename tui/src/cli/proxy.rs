//! `slmscope proxy`: the host's end of `--host`.

use std::fs::File;
use std::io::{self, Seek, stdin, stdout};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use slmscope_profiles::wire::{Method, WireError};

use crate::client::Connection;
use crate::connect::{self, Target, remote};
use crate::failure::Failure;
use crate::proxy::{self, Ended, FileAnswer};
use crate::scratch;

/// Options of `proxy`.
#[derive(Debug, Args)]
#[command(
    after_help = "`slmscope --host HOST …` runs it on HOST through ssh. It starts no daemon, and ends with the
connection. A model that the client names by its path is opened here, with the rights of this user.

For programs without slmscope:
  printf '{\"status\":{}}\\n' | ssh HOST slmscope proxy"
)]
pub struct ProxyArgs {
    /// Answer this one request, and send the file that the daemon's answer comes with: open_session or save_recent
    #[arg(long, value_name = "JSON")]
    file: Option<FileRequest>,
}

/// A request whose answer is a file.
#[derive(Debug, Clone, PartialEq)]
struct FileRequest(Method);

/// What is no such request.
#[derive(Debug, thiserror::Error)]
enum NoFileRequest {
    #[error("it is no request: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its answer is no file; open_session and save_recent have one")]
    Other,
}

impl FromStr for FileRequest {
    type Err = NoFileRequest;

    fn from_str(text: &str) -> Result<Self, NoFileRequest> {
        let method = serde_json::from_str(text)?;
        let has_file = matches!(method, Method::OpenSession(_) | Method::SaveRecent { .. });
        if has_file { Ok(Self(method)) } else { Err(NoFileRequest::Other) }
    }
}

/// Carries messages between standard input and output and the daemon, until one end is gone.
///
/// # Errors
/// If no daemon runs here, or it is gone before the client.
pub fn run(args: &ProxyArgs, target: &Target) -> Result<ExitCode, Failure> {
    let Some(stream) = connect::local_stream(target)? else {
        return Err(Failure::error("no daemon runs there; start one with `slmscoped`"));
    };
    if let Some(FileRequest(method)) = &args.file {
        return send_file(Connection::greet(stream)?, method.clone());
    }
    watch_output(&stream).context("cannot start a thread")?;
    match proxy::relay(stdin(), stdout(), stream).context("cannot read from the daemon")? {
        Ended::Client => Ok(ExitCode::SUCCESS),
        Ended::Daemon => Err(Failure::error("the daemon there is gone, or has ended the connection")),
    }
}

/// Ends the connection to the daemon once nobody can read what it says: a client that has said all it will say may be gone
/// long before the daemon says more.
fn watch_output(daemon: &UnixStream) -> io::Result<()> {
    let daemon = daemon.try_clone()?;
    let watch = move || {
        let output = stdout();
        let mut closed = [PollFd::new(&output, PollFlags::empty())];
        // What is not asked for and still told: that the other end is closed.
        if poll(&mut closed, None).is_ok() {
            let _ = daemon.shutdown(Shutdown::Both);
        }
    };
    std::thread::Builder::new().name("output".to_owned()).spawn(watch)?;
    Ok(())
}

/// Asks the daemon, and sends its answer and the file.
fn send_file(mut connection: Connection, method: Method) -> Result<ExitCode, Failure> {
    let (answer, file) = match asked(&mut connection, method)? {
        Ok((value, file)) => {
            let bytes = file.metadata().context("cannot read the file's length")?.len();
            (FileAnswer::Ok { value, bytes }, Some((file, bytes)))
        }
        Err(refused) => (FileAnswer::Error(refused), None),
    };
    // Who no longer reads wants no answer.
    let _ = remote::send_file(&answer, file, &mut stdout().lock());
    Ok(ExitCode::SUCCESS)
}

/// The daemon's answer and the file of it, at its beginning.
fn asked(
    connection: &mut Connection,
    method: Method,
) -> anyhow::Result<Result<(serde_json::Value, File), WireError>> {
    if matches!(method, Method::OpenSession(_)) {
        let answer = connection.call_for_file(method)?;
        return Ok(answer.map(|(value, file)| (value, File::from(file))));
    }
    let mut file = scratch::file().context("cannot make a temporary file")?;
    let answer = connection.call(method, &[file.as_fd()])?;
    file.rewind().context("cannot read the temporary file")?;
    Ok(answer.map(|value| (value, file)))
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::kept::Wanted;

    use super::*;

    #[test]
    fn only_requests_whose_answer_is_a_file_are_taken() {
        let read = |text: &str| text.parse::<FileRequest>().map(|request| request.0);
        assert_eq!(read(r#"{"open_session":{"job":7}}"#).unwrap(), Method::OpenSession(Wanted::Job(7)));
        assert_eq!(read(r#"{"save_recent":{"seconds":60}}"#).unwrap(), Method::SaveRecent { seconds: 60 });
        assert!(read(r#"{"status":{}}"#).unwrap_err().to_string().contains("no file"));
        assert!(read("x").unwrap_err().to_string().starts_with("it is no request"));
    }
}
