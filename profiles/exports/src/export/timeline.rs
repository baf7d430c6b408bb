//! A recording as slices on tracks and as counters: what Perfetto's and Chrome's formats have in common.
//!
//! ```text
//! machine                      a counter for each channel, those that are derived too
//! MODEL (job N)
//! ├─ phases          ├ prefill ┤├────────────── decode ──────────────┤
//! ├─ tokens          ├ chunk   ┤├ token ┤├ token ┤├ token ┤
//! └─ engine threads    ├layer 0┤ ├ layer 0 ┤├ layer 1 ┤├lm_head┤        a track for each lane
//!                       ├op┤├op┤  ├op┤├op┤├op┤
//! ```
//!
//! A token is linked with the first slice that it has in each lane.

mod sites;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use slmscope_profiles::channel::{Channel, ChannelId, Sample, Value};
use slmscope_profiles::job::{JobId, Span};
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::op::BatchHead;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::record::{Mark, PlanRecord};
use slmscope_profiles::span::SpanName;

use sites::{BoundNames, SiteNames};
pub(super) use writer::{Arg, Flow, Key, Slice, TraceWriter, Track, TrackId, TrackKind};

use super::names::Names;
use super::readings::{Readings, unit};
use super::{Batch, Export, Item, Op};

/// Process numbers that no process of Linux has begin here, so that a trace can be shown beside one of the system.
pub(super) const FIRST_PID: u64 = 4_194_305;

/// Marks that wait for the model of their job at most.
const MAX_EARLY: usize = 1000;

/// Makes a time line of items.
pub(super) struct Timeline<W> {
    writer: W,
    names: Names,
    next_track: TrackId,
    jobs: BTreeMap<JobId, JobTracks>,
    /// By plan, then by site.
    sites: BTreeMap<u32, Arc<[SiteNames]>>,
    bounds: BoundNames,
    models: BTreeMap<JobId, String>,
    /// Marks of jobs whose model is not known yet: a process is named once.
    early: Vec<Mark>,
    machine: Option<TrackId>,
    counters: BTreeMap<ChannelId, TrackId>,
    readings: Readings,
}

/// The tracks of a job.
struct JobTracks {
    pid: u64,
    phases: TrackId,
    tokens: TrackId,
    /// By lane, each with the end of its last slice.
    lanes: BTreeMap<LaneId, (TrackId, u64)>,
    /// End of the last token, ns.
    token_end_ns: u64,
    /// End of the last phase, ns.
    phase_end_ns: u64,
}

