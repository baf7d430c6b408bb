//! Collects what a job has measured, and builds its result from that at any time.

use slmscope_probes::process::{ProcessMemory, ThreadUsage};
use slmscope_profiles::channel::{Channel, Sample};
use slmscope_profiles::conditions::Conditions;
use slmscope_profiles::drift::changes;
use slmscope_profiles::energy::Energy;
use slmscope_profiles::finding::rules::findings;
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::host::Host;
use slmscope_profiles::hygiene::{Issue, IssueCode, ThreadTime};
use slmscope_profiles::job::{JobId, Span};
use slmscope_profiles::op::Granularity;
use slmscope_profiles::overhead::{Recording, Stolen, overhead};
use slmscope_profiles::plan::site::divides_all;
use slmscope_profiles::profile::Profile;
use slmscope_profiles::result::{
    EngineInfo, Grade, Hygiene, Memory, ModelInfo, ModelSource, RUN_SCHEMA, Recorded, RunResult, RunStatus,
    WorkerInfo,
};
use slmscope_profiles::roofline::Roofs;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::workload::{ExecutorKind, OverheadMode};
use slmscope_profiles::{bandwidth, command, energy};

use super::roofs::RoofSamples;
use super::usage::UsageSnapshot;
use super::{JobRequest, hygiene};
use crate::backend::protocol::Loaded;

/// What a job has measured so far.
pub(super) struct ResultBuilder {
    /// Names the turn that runs.
    run_id: String,
    /// The loop's first turn, which loaded the weights; `None` in that turn.
    loaded_by: Option<String>,
    /// When the run, or this turn of a loop, began: wall clock, ns since 1970.
    began_ns: u64,
    command: String,
    host: Host,
    model: ModelInfo,
    engine: EngineInfo,
    setup: Setup,
    workload: slmscope_profiles::workload::Workload,
    pub(super) profile: Profile,
    pub(super) loaded: Option<Loaded>,
    /// At the begin and at the end of the measured repetitions.
    pub(super) before: Option<UsageSnapshot>,
    pub(super) after: Option<UsageSnapshot>,
    /// Begin and end of the idle baseline, ns.
    pub(super) idle: Option<(u64, u64)>,
    /// Power of that time by source, W, once a result has been built: readings are kept for one turn alone.
    baselines: Vec<(String, f64)>,
    pub(super) process: Option<ProcessMemory>,
    pub(super) roofs: RoofSamples,
    /// Roofs of earlier runs on this machine, the newest first.
    pub(super) earlier: Vec<Roofs>,
    /// Wall times of tokens with the recorder on and off, ns.
    pub(super) recording: Option<(Vec<u32>, Vec<u32>)>,
    pub(super) hash: Option<String>,
    pub(super) file_changed: bool,
    pub(super) generated_ids: Vec<u32>,
    pub(super) text: Option<String>,
}

impl ResultBuilder {
    /// Nothing is measured yet for `request`, which is job `job` and runs with `setup` on `host`.
    pub(super) fn new(job: JobId, request: &JobRequest, setup: Setup, host: Host) -> Self {
        let mut workload = request.submit.workload.shown();
        workload.threads = Some(setup.threads.get() as u32);
        workload.kv = Some(request.kv());
        match request.submit.model.source() {
            ModelSource::Synthetic => workload.format = Some(request.format()),
            ModelSource::Gguf => workload.format = None,
            ModelSource::Hf => {}
        }
        workload.ignore_eos = Some(!workload.stops_at_end());
        Self {
            run_id: run_id(job),
            loaded_by: None,
            began_ns: crate::clock::wall_ns(),
            command: command::line(request.submit.model.name(), &request.submit.workload),
            host,
            model: ModelInfo {
                id: request.model_id(),
                source: request.submit.model.source(),
                hash: None,
                params: None,
                weight_bytes: None,
                format: request.synthetic_format(),
                not_in_format: Vec::new(),
                holds_k_quants: None,
            },
            engine: EngineInfo {
                executor: setup.executor.name().to_owned(),
                threads: Some(setup.threads.get() as u32),
                isa: (setup.executor == ExecutorKind::Cpu).then(|| setup.isa.to_string()),
                granularity: Granularity::Op,
                note: None,
            },
            setup,
            workload,
            profile: Profile::default(),
            loaded: None,
            before: None,
            after: None,
            idle: None,
            baselines: Vec::new(),
            process: None,
            roofs: RoofSamples::default(),
            earlier: Vec::new(),
            recording: None,
            hash: None,
            file_changed: false,
            generated_ids: Vec::new(),
            text: None,
        }
    }

