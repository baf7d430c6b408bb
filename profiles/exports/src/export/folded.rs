//! Folded stacks, a line each: `decode;ffn;layer 3;ffn.down_proj 81250000`. And the flame graph of them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::str::FromStr;

use inferno::differential;
use inferno::flamegraph::{self, Options};

use super::stacks::{Stack, Stacks};
use super::{Export, Item};

/// What stacks are weighed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Time, ns.
    Time,
    /// Op events.
    Events,
    /// Bytes by the plan's rules.
    Bytes,
    /// FLOPs by the plan's rules.
    Flops,
    /// The phase's energy in proportion to time, µJ: modelled.
    Energy,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Time, Self::Events, Self::Bytes, Self::Flops, Self::Energy];

    /// Its name in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Events => "events",
            Self::Bytes => "bytes",
            Self::Flops => "flops",
            Self::Energy => "energy",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Events => "events",
            Self::Bytes => "B",
            Self::Flops => "FLOP",
            Self::Energy => "µJ, modelled",
        }
    }

    fn of(self, stack: &Stack<'_>) -> u64 {
        let totals = &stack.totals;
        match self {
            Self::Time => totals.time_ns,
            Self::Events => totals.count,
            Self::Bytes => totals.bytes,
            Self::Flops => totals.flops,
            Self::Energy => stack.energy_uj.unwrap_or(0),
        }
    }
}

/// A word that names no measure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown measure `{0}`; known: time, events, bytes, flops, energy")]
pub struct UnknownMeasure(pub String);

impl FromStr for Measure {
    type Err = UnknownMeasure;

    fn from_str(text: &str) -> Result<Self, UnknownMeasure> {
        let found = Self::ALL.into_iter().find(|measure| measure.as_str() == text);
        found.ok_or_else(|| UnknownMeasure(text.to_owned()))
    }
}

/// All weights together are at most so much.
const MAX_WHOLE: u64 = i64::MAX as u64;

/// Makes folded stacks of items, or a flame graph.
pub(super) struct Folded<W: Write> {
    out: W,
    measure: Measure,
    is_graph: bool,
    stacks: Stacks,
    model: String,
}

impl<W: Write> Folded<W> {
    pub(super) fn new(out: W, measure: Measure, is_graph: bool) -> Self {
        Self { out, measure, is_graph, stacks: Stacks::default(), model: String::new() }
    }

    /// The lines, in the order of their stacks; those of several jobs are added up.
    fn lines(&self) -> Vec<String> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for stack in self.stacks.all() {
            let weight = self.measure.of(&stack);
            if weight > 0 {
                let frames: Vec<String> = stack.frames.iter().map(|frame| plain(frame)).collect();
                let sum = sums.entry(frames.join(";")).or_default();
                *sum = sum.saturating_add(weight);
            }
        }
        // Readers add the weights up: however large those of a damaged record are, their sum is a number.
        let mut room = MAX_WHOLE;
        let mut bounded = |weight: u64| {
            let weight = weight.min(room);
            room -= weight;
            weight
        };
        sums.into_iter().map(|(stack, weight)| format!("{stack} {}", bounded(weight))).collect()
    }
}

/// A frame's name without what separates frames and lines.
fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter == ';' || letter.is_control() { '_' } else { letter }).collect()
}

impl<W: Write> Export for Folded<W> {
    fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        if let Item::Plan { plan, .. } = item {
            self.model.clone_from(&plan.model);
        }
        self.stacks.put(item);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.measure == Measure::Energy && !self.stacks.has_energy() {
            let problem = "the recording has no energy of its phases; `slmscope report` says why";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let lines = self.lines();
        if self.is_graph {
            let title = format!("{}: {}", self.model, self.measure.as_str());
            return draw(&title, self.measure, lines.iter().map(String::as_str), &mut self.out);
        }
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }
}

fn draw<'a>(
    title: &str,
    measure: Measure,
    lines: impl Iterator<Item = &'a str>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        let problem = "no op events are selected, so that there is no flame graph";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut options = Options::default();
    title.clone_into(&mut options.title);
    measure.unit().clone_into(&mut options.count_name);
    // The same recording is the same picture.
    options.hash = true;
    options.deterministic = true;
    let mut picture = Vec::new();
    flamegraph::from_lines(&mut options, lines, &mut picture).map_err(io::Error::other)?;
    out.write_all(&picture)?;
    out.flush()
}

/// A flame graph of what `after` took, coloured by how that differs from `before`: red has a larger share of the whole,
/// blue a smaller one. Both are folded stacks by the same measure, of runs that may differ in length.
///
/// # Errors
/// If there is nothing in common to draw, or `out` takes no more.
pub fn difference_svg(
    before: &[u8],
    after: &[u8],
    measure: Measure,
    title: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut both = Vec::new();
    let options = differential::Options { normalize: true, ..differential::Options::default() };
    differential::from_readers(options, before, after, &mut both).map_err(io::Error::other)?;
    let both = String::from_utf8_lossy(&both);
    draw(title, measure, both.lines(), out)
}
