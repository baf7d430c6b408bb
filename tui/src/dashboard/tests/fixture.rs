//! The stream of a constructed daemon: a plan of two layers, a few channels, and summaries.

use std::sync::Arc;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use slmscope_profiles::books::Books;
use slmscope_profiles::channel::{
    Channel, Class, Kind, Quantity, Reason, ReasonCode, Sample, Scope, Unit, Value,
};
use slmscope_profiles::format::WeightFormat;
use slmscope_profiles::job::{Job, JobState};
use slmscope_profiles::lane::{HOST_LANE, Lane};
use slmscope_profiles::model::ModelSource;
use slmscope_profiles::op::{Granularity, Phase};
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite, SiteWeight};
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::roofline::{RoofSample, Roofs};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::summary::Summary;
use slmscope_profiles::totals::{EventPlace, OpTotals, SiteTotals};
use slmscope_profiles::wire::{Capability, Frame, Hello, Method, Talk};
use slmscope_profiles::workload::Workload;

use super::super::settings::{Environment, Settings};
use super::super::state::State;
use super::super::update::update;
use super::super::{Choice, Effect, Idle, Msg, Options};

/// Settings of a usual terminal.
pub(super) fn settings() -> Arc<Settings> {
    let environment = Environment { term: "xterm".to_owned(), ..Environment::default() };
    Arc::new(Settings::of("", "", None, &environment))
}

pub(super) fn options() -> Options {
    Options {
        private: false,
        target: "slmscope.sock".to_owned(),
        remote: false,
        settings: settings(),
        model: "smollm2-135m".to_owned(),
        idle: Idle::Offer,
        models: ["my-model.gguf", "smollm2-135m", "smollm2-360m", "gemma3-270m"]
            .map(|name| Choice {
                name: name.to_owned(),
                facts: "135M, q4_0".to_owned(),
                bytes: 72 << 20,
                needs: (name != "my-model.gguf").then_some(80 << 20),
            })
            .to_vec(),
    }
}

pub(super) fn hello() -> Hello {
    Hello {
        protocol: [1, 1],
        version: "1.2.3".to_owned(),
        uid: 1000,
        capabilities: vec![Capability::Read, Capability::Submit],
        client_uid: Some(1000),
        now_ns: None,
    }
}

pub(super) fn job(state: JobState) -> Job {
    Job {
        job: 7,
        model: "smollm2-135m".to_owned(),
        workload: Workload { looped: true, repetitions: Some(5), ..Workload::default() },
        uid: 1000,
        state,
        ahead: 0,
        source: ModelSource::Synthetic,
        format: Some(WeightFormat::Q4_0),
        files: Vec::new(),
        repetition: (state == JobState::Measuring).then_some(2),
        turns: 1,
        worker: Some(4242),
        error: None,
        submitted_ns: None,
        ended_ns: None,
        progress: None,
    }
}

fn site(id: u16, layer: Option<u32>, module: Module, name: &str, kind: OpKind) -> OpSite {
    let weight = SiteWeight { tensor: name.to_owned(), format: WeightFormat::Q4_0.into(), shape: [576, 576] };
    OpSite {
        id,
        layer,
        module,
        name: name.to_owned(),
        kind,
        weights: if kind == OpKind::Matmul { vec![weight] } else { Vec::new() },
        fuses: Vec::new(),
        cost: Cost {
            bytes: 0,
            bytes_per_row: 0,
            bytes_per_cached: 0,
            flops_per_row: 0,
            flops_per_attended: 0,
            window: None,
            rows: Rows::All,
        },
    }
}

pub(super) fn plan() -> PlanRecord {
    let sites = vec![
        site(0, None, Module::Embedding, "embed.tokens", OpKind::Embed),
        site(1, Some(0), Module::Attention, "attn.qkv_proj", OpKind::Matmul),
        site(2, Some(0), Module::Attention, "attn.attention", OpKind::Attention),
        site(3, Some(0), Module::Ffn, "ffn.gate_up_proj", OpKind::Matmul),
        site(4, Some(1), Module::Attention, "attn.qkv_proj", OpKind::Matmul),
        site(5, Some(1), Module::Attention, "attn.attention", OpKind::Attention),
        site(6, Some(1), Module::Ffn, "ffn.gate_up_proj", OpKind::Matmul),
        site(7, None, Module::LmHead, "lm_head", OpKind::Matmul),
    ];
    let look = RoofSample { at_ns: 1, read_bytes: 2e9, f32_flops: 1e9, int8_ops: 1.2e9 };
    let roofs = Roofs::of(&[look], 2, "avx2", 1);
    PlanRecord {
        plan: 3,
        model: "smollm2-135m".to_owned(),
        threads: 2,
        path: "avx2".to_owned(),
        granularity: Granularity::Op,
        lanes: vec![Lane::host(2)],
        roofs,
        sites,
    }
}

