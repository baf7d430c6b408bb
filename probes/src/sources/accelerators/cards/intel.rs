//! xe and i915. Neither has a file with the busy share. The engines' own counters report it to users who may open
//! them; otherwise the time that the graphics engine was awake, which is what passed less its idle residency.

use std::collections::HashSet;
use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Unit, Value};

use super::{Card, HERTZ, WATTS};
use crate::catalogue::Entry;
use crate::machine::clock::monotonic_ns;
use crate::machine::root::Root;
use crate::source::Source;
use crate::sources::files::{Gate, Input, integer, scaled};
use crate::sources::perf::engines::Engines;

/// The residency is counted in milliseconds of 32 bits on some generations.
const WRAP_MS: i64 = 1 << 32;

/// Where xe keeps the first graphics engine.
const XE: &str = "tile0/gt0";

pub(super) fn is(card: &Card<'_>, drm: &str) -> bool {
    card.has(XE)
        || card.root.exists(&format!("{drm}/gt/gt0"))
        || card.root.exists(&format!("{drm}/gt_act_freq_mhz"))
}

pub(super) fn enter(
    card: &mut Card<'_>,
    drm: &str,
    address: Option<&str>,
    monitors: &mut HashSet<String>,
) -> Option<Box<dyn Source>> {
    let xe = format!("{}/{XE}", card.folder);
    let (clocks, idle) = (
        [
            format!("{xe}/freq0/act_freq"),
            format!("{drm}/gt/gt0/rps_act_freq_mhz"),
            format!("{drm}/gt_act_freq_mhz"),
        ],
        [
            format!("{xe}/gtidle/idle_residency_ms"),
            format!("{drm}/gt/gt0/rc6_residency_ms"),
            format!("{drm}/power/rc6_residency_ms"),
        ],
    );
    let existing =
        |card: &Card<'_>, paths: &[String]| paths.iter().find(|path| card.root.exists(path)).cloned();
    if let Some(path) = existing(card, &clocks) {
        card.number("clock", &path, (Unit::Hertz, 1e6, HERTZ));
    }
    if let Some((monitor, name)) = card.monitor() {
        power(card, &monitor);
        monitors.insert(name);
    }
    card.absent_memory();
    for what in ["status", "thermal", "prochot", "pl1", "pl2"] {
        for path in
            [format!("{xe}/freq0/throttle/reason_{what}"), format!("{drm}/gt/gt0/throttle_reason_{what}")]
        {
            card.throttle(what, &path);
        }
    }
    if let Some((engines, pmu)) = Engines::open(card.root, address) {
        let busy = card.busy_time(&format!("perf {pmu} (render and compute engines)"));
        return Some(Box::new(Counted { gate: card.gate.clone(), engines, busy }));
    }
    let Some(path) = existing(card, &idle) else {
        card.absent("busy", "", ReasonCode::NoSuchInterface, "the driver shows no idle residency");
        return None;
    };
    let entry = card.entry("idle.time", Quantity::Gpu, Unit::Seconds, Class::Measured);
    let source = format!("/{path}");
    let idle = card.catalogue.counter(Entry { source, ..entry }, None);
    let busy = card.busy_time(&format!("/{path} (time less idle time)"));
    let (root, gate) = (card.root.clone(), card.gate.clone());
    Some(Box::new(Residency {
        root,
        gate,
        input: Input::later(path),
        last_ms: None,
        before_ms: 0,
        idle,
        busy,
    }))
}

fn power(card: &mut Card<'_>, monitor: &str) {
    let inputs: Vec<String> = (1..=2)
        .map(|number| format!("{monitor}/energy{number}_input"))
        .filter(|path| card.root.exists(path))
        .collect();
    let path = format!("{monitor}/power1_input");
    if card.root.exists(&path) {
        let entry = card.entry("power", Quantity::Power, Unit::Watts, Class::Measured);
        card.gauge(entry, &path, scaled(1e-6), WATTS);
    }
    if !inputs.is_empty() {
        // The first is the card's, the second the package's; on some cards the first stays at zero.
        card.energy(inputs);
    }
}

/// Busy time that the engines count.
struct Counted {
    gate: Option<Arc<Gate>>,
    engines: Engines,
    busy: ChannelId,
}

impl Source for Counted {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.busy]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let closed = self.gate.as_ref().and_then(|gate| gate.closed());
        let busy = closed.map_or_else(|| self.engines.busy_s(), Err);
        values.push((self.busy, busy.map_or_else(Value::Absent, Value::Present)));
    }
}

/// Idle and busy time of one engine.
struct Residency {
    root: Root,
    gate: Option<Arc<Gate>>,
    input: Input,
    last_ms: Option<i64>,
    /// What earlier wraps have counted.
    before_ms: i64,
    idle: ChannelId,
    busy: ChannelId,
}

impl Residency {
    fn idle_ms(&mut self) -> Result<i64, ReasonCode> {
        if let Some(code) = self.gate.as_ref().and_then(|gate| gate.closed()) {
            return Err(code);
        }
        let mut buffer = [0; 32];
        let bytes = self.input.read(&self.root, &mut buffer)?;
        let ms = integer(bytes).filter(|ms| (0..1 << 52).contains(ms)).ok_or(ReasonCode::Implausible)?;
        let last = self.last_ms.replace(ms);
        self.before_ms += wrapped(last, ms);
        Ok(self.before_ms.saturating_add(ms))
    }
}

/// What to add so that the total goes on after `last` was followed by a smaller number: one range after a wrap,
/// what was lost after a reset.
fn wrapped(last: Option<i64>, now: i64) -> i64 {
    match last {
        Some(last) if now < last && (WRAP_MS / 2..WRAP_MS).contains(&last) => WRAP_MS,
        Some(last) if now < last => last,
        _ => 0,
    }
}

impl Source for Residency {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.idle, self.busy]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let live = self.root.is_live();
        let (idle, busy) = match self.idle_ms() {
            Ok(ms) => {
                let idle = ms as f64 / 1e3;
                // The time that passed is known only on the machine itself.
                let busy = if live {
                    Value::Present(monotonic_ns() as f64 / 1e9 - idle)
                } else {
                    Value::Absent(ReasonCode::NeedsTwoReadings)
                };
                (Value::Present(idle), busy)
            }
            Err(code) => (Value::Absent(code), Value::Absent(code)),
        };
        values.extend([(self.idle, idle), (self.busy, busy)]);
    }
}

#[cfg(test)]
mod tests {
    use super::{WRAP_MS, wrapped};

    #[test]
    fn a_residency_wraps_at_32_bits_or_was_reset() {
        assert_eq!(wrapped(None, 5), 0);
        assert_eq!(wrapped(Some(5), 9), 0);
        assert_eq!(wrapped(Some(WRAP_MS - 10), 3), WRAP_MS);
        assert_eq!(wrapped(Some(1000), 3), 1000);
    }
}
