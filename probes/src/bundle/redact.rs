//! Taking out what identifies a machine or a person: serial numbers, hardware addresses, unique ids, the names
//! of host and users. The same value becomes the same word everywhere, so links still lead to their targets.

use std::collections::HashMap;

use crate::machine::root::Root;

/// Parts of the names of files, and of keys in files, whose values identify a machine.
const NAMES: [&str; 6] = ["serial", "uuid", "asset_tag", "machine-id", "hostname", "mac_address"];

/// Files that name the kind of board or system, by which it is recognised.
const KINDS: [&str; 2] = ["compatible", "os-release"];

/// Files that name it in words. A host is often called like its board, but people put their own names in too.
const TITLES: [&str; 4] = ["model", "product_name", "sys_vendor", "board_name"];

/// Number of the user `nobody`.
const NOBODY: u32 = 65_534;

/// Hexadecimal digits of a hardware address without separators.
const ADDRESS_DIGITS: usize = 12;

/// Longer runs of hexadecimal digits are ids, not numbers.
const ID_DIGITS: usize = 32;

/// Replaces values, and remembers which.
pub(super) struct Redactor {
    /// Names of the host.
    hosts: Vec<String>,
    /// Names of people.
    people: Vec<String>,
    known: HashMap<Vec<u8>, usize>,
    replaced: usize,
}

impl Redactor {
    pub(super) fn of(root: &Root) -> Self {
        let host = ["proc/sys/kernel/hostname", "etc/hostname"].iter().find_map(|path| root.text(path).ok());
        let passwd = root.long_text("etc/passwd", 1 << 20).unwrap_or_default();
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
            let number: u32 = number.parse().ok()?;
            // Below are the system's own.
            (number >= 1000 && number != NOBODY).then(|| name.to_owned())
        });
        // Users of a directory service are in no file, but have a folder.
        let mut people: Vec<String> = users.chain(root.list("home").unwrap_or_default()).collect();
        people.retain(|name| !name.is_empty());
        people.sort_unstable();
        people.dedup();
        // The longer name first, where one begins with another: `anna-lena`, `anna`.
        people.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let hosts = host.into_iter().filter(|host| host.len() > 2).collect();
        Self { hosts, people, known: HashMap::new(), replaced: 0 }
    }

    pub(super) fn replaced(&self) -> usize {
        self.replaced
    }

    /// A path, or the target of a link.
    pub(super) fn path(&mut self, path: &str) -> String {
        String::from_utf8_lossy(&self.ids(path.as_bytes())).into_owned()
    }

    /// The contents of a file.
    pub(super) fn contents(&mut self, path: &str, bytes: &[u8]) -> Vec<u8> {
        let name = path.rsplit('/').next().unwrap_or(path);
        if names_identity(name) {
            return self.word(bytes.trim_ascii());
        }
        let mut out = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = match keyed(line) {
                Some((key, value)) => {
                    out.extend_from_slice(key);
                    let end = if line.ends_with(b"\n") { &b"\n"[..] } else { b"" };
                    [self.word(value.trim_ascii()), end.to_vec()].concat()
                }
                None => line.to_vec(),
            };
            out.extend(self.ids(&line));
        }
        if KINDS.contains(&name) {
            return out;
        }
        let out = self.names(out, &self.people.clone());
        if TITLES.contains(&name) { out } else { self.names(out, &self.hosts.clone()) }
    }

    /// What replaces a value.
    fn word(&mut self, value: &[u8]) -> Vec<u8> {
        let next = self.known.len() + 1;
        let number = *self.known.entry(value.to_vec()).or_insert(next);
        self.replaced += 1;
        format!("redacted-{number}").into_bytes()
    }

    /// Replaces hardware addresses, unique ids and long runs of hexadecimal digits.
    fn ids(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let before = bytes.get(..at).unwrap_or_default();
            let begins = !before.last().is_some_and(u8::is_ascii_hexdigit);
            // What is marked as a number is one.
            let length = match id_length(rest) {
                _ if !begins => 0,
                ADDRESS_DIGITS if before.ends_with(b"0x") => 0,
                length => length,
            };
            if length > 0 {
                let word = self.word(rest.get(..length).unwrap_or_default());
                out.extend(word);
            } else {
                out.extend(rest.first());
            }
            at += length.max(1);
        }
        out
    }

    /// Replaces names where they are whole words; longer ones in any case of letters.
    fn names(&mut self, mut bytes: Vec<u8>, names: &[String]) -> Vec<u8> {
        for name in names {
            let word = name.as_bytes();
            let is =
                |text: &[u8]| if word.len() > 2 { text.eq_ignore_ascii_case(word) } else { text == word };
            let mut out = Vec::with_capacity(bytes.len());
            let mut at = 0;
            while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
                let before = at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
                let after = !rest.get(word.len()).is_some_and(u8::is_ascii_alphanumeric);
                if before && after && rest.get(..word.len()).is_some_and(is) {
                    let replacement = self.word(word);
                    out.extend(replacement);
                    at += word.len();
                } else {
                    out.extend(rest.first());
                    at += 1;
                }
            }
            bytes = out;
        }
        bytes
    }
}

