//! The dashboard: what the daemon streams, drawn in a terminal.
//!
//! ```text
//! daemon ─▶ client thread ─┐
//! keys, mouse, size ───────┼─ Msg ─▶ update(&mut State) ─▶ requests
//! signals ─────────────────┘                 │
//!                              tick ─▶ view(&State) ─▶ cells that changed ─▶ terminal
//! ```
//!
//! [`update`](update::update) alone changes the [`State`]; views only read it. Data is drawn on a tick, input at
//! once; when no cell changes, nothing is written.

mod channels;
mod keys;
mod list;
mod palette;
mod screens;
mod state;
mod tab;
mod terminal;
#[cfg(test)]
mod tests;
mod totals;
mod update;
mod view;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossterm::event::Event;
use slmscope_profiles::wire::{Frame, Hello, Reply, Request, Submit};

use palette::Palette;
use state::State;
use terminal::{Guard, Screen};

/// What can happen to the dashboard.
#[derive(Debug)]
pub enum Msg {
    /// A connection stands; the dashboard subscribes.
    Connected {
        /// The daemon's first frame.
        hello: Hello,
    },
    /// A stream frame.
    Frame(Box<Frame>),
    /// An answer to one of the requests.
    Reply(Reply),
    /// The connection ended, or none could be made. May come again while the client tries.
    Disconnected {
        /// One line for a person.
        reason: String,
    },
    /// A key, the mouse or a new size.
    Input(Event),
    /// The terminal cannot be read any more.
    TerminalLost,
    /// A signal asks to end.
    Quit {
        /// Its number.
        signal: i32,
    },
    /// Time to draw. The loop makes these itself.
    Tick {
        /// CLOCK_MONOTONIC, ns.
        now_ns: u64,
    },
}

/// What the loop does for the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Sends a request to the daemon.
    Send(Box<Request>),
    /// Ends the dashboard.
    Quit,
}

/// How the dashboard looks and what it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon is this dashboard's own.
    pub private: bool,
    /// Whom it watches, for the title: a socket's path, or `private daemon`.
    pub target: String,
    /// Colours may be used (`NO_COLOR` is not set).
    pub colours: bool,
    /// Only characters that every console font has.
    pub plain: bool,
    /// What `r` submits.
    pub submit: Submit,
}

/// Time between two frames.
const TICK: Duration = Duration::from_millis(100);
/// Time between two looks at the clock while nothing happens.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Runs the dashboard until the user, a signal or the end of the terminal ends it; the signal is the result.
///
/// `messages` carries what the client receives; `sender` is its other end, to which threads for keys and
/// signals are attached here. `send` gets the requests; it must not block.
///
/// # Errors
/// If the terminal cannot be taken over. One that goes away later is no error.
pub fn run(
    messages: Receiver<Msg>,
    sender: Sender<Msg>,
    mut send: impl FnMut(Request),
    options: Options,
) -> anyhow::Result<Option<i32>> {
    let palette = Palette::new(options.colours, options.plain);
    terminal::watch_signals(sender.clone()).context("cannot watch for signals")?;
    let _guard = Guard::enter().context("cannot take over the terminal")?;
    terminal::watch_input(sender);
    let mut screen = Screen::new(std::io::stdout(), terminal::size());
    let mut state = State::new(options);
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
                        Effect::Send(request) => send(*request),
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
                    send(*request);
                }
            }
            anyhow::ensure!(!terminal::was_restored(), "a thread of the dashboard panicked");
            if state.take_dirty() && screen.draw(&state, palette).is_err() {
                return Ok(None);
            }
            next_frame = Instant::now() + TICK;
        }
    }
}
