//! Power drawn from batteries: positive while discharging, negative while charging.
//!
//! Only while it discharges does a battery say what the machine draws, so its scope is the battery and never
//! the board. Drivers differ in the sign, so the direction is taken from `status`; where that does not tell, a
//! machine without any supply that is online lives on its batteries.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value, id_part};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::files::{Files, Kind, Limits, Slot, enter, number, scaled};
use crate::root::{Handle, Root};
use crate::source::{Group, Source};

const FOLDER: &str = "sys/class/power_supply";

/// A machine that runs this draws more, and a charger gives more, W; less is a driver that reports mA where µA
/// belong.
const LEAST_DRAW: f64 = 0.05;

/// No pack of a machine with a battery gives more, W.
const MOST_DRAW: f64 = 1000.0;

enum Draw {
    /// µW, now or averaged by the gauge.
    Power(Handle),
    /// µA and µV
    CurrentVoltage(Handle, Handle),
}

impl Draw {
    /// W, whatever the sign.
    fn magnitude(&self) -> Result<f64, ReasonCode> {
        let watts = match self {
            Self::Power(power) => number(power)? / 1e6,
            Self::CurrentVoltage(current, voltage) => number(current)? * number(voltage)? / 1e12,
        };
        Ok(watts.abs())
    }
}

struct Pack {
    channel: ChannelId,
    status: Option<Handle>,
    /// The best first; the others are for files that hold no number.
    draws: Vec<Draw>,
}

/// Reads the batteries.
pub(crate) struct Batteries {
    packs: Vec<Pack>,
    /// Whether there is a pack that tells nothing.
    has_silent: bool,
    /// Temperature of each pack that tells.
    rest: Option<Files>,
    /// `online` of what feeds the machine: mains, USB, a charging pad.
    mains: Vec<Handle>,
}

impl Batteries {
    /// Enters `power.battery.NAME` for each pack of the machine; those of mice and the like are not its own.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let mut packs = Vec::new();
        let mut has_silent = false;
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
                match pack(root, &supply, catalogue) {
                    Some(pack) => packs.push(pack),
                    None => has_silent = true,
                }
                rest.extend(others(root, &supply, catalogue));
            }
        }
        let rest = Files::new(root, rest);
        (!packs.is_empty() || rest.is_some()).then_some(Self { packs, has_silent, rest, mains })
    }

    /// The channels whose sum is what the machine draws, if it lives on its batteries at this moment.
    pub(crate) fn discharging(&self) -> Option<Vec<ChannelId>> {
        let plugged = self.plugged();
        let draws: Vec<f64> =
            self.packs.iter().filter_map(|pack| self.read_pack(pack, plugged).ok()).collect();
        let alone = plugged != Some(true) && draws.len() == self.packs.len() && !self.has_silent;
        let discharging = draws.iter().sum::<f64>() > 0.0 && draws.iter().all(|&watts| watts >= 0.0);
        (alone && discharging).then(|| self.packs.iter().map(|pack| pack.channel).collect())
    }

    fn read_pack(&self, pack: &Pack, plugged: Option<bool>) -> Result<f64, ReasonCode> {
        let magnitude = pack.magnitude()?;
        let mut buffer = [0; 32];
        let status = match &pack.status {
            Some(handle) => handle.read(&mut buffer)?,
            None => b"",
        };
        judge(magnitude, status.trim_ascii(), plugged, self.packs.len() == 1)
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
    let mut draws = Vec::new();
    let mut files = Vec::new();
    let mut add = |file: &'static str, draw: Option<Draw>| {
        files.extend(draw.is_some().then_some(file));
        draws.extend(draw);
    };
    add("power_now", open("power_now").ok().map(Draw::Power));
    let product = open("current_now").ok().zip(open("voltage_now").ok());
    let has_product = product.is_some();
    add(
        "current_now × voltage_now",
        product.map(|(current, voltage)| Draw::CurrentVoltage(current, voltage)),
    );
    add("power_avg", open("power_avg").ok().map(Draw::Power));
    if draws.is_empty() {
        let reason = missing("the battery's driver gives neither power nor current");
        let channel = (id.as_str(), Quantity::Power, Unit::Watts, Scope::Battery);
        catalogue.absent(channel, &format!("/{FOLDER}/{supply}"), reason, None);
        return None;
    }
    let entry = Entry {
        id,
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope: Scope::Battery,
        class: if has_product { Class::Derived } else { Class::Measured },
        source: format!("/{FOLDER}/{supply}/{}", files.join(" or ")),
        group: Group::Slow,
    };
    Some(Pack { channel: catalogue.gauge(entry), status: open("status").ok(), draws })
}

