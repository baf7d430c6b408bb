//! Processors with files of their own: V3D of the Raspberry Pi, Adreno under the vendor's driver, and those of phones.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Unit, Value};

use super::{Card, Cards, HERTZ, SHARE};
use crate::catalogue::Catalogue;
use crate::facts::phones::LOADS;
use crate::machine::root::{Handle, Root};
use crate::source::Source;
use crate::sources::accelerators::fdinfo::worker::Sign;
use crate::sources::files::{Formula, Slot, percent, scaled};
use crate::sources::sensors::thermal::PLAUSIBLE;

const ADRENO: &str = "sys/class/kgsl/kgsl-3d0";

const PLATFORM: &str = "sys/devices/platform";

/// Some lines of four numbers.
const CAP: usize = 1024;

pub(super) fn discover(
    root: &Root,
    first: u32,
    catalogue: &mut Catalogue,
    slots: &mut Vec<Slot>,
    found: &mut Cards,
) {
    let mut next = first;
    if root.exists(ADRENO) {
        let mut card = Card::new(root, ADRENO.to_owned(), next, catalogue);
        adreno(&mut card);
        slots.append(&mut card.slots);
        next += 1;
    }
    if let Some(path) = v3d_path(root)
        && let Ok(handle) = root.open(&path)
    {
        let folder = path.trim_end_matches("/gpu_stats").to_owned();
        let mut card = Card::new(root, folder, next, catalogue);
        let busy = card.busy_time(&format!("/{path}"));
        found.sources.push(Box::new(Queues { handle, busy }));
        found.signs.push((next, Sign::Driver(&["v3d"])));
        next += 1;
    }
    if next == 0 {
        phone(root, catalogue, slots);
    }
}

/// The graphics processor of a phone whose driver has no folder of its own.
fn phone(root: &Root, catalogue: &mut Catalogue, slots: &mut Vec<Slot>) {
    if let Some(load) = LOADS.iter().find(|load| root.exists(load.path)) {
        let folder = load.path.rsplit_once('/').map_or(load.path, |(folder, _)| folder).to_owned();
        let mut card = Card::new(root, folder, 0, catalogue);
        let entry = card.entry("busy", Quantity::Gpu, Unit::Ratio, Class::Measured);
        card.gauge(entry, load.path, |input| Formula::Parsed(input, load.share), SHARE);
        slots.append(&mut card.slots);
    }
}

fn adreno(card: &mut Card<'_>) {
    let (share, pair) = (format!("{ADRENO}/gpu_busy_percentage"), format!("{ADRENO}/gpubusy"));
    let entry = card.entry("busy", Quantity::Gpu, Unit::Ratio, Class::Measured);
    if card.root.exists(&share) {
        card.gauge(entry, &share, |input| Formula::Parsed(input, percent), SHARE);
    } else if card.root.exists(&pair) {
        card.gauge(entry, &pair, |input| Formula::Parsed(input, busy_of_window), SHARE);
    } else {
        card.absent("busy", &format!("/{ADRENO}"), ReasonCode::NoSuchInterface, "no file with the load");
    }
    card.number("clock", &format!("{ADRENO}/gpuclk"), (Unit::Hertz, 1.0, HERTZ));
    let mut heat = card.entry("", Quantity::Temperature, Unit::Celsius, Class::Measured);
    heat.id = format!("temp.gpu{}", card.gpu);
    card.gauge(heat, &format!("{ADRENO}/temp"), scaled(1e-3), PLAUSIBLE);
}

/// Busy and total time of the driver's last window. A window without time is a processor that is off.
fn busy_of_window(text: &[u8]) -> Option<f64> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let (busy, total): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (total > 0).then(|| busy as f64 / total as f64)
}

/// `v3dbus/fec00000.v3d` or `axi/1002000000.v3d`.
fn v3d_path(root: &Root) -> Option<String> {
    let buses = root.list(PLATFORM).ok()?;
    let folders = std::iter::once(PLATFORM.to_owned()).chain(
        buses
            .iter()
            .filter(|bus| ["v3dbus", "axi", "soc"].contains(&bus.as_str()))
            .map(|bus| format!("{PLATFORM}/{bus}")),
    );
    for folder in folders {
        let device = root
            .list(&folder)
            .unwrap_or_default()
            .into_iter()
            .find(|name| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "v3d"));
        if let Some(path) = device.map(|device| format!("{folder}/{device}/gpu_stats"))
            && root.exists(&path)
        {
            return Some(path);
        }
    }
    None
}

/// The queues of V3D. Render and compute jobs share the cores, binning and the others have units of their own.
struct Queues {
    handle: Handle,
    busy: ChannelId,
}

impl Source for Queues {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.busy]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let mut buffer = [0; CAP];
        let value = match self.handle.read(&mut buffer) {
            Ok(text) => busy_s(text).map_or(Value::Absent(ReasonCode::Implausible), Value::Present),
            Err(code) => Value::Absent(code),
        };
        values.push((self.busy, value));
    }
}

/// Run time of the `render` and `csd` queues, s. Columns: queue, time stamp, jobs, run time in ns.
fn busy_s(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let mut sum = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some("render" | "csd"), Some(ns)) = (words.next(), words.nth(2)) {
            sum = Some(sum.unwrap_or(0.0) + ns.parse::<u64>().ok()? as f64 / 1e9);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_share_the_cores_are_summed() {
        let text = b"queue\ttimestamp\tjobs\truntime\nbin\t9\t1\t7\nrender\t9\t2\t2000000000\ncsd\t9\t1\t500000000\n";
        assert_eq!(busy_s(text), Some(2.5));
        assert_eq!(busy_s(b"queue\ttimestamp\tjobs\truntime\n"), None);
        assert_eq!(busy_s(b"render\t9\t2\tx\n"), None);
    }

    #[test]
    fn the_load_of_a_phone_is_read_where_its_maker_shows_it() {
        for (path, text, expected) in [
            ("sys/kernel/ged/hal/gpu_utilization", "82 0 18\n", 0.82),
            ("sys/kernel/gpu/gpu_busy", " 12%\n", 0.12),
            ("sys/class/misc/mali0/device/utilization", "7\n", 0.07),
        ] {
            let board = crate::tests::Board::new(&[(path, text)]);
            assert_eq!(board.start().read()["gpu0.busy"], Value::Present(expected), "{path}");
            // Qualcomm's kernels have Samsung's file beside their own.
            board.set("sys/class/kgsl/kgsl-3d0/gpu_busy_percentage", "40 %\n");
            assert_eq!(board.start().read()["gpu0.busy"], Value::Present(0.4), "{path}");
        }
    }

    #[test]
    fn a_window_without_time_has_no_share() {
        assert_eq!(busy_of_window(b"  250000 1000000\n"), Some(0.25));
        assert_eq!(busy_of_window(b"0 0"), None);
        assert_eq!(busy_of_window(b"5"), None);
    }
}
