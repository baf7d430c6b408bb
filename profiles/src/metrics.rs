//! Metrics as Prometheus reads them: how families are named, and the text in which they are written.
//!
//! A daemon serves them live and an export writes them of a recording, under the same names.
//!
//! | what | rule |
//! |---|---|
//! | name | `slmscope_`, the quantity, the unit in full: `slmscope_power_watts` |
//! | counter | a running total: `_total` follows, so that `rate()` of joules is watts |
//! | plain numbers | a counter of them is of `events`, since a gauge may have the name without |
//! | unit | always the base unit; shares are ratios from 0 to 1 |
//! | absent | a sensor without a value now has no sample, and never a zero |
//!
//! Two formats are written: the text format 0.0.4 of Prometheus, and OpenMetrics 1.0. They differ in where a counter's
//! `_total` stands in the lines above the samples, in the line with the unit, and in the last line.

use std::borrow::Cow;
use std::fmt::Write;

use crate::channel::{Channel, Kind, Quantity, Unit};

/// Tokens of decode and rows of the prompt.
pub const TOKENS: Family = Family::counter("slmscope_tokens", None, "Tokens and rows of the prompt.");

/// Time in ops.
pub const OP_TIME: Family = Family::counter(
    "slmscope_op_time_seconds",
    Some("seconds"),
    "Time in ops by kind; what is missing to the time of the phase lies between them.",
);

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Its media type, as HTTP names it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How the values of a family are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FamilyKind {
    /// A running total that only grows, or starts again at zero.
    Counter,
    /// The value now.
    Gauge,
    /// Counts of values up to each bound.
    Histogram,
}

/// Samples under one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    /// Its name, without the suffix of counters.
    pub name: Cow<'static, str>,
    /// How its values are to be read.
    pub kind: FamilyKind,
    /// Its unit, with which the name ends; `None` for plain numbers.
    pub unit: Option<&'static str>,
    /// What it is, in a sentence.
    pub help: &'static str,
}

impl Family {
    /// A family of counters.
    pub const fn counter(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), kind: FamilyKind::Counter, unit, help }
    }

    /// A family of gauges.
    pub const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), kind: FamilyKind::Gauge, unit, help }
    }

    /// A family of histograms of times.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), kind: FamilyKind::Histogram, unit: Some("seconds"), help }
    }

    /// The family of a channel that is sampled.
    pub fn of_channel(channel: &Channel) -> Self {
        let is_counter = matches!(channel.kind, Kind::Counter { .. });
        Self::of_quantity(channel.quantity, channel.unit, is_counter)
    }

    /// The family of channels of a quantity in a unit. No two kinds share a name.
    pub fn of_quantity(quantity: Quantity, unit: Unit, is_counter: bool) -> Self {
        let (mut word, help) = quantity_words(quantity);
        let unit = unit_word(unit);
        if is_counter && quantity == Quantity::MemoryBandwidth {
            word = "memory_traffic";
        }
        let name = match (unit, is_counter) {
            (None, true) => format!("slmscope_{word}_events"),
            (None, false) => format!("slmscope_{word}"),
            (Some(unit @ ("joules" | "seconds")), true) => format!("slmscope_{word}_{unit}"),
            // What is counted in such units mostly has no gauge; one that has is told apart.
            (Some(unit @ ("joules" | "seconds")), false) => format!("slmscope_{word}_current_{unit}"),
            (Some(unit), true) if word == "memory_traffic" => format!("slmscope_{word}_{unit}"),
            (Some(unit), true) => format!("slmscope_{word}_counted_{unit}"),
            (Some(unit), false) => format!("slmscope_{word}_{unit}"),
        };
        let kind = if is_counter { FamilyKind::Counter } else { FamilyKind::Gauge };
        Self { name: Cow::Owned(name), kind, unit, help }
    }

    /// The names under which its samples stand.
    pub fn sample_names(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            FamilyKind::Counter => &["_total"],
            FamilyKind::Gauge => &[""],
            FamilyKind::Histogram => &["_bucket", "_sum", "_count"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }

    /// The lines above its samples.
    pub fn head(&self, exposition: Exposition) -> String {
        let (name, help) = (&self.name, self.help);
        let (suffix, kind) = match self.kind {
            FamilyKind::Counter => ("_total", "counter"),
            FamilyKind::Gauge => ("", "gauge"),
            FamilyKind::Histogram => ("", "histogram"),
        };
        match (exposition, self.unit) {
            (Exposition::Text, _) => {
                format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n")
            }
            (Exposition::OpenMetrics, None) => format!("# TYPE {name} {kind}\n# HELP {name} {help}\n"),
            (Exposition::OpenMetrics, Some(unit)) => {
                format!("# TYPE {name} {kind}\n# UNIT {name} {unit}\n# HELP {name} {help}\n")
            }
        }
    }
}

