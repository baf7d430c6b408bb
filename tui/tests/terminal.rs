//! The dashboard in a real terminal: what it shows, what it leaves behind, and what keys, sizes and signals do to it.
//!
//! A thread reads what the program writes; a test waits for what it expects on the screen, however long that takes.

mod support;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use support::pty::Pty;
use support::{Daemon, signal, stand_in_for_ssh, tiny_model};

/// Longest time that a test waits for something that comes within seconds, on any machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest time that a test takes, on any machine: a dashboard that goes on for ever must not hold up the others.
const LIMIT: Duration = Duration::from_mins(10);
/// Rows and columns.
const SIZE: (u16, u16) = (24, 80);

/// A terminal with the program in it.
struct Terminal {
    child: Child,
    pty: Pty,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that was written.
    written: Vec<u8>,
    /// When it was started.
    begun: Instant,
    _folder: tempfile::TempDir,
}

impl Terminal {
    /// Starts the program with `arguments` and these variables, in a folder of its own.
    fn start(arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = OsStr::new(env!("CARGO_BIN_EXE_slmscope"));
        let (pty, child, output) = Pty::start(program, SIZE, |command| {
            command.args(arguments).current_dir(folder.path());
            for (name, value) in [
                ("TERM", "xterm-256color"),
                ("LANG", "C.UTF-8"),
                ("SLMSCOPE_SOCKET", "none"),
                ("SLMSCOPE_LOG", "warn"),
            ] {
                command.env(name, value);
            }
            for name in ["LC_ALL", "LC_CTYPE", "NO_COLOR", "COLORTERM", "COLORFGBG"] {
                command.env_remove(name);
            }
            for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
                command.env(name, folder.path());
            }
            command.envs(variables.iter().copied());
        });
        let screen = vt100::Parser::new(SIZE.0, SIZE.1, 0);
        Self { child, pty, output, screen, written: Vec::new(), begun: Instant::now(), _folder: folder }
    }

    /// The dashboard on a daemon that runs and has nothing to do, after its offer of models.
    fn attached(daemon: &Daemon) -> Self {
        let mut terminal = Self::start(&[], &[("SLMSCOPE_SOCKET", &daemon.socket())]);
        terminal.close_picker();
        terminal
    }

    /// Waits until models are offered, and declines: a key that came before that would go into the offer.
    fn close_picker(&mut self) {
        self.wait_for("run which model?");
        self.press(ESC);
        self.wait(|screen| !screen.contents().contains("run which model?"));
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn press(&mut self, keys: &str) {
        self.pty.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Takes the next part of its output; whether there was one before its end.
    fn read(&mut self) -> bool {
        assert!(self.begun.elapsed() < LIMIT, "it does not come to its end:\n{}", self.text());
        match self.output.recv_timeout(PATIENCE) {
            Ok(part) => {
                self.screen.process(&part);
                self.written.extend(part);
                true
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => false,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it writes nothing more:\n{}", self.text()),
        }
    }

    /// Waits until the screen is as `is_so` says.
    fn wait(&mut self, is_so: impl Fn(&vt100::Screen) -> bool) {
        while !is_so(self.screen.screen()) {
            assert!(self.read(), "it ended:\n{}", self.text());
        }
    }

    fn wait_for(&mut self, text: &str) {
        self.wait(|screen| screen.contents().contains(text));
    }

    /// Waits for its end; its exit code, after the terminal was seen to be as it was before.
    fn end(mut self) -> i32 {
        while self.read() {}
        let code = self.child.wait().expect("it ends").code().expect("it ends by itself");
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert_eq!(self.pty.settings(), self.pty.before);
        code
    }

    fn resize(&mut self, rows: u16, cols: u16) {
        self.pty.resize((rows, cols));
        self.screen.screen_mut().set_size(rows, cols);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Escape twice is the key once, and no other key with Alt.
const ESC: &str = "\u{1b}\u{1b}";

#[test]
fn every_key_on_every_screen_leaves_the_dashboard_working() {
    let mut terminal = Terminal::start(&[&tiny_model(), "-p", "8", "-n", "8"], &[]);
    terminal.wait_for("llama-q4_0.gguf");
    let letters = (0x20..0x7f_u8).map(char::from).filter(|&letter| letter != 'q').map(String::from);
    let named =
        ["A", "B", "C", "D", "H", "F", "5~", "6~", "Z", "2~", "3~"].map(|end| format!("\u{1b}[{end}"));
    let keys: Vec<String> = letters.chain(named).chain(["\u{1b}OP".to_owned(), "\t".to_owned()]).collect();
    for screen in ["1", "2", "3", "4", "5", "6", "7"] {
        // A few at a time: of a long burst the rest is read with the next key only.
        for some in keys.chunks(16) {
            for key in some {
                terminal.press(&format!("{screen}{key}{ESC}"));
            }
            terminal.press(&format!("{ESC}1?"));
            terminal.wait_for("keys on Live");
            terminal.press(ESC);
            terminal.wait(|screen| !screen.contents().contains("keys on Live"));
        }
    }
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_storm_of_sizes_ends_with_a_whole_screen() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::attached(&daemon);
    terminal.wait_for("connected");
    for step in 0..200_u16 {
        terminal.resize(1 + step * 7 % 60, 1 + step * 13 % 200);
        terminal.press(["1", "2", "3", "4", "5", "6", "?", ESC][usize::from(step % 8)]);
    }
    terminal.resize(1, 1);
    terminal.press(&format!("{ESC}{ESC}6"));
    terminal.resize(30, 100);
    terminal
        .wait(|screen| screen.contents().contains("6 Hardware") && screen.contents().contains("connected"));
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_daemon_that_is_killed_and_returns_is_shown_as_gone_and_as_back() {
    let mut daemon = Daemon::start();
    let mut terminal = Terminal::attached(&daemon);
    terminal.wait_for("● connected");
    daemon.child.kill().expect("it runs");
    daemon.child.wait().expect("it ends");
    terminal.wait_for("disconnected");
    daemon.restart();
    terminal.wait_for("● connected");
    terminal.press(&format!("{ESC}q"));
    assert_eq!(terminal.end(), 0);
}

/// Waits until a process is stopped.
fn wait_stopped(pid: u32) {
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    while !stat().contains(") T ") {
        std::thread::yield_now();
    }
}

#[test]
fn a_stopped_dashboard_gives_the_terminal_back_and_takes_it_again() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::attached(&daemon);
    terminal.wait_for("● connected");
    let pid = terminal.pid();
    for by_key in [true, false] {
        if by_key {
            terminal.press("\u{1a}");
        } else {
            signal(pid, "TSTP");
        }
        terminal.wait(|screen| !screen.alternate_screen() && !screen.hide_cursor());
        wait_stopped(pid);
        assert_eq!(terminal.pty.settings(), terminal.pty.before);
        signal(pid, "CONT");
        terminal.wait(|screen| screen.alternate_screen() && screen.contents().contains("● connected"));
    }
    // Something else wrote onto the screen.
    terminal.screen.process(b"\x1b[5;1Hrubbish");
    assert!(terminal.text().contains("rubbish"));
    terminal.press("\u{c}");
    terminal.wait(|screen| !screen.contents().contains("rubbish"));
    terminal.press("\u{3}");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn signals_that_end_it_restore_the_terminal_and_are_its_exit_code() {
    let daemon = Daemon::start();
    for (name, number) in [("TERM", 15), ("HUP", 1), ("INT", 2)] {
        let mut terminal = Terminal::attached(&daemon);
        terminal.wait_for("● connected");
        signal(terminal.pid(), name);
        assert_eq!(terminal.end(), 128 + number, "{name}");
    }
}

#[test]
fn colours_glyphs_and_keys_are_as_terminal_and_settings_say() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("slmscope")).expect("room for it");
    let file = folder.path().join("slmscope/dashboard.toml");
    std::fs::write(&file, "colour = 1\n[keys]\nquit = \"Q\"\n").expect("room for it");
    let config = ("XDG_CONFIG_HOME", folder.path());
    let plain =
        [("SLMSCOPE_SOCKET", &*socket), ("NO_COLOR", Path::new("1")), ("LC_ALL", Path::new("C")), config];
    let mut terminal = Terminal::start(&[], &plain);
    terminal.wait_for("* connected");
    let coloured = |screen: &vt100::Screen| {
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut colours =
            cells.filter_map(|(row, column)| screen.cell(row, column)).map(vt100::Cell::fgcolor);
        colours.any(|colour| colour != vt100::Color::Default)
    };
    // What of the settings is left out stands in the footer until a key is pressed.
    terminal.wait_for("there is no setting `colour`");
    assert!(!coloured(terminal.screen.screen()) && terminal.written.is_ascii());
    terminal.close_picker();
    terminal.wait_for(" Q quit");
    terminal.press("qQ");
    assert_eq!(terminal.end(), 0);
    let mut terminal = Terminal::start(&["--theme", "light"], &[("SLMSCOPE_SOCKET", &*socket)]);
    terminal.wait_for("● connected");
    assert!(coloured(terminal.screen.screen()));
    terminal.close_picker();
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn two_hosts_have_a_line_each_and_enter_opens_one() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ssh = folder.path().join("ssh");
    stand_in_for_ssh(&ssh, &daemon.socket());
    let hosts = ["--host", "board", "--host", "nowhere"];
    let mut terminal = Terminal::start(&hosts, &[("SLMSCOPE_SSH", &*ssh)]);
    terminal.wait_for("2 boards · 1 connected");
    terminal.press("\r");
    terminal.wait_for("● board");
    terminal.press("q");
    terminal.wait_for("2 boards");
    terminal.press("j");
    terminal.wait_for("nowhere: ssh: Could not resolve hostname nowhere");
    terminal.press("\r");
    terminal.wait_for("disconnected: nowhere: ssh:");
    terminal.wait_for("; trying again every");
    terminal.press("qq");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_host_whose_connection_breaks_is_connected_to_again() {
    let mut daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ssh = folder.path().join("ssh");
    stand_in_for_ssh(&ssh, &daemon.socket());
    let mut terminal = Terminal::start(&["--host", "board"], &[("SLMSCOPE_SSH", &*ssh)]);
    terminal.wait_for("● board");
    terminal.close_picker();
    daemon.child.kill().expect("it runs");
    daemon.child.wait().expect("it ends");
    terminal.wait_for("disconnected: board: ");
    daemon.restart();
    terminal.wait_for("● board");
    terminal.press(&format!("{ESC}q"));
    assert_eq!(terminal.end(), 0);
}
