//! Names of users.

use std::fs::File;
use std::io::Read as _;

/// Most of the list of users that is read, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The name of user `uid` by `/etc/passwd`, or the number where that has none: a directory service is not asked.
pub fn name(uid: u32) -> String {
    let mut list = Vec::new();
    let read = File::open("/etc/passwd").and_then(|file| file.take(MAX_BYTES).read_to_end(&mut list));
    let found = read.ok().and_then(|_| in_list(&String::from_utf8_lossy(&list), uid));
    found.unwrap_or_else(|| uid.to_string())
}

/// The first name of user `uid` in the text of `/etc/passwd`.
fn in_list(list: &str, uid: u32) -> Option<String> {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        let is_plain = !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || "._-$".contains(letter));
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
}