    /// Drops what belongs to one turn of job `job`, a loop.
    pub(super) fn start_turn(&mut self, job: JobId) {
        let ended = std::mem::replace(&mut self.run_id, run_id(job));
        self.loaded_by.get_or_insert(ended);
        self.profile.clear();
        self.began_ns = crate::clock::wall_ns();
        (self.before, self.after) = (None, None);
    }

    /// The result by what was measured and recorded so far; `now_ns` is the end of a run that did not complete its
    /// repetitions.
    pub(super) fn build(
        &self,
        status: RunStatus,
        error: Option<String>,
        (samples, channels): (&[Sample], &[Channel]),
        recorded: Recorded,
        now_ns: u64,
    ) -> RunResult {
        let loaded = self.loaded.as_ref();
        let (model, engine) = self.model_and_engine();
        let ended_ns = self.after.as_ref().map_or(now_ns, |after| after.at_ns);
        let roofs = self.roofs.roofs(ended_ns);
        let (phases, ops) = (self.profile.phases(), self.profile.ops(&roofs));
        let spans = self.profile.spans();
        let measured = bandwidth::Measured { spans, books: &phases, ops: &ops };
        let emits = self.workload.generate > 0;
        // Loading is no part of a later turn of a loop.
        let load = loaded.filter(|_| self.loaded_by.is_none()).map(|loaded| loaded.load);
        let tokenize_ns = loaded.map_or(0, |loaded| loaded.tokenize_ns);
        let mut result = RunResult {
            schema: RUN_SCHEMA.to_owned(),
            slmscope: crate::VERSION.to_owned(),
            status,
            error,
            findings: Vec::new(),
            run_id: Some(self.run_id.clone()),
            date: date(self.began_ns),
            command: Some(self.command.clone()),
            host: Some(self.host.clone()),
            model,
            engine,
            worker: self.worker(),
            workload: self.workload.clone(),
            hygiene: self.hygiene(&roofs),
            roofs,
            summary: self.profile.figures(tokenize_ns, emits, load),
            memory: self.memory(),
            energy: self.with_baselines(energy::of_phases(spans, self.idle, samples, channels)),
            bandwidth: bandwidth::of_phases(measured, samples, channels),
            recorded,
            conditions: Conditions::of(spans, self.setup.threads.get() as u32, samples, channels),
            overhead: overhead(&self.recording(), self.stolen(), &phases, &ops),
            threads: self.threads(),
            phases,
            lanes: self.profile.lanes(),
            ops,
            prompt_ids: loaded.map(|loaded| loaded.prompt_ids.clone()).unwrap_or_default(),
            generated_ids: self.generated_ids.clone(),
            text: self.text.clone(),
        };
        result.findings = findings(&result);
        result
    }

    /// The model and the engine as they were asked for, with what is known of them since the model was loaded.
    fn model_and_engine(&self) -> (ModelInfo, EngineInfo) {
        let (mut model, mut engine) = (self.model.clone(), self.engine.clone());
        if let Some(loaded) = &self.loaded {
            model.params = loaded.params;
            model.weight_bytes = loaded.weight_bytes;
            model.format = loaded.format;
            model.not_in_format.clone_from(&loaded.not_in_format);
            model.holds_k_quants = divides_all(&loaded.sites, WeightFormat::Q4K);
            engine.executor.clone_from(&loaded.executor);
            engine.isa = Some(loaded.isa.clone());
            engine.note = EngineInfo::note_on(self.setup.executor, &loaded.isa);
            engine.granularity = loaded.granularity;
        }
        model.hash.clone_from(&self.hash);
        (model, engine)
    }

    /// Keeps the power of the idle baseline for the next turns of a loop.
    pub(super) fn keep_baseline(&mut self, energy: &Energy) {
        for row in &energy.phases {
            if let (Some(source), Some(watts)) = (&row.source, row.baseline_watts)
                && !self.baselines.iter().any(|(known, _)| known == source)
            {
                self.baselines.push((source.clone(), watts));
            }
        }
    }

    /// Adds the baseline to the energy of a turn that has no readings of it.
    fn with_baselines(&self, mut energy: Energy) -> Energy {
        for row in energy.phases.iter_mut().filter(|row| row.baseline_watts.is_none()) {
            let known = self.baselines.iter().find(|(source, _)| Some(source) == row.source.as_ref());
            let Some(&(_, watts)) = known else { continue };
            let spans = self.profile.spans().iter().filter(|span| span.phase == row.phase);
            let ns = spans.map(Span::wall_ns).fold(0, u64::saturating_add);
            row.baseline_watts = Some(watts);
            row.above_baseline_joules = row.joules.map(|joules| joules - watts * ns as f64 / 1e9);
        }
        energy
    }