fn names_identity(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

/// Key with its separator, and value, of a line whose key names an identity: `Serial : 1000`, `ID_SERIAL=x`.
fn keyed(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let separator = line.iter().position(|byte| matches!(byte, b':' | b'='))?;
    let (key, value) = line.split_at_checked(separator + 1)?;
    (names_identity(std::str::from_utf8(key).ok()?) && !value.trim_ascii().is_empty()).then_some((key, value))
}

/// Length of the address or id that these bytes begin with; 0 if there is none.
fn id_length(bytes: &[u8]) -> usize {
    let ends = |length: usize| !bytes.get(length).is_some_and(u8::is_ascii_hexdigit);
    for (groups, separator) in [(&[2; 6][..], b':'), (&[2; 6], b'-'), (&[8, 4, 4, 4, 12], b'-')] {
        if let Some(length) = grouped(bytes, groups, separator).filter(|&length| ends(length)) {
            return length;
        }
    }
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let run = bytes.get(..digits).unwrap_or_default();
    // A decimal number has no letters, and a mask no digits.
    let is_mixed = run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic);
    if digits >= ID_DIGITS || digits == ADDRESS_DIGITS && is_mixed { digits } else { 0 }
}

/// Length of groups of hexadecimal digits with separators between them.
fn grouped(bytes: &[u8], groups: &[usize], separator: u8) -> Option<usize> {
    let mut at = 0;
    for (index, &group) in groups.iter().enumerate() {
        if index > 0 {
            (bytes.get(at) == Some(&separator)).then_some(())?;
            at += 1;
        }
        bytes.get(at..at + group)?.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        at += group;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(hosts: &[&str], people: &[&str]) -> Redactor {
        let [hosts, people] =
            [hosts, people].map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Redactor { hosts, people, known: HashMap::new(), replaced: 0 }
    }

    fn contents(path: &str, text: &str) -> String {
        let out = redactor(&["deskpi"], &["clara", "jo"]).contents(path, text.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_identifies_is_replaced_and_what_measures_is_kept() {
        let cpuinfo = "model name\t: Cortex-A76\nSerial\t\t: 10000000a1b2c3d4\ncpu MHz\t: 2400\n";
        let out = contents("proc/cpuinfo", cpuinfo);
        assert_eq!(out, "model name\t: Cortex-A76\nSerial\t\t:redacted-1\ncpu MHz\t: 2400\n");
        assert_eq!(contents("sys/class/power_supply/BAT0/serial_number", " 4711\n"), "redacted-1");
        let uevent = "POWER_SUPPLY_SERIAL_NUMBER=4711\nPOWER_SUPPLY_ENERGY_NOW=20000\n";
        let out = contents("sys/class/power_supply/BAT0/uevent", uevent);
        assert_eq!(out, "POWER_SUPPLY_SERIAL_NUMBER=redacted-1\nPOWER_SUPPLY_ENERGY_NOW=20000\n");
        for kept in [
            "0000:01:00.0\n",
            "18446744073709551615\n",
            "ffffffff,ffffffff\n",
            "00-11\n",
            "12:30:00\n",
            "262143328850\n",
            "ffffffffffff\n",
            "event=0x0123456789ab\n",
        ] {
            assert_eq!(contents("sys/x", kept), kept);
        }
    }

    #[test]
    fn addresses_and_ids_become_the_same_word_everywhere() {
        let mut redactor = redactor(&[], &[]);
        let path = redactor.path("sys/class/power_supply/ps-battery-a0:b1:c2:d3:e4:f5/capacity");
        assert_eq!(path, "sys/class/power_supply/ps-battery-redacted-1/capacity");
        assert_eq!(
            redactor.path("sys/class/x/hid-a0b1c2d3e4f5-battery"),
            "sys/class/x/hid-redacted-2-battery"
        );
        let text = b"a0:b1:c2:d3:e4:f5 root=UUID=01234567-89ab-cdef-0123-456789abcdef 0123456789abcdef0123456789abcdef";
        let out = String::from_utf8(redactor.contents("proc/x", text)).unwrap();
        assert_eq!(out, "redacted-1 root=UUID=redacted-3 redacted-4");
        assert_eq!(redactor.replaced(), 5);
    }

    #[test]
    fn people_are_all_users_but_the_system_s_own_and_whoever_has_a_folder() {
        let board = crate::tests::Board::new(&[
            (
                "etc/passwd",
                "root:x:0:0\nnobody:x:65534:65534\njo:x:1000:1\nanna:x:70001:1\nanna-lena:x:1234567:1\n",
            ),
            ("home/clara/x", ""),
            ("etc/hostname", "deskpi"),
        ]);
        let redactor = Redactor::of(&board.root());
        assert_eq!(redactor.people, ["anna-lena", "clara", "anna", "jo"]);
        assert_eq!(redactor.hosts, ["deskpi"]);
    }

    #[test]
    fn names_of_host_and_people_go_and_kinds_of_boards_stay() {
        assert_eq!(
            contents("proc/version", "Linux 6.1 (clara@deskpi) claraX"),
            "Linux 6.1 (redacted-1@redacted-2) claraX"
        );
        assert_eq!(
            contents("sys/class/dmi/id/product_name", "ThinkPad of Clara\n"),
            "ThinkPad of redacted-1\n"
        );
        assert_eq!(contents("sys/class/dmi/id/product_name", "deskpi 4, Jo\n"), "deskpi 4, Jo\n");
        assert_eq!(contents("proc/x", "of jo, jojo\n"), "of redacted-1, jojo\n");
        assert_eq!(contents("proc/device-tree/compatible", "deskpi,cm4\0brcm\0"), "deskpi,cm4\0brcm\0");
    }
}
