//! Changes to right files that make wrong ones.

/// Numbers at the edges of what fields hold.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    31,
    255,
    65_535,
    65_536,
    (1 << 31) - 1,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// Pieces of JSON that are wrong in most places.
const WORDS: [&str; 20] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "-0.0",
    "1.5",
    "18446744073709551615",
    "18446744073709551616",
    "NaN",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"\"",
    "\"a\"",
    "\\u0000",
    "99999999",
];

/// Makes one changed file after the other; the same ones every time.
pub(crate) struct Mutator {
    seeds: Vec<Vec<u8>>,
    longest: usize,
    json: bool,
    /// The length of the JSON part comes first.
    prefixed: bool,
    state: u64,
    count: usize,
}

impl Mutator {
    pub(crate) fn new(format: &str, seeds: Vec<Vec<u8>>, longest: usize) -> Self {
        let (json, prefixed) = (format != "gguf", format == "safetensors");
        Self { seeds, longest, json, prefixed, state: 0x9e37_79b9_7f4a_7c15, count: 0 }
    }

    /// A number below `end`; 0 if that is 0. Xorshift: Marsaglia 2003.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % end.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// The next file: a seed in turn, changed in one to four places.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.seeds[self.count % self.seeds.len()].clone();
        self.count += 1;
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes.truncate(self.longest);
        if self.prefixed && self.below(8) > 0 {
            // Else hardly a file would pass the first check.
            let header =
                bytes.iter().rposition(|&byte| byte == b'}').map_or(0, |at| (at + 1).saturating_sub(8));
            let length = bytes.len().min(8);
            bytes[..length].copy_from_slice(&(header as u64).to_le_bytes()[..length]);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(24)).min(bytes.len());
        match self.below(if self.json { 11 } else { 9 }) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            2 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            3 | 4 => {
                let (edge, width) = (self.one_of(&EDGES), self.one_of(&[1, 2, 4, 8, 8]));
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&edge.to_le_bytes()[..end - at]);
            }
            5 => bytes.truncate(at),
            6 => drop(bytes.drain(at..end)),
            7 => {
                let piece = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            8 => {
                let other = self.below(self.seeds.len());
                let from = self.below(self.seeds[other].len());
                let until = (from + self.below(200)).min(self.seeds[other].len());
                let piece = self.seeds[other][from..until].to_vec();
                drop(bytes.splice(at..end, piece));
            }
            9 => {
                let word = self.one_of(&WORDS);
                drop(bytes.splice(at..at, word.bytes()));
            }
            // A number in place of another.
            _ => {
                let Some(first) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
                let first = at + first;
                let digits = bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let number = match self.below(3) {
                    0 => self.one_of(&EDGES).to_string(),
                    1 => self.one_of(&WORDS).to_owned(),
                    _ => self.below(5000).to_string(),
                };
                drop(bytes.splice(first..first + digits, number.bytes()));
            }
        }
    }
}
