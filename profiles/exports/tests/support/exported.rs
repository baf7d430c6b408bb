//! A recording with everything that exports show, and readers of formats that no other reader is at hand for.

use std::collections::{BTreeMap, HashMap};

use slmscope_exports::recording::Entry;
use slmscope_profiles::channel::{Channel, Class, Kind, Quantity, ReasonCode, Sample, Scope, Unit, Value};
use slmscope_profiles::op::{OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::Rows;
use slmscope_profiles::plan::site::{Cost, Module, OpKind, OpSite, SiteWeight};
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::stats::SplitMix;

use crate::support::{self, batch};

/// Clocks of the header of [`support::session`] by Perfetto's numbers: CLOCK_MONOTONIC, CLOCK_BOOTTIME and the wall clock.
pub const CLOCKS: [(u64, u64); 3] = [(3, 1), (6, 1 + 3), (1, 2)];

const LAYERS: u32 = 3;

fn site(id: u16, layer: Option<u32>, module: Module, name: &str, kind: OpKind) -> OpSite {
    let format = slmscope_profiles::format::WeightFormat::Q4_0.into();
    let weights = vec![SiteWeight { tensor: name.to_owned(), format, shape: [64, 32] }];
    let is_product = kind == OpKind::Matmul;
    OpSite {
        id,
        layer,
        module,
        name: name.to_owned(),
        kind,
        weights: if is_product { weights } else { Vec::new() },
        fuses: Vec::new(),
        cost: Cost {
            bytes: 1000 + u64::from(id),
            bytes_per_row: 10,
            bytes_per_cached: 1,
            flops_per_row: if is_product { 5000 } else { 0 },
            flops_per_attended: 0,
            window: None,
            rows: Rows::All,
        },
    }
}

/// The sites of a model with three layers.
fn sites() -> Vec<OpSite> {
    let mut sites = vec![site(0, None, Module::Embedding, "embed.lookup", OpKind::Embed)];
    for layer in 0..LAYERS {
        for (module, name, kind) in [
            (Module::Attention, "attn.norm", OpKind::Norm),
            (Module::Attention, "attn.qkv_proj", OpKind::Matmul),
            (Module::Ffn, "ffn.up_proj", OpKind::Matmul),
            (Module::Ffn, "ffn.down_proj", OpKind::Matmul),
        ] {
            sites.push(site(sites.len() as u16, Some(layer), module, name, kind));
        }
    }
    sites.push(site(sites.len() as u16, None, Module::LmHead, "lm_head.logits", OpKind::Matmul));
    sites
}

fn channel(number: u16, id: &str, quantity: Quantity, unit: Unit, kind: Kind) -> Channel {
    Channel {
        channel: number,
        id: id.to_owned(),
        quantity,
        unit,
        scope: Scope::Package,
        class: Class::Measured,
        kind,
        source: "/sys/x".to_owned(),
        period_ns: None,
        update_ns: None,
        reason: None,
        remedy: None,
    }
}

fn record(record: Record) -> Entry {
    Entry::Record(record.into())
}

/// [`support::session`] with sites and channels: two tokens of warm-up, a chunk of 16 rows, and `tokens` of decode.
pub fn session(tokens: u32) -> Vec<Entry> {
    let mut random = SplitMix(9);
    let plan_sites = sites();
    let events = plan_sites.len() as u32;
    let mut entries = Vec::new();
    for entry in support::session(0) {
        match &entry {
            Entry::Record(shared) => match &**shared {
                Record::Catalogue { .. } => entries.push(record(Record::Catalogue {
                    channels: vec![
                        channel(
                            0,
                            "energy.package",
                            Quantity::Energy,
                            Unit::Joules,
                            Kind::Counter { range: None },
                        ),
                        channel(1, "power.package", Quantity::Power, Unit::Watts, Kind::Rate { of: 0 }),
                        channel(2, "temp.package", Quantity::Temperature, Unit::Celsius, Kind::Gauge),
                    ],
                })),
                Record::Plan(plan) => {
                    entries
                        .push(record(Record::Plan(PlanRecord { sites: plan_sites.clone(), ..plan.clone() })));
                    entries.extend(run(tokens, events, &mut random));
                }
                Record::Span(_) => {}
                _ => entries.push(entry),
            },
            _ => entries.push(entry),
        }
    }
    entries
}

/// The batches, readings and phases of a run.
fn run(tokens: u32, events: u32, random: &mut SplitMix) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |batch: &OpBatch| entries.push(record(Record::Ops(batch.into())));
    for token in 0..2 {
        let mut warm = batch(token, events, random);
        warm.head.phase = Phase::Warmup;
        add(&warm);
    }
    let mut chunk = batch(2, events, random);
    (chunk.head.phase, chunk.head.rows, chunk.head.token) = (Phase::Prefill, 16, 0);
    add(&chunk);
    let span = |phase, begin_ns, batches: &[OpBatch]| {
        let ends: Vec<u64> = batches.iter().map(|batch| batch.head.end_ns).collect();
        record(Record::Span(slmscope_profiles::job::Span {
            job: 1,
            repetition: 0,
            phase,
            begin_ns,
            end_ns: ends.last().copied().unwrap_or(begin_ns),
            tokens: batches.iter().map(|batch| batch.head.rows).sum(),
            sample_ns: 0,
            token_ends_ns: ends,
        }))
    };
    let prefill = span(Phase::Prefill, chunk.head.begin_ns, &[chunk]);
    let mut decode = Vec::new();
    for token in 0..tokens {
        let mut step = batch(token + 3, events, random);
        step.head.token = token;
        add(&step);
        decode.push(step);
    }
    entries.push(prefill);
    for second in 0..tokens {
        let heat = if second == 1 { Value::Absent(ReasonCode::GatedOrAsleep) } else { Value::Present(51.5) };
        let values = vec![(0, Value::Present(2.0 * f64::from(second))), (2, heat)];
        let t_ns = decode[0].head.begin_ns + u64::from(second) * 1_000_000_000;
        entries.push(record(Record::Sample(Sample { t_ns, values, ..Sample::default() })));
    }
    let begin_ns = decode.first().map_or(0, |step| step.head.begin_ns);
    entries.push(span(Phase::Decode, begin_ns, &decode));
    entries
}

