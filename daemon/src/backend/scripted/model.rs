//! What a scripted engine reports of its model: two ops a token, batches, phases.

use std::num::NonZeroUsize;

use slmscope_profiles::catalogue;
use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::format::{KvFormat, WeightFormat};
use slmscope_profiles::job::Span;
use slmscope_profiles::lane::{HOST_LANE, Lane};
use slmscope_profiles::op::{BatchHead, Granularity, OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite};
use slmscope_profiles::result::LoadTimes;
use slmscope_profiles::setup::Setup;
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::workload::ExecutorKind;

use super::{ISA, WEIGHTS};
use crate::backend::Event;
use crate::backend::protocol::{Load, Loaded, Prompt, Source};

/// Wall time of a scripted token, ns: two ops, a gap, sampling, and what nothing explains.
pub(crate) const TOKEN_NS: u64 = 1_000_000;
pub(crate) const OP_NS: u32 = 400_000;
pub(crate) const GAP_NS: u32 = 300;
pub(crate) const SAMPLE_NS: u64 = 50_000;

/// A token that a scripted engine makes.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) load: Load,
    pub(crate) repetition: u32,
    pub(crate) phase: Phase,
    pub(crate) index: u32,
    pub(crate) begin_ns: u64,
}

impl Token {
    /// The token so many later.
    pub(crate) fn after(&self, count: u32) -> Self {
        let begin_ns = self.begin_ns + u64::from(count) * TOKEN_NS;
        Self { index: self.index + count, begin_ns, ..self.clone() }
    }

    /// Its batch on the host's lane.
    pub(crate) fn batch(&self, seq: u64) -> OpBatch {
        let head = BatchHead {
            job: self.load.job,
            plan: self.load.plan,
            lane: HOST_LANE,
            repetition: self.repetition,
            phase: self.phase,
            token: self.index,
            rows: 1,
            context: self.index,
            seq,
            begin_ns: self.begin_ns,
            end_ns: self.begin_ns + TOKEN_NS,
            tick_ns: 1,
            clock: ClockSource::Host,
        };
        let event = |site| OpEvent { site, reserved: 0, gap: GAP_NS, duration: OP_NS };
        OpBatch {
            head,
            spans: vec![NamedSpan { name: SpanName::Sample, ns: SAMPLE_NS }],
            columns: Vec::new(),
            events: vec![event(0), event(1)],
        }
    }
}

/// The first token of a job.
pub(crate) fn token() -> Token {
    let load = Load {
        job: 1,
        plan: 1,
        source: Source::Synthetic {
            spec: Box::new(catalogue::find("smollm2-135m").expect("it is in the catalogue").spec()),
            format: WeightFormat::Q4_0,
            seed: 1,
        },
        setup: Setup { executor: ExecutorKind::Cpu, threads: NonZeroUsize::MIN, isa: ISA, cores: None },
        kv: KvFormat::F16,
        prompt: Prompt::Random(0),
        generate: 4,
        depth: 0,
        seed: 1,
        stops_at_end: false,
        memory_limit: None,
    };
    Token { load, repetition: 0, phase: Phase::Decode, index: 0, begin_ns: 0 }
}

/// The phase that these tokens make up.
pub(crate) fn span(tokens: &[Token]) -> Span {
    let first = tokens.first().expect("a phase has tokens");
    let ends: Vec<u64> = tokens.iter().map(|token| token.begin_ns + TOKEN_NS).collect();
    Span {
        job: first.load.job,
        repetition: first.repetition,
        phase: first.phase,
        begin_ns: first.begin_ns,
        end_ns: ends.last().copied().unwrap_or(first.begin_ns),
        tokens: tokens.len() as u32,
        sample_ns: SAMPLE_NS * tokens.len() as u64,
        token_ends_ns: ends,
    }
}

pub(crate) fn failed(message: &str) -> Event {
    Event::Failed { message: message.to_owned() }
}

/// A loaded model of two ops on the host's threads.
pub(crate) fn loaded(setup: Setup) -> Loaded {
    Loaded {
        sites: sites(),
        granularity: Granularity::Op,
        lanes: vec![Lane::host(setup.threads.get() as u32)],
        executor: "scripted".to_owned(),
        isa: "none".to_owned(),
        params: None,
        weight_bytes: Some(WEIGHTS),
        format: Some(WeightFormat::Q4_0),
        not_in_format: Vec::new(),
        prompt_ids: Vec::new(),
        tokenize_ns: 0,
        load: LoadTimes::default(),
        memory: None,
        tokenizer_bytes: None,
        runtime_rss: None,
    }
}

/// The two ops of a scripted model.
pub(crate) fn sites() -> Vec<OpSite> {
    let site = |id, name: &str, kind| OpSite {
        id,
        layer: Some(0),
        module: Module::Ffn,
        name: name.to_owned(),
        kind,
        weights: Vec::new(),
        fuses: Vec::new(),
        cost: Cost {
            bytes: 4_000_000,
            bytes_per_row: 0,
            bytes_per_cached: 0,
            flops_per_row: 8_000_000,
            flops_per_attended: 0,
            window: None,
            rows: Rows::All,
        },
    };
    vec![site(0, "ffn.gate_up_proj", OpKind::Matmul), site(1, "ffn.down_proj", OpKind::Matmul)]
}
