//! Channels: what a probe offers, and why it offers nothing where it does not.
//!
//! A channel is one quantity of one thing (`temp.x86_pkg_temp`, `energy.package-0`). Its id starts with the
//! family; the class says how far to trust the value. A value that could not be read is absent with a
//! [`Reason`], never zero.
//!
//! | kind | what a sample holds |
//! |---|---|
//! | gauge | the value itself, at the time of the reading |
//! | counter | a running total since some origin; only differences mean anything |
//! | rate | nothing: derived from the counter it names, by [`derive::value`] |
//! | sum | nothing: derived from its parts, the same way |

pub mod derive;
mod reason;
mod scope;

use serde::{Deserialize, Serialize};

pub use derive::{difference, rate};
pub use reason::{Reason, ReasonCode};
pub use scope::{Coverage, Scope, UnknownScope};

/// The channel of what the whole board draws, W.
pub const BOARD_POWER: &str = "power.board";

/// The counter of what the whole board has drawn, J; it exists where [`BOARD_POWER`] comes from counters.
pub const BOARD_ENERGY: &str = "energy.board";

/// The channel of what all batteries give together, W, absent while anything else feeds the machine.
pub const BATTERY_POWER: &str = "power.battery";

/// Index of a channel in the catalogue of one daemon run.
pub type ChannelId = u16;

/// How a value came about, and so how far it can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A sensor or counter of exactly this quantity.
    Measured,
    /// Arithmetic on measured values.
    Derived,
    /// A proxy with an assumption inside.
    Modelled,
    /// A firmware claim that is known to be wrong at times.
    Reported,
    /// There is no value here; the reason says why.
    Unavailable,
}

impl Class {
    /// The word in JSON, tables and screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Derived => "derived",
            Self::Modelled => "modelled",
            Self::Reported => "reported",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What is quantified. The first word of a channel's id follows from it, except for accelerators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// CPU time and its share of the wall clock (`cpu.`).
    Cpu,
    /// Clock frequency (`freq.`).
    Frequency,
    /// Memory in use, faults (`mem.`).
    Memory,
    /// Memory traffic (`membw.`).
    MemoryBandwidth,
    /// Energy counters (`energy.`).
    Energy,
    /// Power (`power.`).
    Power,
    /// Temperature (`temp.`).
    Temperature,
    /// Fan speed (`fan.`).
    Fan,
    /// Throttling events and states (`throttle.`).
    Throttle,
    /// Pressure stall information (`psi.`).
    Pressure,
    /// Busy share, clocks and memory of a GPU (`gpuN.`).
    Gpu,
    /// Busy share, clocks and memory of a neural accelerator (`npuN.`).
    Npu,
}

impl Quantity {
    /// All families, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Cpu,
        Self::Frequency,
        Self::Memory,
        Self::MemoryBandwidth,
        Self::Energy,
        Self::Power,
        Self::Temperature,
        Self::Fan,
        Self::Throttle,
        Self::Pressure,
        Self::Gpu,
        Self::Npu,
    ];

    /// The heading under which a table groups such channels.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Frequency => "frequency",
            Self::Memory => "memory",
            Self::MemoryBandwidth => "memory bandwidth",
            Self::Energy => "energy",
            Self::Power => "power",
            Self::Temperature => "temperature",
            Self::Fan => "fans",
            Self::Throttle => "throttling",
            Self::Pressure => "pressure",
            Self::Gpu => "GPU",
            Self::Npu => "NPU",
        }
    }
}

/// SI unit of a channel's values. Shares are ratios from 0 to 1, never percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// J
    Joules,
    /// W
    Watts,
    /// V
    Volts,
    /// A
    Amperes,
    /// °C
    Celsius,
    /// Hz
    Hertz,
    /// 0 to 1 (of one CPU: may exceed 1 for several threads)
    Ratio,
    /// B
    Bytes,
    /// B/s
    BytesPerSecond,
    /// s
    Seconds,
    /// revolutions per minute
    Rpm,
    /// a plain number
    Count,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Joules,
        Self::Watts,
        Self::Volts,
        Self::Amperes,
        Self::Celsius,
        Self::Hertz,
        Self::Ratio,
        Self::Bytes,
        Self::BytesPerSecond,
        Self::Seconds,
        Self::Rpm,
        Self::Count,
    ];
}

/// How the values of a channel are to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The value at the time of the reading.
    Gauge,
    /// A running total. `range` is the value at which it starts again from zero; `None` where it does not
    /// wrap or the range could not be read.
    Counter {
        /// In the channel's unit.
        range: Option<f64>,
    },
    /// Not sampled: [`rate`] of the counter named here.
    Rate {
        /// The counter.
        of: ChannelId,
    },
    /// Not sampled: the values of several gauges and the [`rate`]s of several counters, added up. Its parts are
    /// read at different times, the slowest last. Without one of them there is no sum.
    Sum {
        /// The parts, each a gauge or a counter.
        of: Vec<ChannelId>,
    },
}

