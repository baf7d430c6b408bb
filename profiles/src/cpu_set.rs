//! Sets of CPUs as the kernel writes them: `0-3,6`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::display::excerpt;

/// CPUs that a set can hold. A set is a part of every job, so it is small.
pub const MOST_CPUS: u32 = 256;

const WORDS: usize = MOST_CPUS as usize / 64;

/// Some CPUs of a machine, by their numbers; never none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet([u64; WORDS]);

/// The text names no CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no CPUs; write their numbers, below {MOST_CPUS}, like 0-3 or 0-1+4-5")]
pub struct BadCpuSet(String);

impl CpuSet {
    /// The numbers, the lowest first.
    pub fn cpus(&self) -> impl Iterator<Item = u32> + '_ {
        (0..MOST_CPUS).filter(|&cpu| self.has(cpu))
    }

    /// Whether a CPU is among them.
    pub fn has(&self, cpu: u32) -> bool {
        self.0.get(cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl FromStr for CpuSet {
    type Err = BadCpuSet;

    /// Ranges with both ends, separated by `,` or `+`; where a comma separates several sets, `+` does not.
    fn from_str(text: &str) -> Result<Self, BadCpuSet> {
        let bad = || BadCpuSet(excerpt(text, 60));
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|cpu| *cpu < MOST_CPUS);
        let mut words = [0; WORDS];
        for part in text.split([',', '+']) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
            if first > last {
                return Err(bad());
            }
            for cpu in first..=last {
                words[cpu as usize / 64] |= 1 << (cpu % 64);
            }
        }
        Ok(Self(words))
    }
}

impl TryFrom<String> for CpuSet {
    type Error = BadCpuSet;

    fn try_from(text: String) -> Result<Self, BadCpuSet> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for cpu in self.cpus() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        let range = |&(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.pad(&ranges.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written_as_the_kernel_does() {
        for (text, written, count) in [
            ("0", "0", 1),
            ("0-3,6", "0-3,6", 5),
            ("4-7+0", "0,4-7", 5),
            (" 1 - 2 ,2,3", "1-3", 3),
            ("255", "255", 1),
        ] {
            let set: CpuSet = text.parse().unwrap();
            assert_eq!((set.to_string().as_str(), set.count()), (written, count), "{text}");
            assert_eq!(serde_json::from_str::<CpuSet>(&serde_json::to_string(&set).unwrap()).unwrap(), set);
        }
        let set: CpuSet = "0-1+64".parse().unwrap();
        assert_eq!(set.cpus().collect::<Vec<_>>(), [0, 1, 64]);
        assert!(set.has(64) && !set.has(63) && !set.has(5000));
    }

    #[test]
    fn what_names_no_cpus_is_refused() {
        for text in ["", ",", "3-1", "256", "-1", "a", "0-", "0,,1", "4294967296", "0-4294967295"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }
}
