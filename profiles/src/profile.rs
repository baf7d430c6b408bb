//! From batches and spans to the tables of a result. The same functions serve live views, results, replays and exports.
//!
//! ```text
//! batch ─┬─▶ Books ──────────▶ by repetition, phase, lane ─┬─▶ phases, lanes
//!        ├─▶ calls by site ──▶ by phase, lane ─────────────┼─▶ ops          ─┐ held against the roofs,
//!        └─▶ one step ───────▶ by repetition, phase, lane ─┴─▶ breakdown    ─┘ which are known last
//! span ────▶ wall time, token times ───────────────────────┬─▶ rates, figures
//!                                                          └─▶ what the batches leave of a phase is unattributed
//! ```
//!
//! Everything is a sum or a histogram, so that tables do not depend on how a run was cut into messages, and memory does
//! not grow with its events: it is some hundred bytes a site, 100 bytes a step for the first [`MAX_STEPS`] steps, and
//! 16 bytes for each further one.
//!
//! ```
//! use slmscope_profiles::job::Span;
//! use slmscope_profiles::op::Phase;
//! use slmscope_profiles::profile::Profile;
//!
//! // Two steps in 20 ms, of which no events came.
//! let mut profile = Profile::new(Vec::new(), "scalar".to_owned());
//! let (begin_ns, end_ns, token_ends_ns) = (0, 20_000_000, vec![11_000_000, 20_000_000]);
//! let (job, repetition, phase, tokens, sample_ns) = (1, 0, Phase::Decode, 2, 0);
//! profile.add_span(Span { job, repetition, phase, begin_ns, end_ns, tokens, sample_ns, token_ends_ns });
//! assert_eq!(profile.rates(Phase::Decode), [100.0]);
//! assert_eq!(profile.phases()[0].recorded_tokens, 0);
//! ```

mod breakdown;
mod durations;
mod figures;
mod rows;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use breakdown::{BreakdownRow, By, RowKind};
pub use durations::ERROR as PERCENTILE_ERROR;
pub use figures::{Figures, LoadTimes, Outlier, PercentileIntervals, Percentiles};
pub use rows::{LaneBooks, OpRow, PhaseBooks};
pub use steps::MAX_STEPS;

use crate::books::Books;
use crate::clock::ClockSource;
use crate::job::{JobId, Span};
use crate::lane::{HOST_LANE, Lane, LaneId};
use crate::op::{OpBatch, Phase};
use crate::plan::site::OpSite;
use crate::roofline::Roofs;
use crate::span::SpanName;
use crate::stats::{Estimate, median, outliers, percentile};
use crate::totals::{self, OpTotals, SiteTotals};
use durations::{Durations, Room};
use steps::Step;

/// Collects a run's records and makes its tables. Phases and rates are those of the host's lane.
#[derive(Debug, Default)]
pub struct Profile {
    sites: Vec<OpSite>,
    /// Lanes beside the host's.
    lanes: Vec<Lane>,
    path: String,
    recorded: BTreeMap<Measured, Recorded>,
    /// By phase and lane, then by site.
    ops: BTreeMap<(Phase, LaneId), SiteSums>,
    spans: Vec<Span>,
    /// What is left for times of single calls.
    room: Room,
    /// Steps that are kept one by one.
    steps: usize,
}

/// What recorded batches have in common.
type Measured = (u32, Phase, LaneId);

/// What the batches of one phase of one repetition add up to in one lane.
#[derive(Debug, Default)]
struct Recorded {
    books: Books,
    rows: u64,
    begin_ns: u64,
    token_ends_ns: Vec<u64>,
    /// The largest of its batches; `None` if it is not known of all of them.
    placement_error_ns: Option<u64>,
    /// Wall times of its batches, and the longest of them.
    durations: Durations,
    longest_ns: u64,
    /// The batches one by one, as far as there was room.
    steps: Vec<Step>,
}

