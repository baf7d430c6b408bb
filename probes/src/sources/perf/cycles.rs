//! The clock at which each CPU ran while it did not idle, from the counters that x86 has for it: APERF counts
//! the cycles, MPERF those that would have passed at the rate of the time-stamp counter, and both stand still
//! while the CPU idles.
//!
//! ```text
//! Hz = ΔAPERF / ΔMPERF × ΔTSC / Δt
//! ```
//!
//! `freq.cpuN` is still what cpufreq reports. Reading interrupts each CPU for a microsecond, so this is
//! for the medium pace.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use super::pmu::Pmu;
use super::{Counts, Group, Target};
use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::machine::topology;
use crate::source::Source;
use crate::sources::files::Limits;

/// CPUs that are counted; interrupting more would show.
const MAX_CPUS: usize = 64;

const PLAUSIBLE: Limits = Limits::new(10e6, 10e9);

/// Enters `freq.cpuN.active` for each CPU, where the kernel's `msr` PMU may be opened.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    if !root.is_live() {
        return None;
    }
    let pmu = Pmu::find(root, "msr").ok()?;
    let events = ["aperf", "mperf", "tsc"].map(|name| pmu.event(root, name).map(|described| described.event));
    let [Some(aperf), Some(mperf), Some(tsc)] = events else { return None };
    let mut cpus = Vec::new();
    for cpu in topology::present(root).into_iter().take(MAX_CPUS) {
        let Ok(group) = Group::open(&[aperf, mperf, tsc], Target::Cpu(cpu)) else { continue };
        let channel = catalogue.gauge(Entry {
            id: format!("freq.cpu{cpu}.active"),
            quantity: Quantity::Frequency,
            unit: Unit::Hertz,
            scope: Scope::CpuN(cpu),
            class: Class::Derived,
            source: "perf msr/aperf/ ÷ msr/mperf/ × msr/tsc/".to_owned(),
            group: crate::source::Group::Medium,
        });
        cpus.push(Cpu { channel, group, last: None });
    }
    (!cpus.is_empty()).then(|| Box::new(Cycles(cpus)) as Box<dyn Source>)
}

struct Cpu {
    channel: ChannelId,
    group: Group,
    last: Option<Counts>,
}

impl Cpu {
    fn read(&mut self) -> Value {
        match self.group.read() {
            Ok(now) => match self.last.replace(now) {
                Some(before) => {
                    hertz(&before, &now).map_or_else(Value::Absent, |hertz| PLAUSIBLE.check(hertz))
                }
                None => Value::Absent(ReasonCode::NeedsTwoReadings),
            },
            Err(code) => Value::Absent(code),
        }
    }
}

/// The mean clock between two readings. A CPU that idled all the time has none.
fn hertz(before: &Counts, now: &Counts) -> Result<f64, ReasonCode> {
    let since = |event: usize| now.values[event].saturating_sub(before.values[event]) as f64;
    let (aperf, mperf, tsc) = (since(0), since(1), since(2));
    let passed_s = now.running_ns.saturating_sub(before.running_ns) as f64 / 1e9;
    if passed_s <= 0.0 {
        return Err(ReasonCode::Stale);
    }
    if mperf <= 0.0 {
        return Err(ReasonCode::GatedOrAsleep);
    }
    Ok(aperf / mperf * (tsc / passed_s))
}

struct Cycles(Vec<Cpu>);

impl Source for Cycles {
    fn channels(&self) -> Vec<ChannelId> {
        self.0.iter().map(|cpu| cpu.channel).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        values.extend(self.0.iter_mut().map(|cpu| (cpu.channel, cpu.read())));
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_EVENTS;
    use super::*;

    #[test]
    fn the_clock_is_that_of_the_time_it_ran() {
        let counts = |running_ns, first: [u64; 3]| {
            let mut values = [0; MAX_EVENTS];
            values[..3].copy_from_slice(&first);
            Counts { enabled_ns: running_ns, running_ns, values }
        };
        let before = counts(1_000_000_000, [100, 200, 5_000_000_000]);
        // Half a second, of which a tenth not idle: 2.5 GHz of time-stamp counter, boosted by a fifth.
        let now = counts(1_500_000_000, [150_000_100, 125_000_200, 6_250_000_000]);
        assert_eq!(hertz(&before, &now), Ok(3e9));
        let idle = counts(1_500_000_000, [100, 200, 6_250_000_000]);
        assert_eq!(hertz(&before, &idle), Err(ReasonCode::GatedOrAsleep));
        assert_eq!(hertz(&before, &before), Err(ReasonCode::Stale));
        let reset = counts(1_500_000_000, [0, 0, 0]);
        assert_eq!(hertz(&before, &reset), Err(ReasonCode::GatedOrAsleep));
    }
}