/// Batches whose numbers are anything at all, after a plan.
pub fn damaged(count: usize, random: &mut SplitMix) -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        session(0).into_iter().filter(|entry| !matches!(entry, Entry::Result { .. })).collect();
    for token in 0..count as u32 {
        let mut batch = batch(token, 20, random);
        let head = &mut batch.head;
        (head.begin_ns, head.end_ns) = (random.next_u64() >> 2, random.next_u64() >> 2);
        (head.rows, head.context, head.tick_ns) = (random.next_u64() as u32, random.next_u64() as u32, 3);
        for event in &mut batch.events {
            let any = |random: &mut SplitMix| random.next_u64() as u32 >> random.below(32);
            *event = OpEvent {
                site: random.below(20) as u16,
                reserved: 0,
                gap: any(random),
                duration: any(random),
            };
        }
        batch.spans = vec![NamedSpan { name: SpanName::Sample, ns: random.next_u64() >> 3 }];
        entries.push(record(Record::Ops((&batch).into())));
    }
    entries
}

/// A field of a protobuf message.
pub enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("it is no number"),
        }
    }

    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => panic!("it is a number"),
        }
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// The fields of a message, in their order.
pub fn fields(message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < message.len() {
        let key = varint(message, &mut at);
        let content = match key & 7 {
            0 => Field::Number(varint(message, &mut at)),
            1 => {
                at += 8;
                Field::Number(u64::from_le_bytes(message[at - 8..at].try_into().unwrap()))
            }
            2 => {
                let length = varint(message, &mut at) as usize;
                at += length;
                Field::Bytes(&message[at - length..at])
            }
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, content));
    }
    all
}

/// The first field of that number.
pub fn field<'a, 'b>(fields: &'b [(u64, Field<'a>)], number: u64) -> Option<&'b Field<'a>> {
    fields.iter().find(|(one, _)| *one == number).map(|(_, field)| field)
}

/// A packed list of numbers.
pub fn packed(bytes: &[u8]) -> Vec<u64> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        all.push(varint(bytes, &mut at));
    }
    all
}

/// A Perfetto trace as it was read.
#[derive(Default)]
pub struct Trace {
    pub clocks: Vec<(u64, u64)>,
    pub tracks: Vec<String>,
    pub slices: Vec<TraceSlice>,
    pub counters: HashMap<String, Vec<f64>>,
    /// Links that end in a slice.
    pub flows: usize,
    /// Moments.
    pub instants: usize,
}