    fn worker(&self) -> WorkerInfo {
        match &self.loaded_by {
            Some(first) => WorkerInfo::warm(first),
            None if self.loaded.is_some() => WorkerInfo::fresh(),
            None => WorkerInfo::absent("the run ended before the weights were loaded"),
        }
    }

    fn recording(&self) -> Recording<'_> {
        match &self.recording {
            Some((on_ns, off_ns)) => Recording::Times { on_ns, off_ns },
            None if self.workload.overhead == OverheadMode::Off => Recording::Off,
            None => Recording::Missing,
        }
    }

    fn stolen(&self) -> Option<Stolen> {
        let (older, newer) = self.before.as_ref().zip(self.after.as_ref())?;
        Some(Stolen {
            cpu_ns: newer.helpers_ns?.checked_sub(older.helpers_ns?)?,
            wall_ns: newer.at_ns.checked_sub(older.at_ns)?,
            threads: self.setup.threads.get() as u32,
        })
    }

    fn memory(&self) -> Memory {
        let Some(loaded) = &self.loaded else { return Memory::default() };
        let process = self.process.unwrap_or_default();
        let (listed, tokenizer) = (loaded.memory, loaded.tokenizer_bytes);
        let explained = listed
            .zip(loaded.runtime_rss)
            .map(|(listed, runtime)| listed.total() + tokenizer.unwrap_or(0) + runtime);
        Memory {
            weights: listed.map(|listed| listed.weights),
            packed: listed.map(|listed| listed.packed),
            kv: listed.map(|listed| listed.kv),
            scratch: listed.map(|listed| listed.scratch + listed.tables),
            tokenizer,
            runtime: loaded.runtime_rss,
            unexplained: process.rss.zip(explained).map(|(rss, explained)| rss as i64 - explained as i64),
            rss: process.rss,
            rss_peak: process.rss_peak,
            pss: process.pss,
            mapped: process.file,
            available: self.after.as_ref().and_then(|after| after.available),
            major_faults: self
                .before
                .as_ref()
                .zip(self.after.as_ref())
                .and_then(|(older, newer)| newer.major_faults?.checked_sub(older.major_faults?)),
            startup_major_faults: self.before.as_ref().and_then(|before| before.major_faults),
        }
    }

    /// CPU time of the engine threads during the measured repetitions, by thread.
    fn threads(&self) -> Vec<ThreadTime> {
        let (Some(older), Some(newer)) = (&self.before, &self.after) else { return Vec::new() };
        let wall_ns = newer.at_ns.saturating_sub(older.at_ns);
        let time = |thread: &ThreadUsage| {
            let before = older.computing.iter().find(|older| older.tid == thread.tid)?;
            Some(ThreadTime {
                name: thread.name.clone(),
                cpu_ns: thread.cpu_ns.checked_sub(before.cpu_ns)?,
                wall_ns,
                waited_ns: thread.waited_ns.checked_sub(before.waited_ns),
            })
        };
        newer.computing.iter().filter_map(time).collect()
    }

    fn hygiene(&self, roofs: &Roofs) -> Hygiene {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Hygiene::default() };
        let mut found = hygiene::assess(before, after);
        if self.file_changed {
            found.issues.push(Issue {
                code: IssueCode::FileChanged,
                grade: Grade::Poor,
                reason: "the model file was changed while it was in use".to_owned(),
            });
        }
        // The turns of a loop share the roofs of the first.
        if self.loaded_by.is_none() {
            found.changes = changes(roofs, &self.earlier);
        }
        hygiene::grade(found)
    }
}

/// RFC 3339 in UTC, to the second; `None` beyond the year 9999.
fn date(wall_ns: u64) -> Option<String> {
    let seconds = i64::try_from(wall_ns / 1_000_000_000).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

/// Unique among the runs of a machine: wall clock, process and job.
fn run_id(job: JobId) -> String {
    format!("{:x}-{:x}-{job}", crate::clock::wall_ns() / 1_000_000, std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_utc_to_the_second() {
        assert_eq!(date(1_790_000_007_999_999_999).as_deref(), Some("2026-09-21T14:13:27Z"));
        assert_eq!(date(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
