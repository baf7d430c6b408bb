//! Firefox Profiler's processed profile, version 58: JSON, gzip-compressed
//! (<https://github.com/firefox-devtools/profiler/blob/main/docs-developer/processed-profile-format.md>, types in
//! `src/types/profile.ts` there).
//!
//! ```text
//! thread of a lane    samples: an op each, weighed by its time; what is no op in parentheses
//!                     markers: phases, tokens with a graph of their latency, marks
//! thread "machine"    markers: readings, a graph for each channel; counters: energy
//! ```
//!
//! Stacks are phase, module, layer, op, as in pprof. Times are ms since the first that is exported. The format wants each
//! column of a table in one piece, so columns are kept, compressed, until the end.

mod blocks;
mod column;
mod counters;
mod document;
mod markers;
mod samples;
mod stacks;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use slmscope_profiles::channel::{Kind, Sample, Unit, Value};
use slmscope_profiles::job::{JobId, Span};
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::record::{Header, Mark};

use counters::Counters;
use markers::Markers;
use samples::Samples;

use super::names::Names;
use super::readings::{Readings, unit};
use super::{Batch, Export, Item};

/// Makes a profile of items.
pub(super) struct Firefox<W: Write> {
    out: Option<W>,
    header: Option<Header>,
    clock: Clock,
    /// All texts of the profile, which tables refer to by number.
    texts: Names,
    models: BTreeMap<JobId, String>,
    threads: BTreeMap<(JobId, LaneId), Thread>,
    readings: Readings,
    /// Of all channels but counters of energy.
    machine: Markers,
    energy: Counters,
}

/// The time that the profile begins at, which is the first that is asked for.
#[derive(Default)]
struct Clock {
    first_ns: Option<u64>,
    /// The latest time so far, ns since the first.
    last_ns: u64,
}

impl Clock {
    /// CLOCK_MONOTONIC ns as ns since the first; 0 before it.
    fn after(&mut self, t_ns: u64) -> u64 {
        let after_ns = t_ns.saturating_sub(*self.first_ns.get_or_insert(t_ns));
        self.last_ns = self.last_ns.max(after_ns);
        after_ns
    }
}

/// A lane of a job.
struct Thread {
    name: String,
    samples: Samples,
    markers: Markers,
}

impl<W: Write> Firefox<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out: Some(out),
            header: None,
            clock: Clock::default(),
            texts: Names::default(),
            models: BTreeMap::new(),
            threads: BTreeMap::new(),
            readings: Readings::default(),
            machine: Markers::default(),
            energy: Counters::default(),
        }
    }

    fn batch(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let head = batch.head();
        let (begin_ns, end_ns) = (self.clock.after(head.begin_ns), self.clock.after(batch.end_ns()));
        let thread = self.threads.entry((head.job, head.lane)).or_insert_with(|| {
            let lane = batch.plan.lane(head.lane).map(|lane| lane.name.clone());
            Thread::new(lane.unwrap_or_else(|| format!("lane {}", head.lane)))
        });
        thread.samples.add(batch, &mut self.clock, &mut self.texts)?;
        if head.lane != HOST_LANE {
            return Ok(());
        }
        let is_chunk = head.phase == Phase::Prefill || head.rows > 1;
        let name = self.texts.id(if is_chunk { "chunk" } else { "token" });
        let (run, token, rows, context) = (head.repetition, head.token, head.rows, head.context);
        let (phase, ms) = (head.phase.as_str(), Millis(end_ns - begin_ns));
        let data = format_args!(
            r#"{{"type":"token","phase":"{phase}","run":{run},"token":{token},"rows":{rows},"context":{context},"latency":{ms}}}"#
        );
        thread.markers.interval(name, begin_ns, end_ns, data)
    }

    fn phase(&mut self, span: &Span) -> io::Result<()> {
        let (begin_ns, end_ns) = (self.clock.after(span.begin_ns), self.clock.after(span.end_ns));
        let name = self.texts.id(span.phase.as_str());
        let (run, tokens) = (span.repetition, span.tokens);
        let data = format_args!(r#"{{"type":"phase","run":{run},"tokens":{tokens}}}"#);
        self.host_of(span.job).markers.interval(name, begin_ns, end_ns.max(begin_ns), data)
    }

    fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        let t_ns = self.clock.after(mark.t_ns);
        let name = self.texts.id(mark.text.as_deref().unwrap_or(mark.kind.as_str()));
        self.host_of(mark.job).markers.instant(name, t_ns, "null")
    }

    /// The thread that shows what is not of a single lane.
    fn host_of(&mut self, job: JobId) -> &mut Thread {
        self.threads.entry((job, HOST_LANE)).or_insert_with(|| Thread::new("engine threads".to_owned()))
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        let t_ns = self.clock.after(sample.t_ns);
        let (texts, machine, energy) = (&mut self.texts, &mut self.machine, &mut self.energy);
        self.readings.take(sample, |channel, value| {
            let Value::Present(value) = value else {
                energy.interrupt(channel.channel);
                return Ok(());
            };
            match channel.kind {
                Kind::Counter { range } if channel.unit == Unit::Joules => {
                    energy.add(channel, range, t_ns, value)
                }
                _ => {
                    let name = texts.id(&channel.id);
                    let unit = unit(channel.unit);
                    machine.instant(name, t_ns, format_args!(r#"{{"type":"{unit}","value":{value}}}"#))
                }
            }
        })
    }
}

impl Thread {
    fn new(name: String) -> Self {
        Self { name, samples: Samples::default(), markers: Markers::default() }
    }
}

/// ns as ms with six decimals.
struct Millis(u64);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl<W: Write> Export for Firefox<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Header(header) => self.header = Some((*header).clone()),
            Item::Channels(channels) => self.readings.add(channels),
            Item::Plan { plan, .. } => {
                self.models.insert(JobId::from(plan.plan), plan.model.clone());
                // Its sites may be others than those of the same number before.
                self.threads.values_mut().for_each(|thread| thread.samples.forget(plan.plan));
            }
            Item::Batch(batch) => return self.batch(batch),
            Item::Phase(span) => return self.phase(span),
            Item::Sample(sample) => return self.sample(sample),
            Item::Mark(mark) => return self.mark(mark),
            Item::Job(job) => {
                self.models.entry(job.job).or_insert_with(|| job.model.clone());
            }
            Item::Result { .. } => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let mut out = BufWriter::with_capacity(1 << 16, GzEncoder::new(out, Compression::fast()));
        self.write(&mut out)?;
        let gzip = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        gzip.finish()?.flush()
    }
}
