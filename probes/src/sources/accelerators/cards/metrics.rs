//! amdgpu's `gpu_metrics`: one binary table of the firmware's readings, in the byte order of the machine.
//!
//! ```text
//! 0  size of the table, 2 bytes      2  format (1 cards, 2 and 3 integrated)      3  revision of the format
//! 4  fields, at places that differ from revision to revision; all ones where there is no reading
//! ```
//!
//! Places and units are those of the kernel's `kgd_pp_interface.h`. Revisions whose units differ from chip to
//! chip (2.0 to 2.3, all but their common throttle flags) are left alone, and so is what sysfs shows in a file
//! of its own.

use std::sync::Arc;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use super::{Card, JOULES, SHARE, WATTS};
use crate::catalogue::Entry;
use crate::machine::root::Root;
use crate::source::Source;
use crate::sources::files::{Gate, Input, Limits};
use crate::sources::sensors::hwmon::watts_of;

/// The largest table is 3360 bytes long.
const CAP: usize = 4096;

const COUNTS: Limits = Limits::new(0.0, 4e9);
const BYTES_PER_SECOND: Limits = Limits::new(0.0, 1e12);

/// Throttle flags that mean the same on every chip: limits of power, of current, and of heat.
const POWER: u64 = 0xff;
const CURRENT: u64 = 0xff << 16;
const HEAT: u64 = 0xffff << 32;

/// Width of a number.
#[derive(Debug, Clone, Copy)]
enum Width {
    Two,
    Four,
    Eight,
}

use Width::{Eight, Four, Two};

