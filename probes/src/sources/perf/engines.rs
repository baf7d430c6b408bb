//! Busy time of Intel's graphics engines, as the PMUs of their drivers count it.
//!
//! | driver | PMU | counts |
//! |---|---|---|
//! | i915 | `i915`, `i915_0000_03_00.0` for cards | `rcs0-busy`, `ccs0-busy` …: nanoseconds |
//! | xe | `xe_0000_03_00.0` | `engine-active-ticks` of `engine-total-ticks`, for a class and an instance |
//!
//! Only engines that compute: render (`rcs`) and compute (`ccs`). Of several engines of a kind, all busy is
//! busy.

use slmscope_profiles::channel::ReasonCode;

use super::pmu::{Pmu, names};
use super::{Counts, Event, Group, MAX_EVENTS, Target};
use crate::machine::root::Root;

/// xe's numbers of the classes of engines that compute.
const XE_CLASSES: [u32; 2] = [0, 4];

/// Engines of a kind; no processor has more.
const MAX_OF_A_KIND: u32 = 8;

/// What is opened for one engine: its busy time, or its busy and all of its ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Engine {
    kind: u32,
    events: Vec<Event>,
}

/// Counters of one processor's engines.
pub(crate) struct Engines {
    counters: Vec<(Group, Option<Counts>)>,
    /// Engines of the kind of each.
    alike: Vec<u32>,
    busy_s: f64,
}

impl Engines {
    /// Opens the counters of the processor at `address`. `None` where there are none, or they are for
    /// privileged users: then idle residency is left.
    pub(crate) fn open(root: &Root, address: Option<&str>) -> Option<(Self, String)> {
        if !root.is_live() {
            return None;
        }
        let (pmu, described) = describe(root, address)?;
        let cpu = *pmu.cpus.first()?;
        let opened: Vec<(u32, Group)> = described
            .into_iter()
            .filter_map(|engine| Some((engine.kind, Group::open(&engine.events, Target::Cpu(cpu)).ok()?)))
            .collect();
        let of_kind = |kind| opened.iter().filter(|(other, _)| *other == kind).count() as u32;
        let alike = opened.iter().map(|&(kind, _)| of_kind(kind)).collect::<Vec<_>>();
        let counters = opened.into_iter().map(|(_, group)| (group, None)).collect::<Vec<_>>();
        (!counters.is_empty()).then(|| (Self { counters, alike, busy_s: 0.0 }, pmu.name))
    }

    /// Busy time since they were opened, s.
    ///
    /// # Errors
    /// The kernel's error number.
    pub(crate) fn busy_s(&mut self) -> Result<f64, ReasonCode> {
        for ((group, last), alike) in self.counters.iter_mut().zip(&self.alike) {
            let now = group.read()?;
            if let Some(before) = last.replace(now) {
                self.busy_s += step_s(&before, &now) / f64::from(*alike);
            }
        }
        Ok(self.busy_s)
    }
}

/// Busy seconds between two readings: nanoseconds, or the busy share of the ticks that passed.
fn step_s(before: &Counts, now: &Counts) -> f64 {
    let passed_s = now.enabled_ns.saturating_sub(before.enabled_ns) as f64 / 1e9;
    let since = |event: usize| now.values[event].saturating_sub(before.values[event]) as f64;
    let busy_s = match (since(0), since(1)) {
        (busy, 0.0) if now.values[1] == 0 => busy / 1e9,
        (_, 0.0) => 0.0,
        (active, total) => active / total * passed_s,
    };
    busy_s.clamp(0.0, passed_s)
}

const _: () = assert!(MAX_EVENTS >= 2);

/// The processor's PMU and what can be counted in it.
fn describe(root: &Root, address: Option<&str>) -> Option<(Pmu, Vec<Engine>)> {
    let suffix = address.map(|address| address.replace(':', "_"));
    let is_its = |name: &&String| match (name.split_once('_'), &suffix) {
        (Some(("i915" | "xe", place)), Some(suffix)) => place == suffix,
        // i915 names a card's PMU after its address, and the one of the chip's own processor alone is bare.
        (None, _) => *name == "i915" && suffix.as_ref().is_none_or(|suffix| suffix.starts_with("0000_00_02")),
        _ => false,
    };
    let name = names(root).into_iter().find(|name| is_its(&name))?;
    let pmu = Pmu::find(root, &name).ok()?;
    let engines = if name.starts_with("xe") { xe(root, &pmu) } else { i915(root, &pmu) };
    (!engines.is_empty()).then_some((pmu, engines))
}

