//! The walk over the entries of a recording that all formats share: plans are kept, events get their times, their
//! bytes and FLOPs, and what is not selected is left out.

use std::collections::BTreeMap;
use std::io;

use slmscope_profiles::books::Books;
use slmscope_profiles::channel::{Channel, Sample};
use slmscope_profiles::job::{Job, JobId, Span};
use slmscope_profiles::op::{BatchHead, OpBatch};
use slmscope_profiles::plan::SiteId;
use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::record::{Header, Mark, PlanRecord, Record};
use slmscope_profiles::result::RunResult;

use super::{Export, Filter};
use crate::recording::Entry;

/// Plans that are kept; batches of further ones are counted as such without a plan.
const MAX_PLANS: usize = 256;

/// One thing that a recording says, as formats take it.
#[derive(Debug)]
pub enum Item<'a> {
    /// Clocks and machine.
    Header(&'a Header),
    /// Channels; more of them may come.
    Channels(&'a [Channel]),
    /// A plan, with which of its sites are selected. It comes again when its roofs were measured anew.
    Plan {
        /// What it says.
        plan: &'a PlanRecord,
        /// By site.
        selected: &'a [bool],
    },
    /// A token or chunk in one lane.
    Batch(Batch<'a>),
    /// A phase that ended.
    Phase(&'a Span),
    /// Readings.
    Sample(&'a Sample),
    /// Something happened.
    Mark(&'a Mark),
    /// A job, as it was asked for or as it ended.
    Job(&'a Job),
    /// The result of a job.
    Result {
        /// The job.
        job: JobId,
        /// What `run --json` prints.
        result: &'a RunResult,
    },
}

/// A token or chunk in one lane.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// As it was recorded, with all its events.
    pub whole: &'a OpBatch,
    /// The plan whose sites the ops name.
    pub plan: &'a PlanRecord,
    /// Where its time went, whichever ops are selected.
    pub books: &'a Books,
    /// The ops that are selected, in the order in which they ran.
    pub ops: &'a [Op],
}

impl<'a> Batch<'a> {
    /// What its events share.
    pub fn head(&self) -> &'a BatchHead {
        &self.whole.head
    }

    /// The site of one of its ops.
    pub fn site(&self, op: &Op) -> &'a OpSite {
        &self.plan.sites[usize::from(op.site)]
    }

    /// When it ended, CLOCK_MONOTONIC ns: not before it began, nor before its last op ended, whatever a damaged record
    /// says.
    pub fn end_ns(&self) -> u64 {
        let head = self.head();
        let last = self.ops.last().map_or(0, Op::end_ns);
        head.end_ns.max(head.begin_ns).max(last)
    }
}

/// A step of the plan, run once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// The step; the plan has it.
    pub site: SiteId,
    /// CLOCK_MONOTONIC, ns.
    pub begin_ns: u64,
    /// ns
    pub duration_ns: u64,
    /// By the plan's rules.
    pub bytes: u64,
    /// By the plan's rules.
    pub flops: u64,
}

impl Op {
    /// CLOCK_MONOTONIC, ns.
    pub fn end_ns(&self) -> u64 {
        self.begin_ns.saturating_add(self.duration_ns)
    }
}

/// What was walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Op events that are selected.
    pub events: u64,
    /// Tokens and chunks that are, by lane.
    pub batches: u64,
    /// Readings that are.
    pub samples: u64,
    /// Tokens and chunks whose plan or whose sites are missing, so that their events have no names.
    pub unplanned: u64,
    /// Tokens and chunks that were lost before they were recorded.
    pub lost: u64,
}

/// A walk over entries.
pub struct Walk<'a> {
    filter: Filter,
    export: Box<dyn Export + 'a>,
    plans: BTreeMap<u32, Plan>,
    /// The recording's first time, CLOCK_MONOTONIC ns.
    first_ns: Option<u64>,
    /// One buffer for all batches.
    ops: Vec<Op>,
    counts: Counts,
}

struct Plan {
    record: PlanRecord,
    selected: Vec<bool>,
}

