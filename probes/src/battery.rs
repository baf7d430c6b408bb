//! Power drawn from batteries: positive while discharging, negative while charging.
//!
//! Only while it discharges does a battery say what the machine draws, so its scope is the battery and never
//! the board. Drivers differ in the sign, so the direction is taken from `status`.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value, id_part};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::files::{Files, Kind, Limits, Slot, enter, number, scaled};
use crate::root::{Handle, Root};
use crate::source::{Group, Source};

const FOLDER: &str = "sys/class/power_supply";

/// A machine that runs this draws more, W; less is a driver that reports mA where µA belong.
const LEAST_DRAW: f64 = 0.05;

/// No pack of a machine with a battery gives more, W.
const MOST_DRAW: f64 = 1000.0;

enum Draw {
    /// µW, now or averaged by the gauge.
    Power(Handle),
    /// µA and µV
    CurrentVoltage(Handle, Handle),
}

struct Pack {
    channel: ChannelId,
    status: Option<Handle>,
    draw: Draw,
}

/// Reads the batteries.
pub(crate) struct Batteries {
    packs: Vec<Pack>,
    /// Temperature of each pack that tells.
    rest: Option<Files>,
    /// `online` of what feeds the machine: mains, USB, a charging pad.
    mains: Vec<Handle>,
}

impl Batteries {
    /// Enters `power.battery.NAME` for each pack of the machine; those of mice and the like are not its own.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let mut packs = Vec::new();
        let mut mains = Vec::new();
        let mut rest = Vec::new();
        for supply in root.list(FOLDER).unwrap_or_default() {
            let file = |name: &str| format!("{FOLDER}/{supply}/{name}");
            let is = |name: &str, value: &str| root.text(&file(name)).is_ok_and(|text| text == value);
            let kind = root.text(&file("type")).unwrap_or_default();
            if kind == "Mains" || kind.starts_with("USB") || kind == "Wireless" {
                mains.extend(root.open(&file("online")));
            }
            if is("type", "Battery") && !is("scope", "Device") && !is("present", "0") {
                packs.extend(pack(root, &supply, catalogue));
                rest.extend(others(root, &supply, catalogue));
            }
        }
        let rest = Files::new(root, rest);
        (!packs.is_empty() || rest.is_some()).then_some(Self { packs, rest, mains })
    }

    /// The channels whose sum is what the machine draws, if it lives on its batteries at this moment.
    pub(crate) fn discharging(&self) -> Option<Vec<ChannelId>> {
        let plugged = self.plugged();
        let draws: Vec<f64> = self.packs.iter().filter_map(|pack| pack.read(plugged).ok()).collect();
        let alone = plugged != Some(true) && draws.len() == self.packs.len();
        let discharging = draws.iter().sum::<f64>() > 0.0 && draws.iter().all(|&watts| watts >= 0.0);
        (alone && discharging).then(|| self.packs.iter().map(|pack| pack.channel).collect())
    }

    fn plugged(&self) -> Option<bool> {
        let online = self.mains.iter().filter_map(|mains| number(mains).ok()).map(|online| online > 0.0);
        online.reduce(|any, one| any || one)
    }
}

/// The temperature, in tenths of a degree.
fn others(root: &Root, supply: &str, catalogue: &mut Catalogue) -> Vec<Slot> {
    let path = |name: &str| format!("{FOLDER}/{supply}/{name}");
    let mut slots = Vec::new();
    let entry = |id: String, quantity, unit| Entry {
        id,
        quantity,
        unit,
        scope: Scope::Machine,
        class: Class::Measured,
        source: String::new(),
        group: Group::Slow,
    };
    if root.exists(&path("temp")) {
        let entry = entry(format!("temp.battery.{}", id_part(supply)), Quantity::Temperature, Unit::Celsius);
        let how = (scaled(0.1), Limits::new(-40.0, 100.0));
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &path("temp"), how, None));
    }
    slots
}

