//! The dashboard: draws the daemon's stream in a terminal.
//!
//! ```text
//! daemon ─▶ client thread ─┐
//! keys, mouse, size ───────┼─ Msg ─▶ update(&mut State) ─▶ requests
//! signals ─────────────────┘                 │
//!                              tick ─▶ view(&State) ─▶ cells that changed ─▶ terminal
//! ```
//!
//! Only [`update`](update::update) changes the [`State`]; views read it. Data is drawn on a tick, input immediately. When no
//! cell has changed, nothing is written. A recording is replayed the same way: the [`Player`] takes the daemon's place.

mod channels;
mod events;
mod keys;
mod list;
mod overlay;
mod palette;
mod picker;
mod player;
mod replay;
mod screens;
mod state;
mod tab;
mod terminal;
#[cfg(test)]
mod tests;
mod totals;
mod update;
mod view;

use std::fs::File;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossterm::event::Event;
use slmscope_exports::recording::Reader;
use slmscope_profiles::wire::{Frame, Hello, Reply, Request};

use palette::Palette;
pub use picker::Choice;
use player::Player;
pub use replay::SPEEDS;
use replay::{Growth, Replay};
use state::State;
use terminal::{Guard, Screen};
pub use update::FIRST_JOB;

/// A message to the dashboard.
#[derive(Debug)]
pub enum Msg {
    /// A connection was made; the dashboard subscribes.
    Connected {
        /// The daemon's first frame.
        hello: Hello,
    },
    /// A stream frame.
    Frame(Box<Frame>),
    /// An answer to one of the requests.
    Reply(Reply),
    /// The connection ended, or could not be made. Repeated while the client tries again.
    Disconnected {
        /// One line for a person.
        reason: String,
    },
    /// A key, the mouse or a new size.
    Input(Event),
    /// The terminal can no longer be read.
    TerminalLost,
    /// Something that the user asked for cannot be done.
    Notice(String),
    /// A signal asks the dashboard to stop for a while.
    Suspend,
    /// The process goes on after it was stopped: what the terminal shows is not known.
    Continued,
    /// A signal asks the dashboard to end.
    Quit {
        /// Its number.
        signal: i32,
    },
    /// A recording is played from its beginning again.
    Rewound,
    /// More of a recording was written.
    Grown(Growth),
    /// All of a recording up to this moment was played.
    Played {
        /// CLOCK_MONOTONIC, ns.
        at_ns: u64,
    },
    /// Time to draw. Sent by the loop itself.
    Tick {
        /// CLOCK_MONOTONIC, ns.
        now_ns: u64,
    },
}

/// A side effect that the loop carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Sends a request to the daemon.
    Send(Box<Request>),
    /// Draws every cell again.
    Repaint,
    /// Stops the process, as Ctrl-Z does elsewhere.
    Suspend,
    /// Takes the mouse, or leaves it to the terminal.
    Mouse(bool),
    /// Queues a job with a model that the user chose.
    Run {
        /// Number of the request.
        id: u64,
        /// The model, as `slmscope run` takes it.
        model: String,
    },
    /// Ends the dashboard.
    Quit,
}

/// What is done where nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// The models are offered.
    Offer,
    /// A job that was asked for is awaited.
    Wait,
}

/// What the dashboard is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon is private to this dashboard.
    pub private: bool,
    /// The daemon's name in the title.
    pub target: String,
    /// Colours may be used (`NO_COLOR` is not set).
    pub colours: bool,
    /// Draw only characters that every console font has.
    pub plain: bool,
    /// The model that was chosen last.
    pub model: String,
    /// What is done where nothing runs.
    pub idle: Idle,
    /// The models that `r` offers.
    pub models: Vec<Choice>,
}

/// What the loop asks of whoever holds the connection.
#[derive(Debug)]
pub enum Order {
    /// Send this to the daemon.
    Send(Box<Request>),
    /// Open a model and queue a job with it.
    Run {
        /// Number of the request.
        id: u64,
        /// The model, as `slmscope run` takes it.
        model: String,
    },
}

/// Time between two frames.
const TICK: Duration = Duration::from_millis(100);
/// Longest time of a frame in which a recording is read.
const READING: Duration = Duration::from_millis(50);
/// Time between two ticks while nothing happens.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Runs the dashboard until the user quits, a signal arrives or the terminal is lost. Returns the signal, if it was one.
///
/// `messages` receives from the client and from the threads for keys and signals, which are given `sender`, its other
/// end. `send` takes the orders and must not block.
///
/// # Errors
/// If the terminal cannot be put into raw mode. Losing it later is not an error.
pub fn run(
    messages: Receiver<Msg>,
    sender: Sender<Msg>,
    send: impl FnMut(Order),
    options: Options,
) -> anyhow::Result<Option<i32>> {
    run_loop(messages, sender, send, State::new(options), |_| Ok(()))
}