/// What a field of the table measures.
#[derive(Debug, Clone, Copy)]
enum Metric {
    Busy,
    MemoryBusy,
    Power,
    Energy,
    Reads,
    Writes,
    /// Whether one of these flags is up.
    Flags(&'static str, u64),
    /// How often, or how long in the firmware's ticks, it was limited by this.
    Residency(&'static str),
}

/// A field: what it measures, where, how wide, and its scale: how much of the channel's unit 1 stands for.
type Field = (Metric, usize, Width, f64);

/// Fields of one revision, and the size of its structure in the kernel's header, bytes. A table that claims to be
/// shorter is none of this revision.
type Layout = ((u8, u8), usize, &'static [Field]);

const CARD: [Field; 3] =
    [(Metric::Busy, 16, Two, 0.01), (Metric::MemoryBusy, 18, Two, 0.01), (Metric::Power, 22, Two, 1.0)];

const fn flags(at: usize) -> [Field; 3] {
    [
        (Metric::Flags("power", POWER), at, Eight, 1.0),
        (Metric::Flags("current", CURRENT), at, Eight, 1.0),
        (Metric::Flags("thermal", HEAT), at, Eight, 1.0),
    ]
}

/// The unit is 2⁻¹⁶ J.
const fn accelerator(energy: usize) -> [Field; 4] {
    [
        (Metric::Busy, 12, Two, 0.01),
        (Metric::MemoryBusy, 14, Two, 0.01),
        (Metric::Power, 10, Two, 1.0),
        (Metric::Energy, energy, Eight, 1.0 / 65_536.0),
    ]
}

/// `gpu_metrics_v1_1` to `gpu_metrics_v3_0` of `drivers/gpu/drm/amd/include/kgd_pp_interface.h`, with the sizes of the
/// arrays in them: 4 video and 32 JPEG engines, 8 links between cards, 8 and 4 clocks. Before the energy of 1.5 lie
/// the activities of both kinds of engines, 8 and 64 bytes; 1.6 has moved them behind.
const LAYOUTS: [Layout; 12] = [
    ((1, 1), 96, &CARD),
    ((1, 2), 104, &CARD),
    (
        (1, 3),
        120,
        &const {
            let [power, current, heat] = flags(112);
            [CARD[0], CARD[1], CARD[2], power, current, heat]
        },
    ),
    ((1, 4), 288, &accelerator(24)),
    ((1, 5), 360, &accelerator(88)),
    ((1, 6), 1664, &accelerator(16)),
    ((1, 7), 2208, &accelerator(24)),
    ((1, 8), 3360, &accelerator(24)),
    ((2, 2), 128, &flags(120)),
    ((2, 3), 152, &flags(120)),
    (
        (2, 4),
        168,
        &const {
            let [power, current, heat] = flags(120);
            [(Metric::Busy, 28, Two, 1e-4), (Metric::Power, 40, Two, 1e-3), power, current, heat]
        },
    ),
    (
        (3, 0),
        264,
        &[
            (Metric::Busy, 42, Two, 0.01),
            (Metric::Power, 112, Four, 1e-3),
            (Metric::Reads, 94, Two, 1e6),
            (Metric::Writes, 96, Two, 1e6),
            (Metric::Residency("prochot"), 228, Four, 1.0),
            (Metric::Residency("thermal_cores"), 244, Four, 1.0),
            (Metric::Residency("thermal_gpu"), 248, Four, 1.0),
            (Metric::Residency("thermal_soc"), 252, Four, 1.0),
        ],
    ),
];

/// Enters what only the table reports. A card that sleeps is not woken to see which revision it has.
pub(super) fn enter(card: &mut Card<'_>) -> Option<Box<dyn Source>> {
    let path = format!("{}/gpu_metrics", card.folder);
    if card.is_asleep() || !card.root.exists(&path) {
        return None;
    }
    let table = card.root.in_time(&path, |root, path| root.read(path, CAP)).ok()?;
    let (revision, _, fields) = layout(&table)?;
    let mut entered = Vec::new();
    for &field in *fields {
        let is_shown = match field.0 {
            Metric::Busy | Metric::MemoryBusy | Metric::Power | Metric::Energy => {
                card.catalogue.has_id(&format!("gpu{}.{}", card.gpu, name_of(field.0)))
            }
            Metric::Reads | Metric::Writes | Metric::Flags(..) | Metric::Residency(_) => false,
        };
        if !is_shown {
            entered.push((channel(card, &path, field), field));
        }
    }
    let fields = entered;
    (!fields.is_empty()).then(|| {
        let (root, gate) = (card.root.clone(), card.gate.clone());
        let input = Input::later(path);
        Box::new(Metrics { root, gate, input, revision: *revision, fields }) as Box<dyn Source>
    })
}

fn name_of(metric: Metric) -> &'static str {
    match metric {
        Metric::Busy => "busy",
        Metric::MemoryBusy => "memory_busy",
        Metric::Power => "power",
        Metric::Energy => "energy",
        Metric::Reads => "read",
        Metric::Writes => "write",
        Metric::Flags(name, _) | Metric::Residency(name) => name,
    }
}

fn channel(card: &mut Card<'_>, path: &str, (metric, ..): Field) -> ChannelId {
    let name = name_of(metric);
    let source = format!("/{path} ({name})");
    let entry =
        |quantity, unit, class| Entry { source: source.clone(), ..card.entry(name, quantity, unit, class) };
    let throttle = |class| Entry {
        id: format!("throttle.gpu{}.{name}", card.gpu),
        ..entry(Quantity::Throttle, Unit::Count, class)
    };
    // Sixteen bits of MB/s end at 65 GB/s, which some of these chips can exceed.
    let traffic = || Entry {
        id: format!("membw.gpu{}.{name}", card.gpu),
        scope: Scope::Dram,
        ..entry(Quantity::MemoryBandwidth, Unit::BytesPerSecond, Class::Reported)
    };
    match metric {
        Metric::Busy | Metric::MemoryBusy => {
            let entry = entry(Quantity::Gpu, Unit::Ratio, Class::Measured);
            card.catalogue.gauge(entry)
        }
        Metric::Power => {
            let entry = entry(Quantity::Power, Unit::Watts, Class::Measured);
            card.catalogue.gauge(entry)
        }
        Metric::Energy => {
            let entry = entry(Quantity::Energy, Unit::Joules, Class::Measured);
            card.catalogue.counter(entry, None)
        }
        Metric::Reads | Metric::Writes => {
            let entry = traffic();
            card.catalogue.gauge(entry)
        }
        Metric::Flags(..) => {
            let entry = throttle(Class::Measured);
            card.catalogue.gauge(entry)
        }
        Metric::Residency(_) => {
            let entry = throttle(Class::Measured);
            card.catalogue.counter(entry, Some(f64::from(u32::MAX) + 1.0))
        }
    }
}

/// The layout of a table that is as long as its revision needs. Captures lack trailing bytes at times, so whether
/// they are there is found for each field. Revision 1.9 has pointers of the kernel in it and is not read.
fn layout(table: &[u8]) -> Option<&'static Layout> {
    let header: [u8; 4] = table.get(..4)?.try_into().ok()?;
    let size = usize::from(u16::from_ne_bytes([header[0], header[1]]));
    let found = LAYOUTS.iter().find(|(revision, ..)| *revision == (header[2], header[3]))?;
    (found.1..=CAP).contains(&size).then_some(found)
}

/// The value of a field, in the unit of its channel.
fn value(table: &[u8], (metric, at, width, scale): Field) -> Result<f64, ReasonCode> {
    let missing = ReasonCode::NotSupported;
    let bytes = |count: usize| table.get(at..at + count).ok_or(missing);
    let (number, ones) = match width {
        Two => {
            (u64::from(u16::from_ne_bytes(bytes(2)?.try_into().map_err(|_| missing)?)), u64::from(u16::MAX))
        }
        Four => {
            (u64::from(u32::from_ne_bytes(bytes(4)?.try_into().map_err(|_| missing)?)), u64::from(u32::MAX))
        }
        Eight => (u64::from_ne_bytes(bytes(8)?.try_into().map_err(|_| missing)?), u64::MAX),
    };
    if number == ones {
        return Err(missing);
    }
    Ok(match metric {
        Metric::Flags(_, mask) => f64::from(u8::from(number & mask != 0)),
        _ => number as f64 * scale,
    })
}

fn limits(metric: Metric) -> Limits {
    match metric {
        Metric::Busy | Metric::MemoryBusy | Metric::Flags(..) => SHARE,
        Metric::Power => watts_of(&Scope::Gpu, WATTS.high),
        Metric::Energy => JOULES,
        Metric::Reads | Metric::Writes => BYTES_PER_SECOND,
        Metric::Residency(_) => COUNTS,
    }
}

/// Reads the table once for all of its fields.
struct Metrics {
    root: Root,
    gate: Option<Arc<Gate>>,
    input: Input,
    revision: (u8, u8),
    fields: Vec<(ChannelId, Field)>,
}

impl Source for Metrics {
    fn channels(&self) -> Vec<ChannelId> {
        self.fields.iter().map(|&(channel, _)| channel).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let Self { root, gate, input, revision, fields } = self;
        let mut buffer = [0; CAP];
        let table = match gate.as_ref().and_then(|gate| gate.closed()) {
            Some(code) => Err(code),
            None => input.read(root, &mut buffer),
        };
        let table = table.and_then(|table| match layout(table) {
            Some((found, ..)) if found == revision => Ok(table),
            _ => Err(ReasonCode::Implausible),
        });
        values.extend(fields.iter().map(|&(channel, field)| {
            let value = table.and_then(|table| value(table, field));
            (channel, value.map_or_else(Value::Absent, |value| limits(field.0).check(value)))
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(size: u16, revision: (u8, u8), fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut table = vec![0xff; usize::from(size)];
        table[..2].copy_from_slice(&size.to_ne_bytes());
        (table[2], table[3]) = revision;
        for (at, bytes) in fields {
            table[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        table
    }

    fn all(table: &[u8]) -> Vec<(&'static str, Result<f64, ReasonCode>)> {
        let (.., fields) = layout(table).unwrap();
        fields.iter().map(|&field| (name_of(field.0), value(table, field))).collect()
    }

    #[test]
    fn fields_lie_where_their_revision_has_them() {
        let thermal = (1_u64 << 36).to_ne_bytes();
        let card =
            table(120, (1, 3), &[(16, &37_u16.to_ne_bytes()), (22, &180_u16.to_ne_bytes()), (112, &thermal)]);
        assert_eq!(
            all(&card),
            [
                ("busy", Ok(0.37)),
                ("memory_busy", Err(ReasonCode::NotSupported)),
                ("power", Ok(180.0)),
                ("power", Ok(0.0)),
                ("current", Ok(0.0)),
                ("thermal", Ok(1.0)),
            ]
        );
        let accelerator = table(1664, (1, 6), &[(16, &(3_u64 << 16).to_ne_bytes())]);
        assert_eq!(all(&accelerator)[3], ("energy", Ok(3.0)));
        let strix = table(
            264,
            (3, 0),
            &[(42, &3_u16.to_ne_bytes()), (94, &2504_u16.to_ne_bytes()), (112, &9839_u32.to_ne_bytes())],
        );
        assert_eq!(all(&strix)[..3], [("busy", Ok(0.03)), ("power", Ok(9.839)), ("read", Ok(2.504e9))]);
    }

    #[test]
    fn the_energy_of_revision_1_5_lies_behind_the_activities_of_32_jpeg_engines() {
        let energy = (7_u64 << 16).to_ne_bytes();
        let all_energy = |table: &[u8]| all(table)[3];
        for size in [360, 536] {
            let table = table(size, (1, 5), &[(24, &[0; 64]), (56, &[9; 8]), (88, &energy)]);
            assert_eq!(all_energy(&table), ("energy", Ok(7.0)));
        }
    }

    #[test]
    fn a_table_that_is_shorter_than_its_revision_is_refused() {
        for ((format, content), size, _) in LAYOUTS {
            let whole = u16::try_from(size).unwrap();
            assert!(layout(&table(whole, (format, content), &[])).is_some(), "{format}.{content}");
            assert!(layout(&table(whole - 1, (format, content), &[])).is_none(), "{format}.{content}");
        }
        // A draft of revision 1.6 had the fields of 1.5, and 392 bytes.
        assert!(layout(&table(392, (1, 6), &[])).is_none());
    }

    #[test]
    fn a_table_of_another_kind_or_cut_off_says_nothing() {
        assert!(layout(b"\x08").is_none());
        assert!(layout(&[4, 0, 1, 3]).is_none(), "no fields");
        assert!(layout(&table(120, (2, 1), &[])).is_none(), "its units differ from chip to chip");
        assert!(layout(&table(16, (1, 9), &[])).is_none(), "pointers");
        let cut = &table(120, (1, 3), &[])[..100];
        assert!(all(cut).iter().all(|(_, value)| *value == Err(ReasonCode::NotSupported)));
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(&table(264, (3, 0), &[]), |text| {
            if layout(text).is_some() {
                assert!(all(text).iter().all(|(_, value)| value.is_err() || value.is_ok_and(f64::is_finite)));
            }
        });
    }
}
