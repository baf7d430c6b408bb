//! What `GET /metrics` answers: running totals since the daemon's start, and the last reading of every sensor.
//!
//! ```text
//! hub ──Sample──▶ ┌─────────┐      last reading, increase of counters
//!     ──OpBatch─▶ │ Metrics │ ──▶  tokens, time, time by kind of op, times of tokens   ──▶ page, when it is asked for
//!     ──Plan────▶ │         │
//! runner ─result▶ └─────────┘      energy of measured phases, jobs that ended
//! ```
//!
//! A batch adds a few numbers to fixed tables; text is made only when somebody asks. Labels are bounded: channels by the
//! catalogue, models by `models::MAX_MODELS`.

mod counters;
pub(crate) mod families;
mod models;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slmscope_profiles::channel::derive;
use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, Sample, Scope, Unit};
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::metrics::{Exposition, Family, Page, labels};
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;
use slmscope_profiles::wire::OpsDetails;

use crate::hub::{Content, Hub, Published, Sink, Wants};
use crate::schedule::Battery;
use counters::Reading;
use families as f;
use models::Models;

/// How often a channel is looked at, ns.
const READING_NS: u64 = 500_000_000;

/// Totals and last readings.
#[derive(Default)]
pub struct Metrics {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    channels: Vec<Channel>,
    /// By channel number.
    readings: Vec<Reading>,
    models: Models,
    /// Jobs that ended, by how.
    ended: BTreeMap<&'static str, u64>,
    /// Runs of the schedule, by its entries and how they went.
    scheduled: BTreeMap<(String, &'static str), u64>,
}

/// The daemon's own figures at the moment of the page.
pub struct Own {
    /// Now, CLOCK_MONOTONIC ns.
    pub now_ns: u64,
    /// When it started, ns since 1970.
    pub started_wall_ns: u64,
    /// CPU time of its threads, ns; `None` where the kernel does not report it.
    pub cpu_ns: Option<u64>,
    /// Its resident memory, bytes; `None` where the kernel does not report it.
    pub rss: Option<u64>,
    /// Connected clients.
    pub clients: usize,
    /// Sampling ticks that came late.
    pub late_ticks: u64,
    /// Batches that the engine made and the daemon did not get.
    pub lost_batches: u64,
    /// Batches that were dropped for slow clients.
    pub dropped_batches: u64,
    /// Jobs that wait or run, and the last ones that ended.
    pub jobs: Vec<Job>,
}

impl Metrics {
    /// Metrics of what `hub` publishes.
    pub fn of(hub: &Hub) -> Arc<Self> {
        let metrics = Arc::new(Self::default());
        let channels = vec![Some(READING_NS); hub.channels().len()];
        let ops = OpsDetails { raw: true, summary: false };
        hub.attach(metrics.clone(), Wants { channels, ops, events: true });
        metrics
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a run measured.
    pub fn add_result(&self, result: &RunResult) {
        self.state().models.add_result(result);
    }

    /// Counts a job that ended.
    pub fn job_ended(&self, state: JobState) {
        *self.state().ended.entry(state.as_str()).or_default() += 1;
    }

    /// Counts a run of the schedule, and how it went.
    pub fn scheduled(&self, entry: &str, outcome: &'static str) {
        *self.state().scheduled.entry((entry.to_owned(), outcome)).or_default() += 1;
    }

    /// The highest of all temperatures, °C; `None` if none is known now.
    pub fn hottest(&self, now_ns: u64) -> Option<f64> {
        let state = self.state();
        let of_heat = |channel: &&Channel| channel.quantity == Quantity::Temperature;
        let values = state.channels.iter().filter(of_heat).filter_map(|channel| state.value(channel, now_ns));
        values.reduce(f64::max)
    }

    /// How full the battery is; of several, the emptiest.
    pub fn battery(&self, now_ns: u64) -> Battery {
        let state = self.state();
        let is_level = |channel: &&Channel| channel.is_of_batteries() && channel.unit == Unit::Ratio;
        let levels = state.channels.iter().filter(is_level).map(|channel| state.value(channel, now_ns));
        levels.fold(Battery::None, |all, level| match (all, level) {
            (Battery::Unknown, _) | (_, None) => Battery::Unknown,
            (Battery::None, Some(level)) => Battery::Level(level),
            (Battery::Level(other), Some(level)) => Battery::Level(other.min(level)),
        })
    }

    /// The text of all metrics.
    pub fn page(&self, exposition: Exposition, own: &Own) -> String {
        let mut page = Page::new(exposition);
        own.write(&mut page);
        let state = self.state();
        let ended = state.ended.iter().map(|(how, count)| (labels(&[("state", how)]), *count as f64));
        page.family(&f::JOBS_ENDED, ended);
        let scheduled = state.scheduled.iter().map(|((entry, outcome), count)| {
            (labels(&[("entry", entry), ("outcome", outcome)]), *count as f64)
        });
        page.family(&f::SCHEDULED, scheduled);
        state.models.write(&mut page);
        state.write_sensors(&mut page, own.now_ns);
        page.finish()
    }
}

impl State {
    fn sample(&mut self, sample: &Sample) {
        for &(number, value) in &sample.values {
            let number = usize::from(number);
            if let Some((channel, reading)) = self.channels.get(number).zip(self.readings.get_mut(number)) {
                reading.add(channel, sample.t_ns, value);
            }
        }
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::Catalogue { channels } => {
                self.readings = vec![Reading::default(); channels.len()];
                self.channels.clone_from(channels);
            }
            Record::Plan(plan) => self.models.begin(plan),
            _ => {}
        }
    }