/// Ten tokens of 10 ms: 9.6 ms in ops, 0.1 ms between them, 0.25 ms sampling, 0.05 ms unattributed.
pub(super) fn summary(phase: Phase) -> Summary {
    let times: [u64; 8] = [100_000, 2_000_000, 300_000, 2_400_000, 2_000_000, 400_000, 1_400_000, 1_000_000];
    let tokens = 10;
    let sum = |(site, time): (usize, &u64)| SiteTotals {
        site: site as u16,
        totals: OpTotals {
            count: tokens,
            time_ns: time * tokens,
            max_ns: time * 2,
            max_at: Some(EventPlace { repetition: 2, token: 4 }),
            bytes: 400_000 * tokens,
            flops: 800_000 * tokens,
        },
    };
    Summary {
        job: 7,
        plan: 3,
        lane: HOST_LANE,
        repetition: 2,
        phase,
        first_seq: 1,
        last_seq: tokens,
        begin_ns: 0,
        end_ns: 10_000_000 * tokens,
        rows: tokens,
        context: 522,
        books: Books {
            wall_ns: 10_000_000 * tokens,
            ops_ns: 9_600_000 * tokens,
            gap_ns: 100_000 * tokens,
            other: vec![NamedSpan { name: SpanName::Sample, ns: 250_000 * tokens }],
            unattributed_ns: 50_000 * tokens,
        },
        bytes: 3_200_000 * tokens,
        flops: 6_400_000 * tokens,
        token_ns: vec![9_900_000, 10_100_000, 10_000_000, 9_500_000, 10_500_000]
            .into_iter()
            .cycle()
            .take(10)
            .collect(),
        sites: times.iter().enumerate().map(sum).collect(),
    }
}

pub(super) fn channel(number: u16, id: &str, quantity: Quantity, unit: Unit, scope: Scope) -> Channel {
    Channel {
        channel: number,
        id: id.to_owned(),
        quantity,
        unit,
        scope,
        class: Class::Measured,
        kind: Kind::Gauge,
        source: format!("/sys/class/{id}"),
        period_ns: Some(100_000_000),
        update_ns: None,
        reason: None,
        remedy: None,
    }
}

pub(super) fn catalogue() -> Vec<Channel> {
    let cpu = |number, cpu| Channel {
        class: Class::Derived,
        ..channel(number, &format!("cpu.cpu{cpu}"), Quantity::Cpu, Unit::Ratio, Scope::CpuN(cpu))
    };
    let energy = Channel {
        kind: Kind::Counter { range: Some(262_143.0) },
        ..channel(2, "energy.package-0", Quantity::Energy, Unit::Joules, Scope::Package)
    };
    let power = Channel {
        kind: Kind::Rate { of: 2 },
        class: Class::Derived,
        ..channel(3, "power.package-0", Quantity::Power, Unit::Watts, Scope::Package)
    };
    let fan = Channel {
        class: Class::Unavailable,
        source: String::new(),
        reason: Some(Reason::new(ReasonCode::NoSuchInterface, "no hwmon fan")),
        remedy: Some("modprobe nct6775".to_owned()),
        ..channel(6, "fan.fan1", Quantity::Fan, Unit::Rpm, Scope::Machine)
    };
    vec![
        cpu(0, 0),
        cpu(1, 1),
        energy,
        power,
        channel(4, "temp.x86_pkg_temp", Quantity::Temperature, Unit::Celsius, Scope::Package),
        channel(5, "mem.worker.rss", Quantity::Memory, Unit::Bytes, Scope::Process),
        fan,
    ]
}

/// A reading at second `t`: 12.5 W, 54 °C.
pub(super) fn sample(t: u64) -> Sample {
    let values = [(0, 0.95), (1, 0.5), (2, 12.5 * t as f64), (4, 54.0), (5, 312.0 * 1024.0 * 1024.0)];
    let values = values.into_iter().map(|(channel, value)| (channel, Value::Present(value))).collect();
    Sample { t_ns: t * 1_000_000_000, values, ..Sample::default() }
}

pub(super) fn frame(state: &mut State, frame: impl Into<Frame>) -> Vec<Effect> {
    update(state, Msg::Frame(Box::new(frame.into())))
}

pub(super) fn press(state: &mut State, code: KeyCode) -> Vec<Effect> {
    update(state, Msg::Input(Event::Key(KeyEvent::new(code, KeyModifiers::NONE))))
}

pub(super) fn letters(state: &mut State, text: &str) {
    for letter in text.chars() {
        press(state, KeyCode::Char(letter));
    }
}

/// A connected dashboard that has seen nothing else.
pub(super) fn connected() -> State {
    let mut state = State::new(options());
    update(&mut state, Msg::Tick { now_ns: 1_000_000_000 });
    update(&mut state, Msg::Connected { hello: hello() });
    state
}

/// A dashboard in the middle of a job.
pub(super) fn busy() -> State {
    let mut state = connected();
    frame(&mut state, Record::Catalogue { channels: catalogue() });
    frame(&mut state, Talk::Job(Box::new(job(JobState::Measuring))));
    frame(&mut state, Record::Plan(plan()));
    for t in 1..=8 {
        frame(&mut state, Record::Sample(sample(t)));
    }
    frame(&mut state, summary(Phase::Prefill));
    for _ in 0..20 {
        frame(&mut state, summary(Phase::Decode));
    }
    update(&mut state, Msg::Tick { now_ns: 8_500_000_000 });
    state
}

/// The requests among side effects.
pub(super) fn sent<'a>(effects: &'a [Effect]) -> Vec<&'a Method> {
    let method = |effect: &'a Effect| match effect {
        Effect::Send(request) => Some(&request.method),
        _ => None,
    };
    effects.iter().filter_map(method).collect()
}
