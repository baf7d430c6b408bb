//! Memory of the machine, from `/proc/meminfo`.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};

const PATH: &str = "proc/meminfo";

/// Totals of one reading, bytes; `None` where the kernel prints no such line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) total: Option<u64>,
    pub(crate) available: Option<u64>,
    pub(crate) swap_total: Option<u64>,
    pub(crate) swap_free: Option<u64>,
}

impl Totals {
    /// Swap in use, bytes.
    pub(crate) fn swap_used(&self) -> Option<u64> {
        self.swap_total?.checked_sub(self.swap_free?)
    }
}

/// Parses the `Name:  N kB` lines that are of interest.
pub(crate) fn parse(text: &[u8]) -> Totals {
    let mut totals = Totals::default();
    for line in text.split(|&byte| byte == b'\n') {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            continue;
        };
        let slot = match name {
            "MemTotal" => &mut totals.total,
            "MemAvailable" => &mut totals.available,
            "SwapTotal" => &mut totals.swap_total,
            "SwapFree" => &mut totals.swap_free,
            _ => continue,
        };
        *slot = value
            .trim()
            .strip_suffix(" kB")
            .and_then(|kib| kib.trim().parse::<u64>().ok()?.checked_mul(1024));
    }
    totals
}

/// Reads `/proc/meminfo`.
pub(crate) struct MemInfo {
    handle: Handle,
    buffer: Vec<u8>,
    channels: [ChannelId; 3],
}

impl MemInfo {
    /// Enters `mem.total`, `mem.available` and `mem.swap_used`.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Self> {
        let handle = match root.open(PATH) {
            Ok(handle) => handle,
            Err(reason) => {
                let channel = ("mem.available", Quantity::Memory, Unit::Bytes, Scope::Machine);
                catalogue.absent(channel, "/proc/meminfo", reason);
                return None;
            }
        };
        let channels = ["mem.total", "mem.available", "mem.swap_used"].map(|id| {
            catalogue.gauge(Entry {
                id: id.to_owned(),
                quantity: Quantity::Memory,
                unit: Unit::Bytes,
                scope: Scope::Machine,
                class: Class::Measured,
                source: "/proc/meminfo".to_owned(),
                group: Group::Slow,
            })
        });
        Some(Self { handle, buffer: vec![0; 8192], channels })
    }
}

impl Source for MemInfo {
    fn channels(&self) -> Vec<ChannelId> {
        self.channels.to_vec()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let totals = self.handle.read(&mut self.buffer).map(parse);
        let of = |pick: fn(&Totals) -> Option<u64>| match &totals {
            Ok(totals) => pick(totals)
                .map_or(Value::Absent(ReasonCode::NotSupported), |bytes| Value::Present(bytes as f64)),
            Err(code) => Value::Absent(*code),
        };
        let read = [of(|totals| totals.total), of(|totals| totals.available), of(Totals::swap_used)];
        values.extend(self.channels.into_iter().zip(read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_lines_stay_absent() {
        let totals = parse(b"MemTotal:  1000 kB\nSwapTotal: 10 kB\nSwapFree: 20 kB\nMemFree: x kB\nBroken\n");
        assert_eq!(totals.total, Some(1_024_000));
        assert_eq!(totals.available, None);
        assert_eq!(totals.swap_used(), None);
    }
}
