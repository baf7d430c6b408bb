//! What is known of a job so far, and the result that is made of it at any time.

use slmscope_engine::setup::Setup;
use slmscope_engine::threads::is_engine_thread;
use slmscope_probes::Root;
use slmscope_probes::hygiene::{self, Readings};
use slmscope_probes::process::{self, ProcessMemory};
use slmscope_profiles::channel::{Channel, Sample};
use slmscope_profiles::conditions::Conditions;
use slmscope_profiles::finding::findings;
use slmscope_profiles::host::Host;
use slmscope_profiles::job::{JobId, ModelRef};
use slmscope_profiles::overhead::{Recording, Stolen, overhead};
use slmscope_profiles::profile::Profile;
use slmscope_profiles::result::{
    EngineInfo, Grade, Hygiene, Memory, ModelInfo, ModelSource, RUN_SCHEMA, RunResult, RunStatus,
};
use slmscope_profiles::workload::OverheadMode;
use slmscope_profiles::{bandwidth, energy};

use super::roofs::Looks;
use super::{Order, fitness};
use crate::worker::protocol::Loaded;

/// Machine and own CPU time at one moment. Both are differences in the end, so they are taken together: what
/// the machine did between two moments less what we did between the same two is what others did.
pub(super) struct Moment {
    readings: Readings,
    at_ns: u64,
    /// CPU time of daemon, clients, and the worker's helper threads, ns.
    helpers: Option<u64>,
    /// CPU time of daemon, clients and the whole worker, ns.
    all: u64,
}

impl Moment {
    pub(super) fn take(root: &Root, worker: Option<u32>, clients: &[u32]) -> Self {
        let readings = hygiene::read(root);
        let daemon = process::cpu_ns(std::process::id());
        let clients: u64 = clients.iter().filter_map(|&pid| process::cpu_ns(pid)).sum();
        let threads = worker.map(process::threads_cpu_ns).unwrap_or_default();
        let is_helper = |name: &str| !is_engine_thread(name);
        let helpers: u64 = threads.iter().filter(|(_, name, _)| is_helper(name)).map(|(_, _, ns)| ns).sum();
        let worker = worker.and_then(process::cpu_ns).unwrap_or(0);
        Self {
            readings,
            at_ns: crate::clock::now_ns(),
            helpers: daemon.map(|daemon| daemon + clients + helpers),
            all: daemon.unwrap_or(0) + clients + worker,
        }
    }
}

/// Everything that is known of a job so far.
pub(super) struct Draft {
    host: Host,
    model: ModelInfo,
    engine: EngineInfo,
    setup: Setup,
    workload: slmscope_profiles::workload::Workload,
    pub(super) profile: Profile,
    pub(super) loaded: Option<Loaded>,
    /// When the measured repetitions began, and when they ended.
    pub(super) before: Option<Moment>,
    pub(super) after: Option<Moment>,
    /// Begin and end of the idle baseline, ns.
    pub(super) idle: Option<(u64, u64)>,
    pub(super) process: Option<ProcessMemory>,
    pub(super) looks: Looks,
    /// Times of tokens with the recorder on and off, ns.
    pub(super) recording: Option<(Vec<u32>, Vec<u32>)>,
    pub(super) hash: Option<String>,
    pub(super) file_changed: bool,
    pub(super) generated_ids: Vec<u32>,
    pub(super) text: Option<String>,
}

impl Draft {
    pub(super) fn new(order: &Order, host: Host) -> Self {
        let synthetic = matches!(order.submit.model, ModelRef::Catalogue(_));
        let mut workload = order.submit.workload.clone();
        let setup = order.setup();
        workload.threads = Some(setup.threads.get() as u32);
        workload.kv = Some(order.kv());
        match order.submit.model.source() {
            ModelSource::Synthetic => workload.format = Some(order.format()),
            ModelSource::Gguf => workload.format = None,
            ModelSource::Hf => {}
        }
        workload.ignore_eos = Some(!workload.stops_at_end());
        Self {
            host,
            model: ModelInfo {
                id: order.model_id(),
                source: order.submit.model.source(),
                hash: None,
                params: None,
                weight_bytes: None,
                format: synthetic.then(|| order.format()),
                not_in_format: Vec::new(),
            },
            engine: EngineInfo {
                executor: setup.executor.name().to_owned(),
                threads: setup.threads.get() as u32,
                isa: "unknown".to_owned(),
            },
            setup,
            workload,
            profile: Profile::default(),
            loaded: None,
            before: None,
            after: None,
            idle: None,
            process: None,
            looks: Looks::default(),
            recording: None,
            hash: None,
            file_changed: false,
            generated_ids: Vec::new(),
            text: None,
        }
    }

