//! Summaries: what the op batches of a short time add up to. The hub makes them for clients that do not ask
//! for every event, and a replay makes the same ones; they are derived, and never stored.

use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::job::JobId;
use crate::lane::{HOST_LANE, LaneId};
use crate::op::{OpBatch, Phase};
use crate::plan::site::OpSite;
use crate::record::PlanRecord;
use crate::totals::{self, SiteTotals};

/// Batches of one repetition, phase and lane, added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The job.
    #[serde(default)]
    pub job: JobId,
    /// The plan whose sites are named.
    pub plan: u32,
    /// The lane: times of different lanes are not added up.
    #[serde(default)]
    pub lane: LaneId,
    /// Repetition.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Phase.
    pub phase: Phase,
    /// First batch that is covered.
    pub first_seq: u64,
    /// Last batch that is covered.
    pub last_seq: u64,
    /// Begin of the first token, CLOCK_MONOTONIC ns.
    pub begin_ns: u64,
    /// End of the last token.
    pub end_ns: u64,
    /// Rows computed: prompt tokens in prefill, steps in decode.
    pub rows: u64,
    /// Tokens in the cache after the last one.
    pub context: u64,
    /// Where the time went.
    pub books: Books,
    /// Bytes by the plan's rules.
    pub bytes: u64,
    /// FLOPs by the plan's rules.
    pub flops: u64,
    /// Wall time of each token or chunk, ns, in order.
    pub token_ns: Vec<u64>,
    /// Sites that ran, in the order of their ids.
    pub sites: Vec<SiteTotals>,
}

impl Summary {
    /// A summary of `batch` alone. Events of sites that the plan does not have are left out.
    pub fn of(batch: &OpBatch, sites: &[OpSite]) -> Self {
        let head = &batch.head;
        let mut summary = Self {
            job: head.job,
            plan: head.plan,
            lane: head.lane,
            repetition: head.repetition,
            phase: head.phase,
            first_seq: head.seq,
            last_seq: head.seq,
            begin_ns: head.begin_ns,
            end_ns: head.end_ns,
            rows: 0,
            context: 0,
            books: Books::default(),
            bytes: 0,
            flops: 0,
            token_ns: Vec::new(),
            sites: Vec::new(),
        };
        summary.add(batch, sites);
        summary
    }

    /// Whether `batch` continues what is summed here.
    pub fn continues(&self, batch: &OpBatch) -> bool {
        let head = &batch.head;
        (head.job, head.plan, head.lane) == (self.job, self.plan, self.lane)
            && (head.repetition, head.phase) == (self.repetition, self.phase)
    }

    /// Adds a batch of the same job, plan, lane, repetition and phase.
    pub fn add(&mut self, batch: &OpBatch, sites: &[OpSite]) {
        let head = &batch.head;
        let (rows, context) = (u64::from(head.rows), u64::from(head.context));
        let books = Books::of(batch);
        self.last_seq = head.seq;
        self.end_ns = head.end_ns;
        self.rows = self.rows.saturating_add(rows);
        self.context = context + rows;
        self.token_ns.push(books.wall_ns);
        self.books.add(&books);
        let totals = totals::add_batch(&mut self.sites, batch, sites);
        self.bytes = self.bytes.saturating_add(totals.bytes);
        self.flops = self.flops.saturating_add(totals.flops);
    }
}

/// Time that one summary covers, ns: five a second are as many as anybody follows, and each has a row for every step of
/// the plan.
const COVERED_NS: u64 = 200_000_000;

/// Makes summaries of the batches of a stream, in the order in which they come.
#[derive(Debug, Default)]
pub struct Summarizer {
    /// One for each lane that has batches.
    open: Vec<Summary>,
}

impl Summarizer {
    /// Adds a batch about `plan`, and gives the summaries that it completes. A batch of another plan, or of a lane that
    /// the plan does not have, is left out.
    pub fn add(&mut self, batch: &OpBatch, plan: &PlanRecord) -> Vec<Summary> {
        let lane = batch.head.lane;
        if batch.head.plan != plan.plan || (lane != HOST_LANE && plan.lane(lane).is_none()) {
            return Vec::new();
        }
        let mut whole = Vec::new();
        match self.open.iter_mut().find(|summary| summary.lane == lane) {
            Some(summary) if summary.continues(batch) => summary.add(batch, &plan.sites),
            Some(_) => {
                whole = self.flush();
                self.open.push(Summary::of(batch, &plan.sites));
            }
            None => self.open.push(Summary::of(batch, &plan.sites)),
        }
        let is_full = |summary: &Summary| summary.end_ns.saturating_sub(summary.begin_ns) >= COVERED_NS;
        if self.open.iter().any(is_full) {
            whole.append(&mut self.flush());
        }
        whole
    }

    /// Gives the summaries as far as they are.
    pub fn flush(&mut self) -> Vec<Summary> {
        std::mem::take(&mut self.open)
    }
}
