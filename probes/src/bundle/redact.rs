//! Taking out what identifies a machine or a person: serial numbers, hardware addresses, unique ids, the names
//! of host and users. The same value becomes the same word everywhere, so links still lead to their targets.

use std::collections::HashMap;

use crate::root::Root;

/// Parts of the names of files, and of keys in files, whose values identify a machine.
const NAMES: [&str; 6] = ["serial", "uuid", "asset_tag", "machine-id", "hostname", "mac_address"];

/// Files that say what kind of board this is. A host is often called like its board.
const KINDS: [&str; 6] = ["compatible", "model", "product_name", "sys_vendor", "board_name", "os-release"];

/// Longer runs of hexadecimal digits are ids, not numbers.
const ID_DIGITS: usize = 32;

/// Replaces values, and remembers which.
pub(super) struct Redactor {
    /// Names of the host and of people.
    words: Vec<String>,
    known: HashMap<Vec<u8>, usize>,
    replaced: usize,
}

impl Redactor {
    pub(super) fn of(root: &Root) -> Self {
        let mut words = Vec::new();
        let host = ["proc/sys/kernel/hostname", "etc/hostname"].iter().find_map(|path| root.text(path).ok());
        words.extend(host);
        let passwd = root.read("etc/passwd", 1 << 16).unwrap_or_default();
        let people = String::from_utf8_lossy(&passwd).into_owned();
        words.extend(people.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
            // Below are the system's own, above is nobody.
            (1000..65_000).contains(&number.parse::<u32>().ok()?).then(|| name.to_owned())
        }));
        words.retain(|word| word.len() > 2);
        Self { words, known: HashMap::new(), replaced: 0 }
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
        if KINDS.contains(&name) { out } else { self.names(out) }
    }

    /// What stands for a value.
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
            let begins = at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_hexdigit);
            let length = if begins { id_length(rest) } else { 0 };
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

    /// Replaces the names of host and people where they stand alone.
    fn names(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for word in self.words.clone() {
            let word = word.as_bytes();
            let mut out = Vec::with_capacity(bytes.len());
            let mut at = 0;
            while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
                let before = at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
                let after = !rest.get(word.len()).is_some_and(u8::is_ascii_alphanumeric);
                if before && after && rest.starts_with(word) {
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
    if digits >= ID_DIGITS { digits } else { 0 }
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

    fn redactor(words: &[&str]) -> Redactor {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Redactor { words, known: HashMap::new(), replaced: 0 }
    }

    fn contents(path: &str, text: &str) -> String {
        let out = redactor(&["clara", "deskpi"]).contents(path, text.as_bytes());
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
        for kept in
            ["0000:01:00.0\n", "18446744073709551615\n", "ffffffff,ffffffff\n", "00-11\n", "12:30:00\n"]
        {
            assert_eq!(contents("sys/x", kept), kept);
        }
    }

    #[test]
    fn addresses_and_ids_become_the_same_word_everywhere() {
        let mut redactor = redactor(&[]);
        let path = redactor.path("sys/class/power_supply/ps-battery-a0:b1:c2:d3:e4:f5/capacity");
        assert_eq!(path, "sys/class/power_supply/ps-battery-redacted-1/capacity");
        let text = b"a0:b1:c2:d3:e4:f5 root=UUID=01234567-89ab-cdef-0123-456789abcdef 0123456789abcdef0123456789abcdef";
        let out = String::from_utf8(redactor.contents("proc/x", text)).unwrap();
        assert_eq!(out, "redacted-1 root=UUID=redacted-2 redacted-3");
        assert_eq!(redactor.replaced(), 4);
    }

    #[test]
    fn names_of_host_and_people_go_and_kinds_of_boards_stay() {
        assert_eq!(
            contents("proc/version", "Linux 6.1 (clara@deskpi) claraX"),
            "Linux 6.1 (redacted-1@redacted-2) claraX"
        );
        assert_eq!(contents("proc/device-tree/compatible", "deskpi,cm4\0brcm\0"), "deskpi,cm4\0brcm\0");
    }
}
