//! The terminal: set up for drawing, restored in every case, and written only where cells changed.

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;

use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};

use super::{Msg, Source};

/// Whether the terminal is set up for drawing.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether mouse events are taken.
static MOUSE: AtomicBool = AtomicBool::new(true);
/// Largest screen that is drawn; a terminal that reports more is wrong.
const MAX_CELLS: u32 = 1 << 20;

/// The terminal in raw mode with its alternate screen, until it is dropped.
pub(super) struct Guard(());

impl Guard {
    /// Sets the terminal up, and installs a hook that restores it before a panic is reported.
    pub(super) fn enter(mouse: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                report(info);
            }));
        });
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let guard = Self(());
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        take_mouse(mouse)?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, once. Errors are ignored: the terminal may be gone.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Sets the terminal up anew, whatever it was changed to since: the program was stopped meanwhile, or something else
/// wrote onto the screen.
pub(super) fn set_up_again() -> io::Result<()> {
    disable_raw_mode()?;
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
    take_mouse(MOUSE.load(Ordering::SeqCst))
}

/// Takes mouse events, or leaves them to the terminal, which then selects text.
pub(super) fn take_mouse(taken: bool) -> io::Result<()> {
    MOUSE.store(taken, Ordering::SeqCst);
    if taken {
        execute!(io::stdout(), EnableMouseCapture)
    } else {
        execute!(io::stdout(), DisableMouseCapture)
    }
}

/// Restores the terminal, stops this process until it is continued, and sets the terminal up again.
pub(super) fn suspend() -> io::Result<()> {
    restore();
    kill_process(getpid(), Signal::STOP)?;
    set_up_again()
}

/// Whether a panic in any thread restored the terminal.
pub(super) fn was_restored() -> bool {
    !TAKEN.load(Ordering::SeqCst)
}

/// Columns and rows; 80 × 24 if the terminal does not report them.
pub(super) fn size() -> (u16, u16) {
    crossterm::terminal::size().unwrap_or((80, 24))
}

/// Sends signals that ask the process to end or to stop, and that it goes on, from a thread of its own.
pub(super) fn watch_signals(sender: Sender<(Source, Msg)>) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGTSTP, SIGCONT])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let msg = match signal {
                SIGTSTP => Msg::Suspend,
                SIGCONT => Msg::Continued,
                signal => Msg::Quit { signal },
            };
            if sender.send((Source::Terminal, msg)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Sends keys, mouse events and sizes, from a thread that ends with the process.
pub(super) fn watch_input(sender: Sender<(Source, Msg)>) {
    thread::spawn(move || {
        loop {
            let (msg, is_last) = match crossterm::event::read() {
                Ok(event) => (Msg::Input(event), false),
                Err(_) => (Msg::TerminalLost, true),
            };
            if sender.send((Source::Terminal, msg)).is_err() || is_last {
                return;
            }
        }
    });
}

/// What the terminal shows. A frame that equals the previous one writes nothing.
pub(super) struct Screen<W: Write> {
    backend: CrosstermBackend<W>,
    shown: Buffer,
    next: Buffer,
    /// The terminal's content is unknown and has to be cleared.
    stale: bool,
}

impl<W: Write> Screen<W> {
    /// An empty screen of `size` columns and rows.
    pub(super) fn new(writer: W, size: (u16, u16)) -> Self {
        let mut screen = Self {
            backend: CrosstermBackend::new(writer),
            shown: Buffer::default(),
            next: Buffer::default(),
            stale: true,
        };
        screen.resize(size.0, size.1);
        screen
    }

    /// Takes a new size of the terminal, after which its content is unknown.
    pub(super) fn resize(&mut self, width: u16, height: u16) {
        let rows = MAX_CELLS / u32::from(width.max(1));
        let area = Rect::new(0, 0, width, height.min(rows as u16));
        self.shown = Buffer::empty(area);
        self.next = Buffer::empty(area);
        self.stale = true;
    }

    /// Draws a frame, which `view` puts into the cells of an area.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn draw(&mut self, view: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        self.next.reset();
        view(self.next.area, &mut self.next);
        if self.stale {
            self.backend.clear_region(ClearType::All)?;
            self.shown.reset();
            self.stale = false;
        }
        let mut changes = self.shown.diff_iter(&self.next).peekable();
        if changes.peek().is_some() {
            self.backend.draw(changes)?;
            Backend::flush(&mut self.backend)?;
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(())
    }
}