impl<W: TraceWriter> Timeline<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            names: Names::default(),
            next_track: 1,
            jobs: BTreeMap::new(),
            sites: BTreeMap::new(),
            bounds: BoundNames::default(),
            models: BTreeMap::new(),
            early: Vec::new(),
            machine: None,
            counters: BTreeMap::new(),
            readings: Readings::default(),
        }
    }

    fn track(&mut self, name: &str, kind: TrackKind<'_>) -> io::Result<TrackId> {
        let id = self.next_track;
        self.next_track += 1;
        self.writer.track(&Track { id, name, kind })?;
        Ok(id)
    }

    /// Makes the tracks of a job, if it has none.
    fn job(&mut self, job: JobId) -> io::Result<()> {
        if self.jobs.contains_key(&job) {
            return Ok(());
        }
        let name = match self.models.get(&job) {
            Some(model) => format!("{model} (job {job})"),
            None => format!("job {job}"),
        };
        let pid = FIRST_PID.saturating_add(1).saturating_add(job);
        let process = self.track(&name, TrackKind::Process { pid })?;
        let slices = |parent, rank| TrackKind::Slices { parent, pid, rank, is_lane: false };
        let phases = self.track("phases", slices(process, 0))?;
        let tokens = self.track("tokens", slices(phases, 1))?;
        let lanes = BTreeMap::new();
        let tracks = JobTracks { pid, phases, tokens, lanes, token_end_ns: 0, phase_end_ns: 0 };
        self.jobs.insert(job, tracks);
        Ok(())
    }

    /// The track of a lane with the end of its last slice, ns.
    fn lane(&mut self, job: JobId, lane: LaneId, plan: &PlanRecord) -> io::Result<(TrackId, u64)> {
        self.job(job)?;
        let Some(tracks) = self.jobs.get(&job) else { return Ok((0, 0)) };
        if let Some(&known) = tracks.lanes.get(&lane) {
            return Ok(known);
        }
        let rank = 2 + u64::from(lane);
        let kind = TrackKind::Slices { parent: tracks.phases, pid: tracks.pid, rank, is_lane: true };
        let name = plan.lane(lane).map_or_else(|| format!("lane {lane}"), |lane| lane.name.clone());
        let track = self.track(&name, kind)?;
        if let Some(tracks) = self.jobs.get_mut(&job) {
            tracks.lanes.insert(lane, (track, 0));
        }
        Ok((track, 0))
    }

    fn plan(&mut self, plan: &PlanRecord) {
        let names = &mut self.names;
        let sites = plan.sites.iter().map(|site| SiteNames::of(site, names)).collect();
        self.sites.insert(plan.plan, sites);
        self.models.insert(JobId::from(plan.plan), plan.model.clone());
    }

    fn phase(&mut self, span: &Span) -> io::Result<()> {
        self.job(span.job)?;
        let Some(tracks) = self.jobs.get_mut(&span.job) else { return Ok(()) };
        let begin_ns = span.begin_ns.max(tracks.phase_end_ns);
        let end_ns = span.end_ns.max(begin_ns);
        tracks.phase_end_ns = end_ns;
        let args = [
            (Key::Run, Arg::Number(u64::from(span.repetition))),
            (Key::Tokens, Arg::Number(u64::from(span.tokens))),
        ];
        let slice = Slice {
            track: tracks.phases,
            begin_ns,
            end_ns,
            name: self.names.id(span.phase.as_str()),
            category: self.names.id("phase"),
            args: &args,
            flow: None,
        };
        self.writer.slice(&slice, &self.names)
    }

    fn batch(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let head = batch.head();
        let (lane, floor_ns) = self.lane(head.job, head.lane, batch.plan)?;
        if head.lane == HOST_LANE {
            self.token(batch)?;
        }
        let floor_ns = self.ops(batch, lane, floor_ns)?;
        let floor_ns = self.sampling(batch, lane, floor_ns)?;
        if let Some(tracks) = self.jobs.get_mut(&head.job) {
            tracks.lanes.insert(head.lane, (lane, floor_ns));
        }
        Ok(())
    }

    fn token(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let head = batch.head();
        let Some(tracks) = self.jobs.get_mut(&head.job) else { return Ok(()) };
        let begin_ns = head.begin_ns.max(tracks.token_end_ns);
        let end_ns = batch.end_ns().max(begin_ns);
        tracks.token_end_ns = end_ns;
        let number = |number: u32| Arg::Number(u64::from(number));
        let args = [
            (Key::Run, number(head.repetition)),
            (Key::Token, number(head.token)),
            (Key::Rows, number(head.rows)),
            (Key::Context, number(head.context)),
            (Key::UnattributedNs, Arg::Number(batch.books.unattributed_ns)),
        ];
        let is_chunk = head.phase == Phase::Prefill || head.rows > 1;
        let slice = Slice {
            track: tracks.tokens,
            begin_ns,
            end_ns,
            name: self.names.id(if is_chunk { "chunk" } else { "token" }),
            category: self.names.id(head.phase.as_str()),
            args: &args,
            flow: Some(Flow::From(flow_of(head))),
        };
        self.writer.slice(&slice, &self.names)
    }

    /// Layers with the ops in them. Returns the end of the last one, ns.
    fn ops(&mut self, batch: &Batch<'_>, track: TrackId, floor_ns: u64) -> io::Result<u64> {
        let Some(sites) = self.sites.get(&batch.plan.plan).map(Arc::clone) else { return Ok(floor_ns) };
        let mut floor_ns = floor_ns;
        let mut flow = Some(Flow::To(flow_of(batch.head())));
        let category = self.names.id("layer");
        for ops in batch.ops.chunk_by(|a, b| batch.site(a).layer == batch.site(b).layer) {
            let Some((first, last)) = ops.first().zip(ops.last()) else { continue };
            if let Some(name) = sites.get(usize::from(first.site)).and_then(|site| site.layer) {
                let begin_ns = first.begin_ns.max(floor_ns);
                let end_ns = last.end_ns().max(begin_ns);
                let flow = flow.take();
                let slice = Slice { track, begin_ns, end_ns, name, category, args: &[], flow };
                self.writer.slice(&slice, &self.names)?;
            }
            for op in ops {
                let Some(names) = sites.get(usize::from(op.site)) else { continue };
                floor_ns = self.op(batch, op, names, (track, floor_ns), flow.take())?;
            }
        }
        Ok(floor_ns)
    }

    /// A step, which begins at the end of the one before on its track or later. Returns its end, ns.
    fn op(
        &mut self,
        batch: &Batch<'_>,
        op: &Op,
        names: &SiteNames,
        (track, floor_ns): (TrackId, u64),
        flow: Option<Flow>,
    ) -> io::Result<u64> {
        let bound = batch.plan.roofs.bound(batch.site(op), op.bytes, op.flops);
        let bound = bound.and_then(|bound| bound.bound(op.duration_ns));
        let bound = bound.map(|bound| self.bounds.id(bound, &mut self.names));
        let mut args = [(Key::Kind, Arg::Text(names.kind)); 7];
        let mut count = 1;
        let optional = [
            (Key::Layer, batch.site(op).layer.map(|layer| Arg::Number(u64::from(layer)))),
            (Key::Bytes, (op.bytes > 0).then_some(Arg::Number(op.bytes))),
            (Key::Flops, (op.flops > 0).then_some(Arg::Number(op.flops))),
            (Key::Format, names.format.map(Arg::Text)),
            (Key::Shape, names.shape.map(Arg::Text)),
            (Key::Bound, bound.map(Arg::Text)),
        ];
        for (key, arg) in optional {
            if let Some(arg) = arg {
                args[count] = (key, arg);
                count += 1;
            }
        }
        let begin_ns = op.begin_ns.max(floor_ns);
        let end_ns = op.end_ns().max(begin_ns);
        let (name, category) = (names.name, names.module);
        let slice = Slice { track, begin_ns, end_ns, name, category, args: &args[..count], flow };
        self.writer.slice(&slice, &self.names)?;
        Ok(end_ns)
    }

    /// The sampling at the end of a token, which is the one named span whose place is known.
    fn sampling(&mut self, batch: &Batch<'_>, track: TrackId, floor_ns: u64) -> io::Result<u64> {
        let ns = batch.books.span_ns(&SpanName::Sample);
        let end_ns = batch.head().end_ns;
        let begin_ns = end_ns.saturating_sub(ns);
        if ns == 0 || begin_ns < floor_ns || batch.head().lane != HOST_LANE {
            return Ok(floor_ns);
        }
        let (name, category) = (self.names.id(SpanName::Sample.as_str()), self.names.id("span"));
        let slice = Slice { track, begin_ns, end_ns, name, category, args: &[], flow: None };
        self.writer.slice(&slice, &self.names)?;
        Ok(end_ns)
    }

    fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        self.job(mark.job)?;
        let track = self.jobs.get(&mark.job).map_or(0, |tracks| tracks.phases);
        self.writer.instant(track, mark.t_ns, mark.text.as_deref().unwrap_or(mark.kind.as_str()))
    }

    /// Writes the marks of jobs whose model is known by now.
    fn early_marks(&mut self) -> io::Result<()> {
        let known = |mark: &mut Mark| self.models.contains_key(&mark.job);
        let marks: Vec<Mark> = self.early.extract_if(.., known).collect();
        marks.iter().try_for_each(|mark| self.mark(mark))
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        let mut readings = std::mem::take(&mut self.readings);
        let taken = readings.take(sample, |channel, value| match value {
            Value::Present(value) => self.value(channel, sample.t_ns, value),
            Value::Absent(_) => Ok(()),
        });
        self.readings = readings;
        taken
    }

    fn value(&mut self, channel: &Channel, t_ns: u64, value: f64) -> io::Result<()> {
        let track = match self.counters.get(&channel.channel) {
            Some(&track) => track,
            None => self.counter(channel)?,
        };
        self.writer.counter(track, t_ns, value)
    }

    fn counter(&mut self, channel: &Channel) -> io::Result<TrackId> {
        let process = match self.machine {
            Some(process) => process,
            None => self.track("machine", TrackKind::Process { pid: FIRST_PID })?,
        };
        self.machine = Some(process);
        let kind = TrackKind::Counter { process, pid: FIRST_PID, unit: unit(channel.unit) };
        let track = self.track(&channel.id, kind)?;
        self.counters.insert(channel.channel, track);
        Ok(track)
    }
}

impl<W: TraceWriter> Export for Timeline<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Header(header) => self.writer.clocks(header),
            Item::Channels(channels) => {
                self.readings.add(channels);
                Ok(())
            }
            Item::Plan { plan, .. } => {
                self.plan(plan);
                self.early_marks()
            }
            Item::Batch(batch) => self.batch(batch),
            Item::Phase(span) => self.phase(span),
            Item::Sample(sample) => self.sample(sample),
            Item::Mark(mark) => {
                if self.models.contains_key(&mark.job) || self.early.len() >= MAX_EARLY {
                    return self.mark(mark);
                }
                self.early.push((*mark).clone());
                Ok(())
            }
            Item::Job(job) => {
                self.models.entry(job.job).or_insert_with(|| job.model.clone());
                self.early_marks()
            }
            Item::Result { .. } => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        for mark in std::mem::take(&mut self.early) {
            self.mark(&mark)?;
        }
        self.writer.finish()
    }
}

/// A number that links the slices of one token: its identity, hashed (FNV-1a).
fn flow_of(head: &BatchHead) -> u64 {
    let parts = [head.job, head.repetition.into(), head.phase as u64, head.token.into(), head.context.into()];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash
}
