//! What a machine can do at most, and which share of it an op reaches.
//!
//! The roofs are measured right before and right after the measured repetitions, because they move: a shared
//! host gave 37 to 53 GB/s within minutes. Each is the median of all samples, with their range beside it, and
//! every share of a roof carries that range.
//!
//! The rule: an op of `bytes` and `flops` takes at least `bytes / read roof` and at least `flops / compute
//! roof`; int8 is the compute roof of a product with weights in a block format, f32 that of everything else.
//! The longer of the two names what bounds it, and its share of the op's time is the share of the roof. Where
//! that is below [`OVERHEAD_SHARE`] neither roof explains the time, and the bound is `overhead`: dispatch,
//! threads that wait for each other, or traffic that the plan does not count, like activations. Above 1 the
//! bytes came out of a cache.

use serde::{Deserialize, Serialize};

use crate::plan::site::{OpKind, OpSite};
use crate::stats::Estimate;

/// Below this share of the nearer roof, neither of them explains an op's time.
pub const OVERHEAD_SHARE: f64 = 0.1;

/// One measurement of all roofs, all threads together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoofSample {
    /// CLOCK_MONOTONIC at its end, ns.
    pub at_ns: u64,
    /// Read from memory, B/s.
    pub read_bytes: f64,
    /// f32 multiply-adds, FLOP/s.
    pub f32_flops: f64,
    /// int8 dot products, op/s; a multiplication and its addition are two, as in f32.
    pub int8_ops: f64,
}

/// The roofs by the samples of one series, before or after the measured repetitions. All ranges are those of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RoofSeries {
    /// Reading memory, B/s.
    pub read_bytes_per_s: Option<Estimate>,
    /// f32 multiply-add, FLOP/s.
    pub f32_flops_per_s: Option<Estimate>,
    /// int8 dot products, op/s.
    pub int8_ops_per_s: Option<Estimate>,
    /// Clock of as many of the fastest CPUs as there are threads, while the samples were taken, Hz; null where the
    /// system does not report it.
    pub clock_hz: Option<Estimate>,
    /// Time that the hypervisor gave to others meanwhile, divided by that of all CPUs, 0 to 1; null as above.
    pub steal: Option<f64>,
    /// CPU time that the hypervisor gave to others divided by the time that passed (1 is one core), for parts of the
    /// series of 0.2 s; null as above.
    pub steal_cores: Option<Estimate>,
}

impl RoofSeries {
    /// By these samples; the clock and what the hypervisor took are not known.
    pub fn of(samples: &[RoofSample]) -> Self {
        let of = |value: fn(&RoofSample) -> f64| {
            let values: Vec<f64> = samples.iter().map(value).filter(|value| *value > 0.0).collect();
            Estimate::range(&values)
        };
        Self {
            read_bytes_per_s: of(|sample| sample.read_bytes),
            f32_flops_per_s: of(|sample| sample.f32_flops),
            int8_ops_per_s: of(|sample| sample.int8_ops),
            clock_hz: None,
            steal: None,
            steal_cores: None,
        }
    }
}

/// What the machine can do at most, with the run's threads and instruction set. `low` and `high` of each are
/// the range of the samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Roofs {
    /// Reading memory, B/s.
    pub read_bytes_per_s: Option<Estimate>,
    /// f32 multiply-add, FLOP/s.
    pub f32_flops_per_s: Option<Estimate>,
    /// int8 dot products, op/s.
    pub int8_ops_per_s: Option<Estimate>,
    /// Samples that they are the medians of; 0 for none.
    #[serde(rename = "looks")]
    pub samples: u64,
    /// Threads that they were measured with.
    pub threads: u32,
    /// Instruction set that they were measured with.
    pub isa: Option<String>,
    /// From the last sample to the end of the measured repetitions, ns; 0 if the last sample came after it. The
    /// turns of a loop share the samples of the first.
    pub age_ns: Option<u64>,
    /// Before the measured repetitions.
    pub before: Option<Box<RoofSeries>>,
    /// After them; null until they are done.
    pub after: Option<Box<RoofSeries>>,
    /// Why there are none.
    pub reason: Option<String>,
}

/// What keeps an op from being faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Reading memory.
    Memory,
    /// Arithmetic.
    Compute,
    /// Neither.
    Overhead,
}

impl Bound {
    /// As spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Compute => "compute",
            Self::Overhead => "overhead",
        }
    }
}