/// What the sites of one phase and lane add up to.
#[derive(Debug, Default)]
struct SiteSums {
    /// In the order of their ids.
    totals: Vec<SiteTotals>,
    /// By site: the last repetition that it was recorded in, and in how many it was.
    repetitions: Vec<(Option<u32>, u64)>,
    /// By site: times of single calls.
    durations: Vec<Durations>,
}

impl SiteSums {
    /// Adds the calls of a batch, and gives what they add up to.
    fn add(&mut self, batch: &OpBatch, sites: &[OpSite], room: &mut Room) -> OpTotals {
        let sum = totals::add_batch(&mut self.totals, batch, sites);
        self.repetitions.resize(sites.len(), (None, 0));
        self.durations.resize_with(sites.len(), Durations::default);
        let tick_ns = u64::from(batch.head.tick_ns);
        for event in &batch.events {
            let site = usize::from(event.site);
            let Some((last, count)) = self.repetitions.get_mut(site) else { continue };
            if last.replace(batch.head.repetition) != Some(batch.head.repetition) {
                *count += 1;
            }
            if let Some(durations) = self.durations.get_mut(site) {
                durations.add(u64::from(event.duration) * tick_ns, room);
            }
        }
        sum
    }
}

/// The phases that results are about.
fn is_measured(phase: Phase) -> bool {
    matches!(phase, Phase::Prefill | Phase::Decode)
}

impl Profile {
    /// An empty profile of a plan with these sites, whose kernels are named by `path`. It knows the host's lane
    /// alone.
    pub fn new(sites: Vec<OpSite>, path: String) -> Self {
        Self { sites, path, ..Self::default() }
    }

    /// Takes batches of these lanes too.
    #[must_use]
    pub fn with_lanes(mut self, lanes: &[Lane]) -> Self {
        self.lanes = lanes.iter().filter(|lane| lane.lane != HOST_LANE).cloned().collect();
        self
    }

    fn has_lane(&self, lane: LaneId) -> bool {
        lane == HOST_LANE || self.lanes.iter().any(|known| known.lane == lane)
    }

    /// Adds the events of one token or chunk. Phases that are not measured and lanes that the plan does not have
    /// are ignored.
    pub fn add_batch(&mut self, batch: &OpBatch) {
        let head = &batch.head;
        if !is_measured(head.phase) || !self.has_lane(head.lane) {
            return;
        }
        let recorded = self.recorded.entry((head.repetition, head.phase, head.lane)).or_default();
        let error_ns = match &head.clock {
            ClockSource::Device { calibration } => calibration.error_ns,
            ClockSource::Host | ClockSource::Unknown => None,
        };
        if recorded.token_ends_ns.is_empty() {
            recorded.begin_ns = head.begin_ns;
            recorded.placement_error_ns = error_ns;
        } else {
            let both = recorded.placement_error_ns.zip(error_ns);
            recorded.placement_error_ns = both.map(|(largest, error)| largest.max(error));
        }
        let books = Books::of(batch);
        recorded.books.add(&books);
        recorded.rows = recorded.rows.saturating_add(u64::from(head.rows));
        recorded.token_ends_ns.push(head.end_ns);
        recorded.durations.add(books.wall_ns, &mut self.room);
        recorded.longest_ns = recorded.longest_ns.max(books.wall_ns);
        let sums = self.ops.entry((head.phase, head.lane)).or_default();
        let totals = sums.add(batch, &self.sites, &mut self.room);
        if self.steps < MAX_STEPS {
            self.steps += 1;
            recorded.steps.push(Step::of(head, &books, totals));
        }
    }

    /// Adds a phase that ended. Phases that are not measured are ignored.
    pub fn add_span(&mut self, span: Span) {
        if is_measured(span.phase) {
            self.spans.push(span);
        }
    }

