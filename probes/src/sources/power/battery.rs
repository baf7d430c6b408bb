//! Power drawn from batteries: positive while discharging, negative while charging.
//!
//! Batteries report what the machine draws only while nothing else supplies it: then `power.battery` is the sum of
//! all packs. On a charger that is too weak they may be discharged and report only what it lacks. So their scope
//! is the battery and never the board. Drivers differ in the sign, so the direction is taken from `status`; where
//! that does not report it, a machine without any supply that is online runs on its batteries.

use slmscope_profiles::channel::{
    BATTERY_POWER, Channel, ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value, id_part,
};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};
use crate::sources::files::{Files, Kind, Limits, Slot, enter, number, scaled};

const FOLDER: &str = "sys/class/power_supply";

/// The least plausible power, W: a running machine draws more, and a charger supplies more. Less means that a driver
/// reports mA instead of µA.
const LEAST_DRAW: f64 = 0.05;

/// No pack of a machine with a battery supplies more, W.
const MAX_DRAW: f64 = 1000.0;

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
    /// The best first; the others are used if a file holds no number.
    draws: Vec<Draw>,
}

/// Reads the batteries.
pub(crate) struct Batteries {
    packs: Vec<Pack>,
    /// Whether there is one pack and no other, not even a silent one.
    is_lone: bool,
    /// The channel of their sum; `None` where one of them does not report its power.
    together: Option<ChannelId>,
    /// Temperature of each pack that reports one.
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
            let kind = root.text(&file("type")).unwrap_or_default();
            if kind == "Mains" || kind.starts_with("USB") || kind == "Wireless" {
                mains.extend(root.open(&file("online")));
            }
            if kind == "Battery" && is_own(root, &supply) {
                match pack(root, &supply, catalogue) {
                    Some(pack) => packs.push(pack),
                    None => has_silent = true,
                }
                rest.extend(others(root, &supply, catalogue));
            }
        }
        let together = if has_silent { None } else { enter_sum(&packs, catalogue) };
        let rest = Files::new(root, rest);
        let is_lone = packs.len() == 1 && !has_silent;
        (!packs.is_empty() || rest.is_some()).then_some(Self { packs, is_lone, together, rest, mains })
    }

    /// The channel of what the machine draws, if it runs on its batteries at this moment.
    pub(crate) fn discharging(&self, root: &Root) -> Option<ChannelId> {
        // It has files of its own, so that a read that hangs blocks no others.
        let discharge = |root: &Root, _: &str| {
            Ok(Self::discover(root, &mut Catalogue::default()).is_some_and(|own| own.discharge()))
        };
        self.together.filter(|_| root.in_time(FOLDER, discharge) == Ok(true))
    }

    fn discharge(&self) -> bool {
        let plugged = self.plugged();
        let draws = self.packs.iter().map(|pack| self.read_pack(pack, plugged));
        sum(draws, plugged).get().is_some()
    }

    fn read_pack(&self, pack: &Pack, plugged: Option<bool>) -> Value {
        pack.read(plugged, self.is_lone).map_or_else(Value::Absent, Value::Present)
    }

    fn plugged(&self) -> Option<bool> {
        let online = self.mains.iter().filter_map(|mains| number(mains).ok()).map(|online| online > 0.0);
        online.reduce(|any, one| any || one)
    }
}

/// Whether it feeds this machine, as far as its controller reports that.
fn is_own(root: &Root, supply: &str) -> bool {
    let own = |root: &Root, folder: &str| {
        let is =
            |name: &str, value: &str| root.text(&format!("{folder}/{name}")).is_ok_and(|text| text == value);
        Ok(!is("scope", "Device") && !is("present", "0"))
    };
    root.in_time(&format!("{FOLDER}/{supply}"), own).unwrap_or(true)
}

/// The level in percent, and the temperature in tenths of a degree.
fn others(root: &Root, supply: &str, catalogue: &mut Catalogue) -> Vec<Slot> {
    let path = |name: &str| format!("{FOLDER}/{supply}/{name}");
    let mut slots = Vec::new();
    let entry = |id: String, quantity, unit, scope, class| Entry {
        id,
        quantity,
        unit,
        scope,
        class,
        source: String::new(),
        group: Group::Slow,
    };
    if root.exists(&path("capacity")) {
        let id = format!("{BATTERY_POWER}.{}.level", id_part(supply));
        // The gauge's estimate.
        let entry = entry(id, Quantity::Power, Unit::Ratio, Scope::Battery, Class::Reported);
        let how = (scaled(0.01), Limits::new(0.0, 1.0));
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &path("capacity"), how, None));
    }
    if root.exists(&path("temp")) {
        let id = format!("temp.battery.{}", id_part(supply));
        let entry = entry(id, Quantity::Temperature, Unit::Celsius, Scope::Machine, Class::Measured);
        let how = (scaled(0.1), Limits::new(-40.0, 100.0));
        slots.extend(enter(root, catalogue, entry, Kind::Gauge, &path("temp"), how, None));
    }
    slots
}