    fn value(&self, channel: &Channel, now_ns: u64) -> Option<f64> {
        let readings = |number: u16| {
            let number = usize::from(number);
            let last = self.readings.get(number)?.last();
            Some((self.channels.get(number)?, last.into_iter()))
        };
        derive::value(channel, Some(now_ns), readings).ok().map(|derived| derived.value)
    }

    /// Counters and gauges by family, and which sensors have a value. Rates are left to whoever reads the counters.
    fn write_sensors(&self, page: &mut Page, now_ns: u64) {
        let mut families: BTreeMap<Family, Vec<(String, f64)>> = BTreeMap::new();
        let mut up = Vec::new();
        for channel in self.channels.iter().filter(|channel| channel.class != Class::Unavailable) {
            let value = self.value(channel, now_ns);
            let reading = self.readings.get(usize::from(channel.channel));
            // Before its first reading nothing is lost.
            if can_be_lost(channel) && reading.is_some_and(|reading| reading.last().is_some()) {
                up.push((labels(&[("channel", &channel.id)]), f64::from(u8::from(value.is_some()))));
            }
            let value = match channel.kind {
                Kind::Counter { .. } => value.and_then(|_| reading?.increase()),
                Kind::Gauge | Kind::Sum { .. } => value,
                Kind::Rate { .. } => None,
            };
            if let Some(value) = value {
                let (scope, class) = (channel.scope.to_string(), channel.class.as_str());
                let labels = labels(&[("channel", &channel.id), ("scope", &scope), ("class", class)]);
                families.entry(Family::of_channel(channel)).or_default().push((labels, value));
            }
        }
        page.family(&f::SENSOR_UP, up);
        for (family, samples) in families {
            page.family(&family, samples);
        }
    }
}

/// Whether a channel has a value at all times unless its sensor fails: processes come and go, and a battery says nothing
/// while the machine is plugged in.
fn can_be_lost(channel: &Channel) -> bool {
    channel.kind.is_sampled()
        && !matches!(channel.scope, Scope::Process | Scope::Cgroup)
        && !channel.is_of_batteries()
}

impl Sink for Metrics {
    fn take(&self, message: &Published<'_>) {
        match message.content() {
            Content::Sample(sample) => self.state().sample(sample),
            Content::Batch(batch) => self.batch(batch),
            Content::Record(record) => self.state().record(record),
            Content::Summary(..) | Content::Talk(_) => {}
        }
    }
}

impl Metrics {
    fn batch(&self, batch: &OpBatch) {
        self.state().models.add_batch(batch);
    }
}

impl Own {
    fn write(&self, page: &mut Page) {
        let seconds = |ns: u64| ns as f64 / 1e9;
        page.family(&f::BUILD, [(labels(&[("version", crate::VERSION)]), 1.0)]);
        page.family(&f::STARTED, [("", seconds(self.started_wall_ns))]);
        page.family(&f::OWN_CPU, self.cpu_ns.map(|ns| ("", seconds(ns))));
        page.family(&f::OWN_MEMORY, self.rss.map(|bytes| ("", bytes as f64)));
        page.family(&f::CLIENTS, [("", self.clients as f64)]);
        page.family(&f::LATE, [("", self.late_ticks as f64)]);
        page.family(&f::LOST, [("", self.lost_batches as f64)]);
        page.family(&f::DROPPED, [("", self.dropped_batches as f64)]);
        let count =
            |is_in: fn(JobState) -> bool| self.jobs.iter().filter(|job| is_in(job.state)).count() as f64;
        let waiting = count(|state| state == JobState::Queued);
        let running = count(|state| state != JobState::Queued && !state.is_final());
        let of = |state| labels(&[("state", state)]);
        page.family(&f::JOBS, [(of("queued"), waiting), (of("running"), running)]);
    }
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::{Reason, ReasonCode, Value};