    /// Makes spans for phases that broke off before their end was reported, from their batches: what a run that
    /// was cancelled, or whose worker died, has measured until then.
    pub fn close_broken(&mut self, job: JobId) {
        let spans = &mut self.spans;
        for (&(repetition, phase, lane), recorded) in &self.recorded {
            if lane != HOST_LANE {
                continue;
            }
            let has_span = spans.iter().any(|span| (span.repetition, span.phase) == (repetition, phase));
            let Some(&end_ns) = recorded.token_ends_ns.last().filter(|_| !has_span) else { continue };
            spans.push(Span {
                job,
                repetition,
                phase,
                begin_ns: recorded.begin_ns,
                end_ns,
                tokens: u32::try_from(recorded.rows).unwrap_or(u32::MAX),
                sample_ns: recorded.books.span_ns(&SpanName::Sample),
                token_ends_ns: recorded.token_ends_ns.clone(),
            });
        }
    }

    /// Forgets all records, for the next turn of a loop.
    pub fn clear(&mut self) {
        self.recorded.clear();
        self.ops.clear();
        self.spans.clear();
        (self.room, self.steps) = (Room::default(), 0);
    }

    /// The spans that were added.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Steps per second of every repetition's decode (or prefill) so far.
    pub fn rates(&self, phase: Phase) -> Vec<f64> {
        self.of(phase).filter_map(|span| rate(span.tokens, span.wall_ns())).collect()
    }

    /// Books of every measured phase, in the order in which they ran.
    pub fn phases(&self) -> Vec<PhaseBooks> {
        let none = Recorded::default();
        self.spans
            .iter()
            .map(|span| {
                let recorded = self.recorded.get(&(span.repetition, span.phase, HOST_LANE)).unwrap_or(&none);
                let books = &recorded.books;
                let all = recorded.rows == u64::from(span.tokens);
                // Tokens follow each other without a seam, so all of them together are the phase; what the
                // seams of the record lost by rounding is unattributed like anything else that is not known.
                let wall_ns = if all { span.wall_ns().max(books.wall_ns) } else { span.wall_ns() };
                let recorded_wall_ns = if all { wall_ns } else { books.wall_ns };
                PhaseBooks {
                    phase: span.phase,
                    repetition: span.repetition,
                    tokens: u64::from(span.tokens),
                    recorded_tokens: recorded.rows,
                    wall_ns,
                    recorded_wall_ns,
                    ops_ns: books.ops_ns,
                    gap_ns: books.gap_ns,
                    unattributed_ns: books.unattributed_ns.saturating_add(recorded_wall_ns - books.wall_ns),
                    other: books.other.clone(),
                }
            })
            .collect()
    }

    /// Books of the lanes beside the host's in every measured phase, by repetition.
    pub fn lanes(&self) -> Vec<LaneBooks> {
        let beside = self.recorded.iter().filter(|((_, _, lane), _)| *lane != HOST_LANE);
        beside
            .filter_map(|(&(repetition, phase, id), recorded)| {
                let lane = self.lanes.iter().find(|lane| lane.lane == id)?;
                let books = &recorded.books;
                Some(LaneBooks {
                    lane: lane.clone(),
                    phase,
                    repetition,
                    recorded_tokens: recorded.rows,
                    wall_ns: books.wall_ns,
                    ops_ns: books.ops_ns,
                    gap_ns: books.gap_ns,
                    unattributed_ns: books.unattributed_ns,
                    other: books.other.clone(),
                    placement_error_ns: recorded.placement_error_ns,
                })
            })
            .collect()
    }

