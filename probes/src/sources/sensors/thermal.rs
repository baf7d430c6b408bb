//! Thermal zones: `temp.TYPE`, and `throttle.TYPE.margin`, the degrees to the first point at which the kernel
//! slows something down.
//!
//! Several zones of one type are told apart by their order. If a zone cannot be read (powered down,
//! disabled), only its channel is absent.

use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, Unit, Value, id_part};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::Root;
use crate::source::{Group, Source};
use crate::sources::files::{Files, Gate, Kind, Limits, enter, scaled};
use crate::sources::sensors::peers::Peers;
use crate::sources::sensors::sensor_location;

const FOLDER: &str = "sys/class/thermal";

/// Temperatures by which sensors say that nothing is connected, °C: the ends of the scales of thermistor inputs and of
/// one byte. MediaTek's zones are parked at 125 °C where a board lacks the thermistor.
const ENDS: &[f64] = &[-40.0, -55.0, -128.0, -127.0, 125.0, 128.0];

/// Plausible temperatures of sensors in a machine that runs, °C. Exactly 0 is a register that nobody wrote, and 127 a
/// byte without a reading.
pub(crate) const PLAUSIBLE: Limits =
    Limits { sentinels: &[0.0, 127.0], unconnected: ENDS, ..Limits::new(-60.0, 150.0) };

/// Those of sensors whose surroundings may be at any temperature.
pub(crate) const OPEN_AIR: Limits = Limits { sentinels: &[127.0], ..Limits::new(-60.0, 150.0) };

/// Tegra's power controller always claims 100 °C.
const PMIC: Limits = Limits { sentinels: &[0.0, 100.0, 127.0], ..PLAUSIBLE };

/// Trip points of one zone that are read.
const MAX_TRIPS: u32 = 16;

/// Enters the zones and returns what reads them.
pub(crate) fn discover(
    root: &Root,
    peers: &Arc<Peers>,
    catalogue: &mut Catalogue,
) -> Option<Box<dyn Source>> {
    let supplies = sensor_location::Supplies::of(root);
    let mut slots = Vec::new();
    let mut margins = Vec::new();
    for zone in root.list(FOLDER).unwrap_or_default() {
        if !zone.starts_with("thermal_zone") {
            continue;
        }
        let folder = format!("{FOLDER}/{zone}");
        let kind = match root.text(&format!("{folder}/type")) {
            Ok(kind) if !kind.is_empty() => kind,
            _ => "zone".to_owned(),
        };
        let entry = |id: String, class| Entry {
            id,
            quantity: Quantity::Temperature,
            unit: Unit::Celsius,
            scope: supplies.of_zone(&kind),
            class,
            source: String::new(),
            group: Group::Slow,
        };
        let class = if kind.starts_with("acpitz") { Class::Reported } else { Class::Measured };
        let limits = if kind.to_ascii_lowercase().contains("pmic") { PMIC } else { PLAUSIBLE };
        let zone_entry = entry(format!("temp.{}", id_part(&kind)), class);
        let path = format!("{folder}/temp");
        let how = (scaled(1e-3), limits);
        let Some(slot) = enter(root, catalogue, zone_entry, Kind::Gauge, &path, how, None) else { continue };
        // A zone that hangs in its driver holds the lock that its trip points need too.
        let trip = root.in_time(&folder, |root, folder| Ok(throttles_at(root, folder))).ok().flatten();
        if let (Some(celsius), Some(&of)) = (trip, slot.channels.first()) {
            let id = format!("throttle.{}.margin", id_part(&kind));
            let source = format!("/{path} (below its trip point at {celsius} °C)");
            let channel =
                catalogue.gauge(Entry { source, quantity: Quantity::Throttle, ..entry(id, Class::Derived) });
            margins.push(Margin { of, celsius, channel });
        }
        let mode = root.open(&format!("{folder}/mode")).ok().map(|mode| Arc::new(Gate::Disabled(mode)));
        let mut slot = slot.behind(mode);
        if supplies.of_zone(&kind).computes() {
            peers.add(root, &path);
            slot = slot.among(peers, &path);
        }
        slots.push(slot);
    }
    let files = Files::boxed(root, slots)?;
    Some(Box::new(Zones { files, margins }))
}

/// The lowest temperature at which the kernel begins to slow something down, °C. Zones without such a trip
/// point have no margin; −273 and 0 mean "not set".
fn throttles_at(root: &Root, folder: &str) -> Option<f64> {
    let trip = |number: u32, what: &str| root.text(&format!("{folder}/trip_point_{number}_{what}")).ok();
    let points = (0..MAX_TRIPS).map_while(|number| Some((trip(number, "type")?, trip(number, "temp"))));
    points
        .filter(|(kind, _)| kind == "passive")
        .filter_map(|(_, temp)| temp?.parse::<i64>().ok())
        .map(|millidegrees| millidegrees as f64 / 1e3)
        .filter(|&celsius| celsius > 0.0 && PLAUSIBLE.check(celsius).get().is_some())
        .min_by(f64::total_cmp)
}

/// Degrees between a zone and its trip point.
struct Margin {
    of: ChannelId,
    celsius: f64,
    channel: ChannelId,
}

struct Zones {
    files: Box<dyn Source>,
    margins: Vec<Margin>,
}

impl Source for Zones {
    fn channels(&self) -> Vec<ChannelId> {
        let mut channels = self.files.channels();
        channels.extend(self.margins.iter().map(|margin| margin.channel));
        channels
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let first = values.len();
        self.files.read(values);
        for margin in &self.margins {
            let zone = values.get(first..).and_then(|read| read.iter().find(|(of, _)| *of == margin.of));
            if let Some(&(_, zone)) = zone {
                let value = match zone {
                    Value::Present(celsius) => Value::Present(margin.celsius - celsius),
                    absent @ Value::Absent(_) => absent,
                };
                values.push((margin.channel, value));
            }
        }
    }

    fn parts(&mut self) -> Option<Vec<Box<dyn Source>>> {
        let files = self.files.parts()?;
        let mut margins = std::mem::take(&mut self.margins);
        let zone = |files: Box<dyn Source>| {
            let channels = files.channels();
            let (of_zone, rest) =
                std::mem::take(&mut margins).into_iter().partition(|it| channels.contains(&it.of));
            margins = rest;
            Box::new(Zones { files, margins: of_zone }) as Box<dyn Source>
        };
        Some(files.into_iter().map(zone).collect())
    }
}