impl<'a> Walk<'a> {
    /// Exports what `filter` selects.
    pub fn new(filter: Filter, export: Box<dyn Export + 'a>) -> Self {
        let counts = Counts::default();
        Self { filter, export, plans: BTreeMap::new(), first_ns: None, ops: Vec::new(), counts }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// If the output takes no more.
    pub fn take(&mut self, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Record(record) => self.record(record),
            Entry::Job(job) => self.export.put(&Item::Job(job)),
            Entry::Result { job, result } => self.export.put(&Item::Result { job: *job, result }),
        }
    }

    /// Ends the export; what it held.
    ///
    /// # Errors
    /// If the output takes no more.
    pub fn finish(&mut self) -> io::Result<Counts> {
        self.export.finish()?;
        Ok(self.counts)
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Header(header) => self.export.put(&Item::Header(header)),
            Record::Catalogue { channels } => self.export.put(&Item::Channels(channels)),
            Record::Plan(plan) => self.plan(plan),
            Record::Ops(ops) => self.batch(&ops.to_batch()),
            Record::Span(span) => {
                let (begin_ns, end_ns) = (self.after(span.begin_ns), self.after(span.end_ns));
                let taken =
                    self.filter.takes_phase(span.phase) && self.filter.takes_stretch(begin_ns, end_ns);
                if taken { self.export.put(&Item::Phase(span)) } else { Ok(()) }
            }
            Record::Sample(sample) => {
                let after_ns = self.after(sample.t_ns);
                if !self.filter.takes_time(after_ns) {
                    return Ok(());
                }
                self.counts.samples += 1;
                self.export.put(&Item::Sample(sample))
            }
            Record::Loss { batches } => {
                self.counts.lost = self.counts.lost.saturating_add(*batches);
                Ok(())
            }
            Record::Mark(mark) => {
                let after_ns = self.after(mark.t_ns);
                if self.filter.takes_time(after_ns) { self.export.put(&Item::Mark(mark)) } else { Ok(()) }
            }
        }
    }

    /// Time since the recording's first, which is this one if there was none; 0 before it.
    fn after(&mut self, t_ns: u64) -> u64 {
        t_ns.saturating_sub(*self.first_ns.get_or_insert(t_ns))
    }

    fn plan(&mut self, plan: &PlanRecord) -> io::Result<()> {
        if self.plans.len() >= MAX_PLANS && !self.plans.contains_key(&plan.plan) {
            return Ok(());
        }
        let selected: Vec<bool> = plan.sites.iter().map(|site| self.filter.takes_site(site)).collect();
        self.export.put(&Item::Plan { plan, selected: &selected })?;
        self.plans.insert(plan.plan, Plan { record: plan.clone(), selected });
        Ok(())
    }

    fn batch(&mut self, batch: &OpBatch) -> io::Result<()> {
        let after_ns = self.after(batch.head.begin_ns);
        if !self.filter.takes_batch(&batch.head, after_ns) {
            return Ok(());
        }
        let Some(plan) = self.plans.get(&batch.head.plan) else {
            self.counts.unplanned += 1;
            return Ok(());
        };
        let complete = place(&mut self.ops, batch, plan);
        self.counts.unplanned += u64::from(!complete);
        self.counts.batches += 1;
        self.counts.events += self.ops.len() as u64;
        let books = Books::of(batch);
        let item = Batch { whole: batch, plan: &plan.record, books: &books, ops: &self.ops };
        self.export.put(&Item::Batch(item))
    }
}

/// Gives the selected events of a batch their times; whether the plan has all their sites.
fn place(ops: &mut Vec<Op>, batch: &OpBatch, plan: &Plan) -> bool {
    let head = &batch.head;
    let (rows, context, tick) = (u64::from(head.rows), u64::from(head.context), u64::from(head.tick_ns));
    ops.clear();
    let mut complete = true;
    let mut now_ns = head.begin_ns;
    for event in &batch.events {
        let begin_ns = now_ns.saturating_add(u64::from(event.gap) * tick);
        let duration_ns = u64::from(event.duration) * tick;
        now_ns = begin_ns.saturating_add(duration_ns);
        let at = usize::from(event.site);
        let Some((site, &selected)) = plan.record.sites.get(at).zip(plan.selected.get(at)) else {
            complete = false;
            continue;
        };
        if selected {
            let (bytes, flops) = (site.cost.bytes(rows, context), site.cost.flops(rows, context));
            ops.push(Op { site: event.site, begin_ns, duration_ns, bytes, flops });
        }
    }
    complete
}
