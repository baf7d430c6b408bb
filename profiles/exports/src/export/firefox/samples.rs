//! The samples of a thread: for each op its stack, when it began, and as its weight how long it took.

use std::collections::HashMap;
use std::io::{self, Write};

use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::SiteId;
use slmscope_profiles::totals::saturating_sum;

use super::super::names::Names;
use super::super::{Batch, Op};
use super::column::Column;
use super::document::{CATEGORY_OF_NO_OP, CATEGORY_OTHER, category};
use super::stacks::{StackId, StackTable};
use super::{Clock, Millis};

/// Samples, with the stacks that they have.
#[derive(Default)]
pub(super) struct Samples {
    stacks: StackTable,
    /// The stack of each site of a plan in a phase.
    of_sites: HashMap<(u32, Phase, SiteId), StackId>,
    stack: Column,
    delta: Column,
    weight: Column,
    /// Time of the last one, ns since the first of the profile.
    now_ns: u64,
}

impl Samples {
    /// Adds the ops of a token or chunk, and behind them what of its time is no op that is selected.
    pub(super) fn add(&mut self, batch: &Batch<'_>, clock: &mut Clock, texts: &mut Names) -> io::Result<()> {
        for op in batch.ops {
            let stack = self.stack_of(batch, op, texts);
            self.push(Some(stack), clock.after(op.begin_ns), op.duration_ns)?;
        }
        let (head, books) = (batch.head(), batch.books);
        let selected_ns = saturating_sum(batch.ops.iter().map(|op| op.duration_ns));
        let rest = [
            ("not selected", books.ops_ns.saturating_sub(selected_ns)),
            ("gap", books.gap_ns),
            ("unattributed", books.unattributed_ns),
        ];
        let others = books.other.iter().map(|span| (span.name.as_str(), span.ns));
        let at_ns = clock.after(batch.ops.last().map_or(head.begin_ns, Op::end_ns));
        for (name, ns) in others.chain(rest).filter(|&(_, ns)| ns > 0) {
            let phase = self.stacks.id(None, texts.id(head.phase.as_str()), Some(CATEGORY_OTHER));
            let name = texts.id(&format!("({name})"));
            let stack = self.stacks.id(Some(phase), name, Some(CATEGORY_OF_NO_OP));
            self.push(Some(stack), at_ns, ns)?;
        }
        // From its end on nothing is known to run.
        self.push(None, clock.after(batch.end_ns()), 0)
    }

    /// Leaves what is known of the sites of a plan.
    pub(super) fn forget(&mut self, plan: u32) {
        self.of_sites.retain(|key, _| key.0 != plan);
    }

    fn stack_of(&mut self, batch: &Batch<'_>, op: &Op, texts: &mut Names) -> StackId {
        let phase = batch.head().phase;
        if let Some(&known) = self.of_sites.get(&(batch.plan.plan, phase, op.site)) {
            return known;
        }
        let site = batch.site(op);
        let mut stack = self.stacks.id(None, texts.id(phase.as_str()), Some(CATEGORY_OTHER));
        stack = self.stacks.id(Some(stack), texts.id(site.module.as_str()), Some(category(site.module)));
        if let Some(layer) = site.layer {
            stack = self.stacks.id(Some(stack), texts.id(&format!("layer {layer}")), None);
        }
        stack = self.stacks.id(Some(stack), texts.id(&site.name), None);
        self.of_sites.insert((batch.plan.plan, phase, op.site), stack);
        stack
    }

    /// Adds a sample. Times do not go back, whatever a damaged record says.
    fn push(&mut self, stack: Option<StackId>, t_ns: u64, weight_ns: u64) -> io::Result<()> {
        match stack {
            Some(stack) => self.stack.push(stack)?,
            None => self.stack.push("null")?,
        }
        let t_ns = t_ns.max(self.now_ns);
        self.delta.push(Millis(t_ns - self.now_ns))?;
        self.now_ns = t_ns;
        self.weight.push(Millis(weight_ns))
    }

    /// Writes the tables of samples, stacks, frames and functions.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\"samples\":{")?;
        self.stack.write("stack", out)?;
        self.delta.write("timeDeltas", out)?;
        self.weight.write("weight", out)?;
        write!(out, "\"weightType\":\"tracing-ms\",\"length\":{}}},", self.stack.length())?;
        self.stacks.write(out)
    }
}