/// The word for a quantity in a name, and what it is.
fn quantity_words(quantity: Quantity) -> (&'static str, &'static str) {
    match quantity {
        Quantity::Cpu => ("cpu", "CPU time, and limits on it."),
        Quantity::Frequency => ("frequency", "Clock frequencies."),
        Quantity::Memory => ("memory", "Memory in use and free, and events like page faults."),
        Quantity::MemoryBandwidth => ("memory_bandwidth", "Memory traffic."),
        Quantity::Energy => ("energy", "Energy used; scopes contain each other and are never added up."),
        Quantity::Power => {
            ("power", "Power, and levels of batteries; scopes contain each other and are never added up.")
        }
        Quantity::Temperature => ("temperature", "Temperatures."),
        Quantity::Fan => ("fan", "Speeds of fans."),
        Quantity::Throttle => ("throttle", "Throttling: a state above 0 means now, events are counted."),
        Quantity::Pressure => ("pressure", "Time in which tasks waited for a resource."),
        Quantity::Gpu => ("gpu", "Graphics processors: busy time, clocks and memory."),
        Quantity::Npu => ("npu", "Neural accelerators: busy time, clocks and memory."),
    }
}

/// A unit as metrics spell it; `None` for plain numbers.
fn unit_word(unit: Unit) -> Option<&'static str> {
    Some(match unit {
        Unit::Joules => "joules",
        Unit::Watts => "watts",
        Unit::Volts => "volts",
        Unit::Amperes => "amperes",
        Unit::Celsius => "celsius",
        Unit::Hertz => "hertz",
        Unit::Ratio => "ratio",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes_per_second",
        Unit::Seconds => "seconds",
        Unit::Rpm => "rpm",
        Unit::Count => return None,
    })
}

