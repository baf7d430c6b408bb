//! Power drawn from batteries: positive while discharging, negative while charging.
//!
//! Batteries report what the machine draws only while nothing else supplies it: then `power.battery` is the sum of
//! all packs. On a charger that is too weak they may be discharged and report only what it lacks. So their scope
//! is the battery and never the board.
//!
//! The direction comes from `status`. Where that gives none, a negative sign does: the kernel's
//! `sysfs-class-power` has negative currents for batteries that are discharged, and drivers without a sign are never
//! negative. Else a machine without any supply that is online runs on its batteries, whatever they call themselves.
//!
//! Supplies of scope `Device` feed a mouse or a pen.

mod direction;
mod feeds;

use slmscope_profiles::channel::{
    BATTERY_POWER, Channel, ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value, id_part,
};

use crate::catalogue::{Catalogue, Entry, Interface, missing};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};
use crate::sources::files::{self, Files, Kind, Limits, Slot, enter, number, scaled};

use direction::{judge, sum};
use feeds::{Feeds, Plugged};

const FOLDER: &str = "sys/class/power_supply";

enum Draw {
    /// µW, now or averaged by the gauge.
    Power(Handle),
    /// µA and µV
    CurrentVoltage(Handle, Handle),
}

impl Draw {
    /// W, with the driver's own sign.
    fn watts(&self, root: &Root) -> Result<f64, ReasonCode> {
        Ok(match self {
            Self::Power(power) => number(root, power)? / 1e6,
            Self::CurrentVoltage(current, voltage) => number(root, current)? * number(root, voltage)? / 1e12,
        })
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
    root: Root,
    packs: Vec<Pack>,
    /// Whether there is one pack and no other, not even a silent one.
    is_lone: bool,
    /// The channel of their sum; `None` where one of them does not report its power.
    together: Option<ChannelId>,
    /// Temperature of each pack that reports one.
    rest: Option<Files>,
    feeds: Feeds,
}

impl Batteries {
    /// Enters `power.battery.NAME` for each pack of the machine; those of mice and the like are not its own.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let mut packs = Vec::new();
        let (mut has_silent, mut is_empty) = (false, None);
        let mut feeds = Feeds::default();
        let mut rest = Vec::new();
        for supply in root.list(FOLDER).unwrap_or_default() {
            let kind = root.text(&format!("{FOLDER}/{supply}/type")).unwrap_or_default();
            let is_battery = kind == "Battery";
            match fitted(root, &supply) {
                Fitted::Elsewhere => {}
                Fitted::No if is_battery => is_empty = Some(supply),
                _ if is_battery => {
                    match pack(root, &supply, catalogue) {
                        Some(pack) => packs.push(pack),
                        None => has_silent = true,
                    }
                    rest.extend(others(root, &supply, catalogue));
                }
                _ => feeds.add(root, &supply, &kind),
            }
        }
        if let (Some(supply), true, false) = (is_empty, packs.is_empty(), has_silent) {
            let channel = (BATTERY_POWER, Quantity::Power, Unit::Watts, Scope::Battery);
            let reason = missing("no battery is fitted");
            catalogue.absent(channel, &format!("/{FOLDER}/{supply}"), reason);
        }
        let contradicted = feeds.plugged_in_time(root) == Plugged::Contradicted;
        let together = if has_silent { None } else { enter_sum(&packs, contradicted, catalogue) };
        let rest = Files::new(root, rest);
        let is_lone = packs.len() == 1 && !has_silent;
        let root = root.clone();
        (!packs.is_empty() || rest.is_some()).then_some(Self { root, packs, is_lone, together, rest, feeds })
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
        let plugged = self.feeds.plugged(&self.root);
        let draws = self.packs.iter().map(|pack| self.read_pack(pack, plugged));
        sum(draws, plugged).get().is_some()
    }

    fn read_pack(&self, pack: &Pack, plugged: Plugged) -> Value {
        pack.read(&self.root, plugged, self.is_lone).map_or_else(Value::Absent, Value::Present)
    }
}

/// Whether a supply is there and the machine's own.
#[derive(Clone, Copy)]
enum Fitted {
    Yes,
    /// Its slot is empty.
    No,
    /// It belongs to a mouse or the like.
    Elsewhere,
}