    /// Forgets what belongs to one turn of a loop.
    pub(super) fn begin_turn(&mut self) {
        self.profile.clear();
        (self.before, self.after, self.process) = (None, None, None);
    }

    /// The result as far as it is known.
    pub(super) fn result(
        &self,
        status: RunStatus,
        error: Option<String>,
        job: JobId,
        samples: &[Sample],
        channels: &[Channel],
    ) -> RunResult {
        let loaded = self.loaded.as_ref();
        let mut model = self.model.clone();
        let mut engine = self.engine.clone();
        if let Some(loaded) = loaded {
            model.params = Some(loaded.params);
            model.weight_bytes = Some(loaded.weight_bytes);
            model.format = loaded.format;
            model.not_in_format.clone_from(&loaded.not_in_format);
            engine.executor.clone_from(&loaded.executor);
            engine.isa.clone_from(&loaded.isa);
        }
        model.hash.clone_from(&self.hash);
        let ended_ns = self.after.as_ref().map_or_else(crate::clock::now_ns, |after| after.at_ns);
        let roofs = self.looks.roofs(self.setup, ended_ns);
        let (phases, ops) = (self.profile.phases(), self.profile.ops(&roofs));
        let spans = self.profile.spans();
        let emits = self.workload.generate > 0;
        let tokenize_ns = loaded.map_or(0, |loaded| loaded.tokenize_ns);
        let mut result = RunResult {
            schema: RUN_SCHEMA.to_owned(),
            slmscope: crate::VERSION.to_owned(),
            status,
            error,
            run_id: run_id(job),
            host: self.host.clone(),
            model,
            engine,
            workload: self.workload.clone(),
            hygiene: self.hygiene(),
            roofs,
            summary: self.profile.figures(tokenize_ns, emits, loaded.map(|loaded| loaded.load)),
            memory: self.memory(),
            energy: energy::of_phases(spans, self.idle, samples, channels),
            bandwidth: bandwidth::of_phases(spans, &ops, samples, channels),
            conditions: Conditions::of(spans, self.engine.threads, samples, channels),
            overhead: overhead(&self.recording(), self.stolen(), &phases, &ops),
            phases,
            ops,
            findings: Vec::new(),
            prompt_ids: loaded.map(|loaded| loaded.prompt_ids.clone()).unwrap_or_default(),
            generated_ids: self.generated_ids.clone(),
            text: self.text.clone(),
        };
        result.findings = findings(&result);
        result
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
            cpu_ns: newer.helpers?.checked_sub(older.helpers?)?,
            wall_ns: newer.at_ns.checked_sub(older.at_ns)?,
            threads: self.engine.threads,
        })
    }

    fn memory(&self) -> Memory {
        let Some(loaded) = &self.loaded else { return Memory::default() };
        let listed = loaded.memory;
        let found = self.process.unwrap_or_default();
        let scratch = listed.scratch + listed.runtime;
        let tokenizer = loaded.tokenizer_bytes;
        let listed_all = listed.total() + tokenizer.unwrap_or(0);
        let explained = loaded.runtime_rss.map(|runtime| listed_all + runtime);
        Memory {
            weights: Some(listed.weights),
            packed: Some(listed.packed),
            kv: Some(listed.kv),
            scratch: Some(scratch),
            tokenizer,
            runtime: loaded.runtime_rss,
            unexplained: found.rss.zip(explained).map(|(rss, explained)| rss as i64 - explained as i64),
            rss: found.rss,
            rss_peak: found.rss_peak,
            pss: found.pss,
            mapped: found.file,
        }
    }

    fn hygiene(&self) -> Hygiene {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Hygiene::default() };
        let own_ns = after.all.saturating_sub(before.all);
        let mut objections = fitness::objections(&before.readings, &after.readings, own_ns);
        if self.file_changed {
            objections.push((Grade::Poor, "the model file was changed while it was in use".to_owned()));
        }
        fitness::judged(objections)
    }
}

/// Unique among the runs of a machine: boot-wide clock, process and job.
fn run_id(job: JobId) -> String {
    format!("{:x}-{:x}-{job}", crate::clock::wall_ns() / 1_000_000, std::process::id())
}