/// A recording to replay.
pub struct Recording {
    /// Its content.
    pub reader: Reader<File>,
    /// Whether it is still written; asked again and again while its end is followed.
    pub is_written: Box<dyn FnMut() -> bool>,
    /// Its name in the title.
    pub name: String,
    /// Seconds of it in a second, one of [`SPEEDS`]; `None` to show it whole.
    pub speed: Option<f64>,
}

/// Runs the dashboard on a recording, which may still be written, until the user quits, a signal arrives or the terminal is lost. Returns the signal,
/// if it was one.
///
/// # Errors
/// As for [`run`], and if the recording cannot be read.
pub fn replay(recording: Recording, options: Options) -> anyhow::Result<Option<i32>> {
    let Recording { reader, mut is_written, name, speed } = recording;
    let is_growing = is_written();
    let (mut player, mut index) = Player::open(reader).with_context(|| format!("cannot read {name}"))?;
    index.is_growing = is_growing && !index.is_complete;
    let file = name.clone();
    let state = State::replaying(options, Replay::new(name, index, speed));
    let (sender, messages) = mpsc::channel();
    let follow = move |state: &mut State| {
        let follows = state.replay.as_ref().is_some_and(|replay| replay.follows);
        let is_growing = follows && is_written();
        let begin = Instant::now();
        let followed = player.follow(state, is_growing, || begin.elapsed() > READING);
        followed.with_context(|| format!("cannot read {file}"))
    };
    run_loop(messages, sender, |_| {}, state, follow)
}

/// The loop; `follow` is called before each frame.
fn run_loop(
    messages: Receiver<Msg>,
    sender: Sender<Msg>,
    mut send: impl FnMut(Order),
    mut state: State,
    mut follow: impl FnMut(&mut State) -> anyhow::Result<()>,
) -> anyhow::Result<Option<i32>> {
    let palette = Palette::new(state.options.colours, state.options.plain);
    terminal::watch_signals(sender.clone()).context("cannot watch for signals")?;
    let _guard = Guard::enter().context("cannot set up the terminal")?;
    terminal::watch_input(sender);
    let mut screen = Screen::new(std::io::stdout(), terminal::size());
    let (width, height) = terminal::size();
    update::update(&mut state, Msg::Input(Event::Resize(width, height)));
    let mut next_frame = Instant::now();
    loop {
        let until_frame = next_frame.saturating_duration_since(Instant::now());
        let wait = if state.is_dirty() { until_frame } else { IDLE_TICK };
        let mut urgent = false;
        match messages.recv_timeout(wait) {
            Ok(Msg::TerminalLost) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Ok(Msg::Quit { signal }) => return Ok(Some(signal)),
            Ok(msg) => {
                let is_input = matches!(msg, Msg::Input(_));
                if let Msg::Input(Event::Resize(width, height)) = &msg {
                    screen.resize(*width, *height);
                }
                for effect in update::update(&mut state, msg) {
                    match effect {
                        Effect::Send(request) => send(Order::Send(request)),
                        Effect::Run { id, model } => send(Order::Run { id, model }),
                        Effect::Repaint => {
                            terminal::set_up_again()?;
                            repaint(&mut screen);
                        }
                        Effect::Suspend => {
                            terminal::suspend()?;
                            repaint(&mut screen);
                        }
                        Effect::Mouse(taken) => terminal::take_mouse(taken)?,
                        Effect::Quit => return Ok(None),
                    }
                }
                urgent = is_input && state.is_dirty();
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if urgent || Instant::now() >= next_frame {
            for effect in update::update(&mut state, Msg::Tick { now_ns: terminal::monotonic_ns() }) {
                if let Effect::Send(request) = effect {
                    send(Order::Send(request));
                }
            }
            follow(&mut state)?;
            anyhow::ensure!(!terminal::was_restored(), "a thread of the dashboard panicked");
            if state.take_dirty() && screen.draw(&state, palette).is_err() {
                return Ok(None);
            }
            next_frame = Instant::now() + TICK;
        }
    }
}

/// Draws every cell with the next frame, in the size that the terminal has now.
fn repaint(screen: &mut Screen<std::io::Stdout>) {
    let (width, height) = terminal::size();
    screen.resize(width, height);
}
