//! The dashboard: draws the daemon's stream in a terminal.
//!
//! ```text
//! daemon ─▶ client thread ─┐
//! keys, mouse, size ───────┼─ Msg ─▶ update(&mut State) ─▶ requests
//! signals ─────────────────┘                 │
//!                              tick ─▶ view(&State) ─▶ cells that changed ─▶ terminal
//! ```
//!
//! Only [`update`](update::update) changes the [`State`]; views read it. Of several boards each has a state, see [`Boards`]. Data is drawn on a tick, input immediately. When no
//! cell has changed, nothing is written. A recording is replayed the same way: the [`Player`] takes the daemon's place.

mod boards;
mod channels;
mod course;
mod data;
mod events;
mod export_line;
mod form;
mod glyphs;
mod keymap;
mod keys;
mod list;
mod mark;
mod overlay;
mod palette;
mod picker;
mod player;
mod pointer;
mod replay;
mod screens;
mod settings;
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
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossterm::event::Event;
use slmscope_exports::recording::Reader;
use slmscope_profiles::wire::{Frame, Hello, Reply, Request};
use slmscope_profiles::workload::Workload;

use boards::Boards;
pub use export_line::ExportFrom;
pub use form::Need;
pub use keymap::listing as keys;
use palette::Palette;
pub use palette::Theme;
pub use picker::Choice;
pub use player::{IsWritten, Player, Playing};
pub use replay::SPEEDS;
use replay::{Growth, Replay};
pub use settings::Settings;
use state::State;
pub use tasks::{Done, Figures, Opened, Task};
use terminal::{Guard, Screen};
pub use update::FIRST_JOB;

use crate::clock;

/// A message to the dashboard.
#[derive(Debug)]
pub enum Msg {
    /// A connection was made; the dashboard subscribes.
    Connected {
        /// The daemon's first frame.
        hello: Hello,
    },
    /// How far the clock of the daemon's machine is ahead of this one's. Sent before [`Msg::Connected`] if it is another
    /// machine.
    Clock {
        /// ns.
        ahead_ns: i64,
    },
    /// A stream frame.
    Frame(Box<Frame>),
    /// An answer to one of the requests.
    Reply(Reply),
    /// The connection ended, or could not be made. Repeated while the client tries again.
    Disconnected {
        /// One line for a person.
        reason: String,
        /// Time until the next try.
        retry: Duration,
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
    /// It is on another machine, whose name this is.
    pub remote: bool,
    /// Colours, glyphs, keys.
    pub settings: Arc<Settings>,
    /// The model that was chosen last.
    pub model: String,
    /// What is done where nothing runs.
    pub idle: Idle,
    /// The models that `r` offers.
    pub models: Vec<Choice>,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The terminal, or a signal.
    Terminal,
    /// The connection to the board with this number.
    Board(usize),
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
/// Most messages that are applied before something is drawn.
const MOST_AT_ONCE: usize = 256;
/// Time between two ticks while nothing happens.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Runs the dashboard on one board, or on several with an overview, until the user quits, a signal arrives or the terminal
/// is lost. Returns the signal, if it was one.
///
/// `messages` receives from the connections and from the threads for keys and signals, which are given `sender`, its
/// other end. `send` takes the orders for a board and must not block.
///
/// # Errors
/// If the terminal cannot be put into raw mode. Losing it later is not an error.
pub fn run(
    messages: Receiver<(Source, Msg)>,
    sender: Sender<(Source, Msg)>,
    send: impl FnMut(usize, Order),
    boards: Vec<Options>,
) -> anyhow::Result<Option<i32>> {
    run_loop(messages, sender, send, boards.into_iter().map(State::new).collect(), None)
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
    messages: Receiver<(Source, Msg)>,
    sender: Sender<(Source, Msg)>,
    send: impl FnMut(usize, Order),
    recording: Recording,
    options: Options,
) -> anyhow::Result<Option<i32>> {
    let Recording { reader, is_written, name, source, speed } = recording;
    let opened = Playing::open(reader, is_written);
    let (playing, index) = opened.with_context(|| format!("cannot read {name}"))?;
    let mut state = State::replaying(options, Replay::new(name, index, speed));
    state.replay_source = source;
    run_loop(messages, sender, send, vec![state], Some(playing))
}

/// The loop; `player` reads the recording that is replayed.
fn run_loop(
    messages: Receiver<(Source, Msg)>,
    sender: Sender<(Source, Msg)>,
    send: impl FnMut(usize, Order),
    states: Vec<State>,
    player: Option<Playing>,
) -> anyhow::Result<Option<i32>> {
    let mut players: Vec<_> = states.iter().map(|_| None).collect();
    if let Some(first) = players.first_mut() {
        *first = player;
    }
    let mut boards = Boards::new(states);
    let settings = boards.shown().options.settings.clone();
    terminal::watch_signals(sender.clone()).context("cannot watch for signals")?;
    let _guard = Guard::enter(settings.mouse).context("cannot set up the terminal")?;
    terminal::watch_input(sender);
    let (width, height) = terminal::size();
    boards.update(Source::Terminal, Msg::Input(Event::Resize(width, height)));
    let screen = Screen::new(std::io::stdout(), (width, height));
    let mut show = Show { boards, screen, palette: settings.palette, send, players };
    let mut next_frame = Instant::now();
    loop {
        let until_frame = next_frame.saturating_duration_since(Instant::now());
        let wait = if show.boards.is_dirty() { until_frame } else { IDLE_TICK };
        let first = match messages.recv_timeout(wait) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        };
        // What has come meanwhile is drawn once.
        let mut was_input = false;
        for (source, msg) in first.into_iter().chain(messages.try_iter().take(MOST_AT_ONCE)) {
            was_input |= matches!(msg, Msg::Input(_));
            match show.apply(source, msg)? {
                Some(Ended::ByUser) => return Ok(None),
                Some(Ended::BySignal(signal)) => return Ok(Some(signal)),
                None => {}
            }
        }
        let urgent = was_input && show.boards.is_dirty();
        if urgent || Instant::now() >= next_frame {
            if !show.frame()? {
                return Ok(None);
            }
            next_frame = Instant::now() + TICK;
        }
    }
}

/// How the dashboard ends.
enum Ended {
    /// The user leaves it, or the terminal is gone.
    ByUser,
    /// A signal with this number came.
    BySignal(i32),
}

/// All that the loop acts on.
struct Show<S> {
    boards: Boards,
    screen: Screen<std::io::Stdout>,
    palette: Palette,
    send: S,
    /// For each board, what reads the recording that is shown of it.
    players: Vec<Option<Playing>>,
}

impl<S: FnMut(usize, Order)> Show<S> {
    /// Applies a message, and carries out what it asks for.
    fn apply(&mut self, source: Source, mut msg: Msg) -> anyhow::Result<Option<Ended>> {
        match (&mut msg, source) {
            (Msg::TerminalLost, _) => return Ok(Some(Ended::ByUser)),
            (Msg::Quit { signal }, _) => return Ok(Some(Ended::BySignal(*signal))),
            (Msg::Input(Event::Resize(width, height)), _) => self.screen.resize(*width, *height),
            (Msg::Opened(opened), Source::Board(board)) => {
                if let Some(player) = self.players.get_mut(board) {
                    *player = opened.player.take();
                }
            }
            _ => {}
        }
        let effects = self.boards.update(source, msg);
        Ok(self.carry_out(effects)?.then_some(Ended::ByUser))
    }

