//! A terminal of a test's own, with a program in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// The end of a terminal that a person has: keys go in, what is drawn comes out.
pub struct Pty {
    /// Keys.
    pub keys: File,
    /// What it was set to before the program started.
    pub before: String,
    master: OwnedFd,
}

impl Pty {
    /// Starts `program` in a terminal of so many rows and columns; the parts of what it writes, until its end.
    pub fn start(
        program: &OsStr,
        size: (u16, u16),
        prepare: impl FnOnce(&mut Command),
    ) -> (Self, Child, Receiver<Vec<u8>>) {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("text");
        let keys = File::from(master.try_clone().expect("a descriptor"));
        let mut pty = Self { keys, before: String::new(), master };
        pty.resize(size);
        pty.before = pty.settings();
        let slave = || File::options().read(true).write(true).open(&name).expect("it is ours");
        // Makes it the controlling terminal, and becomes the program.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program);
        prepare(&mut command);
        let child =
            command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("the program starts");
        drop(command);
        let mut output = File::from(pty.master.try_clone().expect("a descriptor"));
        let (sender, parts) = mpsc::channel();
        std::thread::spawn(move || {
            let mut part = [0; 8 << 10];
            // The end of the program shows as an error.
            while let Ok(count @ 1..) = output.read(&mut part) {
                if sender.send(part[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        (pty, child, parts)
    }

    /// Gives it another size, of rows and columns.
    pub fn resize(&self, (rows, columns): (u16, u16)) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("it takes a size");
    }

    /// What it is set to: echo, lines, signals of keys.
    pub fn settings(&self) -> String {
        let settings = tcgetattr(&self.master).expect("it has settings");
        format!("{:?} {:?} {:?}", settings.input_modes, settings.output_modes, settings.local_modes)
    }
}
