//! Names of users.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;

/// Most of the list of users that is read, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// How long a directory service may take for a name. Without an answer the number is shown.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The name of user `uid` by `/etc/passwd`, else by what else the system takes users from (`getent`: a directory service,
/// systemd); the number where neither has one. Each user is looked up once. Users
/// of another machine have their numbers.
pub fn name(uid: u32) -> String {
    if clock::is_elsewhere() {
        return uid.to_string();
    }
    static KNOWN: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let look_up = || {
        let number = uid.to_string();
        let by_service = || by_service(Command::new("getent").args(["passwd", &number]), uid);
        in_file(uid).or_else(by_service).unwrap_or(number)
    };
    known.entry(uid).or_insert_with(look_up).clone()
}

fn in_file(uid: u32) -> Option<String> {
    let mut list = Vec::new();
    File::open("/etc/passwd").and_then(|file| file.take(MAX_BYTES).read_to_end(&mut list)).ok()?;
    in_list(&String::from_utf8_lossy(&list), uid)
}

/// The name of user `uid` in what `command` prints, which has the form of `/etc/passwd`; `None` if it prints none, or
/// nothing for [`PATIENCE`].
fn by_service(command: &mut Command, uid: u32) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let line = first_output(&mut child);
    // It has ended, or is not waited for any longer.
    let _ = child.kill();
    let _ = child.wait();
    in_list(&String::from_utf8_lossy(&line?), uid)
}

/// What `child` writes first.
fn first_output(child: &mut Child) -> Option<Vec<u8>> {
    let mut output = child.stdout.take()?;
    let ready = poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&PATIENCE)).ok()?;
    let mut line = vec![0; 4096];
    let length = if ready > 0 { output.read(&mut line).ok()? } else { 0 };
    line.truncate(length);
    Some(line)
}

/// The first name of user `uid` in a text in the form of `/etc/passwd`.
fn in_list(list: &str, uid: u32) -> Option<String> {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        let is_plain = !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || "._-$@+\\".contains(letter));
        (is_plain && number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    list.lines().find_map(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number_and_odd_names_are_not_shown() {
        let list = "root:x:0:0:root:/root:/bin/sh\nbroken\n::7:\n\u{1b}[31m:x:8:8::/:\nanna:x:1000:1000::/:\nother:x:1000:1::/:";
        let found = |uid| in_list(list, uid);
        assert_eq!((found(0).as_deref(), found(1000).as_deref()), (Some("root"), Some("anna")));
        assert_eq!((found(7), found(8), found(9)), (None, None, None));
    }

    #[test]
    fn users_of_a_directory_service_have_names() {
        let asked = |script: &str| by_service(Command::new("sh").args(["-c", script]), 70_001);
        assert_eq!(
            asked("echo 'anna@board.example:*:70001:70001::/home/anna:/bin/sh'").as_deref(),
            Some("anna@board.example")
        );
        assert_eq!(asked(r"printf '%s' 'DOM\berta:*:70001:70001::/:'").as_deref(), Some("DOM\\berta"));
        for without in ["exit 2", "echo 'anna:*:70002:70002::/:'", "echo", "printf '\\033[31m:x:70001:1::/:'"]
        {
            assert_eq!(asked(without), None, "{without}");
        }
        assert_eq!(by_service(&mut Command::new("/nonexistent/getent"), 70_001), None);
    }
}