fn pack(root: &Root, supply: &str, catalogue: &mut Catalogue) -> Option<Pack> {
    let open = |name: &str| root.open(&format!("{FOLDER}/{supply}/{name}"));
    let id = format!("power.battery.{}", id_part(supply));
    let power = |file: &'static str| Some((file, Draw::Power(open(file).ok()?)));
    let product = || {
        let draw = Draw::CurrentVoltage(open("current_now").ok()?, open("voltage_now").ok()?);
        Some(("current_now × voltage_now", draw))
    };
    let found = [power("power_now"), product(), power("power_avg")];
    let (files, draws): (Vec<&str>, Vec<Draw>) = found.into_iter().flatten().unzip();
    let has_product = draws.iter().any(|draw| matches!(draw, Draw::CurrentVoltage(..)));
    if draws.is_empty() {
        let reason = missing("the battery's driver gives neither power nor current");
        let channel = (id.as_str(), Quantity::Power, Unit::Watts, Scope::Battery);
        catalogue.absent(channel, &format!("/{FOLDER}/{supply}"), reason);
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

/// The sum of all packs.
fn enter_sum(packs: &[Pack], catalogue: &mut Catalogue) -> Option<ChannelId> {
    let channels: Vec<&Channel> = packs.iter().filter_map(|pack| catalogue.get(pack.channel)).collect();
    let names: Vec<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
    let (class, source) = match channels[..] {
        [] => return None,
        [lone] => (lone.class, lone.source.clone()),
        [first, ..] => (Class::Derived, format!("{} ({})", first.source, names.join(" + "))),
    };
    let entry = Entry {
        id: BATTERY_POWER.to_owned(),
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope: Scope::Battery,
        class,
        source,
        group: Group::Slow,
    };
    Some(catalogue.gauge(entry))
}

impl Pack {
    /// W; `is_lone` as in [`judge`].
    fn read(&self, plugged: Option<bool>, is_lone: bool) -> Result<f64, ReasonCode> {
        let magnitude = self.magnitude()?;
        let mut buffer = [0; 32];
        let status = match &self.status {
            Some(handle) => handle.read(&mut buffer)?,
            None => b"",
        };
        judge(magnitude, status.trim_ascii(), plugged, is_lone)
    }

    /// W, from the first file that holds a number; why the first does not, where none does.
    fn magnitude(&self) -> Result<f64, ReasonCode> {
        let mut draws = self.draws.iter().map(Draw::magnitude);
        let first = draws.next().unwrap_or(Err(ReasonCode::NoSuchInterface));
        first.or_else(|code| draws.find_map(Result::ok).ok_or(code))
    }
}

/// The magnitude with its sign, W, or the reason why it is implausible. `is_lone` is the only pack of the machine.
fn judge(magnitude: f64, status: &[u8], plugged: Option<bool>, is_lone: bool) -> Result<f64, ReasonCode> {
    let discharging = match status {
        b"Discharging" => Some(true),
        b"Charging" | b"Full" | b"Not charging" => Some(false),
        // Many controllers report "Unknown" near the ends, and for a pack that rests; then the mains decide.
        _ => plugged.map(|plugged| !plugged),
    };
    // Of several packs some rest, whatever they report, but something feeds a machine that runs.
    if magnitude == 0.0 && !(is_lone && status == b"Discharging") {
        return Ok(0.0);
    }
    // A full one takes almost nothing from the mains, and many controllers then report "Unknown".
    let may_trickle = match status {
        b"Discharging" | b"Charging" => false,
        b"Full" | b"Not charging" => true,
        _ => plugged == Some(true),
    };
    if magnitude < LEAST_DRAW && !may_trickle || magnitude > MAX_DRAW {
        return Err(ReasonCode::Implausible);
    }
    match discharging {
        Some(true) => Ok(magnitude),
        Some(false) => Ok(-magnitude),
        // The driver does not report the direction.
        None => Err(ReasonCode::NotSupported),
    }
}

/// The sum of packs, if they alone feed the machine: none is charged, and nothing is plugged in.
fn sum(draws: impl IntoIterator<Item = Value>, plugged: Option<bool>) -> Value {
    let mut sum = 0.0;
    for draw in draws {
        match draw {
            Value::Present(watts) if watts >= 0.0 => sum += watts,
            Value::Present(_) => return Value::Absent(ReasonCode::Vanished),
            Value::Absent(_) => return draw,
        }
    }
    if sum > 0.0 && plugged != Some(true) { Value::Present(sum) } else { Value::Absent(ReasonCode::Vanished) }
}

impl Source for Batteries {
    fn channels(&self) -> Vec<ChannelId> {
        let rest = self.rest.as_ref().map(Files::channels).unwrap_or_default();
        self.packs.iter().map(|pack| pack.channel).chain(self.together).chain(rest).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let plugged = self.plugged();
        let first = values.len();
        values.extend(self.packs.iter().map(|pack| (pack.channel, self.read_pack(pack, plugged))));
        if let Some(together) = self.together {
            let draws = values.iter().skip(first).map(|&(_, draw)| draw);
            let sum = sum(draws, plugged);
            values.push((together, sum));
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
            for plugged in [Some(false), None] {
                assert_eq!(judge(0.0106, status, plugged, true), Err(ReasonCode::Implausible));
            }
        }
        assert_eq!(judge(0.0106, b"Charging", Some(true), true), Err(ReasonCode::Implausible));
        assert_eq!(judge(0.0106, b"Unknown", Some(true), true), Ok(-0.0106), "a trickle");
        assert_eq!(judge(0.0106, b"Full", Some(true), true), Ok(-0.0106), "a trickle");
        assert_eq!(judge(4_290_000.0, b"Charging", None, true), Err(ReasonCode::Implausible));
    }

    #[test]
    fn a_pack_rests_only_beside_another() {
        assert_eq!(judge(0.0, b"Discharging", Some(false), false), Ok(0.0));
        assert_eq!(judge(0.0, b"Discharging", Some(false), true), Err(ReasonCode::Implausible));
    }
}