    use super::*;
    use crate::backend::scripted;
    use crate::tests::{channel, hub, plan};

    fn own(now_ns: u64) -> Own {
        Own {
            now_ns,
            started_wall_ns: 1_700_000_000_500_000_000,
            cpu_ns: Some(1_500_000_000),
            rss: None,
            clients: 2,
            late_ticks: 0,
            lost_batches: 0,
            dropped_batches: 7,
            jobs: Vec::new(),
        }
    }

    fn read(hub: &Hub, t_ns: u64, number: u16, value: Value) {
        hub.sample(&Sample { t_ns, values: vec![(number, value)], ..Sample::default() });
    }

    fn line(page: &str, start: &str) -> Option<String> {
        page.lines().find(|line| line.starts_with(start)).map(str::to_owned)
    }

    #[test]
    fn tokens_and_their_times_are_counted_whether_anybody_asks_or_not() {
        let hub = hub(Vec::new());
        let metrics = Metrics::of(&hub);
        hub.record(plan());
        for seq in 1..=3 {
            hub.batch(&scripted::token().batch(seq));
        }
        let page = metrics.page(Exposition::Text, &own(0));
        let tokens = "slmscope_tokens_total{model=\"m\",phase=\"decode\"} ";
        assert_eq!(line(&page, tokens), Some(format!("{tokens}3")), "{page}");
        let count = "slmscope_token_latency_seconds_count{model=\"m\"} ";
        assert_eq!(line(&page, count), Some(format!("{count}3")));
        let of = |start: &str| -> f64 {
            let lines = page.lines().filter(|line| line.starts_with(start));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        };
        let (ops, wall) = (of("slmscope_op_time_seconds_total{"), of("slmscope_phase_time_seconds_total{"));
        assert!(ops > 0.0 && ops <= wall, "{ops} of {wall}");
        assert!(page.contains("slmscope_daemon_cpu_seconds_total 1.5\n"), "{page}");
        assert!(!page.contains("slmscope_daemon_memory_bytes"), "what is not known is absent");
    }