    /// Carries out side effects, each of a board; whether the dashboard ends.
    fn carry_out(&mut self, effects: Vec<(usize, Effect)>) -> anyhow::Result<bool> {
        for (board, effect) in effects {
            match effect {
                Effect::Send(request) => (self.send)(board, Order::Send(request)),
                Effect::Run { id, model, workload } => (self.send)(board, Order::Run { id, model, workload }),
                Effect::Task(task) => (self.send)(board, Order::Task(task)),
                Effect::CloseReplay => {
                    if let Some(player) = self.players.get_mut(board) {
                        *player = None;
                    }
                }
                Effect::Repaint => {
                    terminal::set_up_again()?;
                    self.repaint();
                }
                Effect::Suspend => {
                    terminal::suspend()?;
                    self.repaint();
                }
                Effect::Mouse(taken) => terminal::take_mouse(taken)?,
                Effect::Quit => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Lets time pass, and draws what has changed; whether the terminal is still there.
    fn frame(&mut self) -> anyhow::Result<bool> {
        let effects = self.boards.tick(clock::now_ns());
        self.carry_out(effects)?;
        self.follow()?;
        anyhow::ensure!(!terminal::was_restored(), "a thread of the dashboard panicked");
        if !self.boards.take_dirty() {
            return Ok(true);
        }
        let Self { boards, screen, palette, .. } = self;
        Ok(screen.draw(|area, buf| boards.draw(*palette, area, buf)).is_ok())
    }

    /// Brings what is shown of a recording to where it is wanted. One that was opened over a daemon is closed if it cannot
    /// be read.
    fn follow(&mut self) -> anyhow::Result<()> {
        let Some(place) = self.players.get_mut(self.boards.shown_number()) else { return Ok(()) };
        let Some(player) = place else { return Ok(()) };
        let state = self.boards.shown_mut();
        let begin = Instant::now();
        match player.follow(state, || begin.elapsed() > READING) {
            Err(error) if state.replay_is_over_live => {
                *place = None;
                update::update(state, Msg::Unreadable(error.to_string()));
                Ok(())
            }
            followed => followed.context("cannot read the recording"),
        }
    }

    /// Draws every cell with the next frame, in the size that the terminal has now.
    fn repaint(&mut self) {
        let (width, height) = terminal::size();
        self.screen.resize(width, height);
    }
}