impl Pack {
    /// W, from the first file that holds a number; why the first does not, where none does.
    fn magnitude(&self) -> Result<f64, ReasonCode> {
        let mut draws = self.draws.iter().map(Draw::magnitude);
        let first = draws.next().unwrap_or(Err(ReasonCode::NoSuchInterface));
        first.or_else(|code| draws.find_map(Result::ok).ok_or(code))
    }
}

/// Puts the sign to a magnitude, W, or says why it cannot be true. `is_lone` is the only pack of the machine.
fn judge(magnitude: f64, status: &[u8], plugged: Option<bool>, is_lone: bool) -> Result<f64, ReasonCode> {
    let discharging = match status {
        b"Discharging" => Some(true),
        b"Charging" | b"Full" | b"Not charging" => Some(false),
        // "Unknown" is what many controllers say near the ends, and of a pack that rests; then the mains decide.
        _ => plugged.map(|plugged| !plugged),
    };
    // Of several packs some rest, whatever they say, but something feeds a machine that runs.
    if magnitude == 0.0 && !(is_lone && status == b"Discharging") {
        return Ok(0.0);
    }
    let may_trickle = matches!(status, b"Full" | b"Not charging");
    if magnitude < LEAST_DRAW && !may_trickle || magnitude > MOST_DRAW {
        return Err(ReasonCode::Implausible);
    }
    match discharging {
        Some(true) => Ok(magnitude),
        Some(false) => Ok(-magnitude),
        // The driver does not tell which way it flows.
        None => Err(ReasonCode::NotSupported),
    }
}

impl Source for Batteries {
    fn channels(&self) -> Vec<ChannelId> {
        let rest = self.rest.as_ref().map(Files::channels).unwrap_or_default();
        self.packs.iter().map(|pack| pack.channel).chain(rest).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let plugged = self.plugged();
        for pack in &self.packs {
            let value = self.read_pack(pack, plugged).map_or_else(Value::Absent, Value::Present);
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
        assert_eq!(judge(9.5, b"Discharging", Some(true), true), Ok(9.5));
        assert_eq!(judge(9.5, b"Charging", None, true), Ok(-9.5));
        assert_eq!(judge(9.5, b"Unknown", Some(false), true), Ok(9.5));
        assert_eq!(judge(9.5, b"Unknown", Some(true), true), Ok(-9.5));
        assert_eq!(judge(0.0, b"Unknown", Some(true), true), Ok(0.0));
    }

    #[test]
    fn without_status_and_mains_the_direction_is_not_known() {
        for status in [&b"Unknown"[..], b""] {
            assert_eq!(judge(9.0, status, None, true), Err(ReasonCode::NotSupported));
            assert_eq!(judge(0.0, status, None, false), Ok(0.0), "a pack that rests");
        }
    }

    #[test]
    fn milliamperes_in_place_of_microamperes_are_refused() {
        for status in [&b"Discharging"[..], b"Charging", b"Unknown", b""] {
            for plugged in [Some(false), Some(true), None] {
                assert_eq!(judge(0.0106, status, plugged, true), Err(ReasonCode::Implausible));
            }
        }
        assert_eq!(judge(0.0106, b"Full", Some(true), true), Ok(-0.0106), "a trickle");
        assert_eq!(judge(4_290_000.0, b"Charging", None, true), Err(ReasonCode::Implausible));
    }

    #[test]
    fn a_pack_rests_only_beside_another() {
        assert_eq!(judge(0.0, b"Discharging", Some(false), false), Ok(0.0));
        assert_eq!(judge(0.0, b"Discharging", Some(false), true), Err(ReasonCode::Implausible));
    }
}
