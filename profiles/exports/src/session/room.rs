//! How much of a recording a session keeps in memory, whatever its file says.
//!
//! A compressed megabyte can hold more repetitions, steps and names than a machine has memory. What is kept is counted, by
//! what it takes at most or about; beyond [`MAX_BYTES`] entries are left out.

use std::io::{self, Write};

use serde::Serialize;

/// Most bytes. Enough for some million steps, or for the results of as many jobs as a session has.
const MAX_BYTES: usize = 512 << 20;

/// What the values of a message take in memory for each of its bytes, about: text as much, small numbers eight times.
const PER_BYTE: usize = 4;

/// A batch: its time, its place among the steps.
pub(super) const BATCH: usize = 128;

/// A repetition of a phase in a lane, without the sums of its sites.
pub(super) const REPETITION: usize = 1024;

/// The sums of a site in a repetition.
pub(super) const SITE: usize = 80;

/// What is left of the room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) left: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: MAX_BYTES }
    }
}

impl Room {
    /// Takes so many bytes; whether there were as many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Takes room for what replaces something else; whether there was enough.
    pub(super) fn replace(&mut self, old: usize, new: usize) -> bool {
        if new > old {
            return self.take(new - old);
        }
        self.left += old - new;
        true
    }
}

/// What a value takes, about, by the length of its message; nothing for none.
pub(super) fn memory_of(value: Option<&impl Serialize>) -> usize {
    let mut length = Length(0);
    if let Some(value) = value {
        // Counting cannot fail, and what cannot be written takes nothing.
        let _ = rmp_serde::encode::write_named(&mut length, value);
    }
    length.0.saturating_mul(PER_BYTE)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_once_and_what_is_replaced_gives_its_own_back() {
        let mut room = Room { left: 100 };
        assert!(room.take(60) && !room.take(41));
        assert_eq!(room.left, 40, "what does not fit takes nothing");
        assert!(room.replace(60, 100) && !room.replace(100, 101));
        assert!(room.replace(100, 10));
        assert_eq!(room.left, 90);
        assert_eq!(memory_of(Some(&vec![1_u8; 10])), 44);
        assert_eq!(memory_of(None::<&u8>), 0);
    }
}
