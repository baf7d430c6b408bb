//! Building the channel catalogue: ids, their uniqueness, and the rows for what is not there.

use std::collections::HashSet;

use slmscope_profiles::channel::{
    Channel, ChannelId, Class, Kind, Quantity, Reason, ReasonCode, Scope, Unit,
};

use crate::source::{Group, Pace};

/// The interface that a channel is read through. Code needs it to choose a remedy and to test a value. The text for
/// people is [`Channel::source`], which no code compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Interface {
    /// One file, relative to the root.
    File(String),
    /// Performance counters of the kernel.
    PerformanceCounter,
    /// The management controller of a server.
    ManagementController,
    /// The mailbox of the Raspberry Pi's firmware.
    FirmwareMailbox,
    /// Several files, a library, a system call, nothing at all.
    Other,
}

/// A channel that a source will read.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) quantity: Quantity,
    pub(crate) unit: Unit,
    pub(crate) scope: Scope,
    pub(crate) class: Class,
    pub(crate) source: String,
    pub(crate) group: Group,
}

/// The catalogue while it is being built.
#[derive(Default)]
pub(crate) struct Catalogue {
    channels: Vec<Channel>,
    /// The interface of each channel.
    interfaces: Vec<Interface>,
    ids: HashSet<String>,
}

impl Catalogue {
    /// Adds a channel whose samples are the value itself.
    pub(crate) fn gauge(&mut self, entry: Entry) -> ChannelId {
        self.sampled(entry, Kind::Gauge)
    }

    /// Adds a running total; `range` as in [`Kind::Counter`].
    pub(crate) fn counter(&mut self, entry: Entry, range: Option<f64>) -> ChannelId {
        self.sampled(entry, Kind::Counter { range })
    }

    /// Like [`gauge`](Self::gauge), read as often as another channel.
    pub(crate) fn gauge_every(&mut self, entry: Entry, period_ns: Option<u64>) -> ChannelId {
        let channel = self.gauge(entry);
        self.set_period(channel, period_ns);
        channel
    }

    /// Like [`counter`](Self::counter), read as often as another channel.
    pub(crate) fn counter_every(
        &mut self,
        entry: Entry,
        range: Option<f64>,
        period_ns: Option<u64>,
    ) -> ChannelId {
        let channel = self.counter(entry, range);
        self.set_period(channel, period_ns);
        channel
    }

    fn set_period(&mut self, channel: ChannelId, period_ns: Option<u64>) {
        if let Some(channel) = self.channels.get_mut(usize::from(channel)) {
            channel.period_ns = period_ns;
        }
    }

    /// Records how often the sensor makes a value, where its maker states it.
    pub(crate) fn set_update(&mut self, channel: ChannelId, update_ns: u64) {
        if let Some(channel) = self.channels.get_mut(usize::from(channel)) {
            channel.update_ns = Some(update_ns);
        }
    }

    /// Notes what the channel is read through. It is [`Interface::Other`] otherwise.
    pub(crate) fn set_interface(&mut self, channel: ChannelId, interface: Interface) {
        if let Some(known) = self.interfaces.get_mut(usize::from(channel)) {
            *known = interface;
        }
    }

    /// What the channel is read through.
    pub(crate) fn interface(&self, channel: ChannelId) -> &Interface {
        self.interfaces.get(usize::from(channel)).unwrap_or(&Interface::Other)
    }

    /// Adds the rate of a counter that is in the catalogue: same scope and source, other name and unit.
    /// It is derived, or modelled where the counter is.
    pub(crate) fn rate(&mut self, id: &str, of: ChannelId, quantity: Quantity, unit: Unit) {
        let Some(counter) = self.channels.get(usize::from(of)) else { return };
        let class = if counter.class == Class::Modelled { Class::Modelled } else { Class::Derived };
        let channel =
            Channel { id: id.to_owned(), quantity, unit, class, kind: Kind::Rate { of }, ..counter.clone() };
        self.push(channel);
    }

