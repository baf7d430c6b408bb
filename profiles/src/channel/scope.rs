//! What a reading covers, and how that is spelled.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a reading covers. Watts of different scopes are never added.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole board at its input.
    BoardInput,
    /// The platform as the firmware sums it (`psys`).
    Platform,
    /// A processor package.
    Package,
    /// The cores of a package.
    Cores,
    /// Memory modules.
    Dram,
    /// A graphics processor, for power and energy.
    Gpu,
    /// One supply rail.
    Rail(String),
    /// A battery.
    Battery,
    /// The whole machine.
    Machine,
    /// One logical CPU.
    CpuN(u32),
    /// One graphics processor, for everything but power and energy.
    GpuN(u32),
    /// A process of this tool.
    Process,
    /// This process's control group.
    Cgroup,
}

impl Scope {
    /// Whether this is part of what computes: a processor, its cores, a graphics processor. A sensor of anything
    /// else says little about how warm they are.
    pub fn computes(&self) -> bool {
        matches!(self, Self::Package | Self::Cores | Self::CpuN(_) | Self::Gpu | Self::GpuN(_))
    }

    /// How much of the machine power of this scope covers; `None` for scopes that power is not reported for.
    pub fn coverage(&self) -> Option<Coverage> {
        Some(match self {
            Self::Battery => Coverage::Battery,
            Self::BoardInput => Coverage::BoardInput,
            Self::Platform => Coverage::Platform,
            Self::Package => Coverage::Package,
            Self::Dram => Coverage::Dram,
            Self::Gpu => Coverage::Gpu,
            Self::Rail(_) => Coverage::Rail,
            Self::Cores | Self::Machine | Self::CpuN(_) | Self::GpuN(_) | Self::Process | Self::Cgroup => {
                return None;
            }
        })
    }

    /// Whether power of this scope is that of a whole processor or of more than it.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Package | Self::Platform | Self::BoardInput)
    }
}

/// How much of a machine a figure of power or energy covers. The order is that in which figures are preferred:
/// the most comes first.
///
/// This is the only place that orders them. What a figure means decides in which cases it is a candidate at all: a
/// battery covers the machine only while nothing else feeds it, so whoever chooses leaves out one that is not
/// discharged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coverage {
    /// All batteries, while they alone feed the machine: everything, and the losses of its power supply.
    Battery,
    /// The board at its input.
    BoardInput,
    /// The platform as the firmware sums it.
    Platform,
    /// The rails that a board's description lists as all of its inputs. No scope by itself: it is that of a sum.
    InputRails,
    /// All packages.
    Package,
    /// Memory modules.
    Dram,
    /// Graphics processors.
    Gpu,
    /// A part of something wider.
    Rail,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BoardInput => f.write_str("board-input"),
            Self::Platform => f.write_str("platform"),
            Self::Package => f.write_str("package"),
            Self::Cores => f.write_str("cores"),
            Self::Dram => f.write_str("dram"),
            Self::Gpu => f.write_str("gpu"),
            Self::Rail(name) => write!(f, "rail:{name}"),
            Self::Battery => f.write_str("battery"),
            Self::Machine => f.write_str("machine"),
            Self::CpuN(n) => write!(f, "cpu{n}"),
            Self::GpuN(n) => write!(f, "gpu{n}"),
            Self::Process => f.write_str("process"),
            Self::Cgroup => f.write_str("cgroup"),
        }
    }
}

/// A text that is the spelling of no [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope `{0}`")]
pub struct UnknownScope(pub String);

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let indexed = |prefix: &str| text.strip_prefix(prefix).and_then(|n| n.parse().ok());
        Ok(match text {
            "board-input" => Self::BoardInput,
            "platform" => Self::Platform,
            "package" => Self::Package,
            "cores" => Self::Cores,
            "dram" => Self::Dram,
            "gpu" => Self::Gpu,
            "battery" => Self::Battery,
            "machine" => Self::Machine,
            "process" => Self::Process,
            "cgroup" => Self::Cgroup,
            _ => {
                if let Some(name) = text.strip_prefix("rail:") {
                    Self::Rail(name.to_owned())
                } else if let Some(n) = indexed("cpu") {
                    Self::CpuN(n)
                } else if let Some(n) = indexed("gpu") {
                    Self::GpuN(n)
                } else {
                    return Err(UnknownScope(text.to_owned()));
                }
            }
        })
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
