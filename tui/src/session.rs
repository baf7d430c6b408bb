//! `slmscope` without a command: the dashboard, on the running daemon or on a private one.
//!
//! A thread of its own holds the connection. It connects, forwards messages to the dashboard, and connects again when
//! the daemon has gone. A private daemon that died is started again, and so is its workload.

use std::fs::File;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{self, Sender as Queue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use slmscope_profiles::catalogue::DEFAULT_MODEL;
use slmscope_profiles::job::ModelRef;
use slmscope_profiles::wire::codec::Incoming;
use slmscope_profiles::wire::{Method, Request, Submit};
use slmscope_profiles::workload::Workload;

use crate::client::Sender;
use crate::connect::{self, Attached, Private, Target};
use crate::dashboard::{self, Msg, Options};
use crate::failure::Failure;
use crate::style::wants_colours;

/// Time between two attempts to reach a daemon that has gone.
const RETRY: Duration = Duration::from_millis(500);

/// The current connection to the daemon.
#[derive(Default)]
struct Link {
    sender: Option<Sender>,
    private: Option<Private>,
}

/// The connection as the dashboard's thread and the connector's thread share it.
#[derive(Clone, Default)]
struct SharedLink(Arc<Mutex<Link>>);

impl SharedLink {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the dashboard and stays until the user or a signal ends it.
///
/// # Errors
/// If no daemon can be reached or started, or there is no terminal to draw on.
pub fn run(target: &Target) -> Result<ExitCode, Failure> {
    let attached = connect::attach(target, false, log)?;
    let private = attached.private.is_some();
    let options = options(private, if private { "private daemon" } else { "daemon" }.to_owned());
    let shared = SharedLink::default();
    let (messages, received) = mpsc::channel();
    let connector =
        Connector { target: target.clone(), shared: shared.clone(), messages: messages.clone(), private };
    std::thread::Builder::new()
        .name("connection".to_owned())
        .spawn(move || connector.run(attached))
        .context("cannot start a thread")?;
    let to_daemon = shared.clone();
    let send = move |request: Request| {
        // The connector reports a daemon that has gone.
        if let Some(sender) = &to_daemon.link().sender {
            let _ = sender.send(&request, &[]);
        }
    };
    let ended = dashboard::run(received, messages, send, options)?;
    // A private daemon ends here, before this process does.
    let private = shared.link().private.take();
    drop(private);
    exit_code(ended)
}

/// What the dashboard on `target` is started with, for this terminal.
pub fn options(private: bool, target: String) -> Options {
    Options {
        private,
        target,
        colours: wants_colours(std::env::var_os("NO_COLOR"), std::env::var_os("TERM")),
        plain: std::env::var("TERM").is_ok_and(|term| term == "linux" || term == "dumb"),
        submit: default_job(),
    }
}

/// The exit code of a dashboard that was ended by the user, or by a signal.
///
/// # Errors
/// With the signal's exit code.
pub fn exit_code(ended: Option<i32>) -> Result<ExitCode, Failure> {
    match ended {
        None => Ok(ExitCode::SUCCESS),
        Some(signal) => Err(Failure::silent(128 + u8::try_from(signal).unwrap_or(0))),
    }
}

/// The workload of a private daemon: the default model in a loop, one measured repetition per turn.
fn default_job() -> Submit {
    let workload = Workload { repetitions: Some(1), warmup: 0, looped: true, ..Workload::default() };
    Submit::new(ModelRef::Catalogue(DEFAULT_MODEL.to_owned()), workload)
}

/// Holds the connection, on a thread of its own.
struct Connector {
    target: Target,
    shared: SharedLink,
    messages: Queue<Msg>,
    private: bool,
}

impl Connector {
    /// Connects and forwards until the dashboard ends.
    fn run(self, first: Attached) {
        let mut attached = Some(first);
        loop {
            let reason = match attached.take() {
                Some(attached) => match self.forward(attached) {
                    Ok(reason) => reason,
                    Err(error) => format!("{error:#}"),
                },
                None => "the daemon is gone".to_owned(),
            };
            self.shared.link().sender = None;
            if self.messages.send(Msg::Disconnected { reason }).is_err() {
                return;
            }
            std::thread::sleep(RETRY);
            attached = self.connect();
        }
    }

    fn connect(&self) -> Option<Attached> {
        if self.private {
            let dead = self.shared.link().private.take();
            drop(dead);
            return connect::start_private(log()).ok();
        }
        let connection = connect::running(&self.target).ok()??;
        Some(Attached { connection, private: None })
    }

    /// Forwards messages until the connection ends, and returns why it ended.
    fn forward(&self, attached: Attached) -> anyhow::Result<String> {
        let Attached { mut connection, private } = attached;
        let sender = connection.sender()?;
        {
            let mut link = self.shared.link();
            link.sender = Some(connection.sender()?);
            link.private = private;
        }
        if self.messages.send(Msg::Connected { hello: connection.hello.clone() }).is_err() {
            return Ok(String::new());
        }
        if self.private {
            sender.send(&Request::new(None, Method::Submit(default_job())), &[])?;
        }
        loop {
            let message = match connection.next()? {
                Some(Incoming::Frame(frame)) => Msg::Frame(frame),
                Some(Incoming::Reply(reply)) => Msg::Reply(reply),
                Some(Incoming::Unknown) => continue,
                None => return Ok("the daemon is gone".to_owned()),
            };
            if self.messages.send(message).is_err() {
                return Ok(String::new());
            }
        }
    }
}

/// Where the log of a private daemon goes while the dashboard uses the terminal: a file in the user's state
/// directory, or nowhere if it cannot be opened.
fn log() -> Stdio {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    let state = std::env::var_os("XDG_STATE_HOME").map(std::path::PathBuf::from);
    let folder =
        state.or_else(|| home.map(|home| home.join(".local/state"))).map(|state| state.join("slmscope"));
    let file = folder.and_then(|folder| {
        std::fs::create_dir_all(&folder).ok()?;
        File::options().create(true).append(true).open(folder.join("daemon.log")).ok()
    });
    file.map_or_else(Stdio::null, Stdio::from)
}