pub struct TraceSlice {
    pub name: String,
    pub begin_ns: u64,
    pub end_ns: u64,
    /// Numbers; texts are 0.
    pub args: HashMap<String, u64>,
}

fn text(field: &Field<'_>) -> String {
    String::from_utf8(field.bytes().to_vec()).unwrap()
}

/// Reads a trace, and checks that its slices are nested and its names are known before they are used.
pub fn perfetto(bytes: &[u8]) -> Trace {
    let mut trace = Trace::default();
    let mut now_ns = 0;
    let mut default_track = None;
    let (mut names, mut keys) = (HashMap::new(), HashMap::new());
    let mut tracks: BTreeMap<u64, String> = BTreeMap::new();
    let mut open: BTreeMap<u64, Vec<TraceSlice>> = BTreeMap::new();
    for (_, packet) in fields(bytes) {
        let packet = fields(packet.bytes());
        assert_eq!(field(&packet, 10).unwrap().number(), 1, "one sequence");
        if let Some(snapshot) = field(&packet, 6) {
            for (_, clock) in fields(snapshot.bytes()).iter().filter(|(number, _)| *number == 1) {
                let clock = fields(clock.bytes());
                let (id, ns) = (field(&clock, 1).unwrap().number(), field(&clock, 2).unwrap().number());
                if id == 64 {
                    now_ns = ns;
                } else {
                    trace.clocks.push((id, ns));
                }
            }
        }
        for (kind, entry) in field(&packet, 12).map_or(Vec::new(), |interned| fields(interned.bytes())) {
            let entry = fields(entry.bytes());
            let (id, name) = (field(&entry, 1).unwrap().number(), text(field(&entry, 2).unwrap()));
            match kind {
                2 => drop(names.insert(id, name)),
                3 => drop(keys.insert(id, name)),
                _ => {}
            }
        }
        if let Some(defaults) = field(&packet, 59) {
            let of_events = field(&fields(defaults.bytes()), 11).map(|event| fields(event.bytes()));
            default_track = of_events.and_then(|event| field(&event, 11).map(Field::number));
        }
        if let Some(track) = field(&packet, 60) {
            let track = fields(track.bytes());
            let process = field(&track, 3).map(|process| fields(process.bytes()));
            let name = process.as_ref().and_then(|process| field(process, 6)).or_else(|| field(&track, 2));
            tracks.insert(field(&track, 1).unwrap().number(), text(name.unwrap()));
        }
        let Some(event) = field(&packet, 11) else { continue };
        let event = fields(event.bytes());
        let time = field(&packet, 8).unwrap().number();
        let t_ns = if field(&packet, 58).is_some() {
            time
        } else {
            now_ns += time;
            now_ns
        };
        let track = field(&event, 11).map(Field::number).or(default_track).unwrap();
        let stack = open.entry(track).or_default();
        match field(&event, 9).unwrap().number() {
            1 => {
                let name: &String = &names[&field(&event, 10).unwrap().number()];
                let mut args = HashMap::new();
                for (_, arg) in event.iter().filter(|(number, _)| *number == 4) {
                    let arg = fields(arg.bytes());
                    let key: &String = &keys[&field(&arg, 1).unwrap().number()];
                    args.insert(key.clone(), field(&arg, 3).map_or(0, Field::number));
                }
                trace.flows += usize::from(field(&event, 48).is_some());
                stack.push(TraceSlice { name: name.clone(), begin_ns: t_ns, end_ns: 0, args });
            }
            2 => {
                let mut slice = stack.pop().expect("what ends has begun");
                assert!(t_ns >= slice.begin_ns, "{} ends before it begins", slice.name);
                slice.end_ns = t_ns;
                trace.slices.push(slice);
            }
            3 => trace.instants += 1,
            4 => {
                let value = f64::from_bits(field(&event, 44).unwrap().number());
                trace.counters.entry(tracks[&track].clone()).or_default().push(value);
            }
            _ => {}
        }
    }
    assert!(open.values().all(Vec::is_empty), "all slices end");
    trace.tracks = tracks.into_values().collect();
    trace
}