    #[test]
    fn counters_go_on_over_a_wrap_and_absent_sensors_have_no_sample() {
        let mut energy = channel(0, Quantity::Energy);
        energy.unit = Unit::Joules;
        energy.kind = Kind::Counter { range: Some(100.0) };
        let mut heat = channel(1, Quantity::Temperature);
        heat.unit = Unit::Celsius;
        let mut none = channel(2, Quantity::Fan);
        (none.class, none.reason) =
            (Class::Unavailable, Some(Reason::new(ReasonCode::NoSuchInterface, "none")));
        let hub = hub(vec![energy, heat, none]);
        let metrics = Metrics::of(&hub);
        let second = 1_000_000_000;
        for (at, joules) in [(1, 90.0), (2, 95.0), (3, 5.0)] {
            read(&hub, at * second, 0, Value::Present(joules));
        }
        read(&hub, second, 1, Value::Present(40.0));
        let page = |now_ns| metrics.page(Exposition::Text, &own(now_ns));
        let early = page(3 * second);
        let energy =
            "slmscope_energy_joules_total{channel=\"test.0\",scope=\"machine\",class=\"measured\"} 15";
        assert!(early.contains(energy), "{early}");
        assert!(line(&early, "slmscope_temperature_celsius{").is_some_and(|line| line.ends_with(" 40")));
        assert!(early.contains("slmscope_sensor_up{channel=\"test.1\"} 1\n"));
        assert_eq!(metrics.hottest(3 * second), Some(40.0));
        assert!(!early.contains("test.2"), "what this machine does not have is no sensor that was lost");
        read(&hub, 4 * second, 1, Value::Absent(ReasonCode::Vanished));
        let late = page(4 * second);
        assert_eq!(line(&late, "slmscope_temperature_celsius"), None, "{late}");
        assert!(late.contains("slmscope_sensor_up{channel=\"test.1\"} 0\n"));
        assert_eq!(metrics.hottest(4 * second), None);
    }

    #[test]
    fn a_battery_that_does_not_say_is_no_full_one() {
        let level = |number| {
            let mut level = channel(number, Quantity::Power);
            level.id = format!("power.battery.BAT{number}.level");
            level.unit = Unit::Ratio;
            level
        };
        let hub = hub(vec![level(0), level(1)]);
        let metrics = Metrics::of(&hub);
        read(&hub, 1, 0, Value::Present(0.8));
        assert_eq!(metrics.battery(1), Battery::Unknown);
        read(&hub, 1, 1, Value::Present(0.3));
        assert_eq!(metrics.battery(1), Battery::Level(0.3), "the emptiest");
        assert_eq!(Metrics::default().battery(1), Battery::None);
    }

    #[test]
    fn labels_of_models_are_bounded() {
        let hub = hub(Vec::new());
        let metrics = Metrics::of(&hub);
        for number in 0..1000 {
            let Record::Plan(mut plan) = plan() else { unreachable!("it is a plan") };
            plan.model = format!("file-{number}.gguf");
            hub.record(Record::Plan(plan));
            hub.batch(&scripted::token().batch(number));
        }
        let page = metrics.page(Exposition::OpenMetrics, &own(0));
        let models = page.lines().filter(|line| line.starts_with("slmscope_tokens_total{")).count();
        assert_eq!(models, models::MAX_MODELS + 1);
        let rest = format!(
            "slmscope_tokens_total{{model=\"other\",phase=\"decode\"}} {}",
            1000 - models::MAX_MODELS
        );
        assert!(page.contains(&rest), "{page}");
    }

    #[test]
    fn every_family_of_a_page_is_in_the_list() {
        let hub = hub(vec![channel(0, Quantity::Power)]);
        let metrics = Metrics::of(&hub);
        hub.record(plan());
        hub.batch(&scripted::token().batch(1));
        read(&hub, 1, 0, Value::Present(3.0));
        metrics.job_ended(JobState::Done);
        metrics.scheduled("nightly", "run");
        let page = metrics.page(Exposition::Text, &own(1));
        let known = f::all_sample_names();
        for name in page.lines().filter(|line| !line.starts_with('#')) {
            let name = name.split(['{', ' ']).next().unwrap();
            assert!(known.contains(name), "{name}");
        }
    }
}
