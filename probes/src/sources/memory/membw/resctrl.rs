//! Memory bandwidth monitoring of Intel RDT, AMD QoS and Arm MPAM, where `resctrl` is mounted.
//!
//! `mon_data/mon_L3_NN/mbm_total_bytes` counts the bytes of the tasks of one control group in one L3 domain.
//! Tasks are in exactly one control group, so the machine is the sum over the root group and all others.
//! Instead of a number the kernel may answer `Unavailable`, `Error` or `Unassigned`: it has no count at this
//! moment, the hardware refuses, no counter is given to the group.

use std::collections::BTreeMap;

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};
use crate::sources::files::integer;

const MOUNT: &str = "sys/fs/resctrl";

/// A group that moves 500 GB each second has moved this after a hundred days. More is a number that ran below
/// zero.
const MAX_BYTES: i64 = 1 << 62;

/// Control groups that are summed; the hardware has at most some hundred.
const MAX_GROUPS: usize = 512;

/// Enters `membw.L3-N` for each domain and, unless there is one, `membw.dram`, their sum.
pub(super) fn discover(root: &Root, catalogue: &mut Catalogue) -> Option<Box<dyn Source>> {
    let domains = files(root);
    if domains.is_empty() {
        return None;
    }
    let entry = |id: String, class, source: String| Entry {
        id,
        quantity: Quantity::MemoryBandwidth,
        unit: Unit::Bytes,
        scope: Scope::Dram,
        class,
        source,
        group: Group::Slow,
    };
    let mut read = Vec::new();
    for (domain, handles) in domains {
        let source = format!("/{MOUNT}/mon_data/mon_L3_{domain}/mbm_total_bytes");
        let id = format!("membw.L3-{domain}");
        let channel = catalogue.counter(entry(format!("{id}.bytes"), Class::Measured, source), None);
        catalogue.rate(&id, channel, Quantity::MemoryBandwidth, Unit::BytesPerSecond);
        read.push(Domain { channel, handles });
    }
    let total = (!catalogue.has_id("membw.dram")).then(|| {
        let parts = read.iter().filter_map(|domain| Some(domain.handles.first()?.path()));
        let source = parts.map(|path| format!("/{path}")).collect::<Vec<_>>().join(" + ");
        let channel = catalogue.counter(entry("membw.dram.bytes".to_owned(), Class::Derived, source), None);
        catalogue.rate("membw.dram", channel, Quantity::MemoryBandwidth, Unit::BytesPerSecond);
        channel
    });
    Some(Box::new(Resctrl { domains: read, total }))
}

/// The counters of each domain, one per control group.
fn files(root: &Root) -> BTreeMap<String, Vec<Handle>> {
    let mut groups = vec![MOUNT.to_owned()];
    let names = root.list(MOUNT).unwrap_or_default();
    groups.extend(
        names
            .iter()
            .filter(|name| !["info", "mon_data", "mon_groups"].contains(&name.as_str()))
            .map(|name| format!("{MOUNT}/{name}"))
            .filter(|group| root.exists(&format!("{group}/mon_data")))
            .take(MAX_GROUPS),
    );
    let mut domains: BTreeMap<String, Vec<Handle>> = BTreeMap::new();
    for group in groups {
        for name in root.list(&format!("{group}/mon_data")).unwrap_or_default() {
            let Some(domain) = name.strip_prefix("mon_L3_") else { continue };
            if let Ok(handle) = root.open(&format!("{group}/mon_data/{name}/mbm_total_bytes")) {
                domains.entry(domain.to_owned()).or_default().push(handle);
            }
        }
    }
    domains
}

struct Domain {
    channel: ChannelId,
    handles: Vec<Handle>,
}

struct Resctrl {
    domains: Vec<Domain>,
    total: Option<ChannelId>,
}

impl Source for Resctrl {
    fn channels(&self) -> Vec<ChannelId> {
        self.domains.iter().map(|domain| domain.channel).chain(self.total).collect()
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let mut total = Ok(0.0);
        for domain in &self.domains {
            let sum = domain.handles.iter().try_fold(0.0, |sum, handle| Ok(sum + bytes(handle)?));
            total = total.and_then(|total| Ok(total + sum?));
            values.push((domain.channel, sum.map_or_else(Value::Absent, Value::Present)));
        }
        values.extend(self.total.map(|channel| (channel, total.map_or_else(Value::Absent, Value::Present))));
    }
}

fn bytes(handle: &Handle) -> Result<f64, ReasonCode> {
    let mut buffer = [0; 64];
    parse(handle.read(&mut buffer)?)
}

/// A running total, or the word that the kernel prints instead.
fn parse(text: &[u8]) -> Result<f64, ReasonCode> {
    match text.trim_ascii() {
        b"Unavailable" | b"Error" => Err(ReasonCode::ReadError),
        b"Unassigned" => Err(ReasonCode::NotSupported),
        number => match integer(number) {
            Some(bytes) if (0..MAX_BYTES).contains(&bytes) => Ok(bytes as f64),
            _ => Err(ReasonCode::Implausible),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_place_of_a_number_are_reasons() {
        assert_eq!(parse(b"264830976\n"), Ok(264_830_976.0));
        assert_eq!(parse(b"Unavailable\n"), Err(ReasonCode::ReadError));
        assert_eq!(parse(b"Error\n"), Err(ReasonCode::ReadError));
        assert_eq!(parse(b"Unassigned"), Err(ReasonCode::NotSupported));
        assert_eq!(parse(b"18446744073447456768"), Err(ReasonCode::Implausible));
        assert_eq!(parse(b"9223372036854775807"), Err(ReasonCode::Implausible));
        assert_eq!(parse(b""), Err(ReasonCode::Implausible));
    }
}
