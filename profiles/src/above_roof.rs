//! Why work was faster than a roof allows: a share of a roof above 1 never stands alone.
//!
//! The read roof is that of memory. Bytes that are in a cache are read faster, and the sizes of the caches say
//! whether they can be:
//!
//! | what | stays in a cache if it holds |
//! |---|---|
//! | weights, which each token reads again | all bytes of a token |
//! | anything else, written or read a moment before | the bytes of one call |
//!
//! Arithmetic cannot be faster than its roof. Where it is, or where no cache is large enough, the machine was faster
//! than when the roof was measured.

use std::fmt;

use crate::display;
use crate::host::Cache;
use crate::plan::site::OpKind;
use crate::roofline::Bound;
use crate::totals::GroupTotals;

/// Why a share of a roof is above 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AboveRoof {
    /// The bytes can come from a cache.
    Cache {
        /// How many have to stay there.
        bytes: f64,
        /// Of a token, otherwise of one call.
        of_token: bool,
        /// Level of the cache.
        level: u32,
        /// Size of all caches of that level, bytes.
        size: u64,
    },
    /// The sizes of this machine's caches are not known.
    UnknownCaches,
    /// The machine was faster than when the roof was measured.
    Faster,
}

impl AboveRoof {
    /// Why ops of `kind`, or of several kinds, are above their roof; `None` where they are not. `token_bytes` is what
    /// all ops of their phase read for one token or chunk.
    pub fn of(
        group: &GroupTotals,
        kind: Option<OpKind>,
        token_bytes: Option<f64>,
        caches: &[Cache],
    ) -> Option<Self> {
        let (_, bound) = group.roof().filter(|(share, _)| *share > 1.0)?;
        if bound != Bound::Memory {
            return Some(Self::Faster);
        }
        if caches.is_empty() {
            return Some(Self::UnknownCaches);
        }
        let totals = &group.totals;
        let call_bytes = (totals.count > 0).then(|| totals.bytes as f64 / totals.count as f64);
        let is_passing = kind.is_some_and(|kind| kind != OpKind::Matmul);
        let fits = |bytes: Option<f64>, of_token| {
            let bytes = bytes?;
            let cache = caches.iter().find(|cache| bytes <= size(cache) as f64)?;
            Some(Self::Cache { bytes, of_token, level: cache.level, size: size(cache) })
        };
        let by_call = if is_passing { fits(call_bytes, false) } else { None };
        Some(by_call.or_else(|| fits(token_bytes, true)).unwrap_or(Self::Faster))
    }

    /// The reason in a word or two, for a cell of a table.
    pub fn short(&self) -> String {
        match self {
            Self::Cache { level, .. } => format!("from L{level}"),
            Self::UnknownCaches => "cached?".to_owned(),
            Self::Faster => "faster".to_owned(),
        }
    }
}

/// All caches of one level together: threads divide the bytes among them.
fn size(cache: &Cache) -> u64 {
    cache.bytes.saturating_mul(cache.instances.into())
}

impl fmt::Display for AboveRoof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cache { bytes, of_token, level, size } => {
                let of = if of_token { "a token" } else { "a call" };
                let (bytes, size) = (display::traffic(bytes), display::bytes(size));
                write!(f, "from cache: {bytes} {of} fit L{level} of {size}")
            }
            Self::UnknownCaches => f.write_str("from a cache, perhaps: their sizes are not known here"),
            Self::Faster => f.write_str("the machine was faster than when the roof was measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::RoofBound;
    use crate::totals::OpTotals;

    const CACHES: [Cache; 2] =
        [Cache { level: 2, bytes: 1 << 20, instances: 2 }, Cache { level: 3, bytes: 32 << 20, instances: 1 }];

    /// Ten calls that read `bytes` each, at twice the roof that bounds them.
    fn group(bytes: u64, is_memory: bool) -> GroupTotals {
        let totals = OpTotals { count: 10, time_ns: 100, bytes: bytes * 10, ..OpTotals::default() };
        let (memory_ns, compute_ns) = if is_memory { (200.0, 0.0) } else { (0.0, 200.0) };
        GroupTotals {
            totals,
            bound: RoofBound { memory_ns, compute_ns, ns: 200.0 },
            ..GroupTotals::default()
        }
    }

    fn why(group: &GroupTotals, kind: OpKind, token_bytes: f64, caches: &[Cache]) -> Option<String> {
        AboveRoof::of(group, Some(kind), Some(token_bytes), caches).map(|why| why.to_string())
    }

    #[test]
    fn weights_come_from_a_cache_that_holds_all_of_a_token() {
        let found = why(&group(500_000, true), OpKind::Matmul, 15_900_000.0, &CACHES);
        assert_eq!(found.as_deref(), Some("from cache: 15.9 MB a token fit L3 of 32.0 MiB"));
        let found = why(&group(500_000, true), OpKind::Matmul, 70e6, &CACHES);
        assert_eq!(found.as_deref(), Some("the machine was faster than when the roof was measured"));
    }

    #[test]
    fn what_was_just_written_comes_from_a_cache_that_holds_a_call() {
        let found = AboveRoof::of(&group(12_000, true), Some(OpKind::Norm), Some(70e6), &CACHES).unwrap();
        assert_eq!(found.to_string(), "from cache: 12.0 kB a call fit L2 of 2.00 MiB");
        assert_eq!(found.short(), "from L2");
    }

    #[test]
    fn arithmetic_comes_from_no_cache_and_unknown_caches_are_said_to_be() {
        let found = why(&group(12_000, false), OpKind::Matmul, 1.0, &CACHES);
        assert!(found.unwrap().contains("faster than when"));
        assert!(why(&group(1, true), OpKind::Matmul, 1.0, &[]).unwrap().contains("not known here"));
    }

    #[test]
    fn below_the_roof_there_is_nothing_to_explain() {
        let mut group = group(12_000, true);
        group.totals.time_ns = 400;
        assert_eq!(why(&group, OpKind::Norm, 1.0, &CACHES), None);
        assert_eq!(why(&GroupTotals::default(), OpKind::Norm, 1.0, &CACHES), None);
    }
}