/// Labels of a sample, as they stand in braces; empty without labels.
pub fn labels(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let before = if text.is_empty() { '{' } else { ',' };
        let _ = write!(text, "{before}{name}=\"{value}\"");
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// All metrics of one moment, as they are written. Families come one after the other, each in one piece.
#[derive(Debug)]
pub struct Page {
    exposition: Exposition,
    text: String,
}

impl Page {
    /// An empty one.
    pub fn new(exposition: Exposition) -> Self {
        Self { exposition, text: String::new() }
    }

    /// Adds a family of counters or gauges; nothing if it has no samples. Values that are no number are left out.
    pub fn family<L: AsRef<str>>(&mut self, family: &Family, samples: impl IntoIterator<Item = (L, f64)>) {
        let mut samples = samples.into_iter().filter(|(_, value)| value.is_finite()).peekable();
        if samples.peek().is_none() {
            return;
        }
        self.text.push_str(&family.head(self.exposition));
        let total = if family.kind == FamilyKind::Counter { "_total" } else { "" };
        for (labels, value) in samples {
            let _ = writeln!(self.text, "{}{total}{} {value}", family.name, labels.as_ref());
        }
    }

    /// Adds a family of histograms; nothing if it has none.
    pub fn histograms<'h>(
        &mut self,
        family: &Family,
        histograms: impl IntoIterator<Item = (Vec<(&'h str, &'h str)>, &'h Histogram)>,
    ) {
        let mut histograms = histograms.into_iter().peekable();
        if histograms.peek().is_none() {
            return;
        }
        self.text.push_str(&family.head(self.exposition));
        for (names, histogram) in histograms {
            let mut below = 0;
            let bounds = BOUNDS.iter().map(|&(word, _)| word).chain(["+Inf"]);
            for (bound, count) in bounds.zip(histogram.counts) {
                below += count;
                let labels = labels(&[names.as_slice(), &[("le", bound)]].concat());
                let _ = writeln!(self.text, "{}_bucket{labels} {below}", family.name);
            }
            let labels = labels(&names);
            let seconds = histogram.sum_ns as f64 / 1e9;
            let _ = writeln!(self.text, "{}_sum{labels} {seconds}", family.name);
            let _ = writeln!(self.text, "{}_count{labels} {below}", family.name);
        }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.exposition == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Upper bounds of a histogram's counts: as they are written, seconds, and in ns.
const BOUNDS: [(&str, u64); 13] = [
    ("0.001", 1_000_000),
    ("0.002", 2_000_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.02", 20_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.2", 200_000_000),
    ("0.5", 500_000_000),
    ("1.0", 1_000_000_000),
    ("2.0", 2_000_000_000),
    ("5.0", 5_000_000_000),
    ("10.0", 10_000_000_000),
];

/// How many times lay below each bound from 1 ms to 10 s, three to a decade.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// Each counts what is above the bound before it; the last has no bound.
    counts: [u64; BOUNDS.len() + 1],
    sum_ns: u64,
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, ns: u64) {
        let at = BOUNDS.partition_point(|&(_, bound_ns)| bound_ns < ns);
        self.counts[at] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_belongs_to_one_kind_and_ends_with_its_unit() {
        let mut kinds = BTreeMap::new();
        for quantity in Quantity::ALL {
            for (unit, is_counter) in Unit::ALL.into_iter().flat_map(|unit| [(unit, true), (unit, false)]) {
                let family = Family::of_quantity(quantity, unit, is_counter);
                if let Some(unit) = family.unit {
                    assert!(family.name.ends_with(&format!("_{unit}")), "{}", family.name);
                }
                let other = kinds.insert(family.name.clone(), (quantity, unit, is_counter));
                assert_eq!(other, None, "{} is two families", family.name);
            }
        }
    }

    #[test]
    fn names_are_those_that_dashboards_use() {
        let name = |quantity, unit, is_counter| {
            Family::of_quantity(quantity, unit, is_counter).sample_names().join(" ")
        };
        let names = [
            name(Quantity::Energy, Unit::Joules, true),
            name(Quantity::Power, Unit::Watts, false),
            name(Quantity::Temperature, Unit::Celsius, false),
            name(Quantity::Throttle, Unit::Count, true),
            name(Quantity::Throttle, Unit::Count, false),
            name(Quantity::MemoryBandwidth, Unit::Bytes, true),
        ];
        let expected = [
            "slmscope_energy_joules_total",
            "slmscope_power_watts",
            "slmscope_temperature_celsius",
            "slmscope_throttle_events_total",
            "slmscope_throttle",
            "slmscope_memory_traffic_bytes_total",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn both_formats_are_written() {
        let page = |exposition| {
            let mut page = Page::new(exposition);
            page.family(&OP_TIME, [(labels(&[("model", "a\"b\\c\nd")]), 0.5)]);
            page.family(&TOKENS, [("", f64::NAN)]);
            page.family(&Family::gauge("slmscope_clients", None, "Clients."), [("", 3.0)]);
            page.finish()
        };
        assert_eq!(
            page(Exposition::Text),
            "# HELP slmscope_op_time_seconds_total Time in ops by kind; what is missing to the time of the phase lies \
             between them.\n# TYPE slmscope_op_time_seconds_total counter\n\
             slmscope_op_time_seconds_total{model=\"a\\\"b\\\\c\\nd\"} 0.5\n\
             # HELP slmscope_clients Clients.\n# TYPE slmscope_clients gauge\nslmscope_clients 3\n"
        );
        let open = page(Exposition::OpenMetrics);
        assert!(open.starts_with(
            "# TYPE slmscope_op_time_seconds counter\n# UNIT slmscope_op_time_seconds seconds\n# HELP "
        ));
        assert!(open.ends_with("slmscope_clients 3\n# EOF\n"), "{open}");
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let mut histogram = Histogram::default();
        for ns in [1_000_000, 1_000_001, 9_000_000, 60_000_000_000] {
            histogram.add(ns);
        }
        let mut page = Page::new(Exposition::Text);
        page.histograms(&Family::histogram("t_seconds", "T."), [(vec![("model", "m")], &histogram)]);
        let text = page.finish();
        for line in [
            "t_seconds_bucket{model=\"m\",le=\"0.001\"} 1\n",
            "t_seconds_bucket{model=\"m\",le=\"0.002\"} 2\n",
            "t_seconds_bucket{model=\"m\",le=\"0.01\"} 3\n",
            "t_seconds_bucket{model=\"m\",le=\"10.0\"} 3\n",
            "t_seconds_bucket{model=\"m\",le=\"+Inf\"} 4\n",
            "t_seconds_sum{model=\"m\"} 60.011000001\n",
            "t_seconds_count{model=\"m\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