/// The least time that the roofs allow for some work, ns. Adds up over ops.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RoofBound {
    /// For its bytes.
    pub memory_ns: f64,
    /// For its arithmetic.
    pub compute_ns: f64,
    /// For each op the longer of the two.
    pub ns: f64,
}

impl RoofBound {
    /// Adds the bound of other work.
    pub fn add(&mut self, other: Self) {
        self.memory_ns += other.memory_ns;
        self.compute_ns += other.compute_ns;
        self.ns += other.ns;
    }

    /// Share of the roof that work of this kind reached in `time_ns`; `None` without time or work.
    pub fn share(&self, time_ns: u64) -> Option<f64> {
        (time_ns > 0 && self.ns > 0.0).then(|| self.ns / time_ns as f64)
    }

    /// What bounds it; `None` as in [`share`](Self::share).
    pub fn bound(&self, time_ns: u64) -> Option<Bound> {
        Some(match self.share(time_ns)? {
            share if share < OVERHEAD_SHARE => Bound::Overhead,
            _ if self.memory_ns >= self.compute_ns => Bound::Memory,
            _ => Bound::Compute,
        })
    }
}

/// An op against the roofs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OpRoof {
    /// Least time for its bytes at the read roof, ns.
    pub memory_ns: u64,
    /// Least time for its FLOPs at the compute roof, ns.
    pub compute_ns: u64,
    /// The longer of them divided by the time it took.
    pub share: f64,
    /// The same at the highest roofs that were measured.
    pub low: f64,
    /// The same at the lowest.
    pub high: f64,
    /// What bounds it.
    pub bound: Bound,
}

impl OpRoof {
    /// The least time that the roofs allow.
    pub fn at_median(&self) -> RoofBound {
        let (memory_ns, compute_ns) = (self.memory_ns as f64, self.compute_ns as f64);
        RoofBound { memory_ns, compute_ns, ns: memory_ns.max(compute_ns) }
    }
}

impl Roofs {
    /// The roofs by `samples`; `now_ns` is the end of what is compared with them.
    pub fn of(samples: &[RoofSample], threads: u32, isa: &str, now_ns: u64) -> Self {
        let all = RoofSeries::of(samples);
        Self {
            read_bytes_per_s: all.read_bytes_per_s,
            f32_flops_per_s: all.f32_flops_per_s,
            int8_ops_per_s: all.int8_ops_per_s,
            samples: samples.len() as u64,
            threads,
            isa: Some(isa.to_owned()),
            age_ns: samples.iter().map(|sample| sample.at_ns).max().map(|at| now_ns.saturating_sub(at)),
            before: None,
            after: None,
            reason: samples.is_empty().then(|| "the roofs were not measured".to_owned()),
        }
    }

    /// None, and why.
    pub fn absent(reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::default() }
    }

    /// The least time for `bytes` and `flops` at `site`; `None` without roofs, or if the plan counts neither.
    pub fn bound(&self, site: &OpSite, bytes: u64, flops: u64) -> Option<RoofBound> {
        self.bound_at(site, bytes, flops, |roof| roof.median)
    }

    fn bound_at(
        &self,
        site: &OpSite,
        bytes: u64,
        flops: u64,
        at: impl Fn(&Estimate) -> f64,
    ) -> Option<RoofBound> {
        let compute = if is_int8(site) { &self.int8_ops_per_s } else { &self.f32_flops_per_s };
        let time = |amount: u64, roof: &Option<Estimate>| {
            let roof = Some(at(roof.as_ref()?)).filter(|roof| *roof > 0.0)?;
            Some(amount as f64 / roof * 1e9)
        };
        let (memory_ns, compute_ns) = (time(bytes, &self.read_bytes_per_s)?, time(flops, compute)?);
        let ns = memory_ns.max(compute_ns);
        (ns > 0.0).then_some(RoofBound { memory_ns, compute_ns, ns })
    }

    /// Work of `site` that took `time_ns` against the roofs; `None` as in [`bound`](Self::bound), and without
    /// time.
    pub fn judge(&self, site: &OpSite, bytes: u64, flops: u64, time_ns: u64) -> Option<OpRoof> {
        let bound = self.bound(site, bytes, flops)?;
        let share_at = |at: fn(&Estimate) -> f64| {
            self.bound_at(site, bytes, flops, at).and_then(|bound| bound.share(time_ns))
        };
        Some(OpRoof {
            memory_ns: bound.memory_ns as u64,
            compute_ns: bound.compute_ns as u64,
            share: bound.share(time_ns)?,
            low: share_at(|roof| roof.high)?,
            high: share_at(|roof| roof.low)?,
            bound: bound.bound(time_ns)?,
        })
    }
}