impl Kind {
    /// Whether samples have values of such a channel; others are found from those of other channels.
    pub fn is_sampled(&self) -> bool {
        matches!(self, Self::Gauge | Self::Counter { .. })
    }
}

/// One line of the channel catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Index by which samples refer to it.
    pub channel: ChannelId,
    /// Stable name, family first: `temp.x86_pkg_temp`.
    pub id: String,
    /// Its family.
    pub quantity: Quantity,
    /// Unit of its values.
    pub unit: Unit,
    /// What it covers.
    pub scope: Scope,
    /// How the value comes about.
    pub class: Class,
    /// How its values are to be read.
    pub kind: Kind,
    /// The file or interface, as a person would look for it. Empty where nothing exists.
    pub source: String,
    /// Nominal sampling period under a workload, ns. `None` if it is never sampled.
    pub period_ns: Option<u64>,
    /// Time between two values of the sensor behind it, ns: in a catalogue as its maker states it, afterwards as the
    /// sampler found it ([`Sample::update_ns_of`]). `None` where it is not known. Reading more often shows nothing new.
    #[serde(default)]
    pub update_ns: Option<u64>,
    /// Why it is unavailable; `None` for every other class.
    pub reason: Option<Reason>,
    /// The command or setting that makes it available, where there is one.
    pub remedy: Option<String>,
}

impl Channel {
    /// Whether this is the total of the board, which repeats other channels of the catalogue: whoever adds up
    /// power or energy leaves it out.
    pub fn is_board_total(&self) -> bool {
        is_board_total(&self.id)
    }

    /// Whether this is of the machine's own batteries: a monitor in the lead of some battery has their scope too, and
    /// says nothing about what the machine draws.
    pub fn is_of_batteries(&self) -> bool {
        let rest = self.id.strip_prefix(BATTERY_POWER);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Whether the channel of this id is the total of the board.
pub fn is_board_total(id: &str) -> bool {
    matches!(id, BOARD_POWER | BOARD_ENERGY)
}

/// One value of a sample, or why there is none this time. On the wire a number or a reason's code.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// The value, in the channel's unit; always finite.
    Present(f64),
    /// Why there is none.
    Absent(ReasonCode),
}

impl Value {
    /// The value; `None` where it is absent.
    pub fn get(self) -> Option<f64> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent(_) => None,
        }
    }
}

/// One reading of one source: the values that share a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// CLOCK_MONOTONIC, ns, read next to the values.
    pub t_ns: u64,
    /// CPU time that a reading of this source cost when it was last timed, ns.
    pub cost_ns: u64,
    /// How long all values have been what they are, ns; a sensor that is slower than its reader repeats itself.
    #[serde(default)]
    pub age_ns: u64,
    /// Time between two values of the fastest of its channels, ns: as stated by the sensor's maker, or the median that
    /// was seen where nothing is stated or the sensor is slower than that. `None` while neither is known; three
    /// changes are needed. What was seen cannot be shorter than the time between two readings.
    #[serde(default)]
    pub update_ns: Option<u64>,
    /// The same of each channel for which it is another time than [`Sample::update_ns`], or is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_update_ns: Vec<(ChannelId, Option<u64>)>,
    /// Channel and value.
    pub values: Vec<(ChannelId, Value)>,
}

impl Sample {
    /// Time between two values of one of its channels, ns; `None` while it is not known.
    pub fn update_ns_of(&self, channel: ChannelId) -> Option<u64> {
        let other = self.other_update_ns.iter().find(|(id, _)| *id == channel);
        other.map_or(self.update_ns, |&(_, update_ns)| update_ns)
    }
}

/// Turns any name from a driver into the last part of a channel id: other characters than letters,
/// digits, `-`, `_` and `.` become `_`.
pub fn id_part(name: &str) -> String {
    let part: String = name
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    if part.is_empty() { "_".to_owned() } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_survive_their_spelling() {
        for text in ["board-input", "rail:VDD_IN", "cpu3", "gpu0", "cgroup", "dram"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert!("cpux".parse::<Scope>().is_err());
    }

    #[test]
    fn reasons_are_spelled_alike_everywhere() {
        let text = serde_json::to_string(&ReasonCode::GatedOrAsleep).unwrap();
        assert_eq!(text.trim_matches('"'), ReasonCode::GatedOrAsleep.as_str());
    }
}
