//! pprof's profile, gzip-compressed protobuf (<https://github.com/google/pprof/blob/main/proto/profile.proto>).
//!
//! Stacks are phase, module, layer, op. A sample has a value of each type: time, events, bytes and FLOPs by the plan's
//! rules, and energy where a phase's was measured: its part in proportion to time, which is modelled. Labels: the op's kind, the format of its weights, and what bounds it.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use slmscope_profiles::record::Header;
use slmscope_profiles::roofline::{Bound, Roofs};

use super::names::Names;
use super::proto::{bytes, integer, nested, varint};
use super::stacks::{Stack, Stacks};
use super::{Export, Item};

/// Name and unit of each value of a sample; the last only where energy was measured.
const TYPES: [(&str, &str); 5] = [
    ("time", "nanoseconds"),
    ("events", "count"),
    ("bytes", "bytes"),
    ("flops", "count"),
    ("modelled_energy", "microjoules"),
];

/// The fields of the messages that are written.
mod field {
    pub const SAMPLE_TYPE: u32 = 1;
    pub const SAMPLE: u32 = 2;
    pub const MAPPING: u32 = 3;
    pub const LOCATION: u32 = 4;
    pub const FUNCTION: u32 = 5;
    pub const STRING_TABLE: u32 = 6;
    pub const TIME_NANOS: u32 = 9;
    pub const DURATION_NANOS: u32 = 10;
    pub const COMMENT: u32 = 13;
    pub const DEFAULT_SAMPLE_TYPE: u32 = 14;
}

/// Makes a profile of items.
pub(super) struct Pprof<W: Write> {
    out: Option<W>,
    stacks: Stacks,
    header: Option<Header>,
    /// Model and roofs of the last plan.
    model: String,
    roofs: Roofs,
}

impl<W: Write> Pprof<W> {
    pub(super) fn new(out: W) -> Self {
        let roofs = Roofs::default();
        Self { out: Some(out), stacks: Stacks::default(), header: None, model: String::new(), roofs }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // The first text is the empty one.
        let mut texts = Names::default();
        texts.id("");
        let types = if self.stacks.has_energy() { TYPES.len() } else { TYPES.len() - 1 };
        for (name, unit) in TYPES.into_iter().take(types) {
            let (name, unit) = (texts.id(name), texts.id(unit));
            nested(&mut out, field::SAMPLE_TYPE, |out| value_type(out, name, unit));
        }
        // The program, to pprof: it names the profile by it, and asks nobody for symbols.
        let program = texts.id(&self.model);
        nested(&mut out, field::MAPPING, |out| {
            integer(out, 1, 1);
            integer(out, 5, u64::from(program));
            integer(out, 7, 1);
        });
        let mut places = Places::default();
        for stack in self.stacks.all() {
            let locations: Vec<u64> = stack.frames.iter().rev().map(|frame| places.id(frame)).collect();
            let labels = self.labels(&stack, &mut texts);
            let totals = stack.totals;
            nested(&mut out, field::SAMPLE, |out| {
                nested(out, 1, |out| locations.iter().for_each(|&id| varint(out, id)));
                let energy_uj = stack.energy_uj.unwrap_or(0);
                let values = [totals.time_ns, totals.count, totals.bytes, totals.flops, energy_uj];
                nested(out, 2, |out| values.iter().take(types).for_each(|&value| varint(out, value)));
                for (key, value) in labels {
                    nested(out, 3, |out| {
                        integer(out, 1, u64::from(key));
                        integer(out, 2, u64::from(value));
                    });
                }
            });
        }
        for (id, name) in (1..).zip(&places.names) {
            let name = texts.id(name);
            nested(&mut out, field::LOCATION, |out| {
                integer(out, 1, id);
                nested(out, 4, |out| integer(out, 1, id));
            });
            nested(&mut out, field::FUNCTION, |out| {
                integer(out, 1, id);
                integer(out, 2, u64::from(name));
            });
        }
        if let Some(header) = &self.header {
            integer(&mut out, field::TIME_NANOS, header.wall_ns);
        }
        integer(&mut out, field::DURATION_NANOS, self.stacks.host_wall_ns());
        let comment = texts.id(&format!("slmscope: {}", self.model));
        integer(&mut out, field::COMMENT, u64::from(comment));
        let default = texts.id(TYPES[0].0);
        integer(&mut out, field::DEFAULT_SAMPLE_TYPE, u64::from(default));
        for text in texts.all() {
            bytes(&mut out, field::STRING_TABLE, text.as_bytes());
        }
        out
    }

    /// Keys and values of what is known of a stack's op.
    fn labels(&self, stack: &Stack<'_>, texts: &mut Names) -> Vec<(u32, u32)> {
        let Some(site) = stack.site else { return Vec::new() };
        let totals = stack.totals;
        let bound = self.roofs.bound(site, totals.bytes, totals.flops);
        let bound = bound.and_then(|bound| bound.bound(totals.time_ns)).map(Bound::as_str);
        let format = site.weights.first().map(|weight| weight.format.name());
        let job = stack.job.to_string();
        let known =
            [("kind", Some(site.kind.as_str())), ("format", format), ("bound", bound), ("job", Some(&*job))];
        known.into_iter().filter_map(|(key, value)| Some((texts.id(key), texts.id(value?)))).collect()
    }
}

fn value_type(out: &mut Vec<u8>, name: u32, unit: u32) {
    integer(out, 1, u64::from(name));
    integer(out, 2, u64::from(unit));
}

/// Frames, which are places of the program to pprof, by name. Numbers begin at 1.
#[derive(Default)]
struct Places {
    names: Vec<String>,
    ids: HashMap<String, u64>,
}

impl Places {
    fn id(&mut self, name: &str) -> u64 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        self.names.push(name.to_owned());
        let id = self.names.len() as u64;
        self.ids.insert(name.to_owned(), id);
        id
    }
}

impl<W: Write> Export for Pprof<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Header(header) => self.header = Some((*header).clone()),
            Item::Plan { plan, .. } => {
                self.model.clone_from(&plan.model);
                self.roofs = plan.roofs.clone();
            }
            _ => {}
        }
        self.stacks.put(item);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let profile = self.encode();
        let Some(out) = self.out.take() else { return Ok(()) };
        let mut gzip = GzEncoder::new(out, Compression::default());
        gzip.write_all(&profile)?;
        gzip.finish()?.flush()
    }
}