    /// Adds the sum of channels that are in the catalogue, the slowest last. It is derived, and new as often as
    /// the last.
    pub(crate) fn sum(
        &mut self,
        (id, quantity, unit, scope): (&str, Quantity, Unit, Scope),
        of: Vec<ChannelId>,
        source: String,
    ) {
        let last = of.last().and_then(|&last| self.get(last));
        let (period_ns, update_ns) = last.map_or((None, None), |last| (last.period_ns, last.update_ns));
        self.push(Channel {
            channel: 0,
            id: id.to_owned(),
            quantity,
            unit,
            scope,
            class: Class::Derived,
            kind: Kind::Sum { of },
            source,
            period_ns,
            update_ns,
            reason: None,
            remedy: None,
        });
    }

    /// Adds a channel that has no value here. `source` names what was searched for.
    pub(crate) fn absent(
        &mut self,
        (id, quantity, unit, scope): (&str, Quantity, Unit, Scope),
        source: &str,
        reason: Reason,
    ) -> ChannelId {
        self.push(Channel {
            channel: 0,
            id: id.to_owned(),
            quantity,
            unit,
            scope,
            class: Class::Unavailable,
            kind: Kind::Gauge,
            source: source.to_owned(),
            period_ns: None,
            update_ns: None,
            reason: Some(reason),
            remedy: None,
        })
    }

    /// Whether the family has a channel, available or not.
    pub(crate) fn has(&self, quantity: Quantity) -> bool {
        self.channels.iter().any(|channel| channel.quantity == quantity)
    }

    /// The channel with this number.
    pub(crate) fn get(&self, channel: ChannelId) -> Option<&Channel> {
        self.channels.get(usize::from(channel))
    }

    /// All channels so far.
    pub(crate) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Whether a channel has this id.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// The id that a channel gets which is entered under this one: the same, or with the next free number.
    pub(crate) fn free_id(&self, id: &str) -> String {
        let mut free = id.to_owned();
        let mut repeat = 2;
        while self.has_id(&free) {
            free = format!("{id}#{repeat}");
            repeat += 1;
        }
        free
    }

    /// Whether the channel of this id is read from a performance counter.
    pub(crate) fn is_perf(&self, id: &str) -> bool {
        let mut named = self.channels.iter().filter(|channel| channel.id == id);
        named.any(|channel| *self.interface(channel.channel) == Interface::PerformanceCounter)
    }

    /// All channels with what they are read through.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = (&mut Channel, &Interface)> {
        self.channels.iter_mut().zip(&self.interfaces)
    }

    /// The catalogue; ids are indices.
    pub(crate) fn finish(self) -> Vec<Channel> {
        self.channels
    }

    /// The same, and what each channel is read through.
    pub(crate) fn into_parts(self) -> (Vec<Channel>, Vec<Interface>) {
        (self.channels, self.interfaces)
    }

    fn sampled(&mut self, entry: Entry, kind: Kind) -> ChannelId {
        self.push(Channel {
            channel: 0,
            id: entry.id,
            quantity: entry.quantity,
            unit: entry.unit,
            scope: entry.scope,
            class: entry.class,
            kind,
            source: entry.source,
            period_ns: Some(entry.group.period(Pace::Workload).as_nanos() as u64),
            update_ns: None,
            reason: None,
            remedy: None,
        })
    }

    /// Channels that exceed the range of ids are not listed; no machine has 65 536 sensors.
    fn push(&mut self, mut channel: Channel) -> ChannelId {
        let index = self.channels.len().min(usize::from(ChannelId::MAX)) as ChannelId;
        if self.channels.len() >= usize::from(ChannelId::MAX) {
            return index;
        }
        channel.channel = index;
        channel.id = self.free_id(&channel.id);
        self.ids.insert(channel.id.clone());
        self.channels.push(channel);
        self.interfaces.push(Interface::Other);
        index
    }
}

/// The reason of a reading that failed while the catalogue was built.
pub(crate) fn missing(detail: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::NoSuchInterface, detail)
}