fn i915(root: &Root, pmu: &Pmu) -> Vec<Engine> {
    let engine = |(kind, name): (u32, &str), number: u32| {
        let described = pmu.event(root, &format!("{name}{number}-busy"))?;
        (described.unit.as_deref() == Some("ns")).then(|| Engine { kind, events: vec![described.event] })
    };
    let kinds = [(0, "rcs"), (1, "ccs")];
    kinds.into_iter().flat_map(|kind| (0..MAX_OF_A_KIND).filter_map(move |at| engine(kind, at))).collect()
}

/// Which of these exist shows when they are opened.
fn xe(root: &Root, pmu: &Pmu) -> Vec<Engine> {
    let engine = |class: u32, instance: u32| {
        let of = format!("engine_class={class},engine_instance={instance},gt=0");
        let event = |name: &str| Some(pmu.event(root, &format!("{name},{of}"))?.event);
        let events = vec![event("engine-active-ticks")?, event("engine-total-ticks")?];
        Some(Engine { kind: class, events })
    };
    let instances = |class| (0..MAX_OF_A_KIND).filter_map(move |instance| engine(class, instance));
    XE_CLASSES.into_iter().flat_map(instances).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Board;

    fn counts(enabled_ns: u64, first: u64, second: u64) -> Counts {
        let mut values = [0; MAX_EVENTS];
        (values[0], values[1]) = (first, second);
        Counts { enabled_ns, running_ns: enabled_ns, values }
    }

    #[test]
    fn time_and_ticks_become_busy_seconds() {
        let second = 1_000_000_000;
        let steps = [
            step_s(&counts(0, 5, 0), &counts(2 * second, 5 + second, 0)),
            step_s(&counts(0, 100, 1000), &counts(2 * second, 350, 2000)),
            // Asleep: no ticks.
            step_s(&counts(0, 100, 1000), &counts(second, 100, 1000)),
            // No more than passed.
            step_s(&counts(0, 0, 0), &counts(second, 9 * second, 0)),
            step_s(&counts(5, 9, 0), &counts(5, 3, 0)),
        ];
        assert_eq!(steps.map(Some), [1.0, 0.5, 0.0, 1.0, 0.0].map(Some));
    }

    #[test]
    fn each_driver_names_its_engines_in_its_own_way() {
        let devices = "sys/bus/event_source/devices";
        let file = |path: &str, text: &str| (format!("{devices}/{path}"), text.to_owned());
        let files = [
            file("i915/type", "20"),
            file("i915/cpumask", "0"),
            file("i915/format/i915_eventid", "config:0-20"),
            file("i915/events/rcs0-busy", "config=0x0"),
            file("i915/events/rcs0-busy.unit", "ns"),
            file("i915/events/bcs0-busy", "config=0x1000"),
            file("i915/events/bcs0-busy.unit", "ns"),
            file("xe_0000_03_00.0/type", "21"),
            file("xe_0000_03_00.0/format/event", "config:0-11"),
            file("xe_0000_03_00.0/format/engine_class", "config:20-27"),
            file("xe_0000_03_00.0/format/engine_instance", "config:12-19"),
            file("xe_0000_03_00.0/format/gt", "config:60-63"),
            file("xe_0000_03_00.0/events/engine-active-ticks", "event=0x02"),
            file("xe_0000_03_00.0/events/engine-total-ticks", "event=0x03"),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let board = Board::new(&files);
        let root = board.root();
        let (pmu, engines) = describe(&root, Some("0000:00:02.0")).unwrap();
        assert_eq!((pmu.name.as_str(), engines.len()), ("i915", 1), "copying is no computing");
        let (pmu, engines) = describe(&root, Some("0000:03:00.0")).unwrap();
        assert_eq!((pmu.name.as_str(), engines.len()), ("xe_0000_03_00.0", 16));
        let third = engines.iter().find(|engine| engine.kind == 4).unwrap();
        assert_eq!(
            third.events.iter().map(|event| event.config).collect::<Vec<_>>(),
            [4 << 20 | 2, 4 << 20 | 3]
        );
        assert!(describe(&root, Some("0000:04:00.0")).is_none());
    }
}
