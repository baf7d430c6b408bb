//! How far a download is: one line that is overwritten on a terminal, a line at begin and end elsewhere.

use slmscope_profiles::display;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two drawings.
const PACE: Duration = Duration::from_millis(100);
/// Characters of a bar with room, and of the shortest one that says anything.
const BAR: usize = 24;
const LEAST_BAR: usize = 6;

/// Shows the progress of one file on standard error.
pub(super) struct Meter<'n> {
    name: &'n str,
    on_terminal: bool,
    begin: Instant,
    /// Bytes that were there when it began.
    first: Option<u64>,
    drawn: Option<Instant>,
    done: u64,
}

impl<'n> Meter<'n> {
    pub(super) fn new(name: &'n str, size: Option<u64>) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        if !on_terminal {
            let size = display::or_absent(size, display::bytes);
            note_line!("slmscope: fetching {name}, {size}");
        }
        Self { name, on_terminal, begin: Instant::now(), first: None, drawn: None, done: 0 }
    }

    /// So many bytes are here.
    pub(super) fn at(&mut self, done: u64, size: Option<u64>) {
        let first = *self.first.get_or_insert(done);
        self.done = done;
        let now = Instant::now();
        if !self.on_terminal || self.drawn.is_some_and(|drawn| now < drawn + PACE) {
            return;
        }
        self.drawn = Some(now);
        let seconds = now.duration_since(self.begin).as_secs_f64();
        let rate = done.saturating_sub(first) as f64 / seconds.max(1e-3);
        let width = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| size.ws_col.max(20));
        // A line that fills the terminal would wrap and stay.
        let line = line(self.name, done, size, rate, usize::from(width) - 1);
        note!("\r\x1b[K{line}");
        let _ = std::io::stderr().flush();
    }

    /// The file is whole.
    pub(super) fn end(self) {
        if !self.on_terminal {
            note_line!("slmscope: fetched {}, {}", self.name, display::bytes(self.done));
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if self.on_terminal && self.drawn.is_some() {
            note!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }
}

/// The line in at most `width` characters: the bar gives way first, then the begin of the name.
fn line(name: &str, done: u64, size: Option<u64>, rate: f64, width: usize) -> String {
    let rate = display::bytes_per_second(rate);
    let size = size.filter(|&size| size > 0);
    let share = size.map(|size| (done as f64 / size as f64).min(1.0));
    let figures = match size.zip(share) {
        Some((size, share)) => format!("{} of {}, {rate}", display::share(share), display::bytes(size)),
        None => format!("{}, {rate}", display::bytes(done)),
    };
    let characters = |text: &str| text.chars().count();
    let room = width.saturating_sub(characters(name) + 1 + characters(&figures));
    let bar = share.filter(|_| room >= LEAST_BAR + 3).map_or_else(String::new, |share| {
        let length = BAR.min(room - 3);
        let filled = (share * length as f64) as usize;
        format!("[{}{}] ", "=".repeat(filled), " ".repeat(length - filled))
    });
    let excess = (characters(name) + 1 + characters(&figures)).saturating_sub(width);
    let name: String = if excess == 0 {
        name.to_owned()
    } else {
        "…".chars().chain(name.chars().skip(excess + 1)).collect()
    };
    format!("{name} {bar}{figures}").chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_with_the_share() {
        let half = line("a.gguf", 50 << 20, Some(100 << 20), 2e6, 79);
        assert!(half.starts_with(&format!("a.gguf [{}{}]", "=".repeat(12), " ".repeat(12))), "{half}");
        assert!(half.contains("of 100"), "{half}");
        assert!(!line("a", 5, None, 1.0, 79).contains('['));
        assert!(line("a", 9, Some(5), 1.0, 79).contains(&"=".repeat(BAR)));
    }

    #[test]
    fn a_narrow_terminal_still_shows_the_figures() {
        let name = "Some-Model-135M-Instruct.Q4_1.gguf";
        let line = |width| line(name, 50 << 20, Some(100 << 20), 2e6, width);
        let figures = "50.0 % of 100 MiB, 2.00 MB/s";
        assert_eq!(line(79), format!("{name} [{}{}] {figures}", "=".repeat(6), " ".repeat(7)));
        assert_eq!(line(72), format!("{name} [===   ] {figures}"));
        assert_eq!(line(63), format!("{name} {figures}"));
        assert_eq!(line(50), format!("…{} {figures}", &name[14..]));
        assert!((0..100).all(|width| line(width).chars().count() <= width));
    }
}
