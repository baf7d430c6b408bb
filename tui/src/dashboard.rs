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
mod course;
mod data;
mod events;
mod export_line;
mod form;
mod keys;
mod list;
mod mark;
mod overlay;
mod palette;
mod picker;
mod player;
mod replay;
mod screens;
mod state;
mod tab;
mod tape;
mod tasks;
mod terminal;
#[cfg(test)]
mod tests;
mod totals;
mod update;
mod view;

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossterm::event::Event;
use slmscope_exports::recording::Reader;
use slmscope_profiles::wire::{Frame, Hello, Reply, Request};
use slmscope_profiles::workload::Workload;

pub use export_line::ExportFrom;
pub use form::Need;
use palette::Palette;
pub use picker::Choice;
pub use player::{IsWritten, Player, Playing};
pub use replay::SPEEDS;
use replay::{Growth, Replay};
use state::State;
pub use tasks::{Done, Figures, Opened, Task};
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
    /// A task came to its end.
    Done(Done),
    /// A session was opened, to be replayed.
    Opened(Box<Opened>),
    /// The recording that is shown cannot be read any further.
    Unreadable(String),
    /// A recording is played from its beginning again.
    Rewound,
    /// More of a recording was written.
    Grown(Growth),
    /// A frame of a recording.
    Replayed(Box<Frame>),
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
        /// What it runs.
        workload: Box<Workload>,
    },
    /// Has something done that waits for files.
    Task(Task),
    /// Closes the recording that was opened over the daemon.
    CloseReplay,
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
        /// What it runs.
        workload: Box<Workload>,
    },
    /// Do something that waits for files.
    Task(Task),
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
    run_loop(messages, sender, send, State::new(options), None)
}

/// A recording to replay.
pub struct Recording {
    /// Its content.
    pub reader: Reader<File>,
    /// Whether it is still written; asked again and again while its end is followed.
    pub is_written: IsWritten,
    /// Its name in the title.
    pub name: String,
    /// As commands name it.
    pub source: String,
    /// Seconds of it in a second, one of [`SPEEDS`]; `None` to show it whole.
    pub speed: Option<f64>,
}

/// Runs the dashboard on a recording, which may still be written, until the user quits, a signal arrives or the terminal is
/// lost. Returns the signal, if it was one. The channel and `send` are those of [`run`]; only tasks are ordered.
///
/// # Errors
/// As for [`run`], and if the recording cannot be read.
pub fn replay(
    messages: Receiver<Msg>,
    sender: Sender<Msg>,
    send: impl FnMut(Order),
    recording: Recording,
    options: Options,
) -> anyhow::Result<Option<i32>> {
    let Recording { reader, is_written, name, source, speed } = recording;
    let opened = Playing::open(reader, is_written);
    let (playing, index) = opened.with_context(|| format!("cannot read {name}"))?;
    let mut state = State::replaying(options, Replay::new(name, index, speed));
    state.replay_source = source;
    run_loop(messages, sender, send, state, Some(playing))
}

/// The loop; `player` reads the recording that is replayed.
fn run_loop(
    messages: Receiver<Msg>,
    sender: Sender<Msg>,
    send: impl FnMut(Order),
    mut state: State,
    player: Option<Playing>,
) -> anyhow::Result<Option<i32>> {
    let palette = Palette::new(state.options.colours, state.options.plain);
    terminal::watch_signals(sender.clone()).context("cannot watch for signals")?;
    let _guard = Guard::enter().context("cannot set up the terminal")?;
    terminal::watch_input(sender);
    let (width, height) = terminal::size();
    let screen = Screen::new(std::io::stdout(), (width, height));
    update::update(&mut state, Msg::Input(Event::Resize(width, height)));
    let mut hands = Hands { screen, send, player };
    let mut next_frame = Instant::now();
    loop {
        let until_frame = next_frame.saturating_duration_since(Instant::now());
        let wait = if state.is_dirty() { until_frame } else { IDLE_TICK };
        let mut urgent = false;
        match messages.recv_timeout(wait) {
            Ok(Msg::TerminalLost) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Ok(Msg::Quit { signal }) => return Ok(Some(signal)),
            Ok(mut msg) => {
                let is_input = matches!(msg, Msg::Input(_));
                match &mut msg {
                    Msg::Input(Event::Resize(width, height)) => hands.screen.resize(*width, *height),
                    Msg::Opened(opened) => hands.player = opened.player.take(),
                    _ => {}
                }
                if hands.carry_out(update::update(&mut state, msg))? {
                    return Ok(None);
                }
                urgent = is_input && state.is_dirty();
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if urgent || Instant::now() >= next_frame {
            let effects = update::update(&mut state, Msg::Tick { now_ns: terminal::monotonic_ns() });
            hands.carry_out(effects)?;
            hands.follow(&mut state)?;
            anyhow::ensure!(!terminal::was_restored(), "a thread of the dashboard panicked");
            if state.take_dirty() && hands.screen.draw(&state, palette).is_err() {
                return Ok(None);
            }
            next_frame = Instant::now() + TICK;
        }
    }
}

/// All that the loop acts on but the state.
struct Hands<S: FnMut(Order)> {
    screen: Screen<std::io::Stdout>,
    send: S,
    player: Option<Playing>,
}

impl<S: FnMut(Order)> Hands<S> {
    /// Carries out side effects; whether the dashboard ends.
    fn carry_out(&mut self, effects: Vec<Effect>) -> anyhow::Result<bool> {
        for effect in effects {
            match effect {
                Effect::Send(request) => (self.send)(Order::Send(request)),
                Effect::Run { id, model, workload } => (self.send)(Order::Run { id, model, workload }),
                Effect::Task(task) => (self.send)(Order::Task(task)),
                Effect::CloseReplay => self.player = None,
                Effect::Repaint => {
                    terminal::set_up_again()?;
                    repaint(&mut self.screen);
                }
                Effect::Suspend => {
                    terminal::suspend()?;
                    repaint(&mut self.screen);
                }
                Effect::Mouse(taken) => terminal::take_mouse(taken)?,
                Effect::Quit => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Brings what is shown of a recording to where it is wanted. One that was opened over a daemon is closed if it cannot
    /// be read.
    fn follow(&mut self, state: &mut State) -> anyhow::Result<()> {
        let Some(player) = &mut self.player else { return Ok(()) };
        let begin = Instant::now();
        match player.follow(state, || begin.elapsed() > READING) {
            Err(error) if state.replay_is_over_live => {
                self.player = None;
                update::update(state, Msg::Unreadable(error.to_string()));
                Ok(())
            }
            followed => followed.context("cannot read the recording"),
        }
    }
}

/// Draws every cell with the next frame, in the size that the terminal has now.
fn repaint(screen: &mut Screen<std::io::Stdout>) {
    let (width, height) = terminal::size();
    screen.resize(width, height);
}