fn pack(root: &Root, supply: &str, catalogue: &mut Catalogue) -> Option<Pack> {
    let open = |name: &str| root.open(&format!("{FOLDER}/{supply}/{name}"));
    let id = format!("power.battery.{}", id_part(supply));
    let entry = |class, file: &str| Entry {
        id: id.clone(),
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope: Scope::Battery,
        class,
        source: format!("/{FOLDER}/{supply}/{file}"),
        group: Group::Slow,
    };
    let status = open("status").ok();
    let (draw, entry) = if let Ok(power) = open("power_now") {
        (Draw::Power(power), entry(Class::Measured, "power_now"))
    } else if let (Ok(current), Ok(voltage)) = (open("current_now"), open("voltage_now")) {
        (Draw::CurrentVoltage(current, voltage), entry(Class::Derived, "current_now × voltage_now"))
    } else if let Ok(power) = open("power_avg") {
        (Draw::Power(power), entry(Class::Measured, "power_avg"))
    } else {
        let reason = missing("the battery's driver gives neither power nor current");
        let channel = (id.as_str(), Quantity::Power, Unit::Watts, Scope::Battery);
        catalogue.absent(channel, &format!("/{FOLDER}/{supply}"), reason, None);
        return None;
    };
    Some(Pack { channel: catalogue.gauge(entry), status, draw })
}

impl Pack {
    fn read(&self, plugged: Option<bool>) -> Result<f64, ReasonCode> {
        let magnitude = match &self.draw {
            Draw::Power(power) => number(power)? / 1e6,
            Draw::CurrentVoltage(current, voltage) => number(current)? * number(voltage)? / 1e12,
        }
        .abs();
        let mut buffer = [0; 32];
        let status = match &self.status {
            Some(handle) => handle.read(&mut buffer)?,
            None => b"",
        };
        judge(magnitude, status.trim_ascii(), plugged)
    }
}

/// Puts the sign to a magnitude, or says why it cannot be true.
fn judge(magnitude: f64, status: &[u8], plugged: Option<bool>) -> Result<f64, ReasonCode> {
    let discharging = match status {
        b"Discharging" => true,
        b"Charging" | b"Full" | b"Not charging" => false,
        // "Unknown" is what many controllers say near the ends; then the mains decide.
        _ => plugged != Some(true),
    };
    let too_small = status == b"Discharging" && magnitude < LEAST_DRAW;
    if too_small || magnitude > MOST_DRAW {
        return Err(ReasonCode::Implausible);
    }
    Ok(if discharging || magnitude == 0.0 { magnitude } else { -magnitude })
}

impl Source for Batteries {
    fn channels(&self) -> Vec<ChannelId> {
        let rest = self.rest.as_ref().map(Files::channels).unwrap_or_default();
        self.packs.iter().map(|pack| pack.channel).chain(rest).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let plugged = self.plugged();
        for pack in &self.packs {
            let value = pack.read(plugged).map_or_else(Value::Absent, Value::Present);
            values.push((pack.channel, value));
        }
        if let Some(rest) = &mut self.rest {
            rest.read(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_the_direction() {
        assert_eq!(judge(9.5, b"Discharging", Some(true)), Ok(9.5));
        assert_eq!(judge(9.5, b"Charging", None), Ok(-9.5));
        assert_eq!(judge(9.5, b"Unknown", Some(false)), Ok(9.5));
        assert_eq!(judge(9.5, b"Unknown", Some(true)), Ok(-9.5));
        assert_eq!(judge(0.0, b"Unknown", Some(true)), Ok(0.0));
    }

    #[test]
    fn milliamperes_in_place_of_microamperes_are_refused() {
        assert_eq!(judge(0.0104, b"Discharging", Some(false)), Err(ReasonCode::Implausible));
        assert_eq!(judge(4_290_000.0, b"Charging", None), Err(ReasonCode::Implausible));
    }
}
