//! What is known of drivers: which quantity an input is, what it covers, and which of its values mean that nothing is
//! there.
//!
//! Each family of devices is one file of tables here. Another driver of a known family is another line; the rules that
//! read the tables are `sources/sensors/` and `sources/power/`.
//!
//! | file | family |
//! |---|---|
//! | `processors` | sensors inside a processor, and what counts its energy |
//! | `firmware` | sensors that firmware shows: SCMI, POWER's OCC, Apple's SMC, Ampere, X-Gene |
//! | `boards` | super-I/O chips, embedded controllers, sensors of the air and of drives |
//! | `cards` | graphics and accelerator cards |
//! | `supplies` | current monitors, power supplies, what is not drawn by the machine |
//! | `neural` | neural accelerators by driver |
//! | `phones` | where phones show the load of their graphics processor |
//! | `zones` | words in the names of thermal zones and labels |

use slmscope_profiles::channel::{Class, Scope};

pub(crate) mod boards;
mod cards;
mod firmware;
pub(crate) mod neural;
pub(crate) mod phones;
mod processors;
pub(crate) mod supplies;
pub(crate) mod zones;

/// What one driver of monitors shows.
pub(crate) struct Driver {
    /// Its names in hwmon; a `*` stands for any text.
    pub(crate) names: &'static [&'static str],
    /// What its inputs are; the first line that fits counts.
    pub(crate) inputs: &'static [Input],
    /// Temperatures by which it says that no sensor is there, °C.
    pub(crate) none: &'static [f64],
    /// No such device draws more, W.
    pub(crate) most_watts: f64,
}

/// The watts of anything that has a monitor.
pub(crate) const ANY_WATTS: f64 = 50_000.0;

impl Driver {
    const fn new(names: &'static [&'static str], inputs: &'static [Input]) -> Self {
        Self { names, inputs, none: &[], most_watts: ANY_WATTS }
    }

    const fn none(self, none: &'static [f64]) -> Self {
        Self { none, ..self }
    }

    const fn most(self, most_watts: f64) -> Self {
        Self { most_watts, ..self }
    }

    /// What an input of this kind and label is.
    pub(crate) fn input(&self, kind: Kind, label: Option<&str>) -> Option<&'static Input> {
        let label = label.unwrap_or_default().trim();
        self.inputs.iter().find(|input| input.kind == kind && fits(input.label, label))
    }
}

/// A kind of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Temperature,
    /// Power or energy.
    Power,
}

/// What some inputs of a driver are.
pub(crate) struct Input {
    kind: Kind,
    /// Their labels; a `*` stands for any text, and for none.
    label: &'static str,
    pub(crate) place: Place,
    /// How the value comes about.
    pub(crate) class: Class,
}

/// What an input covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    BoardInput,
    Platform,
    Package,
    Cores,
    Dram,
    /// A graphics or accelerator card.
    Card,
    Machine,
    /// The rail of its label.
    Rail,
}

impl Place {
    /// The scope; `rail` names it where it is a rail.
    pub(crate) fn scope(self, rail: &str) -> Scope {
        match self {
            Self::BoardInput => Scope::BoardInput,
            Self::Platform => Scope::Platform,
            Self::Package => Scope::Package,
            Self::Cores => Scope::Cores,
            Self::Dram => Scope::Dram,
            Self::Card => Scope::Gpu,
            Self::Machine => Scope::Machine,
            Self::Rail => Scope::Rail(rail.to_owned()),
        }
    }
}

const fn temperature(label: &'static str, place: Place) -> Input {
    Input { kind: Kind::Temperature, label, place, class: Class::Measured }
}

const fn power(label: &'static str, place: Place) -> Input {
    Input { kind: Kind::Power, label, place, class: Class::Measured }
}

/// A claim of the firmware that no sensor of this quantity stands behind.
const fn reported(input: Input) -> Input {
    Input { class: Class::Reported, ..input }
}

/// What is known of the driver of this name.
pub(crate) fn driver(name: &str) -> Option<&'static Driver> {
    let all = [boards::DRIVERS, cards::DRIVERS, firmware::DRIVERS, processors::DRIVERS, supplies::DRIVERS];
    all.into_iter().flatten().find(|driver| driver.names.iter().any(|pattern| fits(pattern, name)))
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [
            ("nct6*", "nct6798"),
            ("*", ""),
            ("Chip * Core *", "Chip 8 Core 136"),
            ("*.tmon", "120e0000.tmon"),
            ("Chip *", "Chip 0"),
            ("wormhole", "wormhole"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("nct6*", "it8728"), ("Chip * Core *", "Chip 8"), ("*.tmon", "tmon.x"), ("a*a", "a"), ("", "x")]
        {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    /// A line that stands behind a wider one would never be reached.
    #[test]
    fn every_line_of_every_table_can_be_reached() {
        for drivers in [boards::DRIVERS, cards::DRIVERS, firmware::DRIVERS, processors::DRIVERS] {
            for driver in drivers {
                for name in driver.names {
                    let sample = name.replace('*', "x");
                    let found = super::driver(&sample).expect("its own name is known");
                    assert!(std::ptr::eq(found, driver), "{name} is another driver's");
                }
                for input in driver.inputs {
                    let label = input.label.replace('*', "x");
                    let found = driver.input(input.kind, Some(&label)).expect("its own label is known");
                    assert!(std::ptr::eq(found, input), "{:?} {}", driver.names, input.label);
                }
            }
        }
    }
}
