//! Totals of a job's summaries: books, sites and rates of each phase, and the times of recent tokens.

use std::collections::VecDeque;

use slmscope_profiles::books::Books;
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::op::Phase;
use slmscope_profiles::rate::{counted_per_second, per_second};
use slmscope_profiles::stats;
use slmscope_profiles::summary::Summary;
use slmscope_profiles::totals::{self, SiteTotals};

/// Decode steps that are kept one by one.
const TOKENS: usize = 4096;
/// Summaries that current rates are taken over: about a second.
const RECENT: usize = 10;

/// Totals of a phase since the job began.
#[derive(Debug, Clone, Default)]
pub(super) struct PhaseSum {
    /// Its books.
    pub(super) books: Books,
    /// Rows computed: prompt tokens, or steps.
    pub(super) rows: u64,
    /// Bytes by the plan's rules.
    pub(super) bytes: u64,
    /// FLOPs by the plan's rules.
    pub(super) flops: u64,
    /// Sites that ran, in the order of their ids.
    pub(super) sites: Vec<SiteTotals>,
    recent: VecDeque<Work>,
}

/// Work and the time that it took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    rows: u64,
    wall_ns: u64,
    bytes: u64,
    flops: u64,
}

fn grow(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl Work {
    fn add(&mut self, other: &Self) {
        grow(&mut self.rows, other.rows);
        grow(&mut self.wall_ns, other.wall_ns);
        grow(&mut self.bytes, other.bytes);
        grow(&mut self.flops, other.flops);
    }

    /// Rows per second; `None` if no time passed.
    pub(super) fn rows_per_second(&self) -> Option<f64> {
        per_second(self.rows, self.wall_ns)
    }

    /// Bytes divided by wall time, B/s; `None` if no time passed, or the plan counts none.
    pub(super) fn bytes_per_second(&self) -> Option<f64> {
        counted_per_second(self.bytes, self.wall_ns)
    }

    /// FLOPs divided by wall time, FLOP/s; `None` as for bytes.
    pub(super) fn flops_per_second(&self) -> Option<f64> {
        counted_per_second(self.flops, self.wall_ns)
    }
}

impl PhaseSum {
    fn add(&mut self, summary: &Summary) {
        self.books.add(&summary.books);
        grow(&mut self.rows, summary.rows);
        grow(&mut self.bytes, summary.bytes);
        grow(&mut self.flops, summary.flops);
        for more in &summary.sites {
            totals::add_site(&mut self.sites, more);
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        let (rows, bytes, flops) = (summary.rows, summary.bytes, summary.flops);
        self.recent.push_back(Work { rows, wall_ns: summary.books.wall_ns, bytes, flops });
    }

    /// What its ops read for one token or chunk; `None` if none ran.
    pub(super) fn token_bytes(&self) -> Option<f64> {
        let runs = self.sites.iter().map(|site| site.totals.count).max().filter(|&runs| runs > 0)?;
        Some(self.bytes as f64 / runs as f64)
    }

    /// All work since the job began.
    pub(super) fn whole(&self) -> Work {
        Work { rows: self.rows, wall_ns: self.books.wall_ns, bytes: self.bytes, flops: self.flops }
    }

    /// The work of about the last second.
    pub(super) fn recent(&self) -> Work {
        let mut work = Work::default();
        self.recent.iter().for_each(|more| work.add(more));
        work
    }
}

/// Totals of a lane beside the host's. Its time is also time in which the host waits, so the two are never added up.
#[derive(Debug, Clone)]
pub(super) struct LaneTotals {
    /// The lane.
    pub(super) lane: LaneId,
    prefill: PhaseSum,
    decode: PhaseSum,
}

impl LaneTotals {
    /// The totals of a phase; `None` for those that have none.
    pub(super) fn phase(&self, phase: Phase) -> Option<&PhaseSum> {
        match phase {
            Phase::Prefill => Some(&self.prefill),
            Phase::Decode => Some(&self.decode),
            _ => None,
        }
    }
}

/// Totals of a job. Where a lane is not named, it is the host's.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    /// The prompt.
    pub(super) prefill: PhaseSum,
    /// The steps.
    pub(super) decode: PhaseSum,
    /// Phase of the last summary.
    pub(super) last_phase: Option<Phase>,
    /// Tokens in the cache after the last summary.
    pub(super) context: Option<u64>,
    /// Wall time of the last decode steps, ns; `None` is a gap.
    tokens: VecDeque<Option<u64>>,
    /// The lanes beside the host's that have summaries, in the order of their numbers.
    lanes: Vec<LaneTotals>,
}

impl Totals {
    /// Adds a summary of any lane; other phases than prefill and decode are in no total.
    pub(super) fn add(&mut self, summary: &Summary) {
        if summary.lane == HOST_LANE { self.add_host(summary) } else { self.add_lane(summary) }
    }

    fn add_lane(&mut self, summary: &Summary) {
        let found = self.lanes.binary_search_by_key(&summary.lane, |totals| totals.lane);
        let at = found.unwrap_or_else(|at| {
            let (prefill, decode) = Default::default();
            self.lanes.insert(at, LaneTotals { lane: summary.lane, prefill, decode });
            at
        });
        let totals = &mut self.lanes[at];
        match summary.phase {
            Phase::Prefill => totals.prefill.add(summary),
            Phase::Decode => totals.decode.add(summary),
            _ => {}
        }
    }

    fn add_host(&mut self, summary: &Summary) {
        self.last_phase = Some(summary.phase);
        self.context = Some(summary.context);
        match summary.phase {
            Phase::Prefill => self.prefill.add(summary),
            Phase::Decode => {
                self.decode.add(summary);
                summary.token_ns.iter().for_each(|&ns| self.push(Some(ns)));
            }
            _ => {}
        }
    }

    /// Marks that tokens are missing here.
    pub(super) fn gap(&mut self) {
        if matches!(self.tokens.back(), Some(Some(_))) {
            self.push(None);
        }
    }

    fn push(&mut self, token: Option<u64>) {
        if self.tokens.len() == TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back(token);
    }

    /// The host's totals of a phase; `None` for those that have none.
    pub(super) fn phase(&self, phase: Phase) -> Option<&PhaseSum> {
        match phase {
            Phase::Prefill => Some(&self.prefill),
            Phase::Decode => Some(&self.decode),
            _ => None,
        }
    }

    /// The lanes beside the host's that have summaries, in the order of their numbers.
    pub(super) fn lanes(&self) -> &[LaneTotals] {
        &self.lanes
    }

    /// Wall time of the last decode steps, ns, oldest first; `None` is a gap.
    pub(super) fn tokens(&self) -> impl DoubleEndedIterator<Item = Option<u64>> + ExactSizeIterator {
        self.tokens.iter().copied()
    }

    /// Median, 95th and 99th percentile of those steps, and how many there are.
    pub(super) fn percentiles(&self) -> Option<([u64; 3], usize)> {
        let mut tokens: Vec<u64> = self.tokens.iter().flatten().copied().collect();
        let mut at = |q| stats::percentile(&mut tokens, q);
        let found = [at(0.5)?, at(0.95)?, at(0.99)?];
        Some((found, tokens.len()))
    }
}
