//! The samples of a thread: for each op its stack, when it began, and as its weight how long it took.

use std::collections::HashMap;
use std::io::{self, Write};

use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::SiteId;
use slmscope_profiles::totals::saturating_sum;

use super::super::names::Names;
use super::super::proto::{varint, zigzag};
use super::super::{Batch, Op};
use super::blocks::Blocks;
use super::document::{CATEGORY_OF_NO_OP, CATEGORY_OTHER, category};
use super::stacks::{StackId, StackTable};
use super::{Clock, Millis};

/// Samples, with the stacks that they have.
#[derive(Default)]
pub(super) struct Samples {
    stacks: StackTable,
    /// The stack of each site of a plan in a phase.
    of_sites: HashMap<(u32, Phase, SiteId), StackId>,
    /// Of each its stack + 1, or 0 for none; what lies between the end of the one before and its begin, ns; and its
    /// weight, ns: three numbers of variable length. So far less is kept than of the text that they become.
    rows: Blocks,
    length: u64,
    /// Time and weight of the last one, ns; times are since the first of the profile.
    last: (u64, u64),
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
        let (last_ns, last_weight_ns) = self.last;
        let t_ns = t_ns.max(last_ns);
        let stack = stack.map_or(0, |stack| u64::from(stack) + 1);
        // The next begins right behind the end of the last, but for what is no op, which begins with it.
        let gap_ns = t_ns.wrapping_sub(last_ns.wrapping_add(last_weight_ns)) as i64;
        self.last = (t_ns, weight_ns);
        self.length += 1;
        self.rows.add(|row| {
            for number in [stack, zigzag(gap_ns), weight_ns] {
                varint(row, number);
            }
            Ok(())
        })
    }

    /// Writes the tables of samples, stacks, frames and functions.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\"samples\":{")?;
        self.column("stack", out, |out, row| match row.stack.checked_sub(1) {
            Some(stack) => write!(out, "{stack}"),
            None => out.write_all(b"null"),
        })?;
        self.column("timeDeltas", out, |out, row| write!(out, "{}", Millis(row.delta_ns)))?;
        self.column("weight", out, |out, row| write!(out, "{}", Millis(row.weight_ns)))?;
        write!(out, "\"weightType\":\"tracing-ms\",\"length\":{}}},", self.length)?;
        self.stacks.write(out)
    }

    /// Writes `"name":[values],` with what `write` makes of each sample.
    fn column<W: Write>(
        &self,
        name: &str,
        out: &mut W,
        write: fn(&mut W, &Row) -> io::Result<()>,
    ) -> io::Result<()> {
        write!(out, "\"{name}\":[")?;
        let (mut last, mut is_first) = ((0_u64, 0_u64), true);
        self.rows.each(|mut rows| {
            while !rows.is_empty() {
                let (stack, gap, weight_ns) = (next(&mut rows), next(&mut rows), next(&mut rows));
                let t_ns = last.0.wrapping_add(last.1).wrapping_add_signed(unzigzag(gap));
                let row = Row { stack, delta_ns: t_ns.wrapping_sub(last.0), weight_ns };
                last = (t_ns, weight_ns);
                if !std::mem::replace(&mut is_first, false) {
                    out.write_all(b",")?;
                }
                write(out, &row)?;
            }
            Ok(())
        })?;
        out.write_all(b"],")
    }
}

/// A sample as it was kept.
struct Row {
    /// Stack + 1, or 0.
    stack: u64,
    /// Since the sample before.
    delta_ns: u64,
    weight_ns: u64,
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Takes a number of variable length off the front.
fn next(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_they_came_however_large_their_numbers_are() {
        let mut samples = Samples::default();
        let rows = [(Some(3), 5, 7), (None, 12, 0), (Some(0), 12, u64::MAX), (Some(1), 13, 1)];
        for (stack, t_ns, weight_ns) in rows {
            samples.push(stack, t_ns, weight_ns).unwrap();
        }
        for _ in 0..100_000 {
            samples.push(Some(70_000), 13, 1_000_000).unwrap();
        }
        let mut out = Vec::new();
        samples.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\"samples\":{\"stack\":[3,null,0,1,70000,"), "{}", &text[..60]);
        assert!(text.contains("\"timeDeltas\":[0.000005,0.000007,0.000000,0.000001,0.000000,"));
        assert!(text.contains("\"weight\":[0.000007,0.000000,18446744073709.551615,0.000001,1.000000,"));
        assert!(text.contains("\"length\":100004}"));
    }
}
