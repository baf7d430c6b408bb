//! speedscope's JSON: for each job the stack over time, phase, token, layer, op. The viewer also adds it up
//! ("left heavy"). Times are ns since the job's first token. It shows the host's lane; a device's runs beside it, and
//! a stack is one of one thread.

use std::io::{self, BufWriter, Write};

use slmscope_profiles::job::JobId;
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::phase::Phase;

use super::names::{NameId, Names, quoted};
use super::{Batch, Export, Item};

/// Makes a file of items.
pub(super) struct Speedscope<W: Write> {
    out: BufWriter<W>,
    frames: Names,
    /// The profile that is being written.
    profile: Option<Profile>,
    has_profiles: bool,
}

struct Profile {
    job: JobId,
    name: String,
    /// First time, CLOCK_MONOTONIC ns.
    first_ns: u64,
    /// Time of the last event, ns since the first.
    now_ns: u64,
    has_events: bool,
    /// The phase that is open, with its repetition.
    phase: Option<(u32, Phase, NameId)>,
}

impl<W: Write> Speedscope<W> {
    pub(super) fn new(out: W) -> Self {
        let out = BufWriter::with_capacity(1 << 16, out);
        Self { out, frames: Names::default(), profile: None, has_profiles: false }
    }

    fn event(&mut self, kind: char, frame: NameId, t_ns: u64) -> io::Result<()> {
        let Some(profile) = &mut self.profile else { return Ok(()) };
        profile.now_ns = t_ns.saturating_sub(profile.first_ns).max(profile.now_ns);
        let separator = if std::mem::replace(&mut profile.has_events, true) { ",\n" } else { "\n" };
        let at = profile.now_ns;
        write!(self.out, r#"{separator}{{"type":"{kind}","frame":{frame},"at":{at}}}"#)
    }

    fn open(&mut self, name: &str, t_ns: u64) -> io::Result<NameId> {
        let frame = self.frames.id(name);
        self.event('O', frame, t_ns)?;
        Ok(frame)
    }

    fn end_phase(&mut self) -> io::Result<()> {
        match self.profile.as_mut().and_then(|profile| profile.phase.take()) {
            Some((_, _, frame)) => self.event('C', frame, 0),
            None => Ok(()),
        }
    }

    fn end_profile(&mut self) -> io::Result<()> {
        self.end_phase()?;
        let Some(profile) = self.profile.take() else { return Ok(()) };
        let (name, end) = (quoted(&profile.name), profile.now_ns);
        write!(
            self.out,
            r#"],"type":"evented","name":{name},"unit":"nanoseconds","startValue":0,"endValue":{end}}}"#
        )
    }

    fn begin_profile(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        self.end_profile()?;
        let separator = if self.has_profiles { ",\n" } else { "{\"profiles\":[\n" };
        self.has_profiles = true;
        write!(self.out, r#"{separator}{{"events":["#)?;
        let head = batch.head();
        self.profile = Some(Profile {
            job: head.job,
            name: format!("{} (job {})", batch.plan.model, head.job),
            first_ns: head.begin_ns,
            now_ns: 0,
            has_events: false,
            phase: None,
        });
        Ok(())
    }

    fn batch(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let head = batch.head();
        if self.profile.as_ref().is_none_or(|profile| profile.job != head.job) {
            self.begin_profile(batch)?;
        }
        let open = self.profile.as_ref().and_then(|profile| profile.phase);
        if open.is_none_or(|(repetition, phase, _)| (repetition, phase) != (head.repetition, head.phase)) {
            self.end_phase()?;
            let frame = self.open(head.phase.as_str(), head.begin_ns)?;
            if let Some(profile) = &mut self.profile {
                profile.phase = Some((head.repetition, head.phase, frame));
            }
        }
        let is_chunk = head.phase == Phase::Prefill || head.rows > 1;
        let token = self.open(if is_chunk { "chunk" } else { "token" }, head.begin_ns)?;
        for ops in batch.ops.chunk_by(|a, b| batch.site(a).layer == batch.site(b).layer) {
            let Some((first, last)) = ops.first().zip(ops.last()) else { continue };
            let layer = match batch.site(first).layer {
                Some(layer) => Some(self.open(&format!("layer {layer}"), first.begin_ns)?),
                None => None,
            };
            for op in ops {
                let frame = self.open(&batch.site(op).name, op.begin_ns)?;
                self.event('C', frame, op.end_ns())?;
            }
            if let Some(layer) = layer {
                self.event('C', layer, last.end_ns())?;
            }
        }
        self.event('C', token, batch.end_ns())
    }
}

impl<W: Write> Export for Speedscope<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Batch(batch) if batch.head().lane == HOST_LANE => self.batch(batch),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_profile()?;
        if !self.has_profiles {
            self.out.write_all(b"{\"profiles\":[")?;
        }
        self.out.write_all(b"],\n\"shared\":{\"frames\":[")?;
        for (at, name) in self.frames.all().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(self.out, r#"{separator}{{"name":{}}}"#, quoted(name))?;
        }
        let exporter = concat!("slmscope ", env!("CARGO_PKG_VERSION"));
        write!(
            self.out,
            "]}},\n\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"{exporter}\"}}\n"
        )?;
        self.out.flush()
    }
}
