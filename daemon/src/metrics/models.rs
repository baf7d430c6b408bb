//! Totals of each model: tokens, time, and energy.

use std::collections::BTreeMap;

use slmscope_profiles::display::excerpt;
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::metrics::{Histogram, OP_TIME, Page, TOKENS, labels};
use slmscope_profiles::op::OpBatch;
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::OpKind;
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::result::RunResult;

use super::families as f;

/// Models that have a label of their own; further ones are counted together.
pub(super) const MAX_MODELS: usize = 32;
/// The label of all further models.
const FURTHER: &str = "other";
/// Longest label, bytes.
const MAX_LABEL: usize = 100;
/// Channels whose energy is kept for one phase of one model.
const MAX_SOURCES: usize = 16;

const PHASES: usize = Phase::ALL.len();
/// Kinds of ops, the unknown one last.
const KINDS: usize = OpKind::ALL.len() + 1;

/// Totals by model.
#[derive(Default)]
pub(super) struct Models {
    totals: Vec<(String, Totals)>,
    /// The plan that runs.
    current: Option<Current>,
}

struct Current {
    plan: u32,
    /// Index into the totals.
    model: usize,
    /// Index of the kind of each site.
    kinds: Vec<u8>,
}

#[derive(Default)]
struct Totals {
    tokens: [u64; PHASES],
    wall_ns: [u64; PHASES],
    ops_ns: [[u64; KINDS]; PHASES],
    decode: Histogram,
    /// By phase and channel: J, and the tokens of them.
    energy: BTreeMap<(Phase, String), (f64, u64)>,
}

impl Models {
    /// The batches from here on are about this plan.
    pub(super) fn begin(&mut self, plan: &PlanRecord) {
        let model = self.index(&plan.model);
        let number =
            |kind: OpKind| OpKind::ALL.iter().position(|&known| known == kind).unwrap_or(KINDS - 1) as u8;
        let kinds = plan.sites.iter().map(|site| number(site.kind)).collect();
        self.current = Some(Current { plan: plan.plan, model, kinds });
    }

    fn index(&mut self, model: &str) -> usize {
        let known =
            |totals: &[(String, Totals)], name: &str| totals.iter().position(|(known, _)| known == name);
        let name = excerpt(model, MAX_LABEL);
        if let Some(at) = known(&self.totals, &name) {
            return at;
        }
        let name = if self.totals.len() < MAX_MODELS { name } else { FURTHER.to_owned() };
        known(&self.totals, &name).unwrap_or_else(|| {
            self.totals.push((name, Totals::default()));
            self.totals.len() - 1
        })
    }

    /// Adds a token or chunk of one lane; nothing if it is of another plan.
    pub(super) fn add_batch(&mut self, batch: &OpBatch) {
        let head = &batch.head;
        let Some(current) = self.current.as_ref().filter(|current| current.plan == head.plan) else { return };
        let Some((_, totals)) = self.totals.get_mut(current.model) else { return };
        let Some(phase) = Phase::ALL.iter().position(|&phase| phase == head.phase) else { return };
        // The host's lane has the wall time; those of devices run beside it.
        if head.lane == HOST_LANE {
            let wall_ns = head.end_ns.saturating_sub(head.begin_ns);
            add(&mut totals.tokens[phase], u64::from(head.rows));
            add(&mut totals.wall_ns[phase], wall_ns);
            if head.phase == Phase::Decode {
                totals.decode.add(wall_ns);
            }
        }
        for event in &batch.events {
            if let Some(&kind) = current.kinds.get(usize::from(event.site)) {
                add(
                    &mut totals.ops_ns[phase][usize::from(kind)],
                    u64::from(event.duration) * u64::from(head.tick_ns),
                );
            }
        }
    }

    /// Adds the energy of a run's measured phases, where it is known.
    pub(super) fn add_result(&mut self, result: &RunResult) {
        let at = self.index(&result.model.id);
        let Some((_, totals)) = self.totals.get_mut(at) else { return };
        for phase in &result.energy.phases {
            let (Some(joules), Some(source)) =
                (phase.joules.filter(|joules| joules.is_finite()), &phase.source)
            else {
                continue;
            };
            let key = (phase.phase, excerpt(source, MAX_LABEL));
            if totals.energy.len() < MAX_SOURCES || totals.energy.contains_key(&key) {
                let sum = totals.energy.entry(key).or_default();
                sum.0 += joules;
                add(&mut sum.1, phase.tokens);
            }
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let by_phase = |of: fn(&Totals) -> &[u64; PHASES], scale: f64| {
            let all = self.totals.iter().flat_map(move |(model, totals)| {
                Phase::ALL.iter().zip(of(totals)).map(move |(phase, &sum)| (model, phase, sum))
            });
            all.filter(|&(_, _, sum)| sum > 0).map(move |(model, phase, sum)| {
                (labels(&[("model", model), ("phase", phase.as_str())]), sum as f64 / scale)
            })
        };
        page.family(&TOKENS, by_phase(|totals| &totals.tokens, 1.0));
        page.family(&f::PHASE_TIME, by_phase(|totals| &totals.wall_ns, 1e9));
        page.family(&OP_TIME, self.op_times());
        let decoded = self.totals.iter().filter(|(_, totals)| !totals.decode.is_empty());
        let histograms = decoded.map(|(model, totals)| (vec![("model", model.as_str())], &totals.decode));
        page.histograms(&f::LATENCY, histograms);
        let energy = |of: fn(&(f64, u64)) -> f64| {
            self.totals.iter().flat_map(move |(model, totals)| {
                totals.energy.iter().map(move |((phase, channel), sum)| {
                    let names = [("model", model.as_str()), ("phase", phase.as_str()), ("channel", channel)];
                    (labels(&names), of(sum))
                })
            })
        };
        page.family(&f::JOB_ENERGY, energy(|sum| sum.0));
        page.family(&f::JOB_ENERGY_TOKENS, energy(|sum| sum.1 as f64));
    }

    fn op_times(&self) -> Vec<(String, f64)> {
        let kinds = || OpKind::ALL.into_iter().chain([OpKind::Other]);
        let mut samples = Vec::new();
        for (model, totals) in &self.totals {
            for (phase, times) in Phase::ALL.iter().zip(&totals.ops_ns) {
                for (kind, &ns) in kinds().zip(times).filter(|&(_, &ns)| ns > 0) {
                    let names =
                        [("model", model.as_str()), ("phase", phase.as_str()), ("kind", kind.as_str())];
                    samples.push((labels(&names), ns as f64 / 1e9));
                }
            }
        }
        samples
    }
}

/// Adds to a sum, which stops at the largest number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
