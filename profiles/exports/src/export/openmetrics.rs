//! OpenMetrics text with time stamps, for loading a recording into Prometheus afterwards
//! (`promtool tsdb create-blocks-from openmetrics`).
//!
//! Channels are families by quantity and unit ([`slmscope_profiles::metrics`]); counters keep their totals, and have no
//! derived rate beside them, since Prometheus takes it itself. The format wants each family in one piece, so readings are
//! kept until the end, 16 bytes each, and for tokens and ops a point a second.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use slmscope_profiles::channel::{Channel, ChannelId, Sample, Value};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::metrics::{Exposition, Family, FamilyKind, OP_TIME, TOKENS, labels};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::record::Header;

use super::{Batch, Export, Item};

/// Time between two points of a counter of tokens or ops, ns.
const POINT_NS: u64 = 1_000_000_000;

/// Makes metrics of items.
pub(super) struct OpenMetrics<W: Write> {
    out: BufWriter<W>,
    header: Option<Header>,
    channels: BTreeMap<ChannelId, Channel>,
    readings: BTreeMap<ChannelId, Vec<(u64, f64)>>,
    /// By model, phase and, for ops, kind.
    tokens: BTreeMap<(String, Phase), Total>,
    ops: BTreeMap<(String, Phase, &'static str), Total>,
}

/// A running total, with its points.
#[derive(Default)]
struct Total {
    sum: u64,
    points: Vec<(u64, u64)>,
}

impl Total {
    fn add(&mut self, t_ns: u64, more: u64) {
        self.sum = self.sum.saturating_add(more);
        // The last point moves on until it is a second behind the one before.
        let before = self.points.len().checked_sub(2).and_then(|at| self.points.get(at));
        if before.is_some_and(|&(before_ns, _)| t_ns.saturating_sub(before_ns) < POINT_NS) {
            self.points.pop();
        }
        self.points.push((t_ns, self.sum));
    }
}

impl<W: Write> OpenMetrics<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, out),
            header: None,
            channels: BTreeMap::new(),
            readings: BTreeMap::new(),
            tokens: BTreeMap::new(),
            ops: BTreeMap::new(),
        }
    }

    fn sample(&mut self, sample: &Sample) {
        for &(number, value) in &sample.values {
            let Value::Present(value) = value else { continue };
            if !value.is_finite() || !self.channels.contains_key(&number) {
                continue;
            }
            let readings = self.readings.entry(number).or_default();
            if readings.last().is_none_or(|&(last_ns, _)| last_ns < sample.t_ns) {
                readings.push((sample.t_ns, value));
            }
        }
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        let (head, model) = (batch.head(), &batch.plan.model);
        if head.lane == HOST_LANE {
            let total = self.tokens.entry((model.clone(), head.phase)).or_default();
            total.add(head.end_ns, u64::from(head.rows));
        }
        let mut kinds: BTreeMap<&'static str, u64> = BTreeMap::new();
        for op in batch.ops {
            let total = kinds.entry(batch.site(op).kind.as_str()).or_default();
            *total = total.saturating_add(op.duration_ns);
        }
        for (kind, ns) in kinds {
            self.ops.entry((model.clone(), head.phase, kind)).or_default().add(head.end_ns, ns);
        }
    }

    /// The families of channels, and their channels.
    fn families(&self) -> BTreeMap<Family, Vec<&Channel>> {
        let mut families: BTreeMap<Family, Vec<&Channel>> = BTreeMap::new();
        let read = self.channels.values().filter(|channel| self.readings.contains_key(&channel.channel));
        for channel in read {
            families.entry(Family::of_channel(channel)).or_default().push(channel);
        }
        families
    }

    fn write(&mut self, header: &Header) -> io::Result<()> {
        // Seconds since 1970; the wall clock may have been set meanwhile, which does not change what was measured.
        let time = |t_ns: u64| {
            let ns = i128::from(header.wall_ns) + i128::from(t_ns) - i128::from(header.origin_ns);
            let ms = ns.max(0) / 1_000_000;
            format!("{}.{:03}", ms / 1000, ms % 1000)
        };
        let mut families = String::new();
        for (family, channels) in self.families() {
            let total = if family.kind == FamilyKind::Counter { "_total" } else { "" };
            let name = &family.name;
            let mut text = family.head(Exposition::OpenMetrics);
            for channel in channels {
                let labels = labels(&[
                    ("channel", &channel.id),
                    ("scope", &channel.scope.to_string()),
                    ("class", channel.class.as_str()),
                ]);
                let readings = self.readings.get(&channel.channel).map_or(&[][..], Vec::as_slice);
                let mut last = String::new();
                for &(t_ns, value) in readings {
                    let time = time(t_ns);
                    if time != last {
                        text.push_str(&format!("{name}{total}{labels} {value} {time}\n"));
                        last = time;
                    }
                }
            }
            families.push_str(&text);
        }
        let out = &mut self.out;
        out.write_all(families.as_bytes())?;
        totals(out, &TOKENS, &self.tokens, &time, 1.0, |(model, phase)| {
            labels(&[("model", model), ("phase", phase.as_str())])
        })?;
        totals(out, &OP_TIME, &self.ops, &time, 1e9, |(model, phase, kind)| {
            labels(&[("model", model), ("phase", phase.as_str()), ("kind", kind)])
        })?;
        out.write_all(b"# EOF\n")
    }
}

/// A family of running totals, divided by `scale`.
fn totals<K>(
    out: &mut impl Write,
    family: &Family,
    totals: &BTreeMap<K, Total>,
    time: &impl Fn(u64) -> String,
    scale: f64,
    labels: impl Fn(&K) -> String,
) -> io::Result<()> {
    if totals.is_empty() {
        return Ok(());
    }
    out.write_all(family.head(Exposition::OpenMetrics).as_bytes())?;
    for (key, total) in totals {
        let labels = labels(key);
        let mut last = String::new();
        for &(t_ns, sum) in &total.points {
            let time = time(t_ns);
            if time != last {
                writeln!(out, "{}_total{labels} {} {time}", family.name, sum as f64 / scale)?;
                last = time;
            }
        }
    }
    Ok(())
}

impl<W: Write> Export for OpenMetrics<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Header(header) => self.header = Some((*header).clone()),
            Item::Channels(channels) => {
                self.channels.extend(channels.iter().map(|channel| (channel.channel, channel.clone())));
            }
            Item::Sample(sample) => self.sample(sample),
            Item::Batch(batch) => self.batch(batch),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(header) = self.header.take() else {
            let problem =
                "the recording's header cannot be read, so that no time of it is known on the wall clock";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        self.write(&header)?;
        self.out.flush()
    }
}