/// As far as its controller reports that. Qualcomm's answers ENODEV for everything where no battery is fitted.
fn fitted(root: &Root, supply: &str) -> Fitted {
    let own = |root: &Root, folder: &str| {
        let file = |name: &str| root.text(&format!("{folder}/{name}"));
        let fails = |name: &str| {
            let path = format!("{folder}/{name}");
            root.exists(&path) && file(name).is_err()
        };
        Ok(match file("scope") {
            Ok(scope) if scope == "Device" => Fitted::Elsewhere,
            _ if file("present").is_ok_and(|present| present == "0") => Fitted::No,
            _ if fails("present") && fails("status") => Fitted::No,
            _ => Fitted::Yes,
        })
    };
    root.in_time(&format!("{FOLDER}/{supply}"), own).unwrap_or(Fitted::Yes)
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
    let path = |name: &str| format!("{FOLDER}/{supply}/{name}");
    let open = |name: &str| root.open(&path(name));
    let id = format!("power.battery.{}", id_part(supply));
    let power = |file: &'static str| Some((file, Draw::Power(open(file).ok()?)));
    let product = || {
        let draw = Draw::CurrentVoltage(open("current_now").ok()?, open("voltage_now").ok()?);
        Some(("current_now × voltage_now", draw))
    };
    let mut found: Vec<(&str, Draw)> =
        [power("power_now"), product(), power("power_avg")].into_iter().flatten().collect();
    // What holds a number now comes first, and is what the channel is called after.
    let holds = |file: &str| {
        let first = file.split(' ').next().unwrap_or(file);
        root.in_time(&path(first), Root::integer).is_ok()
    };
    found.sort_by_cached_key(|(file, _)| !holds(file));
    let Some((file, first)) = found.first() else {
        let reason = missing("the battery's driver gives neither power nor current");
        let channel = (id.as_str(), Quantity::Power, Unit::Watts, Scope::Battery);
        catalogue.absent(channel, &format!("/{FOLDER}/{supply}"), reason);
        return None;
    };
    let is_product = matches!(first, Draw::CurrentVoltage(..));
    let entry = Entry {
        id,
        quantity: Quantity::Power,
        unit: Unit::Watts,
        scope: Scope::Battery,
        class: if is_product { Class::Derived } else { Class::Measured },
        source: format!("/{}", path(file)),
        group: Group::Slow,
    };
    let channel = catalogue.gauge(entry);
    if !is_product {
        catalogue.set_interface(channel, Interface::File(path(file)));
    }
    let draws = found.into_iter().map(|(_, draw)| draw).collect();
    Some(Pack { channel, status: open("status").ok(), draws })
}

/// The sum of all packs.
fn enter_sum(packs: &[Pack], contradicted: bool, catalogue: &mut Catalogue) -> Option<ChannelId> {
    let channels: Vec<&Channel> = packs.iter().filter_map(|pack| catalogue.get(pack.channel)).collect();
    let names: Vec<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
    let (class, source) = match channels[..] {
        [] => return None,
        [lone] => (lone.class, lone.source.clone()),
        [first, ..] => (Class::Derived, format!("{} ({})", first.source, names.join(" + "))),
    };
    let source = if contradicted {
        format!(
            "{source} (of the mains adapters one says online and one offline; a battery that is discharged decides)"
        )
    } else {
        source
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
    fn read(&self, root: &Root, plugged: Plugged, is_lone: bool) -> Result<f64, ReasonCode> {
        let watts = self.watts(root)?;
        let mut buffer = [0; 32];
        let status = match &self.status {
            Some(handle) => files::read(root, handle, &mut buffer)?,
            None => b"",
        };
        judge(watts, status.trim_ascii(), plugged, is_lone)
    }

    /// W, from the first file that holds a number; why the first does not, where none does.
    fn watts(&self, root: &Root) -> Result<f64, ReasonCode> {
        let mut draws = self.draws.iter().map(|draw| draw.watts(root));
        let first = draws.next().unwrap_or(Err(ReasonCode::NoSuchInterface));
        first.or_else(|code| draws.find_map(Result::ok).ok_or(code))
    }
}

impl Source for Batteries {
    fn channels(&self) -> Vec<ChannelId> {
        let rest = self.rest.as_ref().map(Files::channels).unwrap_or_default();
        self.packs.iter().map(|pack| pack.channel).chain(self.together).chain(rest).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let plugged = self.feeds.plugged(&self.root);
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