/// Whether a site multiplies in int8: those with weights in blocks do.
fn is_int8(site: &OpSite) -> bool {
    site.kind == OpKind::Matmul && site.weights.iter().any(|weight| weight.format.is_plain() == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::WeightFormat;
    use crate::plan::Rows;
    use crate::plan::site::{Cost, Module, SiteWeight};

    fn site(kind: OpKind, format: WeightFormat) -> OpSite {
        let cost = Cost {
            bytes: 0,
            bytes_per_row: 0,
            bytes_per_cached: 0,
            flops_per_row: 0,
            flops_per_attended: 0,
            window: None,
            rows: Rows::All,
        };
        let weights = vec![SiteWeight { tensor: "w".to_owned(), format: format.into(), shape: [1, 1] }];
        let (name, fuses) = ("op".to_owned(), Vec::new());
        OpSite { id: 0, layer: None, module: Module::Ffn, name, kind, weights, fuses, cost }
    }

    /// 10 and 30 GB/s measured, 20 in the middle; 100 GFLOP/s in f32, 400 in int8.
    fn roofs() -> Roofs {
        let sample = |at_ns, read_bytes| RoofSample { at_ns, read_bytes, f32_flops: 1e11, int8_ops: 4e11 };
        Roofs::of(&[sample(5, 10e9), sample(6, 20e9), sample(9, 30e9)], 2, "avx2", 11)
    }

    #[test]
    fn roofs_are_medians_with_the_range_of_the_samples() {
        let roofs = roofs();
        let read = Estimate { median: 20e9, low: 10e9, high: 30e9, level: None, count: 3 };
        assert_eq!((roofs.read_bytes_per_s, roofs.samples, roofs.age_ns), (Some(read), 3, Some(2)));
        assert!(Roofs::of(&[], 2, "avx2", 0).reason.is_some());
    }

    #[test]
    fn the_nearer_roof_bounds_an_op_and_its_share_carries_the_range() {
        let (roofs, matmul) = (roofs(), site(OpKind::Matmul, WeightFormat::Q4_0));
        // 1000 ns at the read roof, 100 ns at the int8 roof.
        let memory = roofs.judge(&matmul, 20_000, 40_000, 2_000).unwrap();
        assert_eq!((memory.memory_ns, memory.compute_ns, memory.bound), (1000, 100, Bound::Memory));
        assert!((memory.share - 0.5).abs() < 1e-9);
        assert!((memory.low - 1.0 / 3.0).abs() < 1e-9 && (memory.high - 1.0).abs() < 1e-9);
        let compute = roofs.judge(&matmul, 20_000, 4_000_000, 20_000).unwrap();
        assert_eq!(compute.bound, Bound::Compute);
        assert!((compute.share - 0.5).abs() < 1e-9 && (compute.low - 0.5).abs() < 1e-9);
        // The same work on plain weights is four times as far from its roof.
        let plain = roofs.judge(&site(OpKind::Matmul, WeightFormat::F16), 20_000, 4_000_000, 80_000).unwrap();
        assert!((plain.share - 0.5).abs() < 1e-9);
        let slow = roofs.judge(&matmul, 20_000, 40_000, 20_000).unwrap();
        assert_eq!(slow.bound, Bound::Overhead);
    }

    #[test]
    fn without_roofs_work_or_time_there_is_no_share() {
        let matmul = site(OpKind::Matmul, WeightFormat::Q4_0);
        assert_eq!(Roofs::absent("no").judge(&matmul, 1, 1, 1), None);
        assert_eq!(roofs().judge(&matmul, 0, 0, 1), None);
        assert_eq!(roofs().judge(&matmul, 1, 1, 0), None);
    }

    #[test]
    fn bounds_add_up_over_ops() {
        let (roofs, matmul) = (roofs(), site(OpKind::Matmul, WeightFormat::Q4_0));
        let mut sum = RoofBound::default();
        sum.add(roofs.bound(&matmul, 20_000, 0).unwrap());
        sum.add(roofs.bound(&matmul, 0, 4_000_000).unwrap());
        assert!((sum.ns - 11_000.0).abs() < 1e-6);
        assert_eq!((sum.bound(20_000), sum.bound(0)), (Some(Bound::Compute), None));
    }
}