    /// Every site in every measured phase, in the order of the plan, held against `roofs`.
    pub fn ops(&self, roofs: &Roofs) -> Vec<OpRow> {
        let books = self.books();
        let mut rows = Vec::new();
        for (&(phase, lane), ops) in &self.ops {
            let wall = books.get(&(phase, lane)).map_or(0, |books| books.wall_ns);
            let row = |sum: &SiteTotals| {
                let (site, OpTotals { count, time_ns, max_ns, max_at, bytes, flops }) =
                    (self.sites.get(usize::from(sum.site))?, sum.totals);
                Some(OpRow {
                    id: site.id,
                    phase,
                    lane,
                    module: site.module,
                    name: site.name.clone(),
                    kind: site.kind,
                    layer: site.layer,
                    path: self.path.clone(),
                    runs: ops.repetitions.get(usize::from(sum.site)).map_or(0, |&(_, count)| count),
                    count,
                    time_ns,
                    call_ns: ops.durations.get(usize::from(sum.site)).and_then(|all| all.percentiles(max_ns)),
                    max_ns,
                    max_at,
                    bytes,
                    flops,
                    share: if wall > 0 { time_ns as f64 / wall as f64 } else { 0.0 },
                    roof: roofs.judge(site, bytes, flops, time_ns),
                })
            };
            rows.extend(ops.totals.iter().filter_map(row));
        }
        rows
    }

    /// The quoted figures. `tokenize_ns` is the time that the prompt's text took, 0 for random ids; `emits`
    /// says whether prefill sampled a token.
    pub fn figures(&self, tokenize_ns: u64, emits: bool, load: Option<LoadTimes>) -> Figures {
        let rates = |phase| Estimate::of(&self.rates(phase));
        let forward = |phase| {
            let rates: Vec<f64> = self
                .of(phase)
                .filter_map(|span| rate(span.tokens, span.wall_ns().saturating_sub(span.sample_ns)))
                .collect();
            Estimate::of(&rates)
        };
        let ttft: Vec<f64> =
            self.of(Phase::Prefill).map(|span| span.wall_ns().saturating_add(tokenize_ns) as f64).collect();
        let by_repetition: Vec<Vec<u64>> = self.of(Phase::Decode).map(token_times).collect();
        let mut tokens: Vec<u64> = by_repetition.iter().flatten().copied().collect();
        Figures {
            ttft_ns: emits.then(|| median(&ttft)).flatten().map(|ns| ns as u64),
            prefill_tokens_per_s: rates(Phase::Prefill),
            decode_tokens_per_s: rates(Phase::Decode),
            forward_tokens_per_s: forward(Phase::Decode).or_else(|| forward(Phase::Prefill)),
            token_ns: percentile(&mut tokens, 0.5).and_then(|median| {
                Some(Percentiles {
                    median,
                    p95: percentile(&mut tokens, 0.95)?,
                    p99: percentile(&mut tokens, 0.99)?,
                })
            }),
            token_ns_intervals: PercentileIntervals::of(&by_repetition),
            outliers: [Phase::Prefill, Phase::Decode]
                .into_iter()
                .flat_map(|phase| self.outliers(phase))
                .collect(),
            load_ns: load.map(|load| load.total_ns()),
            load,
        }
    }

    /// Repetitions of a phase whose speed is far from that of the others.
    fn outliers(&self, phase: Phase) -> Vec<Outlier> {
        let speeds: Vec<(u32, f64)> = self
            .of(phase)
            .filter_map(|span| Some((span.repetition, rate(span.tokens, span.wall_ns())?)))
            .collect();
        let far = outliers(&speeds.iter().map(|(_, speed)| *speed).collect::<Vec<_>>());
        let outlier = |at: usize| {
            let &(repetition, tokens_per_s) = speeds.get(at)?;
            Some(Outlier { phase, repetition, tokens_per_s })
        };
        far.into_iter().filter_map(outlier).collect()
    }

    fn of(&self, phase: Phase) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.phase == phase)
    }
}

fn rate(tokens: u32, wall_ns: u64) -> Option<f64> {
    (tokens > 0 && wall_ns > 0).then(|| f64::from(tokens) / (wall_ns as f64 / 1e9))
}

/// Wall time of every token: from the end of the one before.
fn token_times(span: &Span) -> Vec<u64> {
    let begins = std::iter::once(&span.begin_ns).chain(&span.token_ends_ns);
    span.token_ends_ns.iter().zip(begins).map(|(end, begin)| end.saturating_sub(*begin)).collect()
}
