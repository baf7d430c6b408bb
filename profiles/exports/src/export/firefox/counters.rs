//! Counters of energy, which the viewer shows as power.

use std::collections::BTreeMap;
use std::io::{self, Write};

use slmscope_profiles::channel::derive::difference;
use slmscope_profiles::channel::{Channel, ChannelId};

use super::super::names::quoted;
use super::Millis;
use super::column::Column;

/// The viewer counts energy in pWh: 1 J is so many.
const PICOWATT_HOURS: f64 = 1e12 / 3600.0;

/// Counters by channel.
#[derive(Default)]
pub(super) struct Counters(BTreeMap<ChannelId, Counter>);

struct Counter {
    name: String,
    /// The last reading, J; `None` after one without a value.
    last: Option<f64>,
    /// Its time, ns since the first of the profile.
    now_ns: u64,
    delta: Column,
    count: Column,
}

impl Counters {
    /// Adds a reading; the first one, and one that cannot be compared with the one before, adds no energy.
    pub(super) fn add(
        &mut self,
        channel: &Channel,
        range: Option<f64>,
        t_ns: u64,
        joules: f64,
    ) -> io::Result<()> {
        let counter = self.0.entry(channel.channel).or_insert_with(|| Counter {
            name: channel.id.clone(),
            last: None,
            now_ns: 0,
            delta: Column::default(),
            count: Column::default(),
        });
        let step = counter.last.and_then(|last| difference(last, joules, range)).unwrap_or(0.0);
        counter.last = Some(joules);
        let t_ns = t_ns.max(counter.now_ns);
        counter.delta.push(Millis(t_ns - counter.now_ns))?;
        counter.now_ns = t_ns;
        counter.count.push((step * PICOWATT_HOURS).round())
    }

    /// A reading without a value: the next one does not say what was used since the last.
    pub(super) fn interrupt(&mut self, channel: ChannelId) {
        if let Some(counter) = self.0.get_mut(&channel) {
            counter.last = None;
        }
    }

    /// Writes the list; `pid` and `thread` are those of the machine.
    pub(super) fn write(&self, pid: u64, thread: usize, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\"counters\":[")?;
        for (at, counter) in self.0.values().enumerate() {
            let (separator, name) = (if at == 0 { "" } else { "," }, quoted(&counter.name));
            write!(
                out,
                r#"{separator}{{"name":{name},"category":"power","description":{name},"pid":"{pid}","mainThreadIndex":{thread},"samples":{{"#
            )?;
            counter.delta.write("timeDeltas", out)?;
            counter.count.write("count", out)?;
            write!(out, "\"length\":{}}}}}", counter.count.length())?;
        }
        out.write_all(b"],")
    }
}
