//! What the events of a recording add up to by phase, module, layer and op.
//!
//! Stacks are complete: the times below a phase are all its recorded time. What is no op is a leaf in parentheses, and
//! so is the time of ops that the filter leaves out.

use std::collections::BTreeMap;

use slmscope_profiles::books::Books;
use slmscope_profiles::job::JobId;
use slmscope_profiles::lane::{HOST_LANE, LaneId};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::plan::site::OpSite;
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::totals::{self, OpTotals, SiteTotals};

use super::{Batch, Item};

/// Sums of a recording.
#[derive(Default)]
pub(super) struct Stacks {
    plans: BTreeMap<u32, Plan>,
    sums: BTreeMap<(u32, JobId, Phase, LaneId), Sum>,
    /// What the phases of jobs took, J, where it was measured.
    joules: BTreeMap<(JobId, Phase), f64>,
}

struct Plan {
    record: PlanRecord,
    selected: Vec<bool>,
}

#[derive(Default)]
struct Sum {
    sites: Vec<SiteTotals>,
    books: Books,
}

/// One stack and what it adds up to.
pub(super) struct Stack<'a> {
    pub(super) job: JobId,
    /// The outermost first.
    pub(super) frames: Vec<String>,
    /// The step; `None` for what is no op.
    pub(super) site: Option<&'a OpSite>,
    pub(super) totals: OpTotals,
    /// Its part of the phase's energy in proportion to time, µJ: modelled, since no sensor sees single ops. `None` where
    /// the phase's energy was not measured, and in lanes of devices.
    pub(super) energy_uj: Option<u64>,
}

impl Stacks {
    /// Takes an item; all but plans, batches and results are left alone.
    pub(super) fn put(&mut self, item: &Item<'_>) {
        match item {
            Item::Plan { plan, selected } => {
                let plan = Plan { record: (*plan).clone(), selected: selected.to_vec() };
                self.plans.insert(plan.record.plan, plan);
            }
            Item::Batch(batch) => self.batch(batch),
            Item::Result { job, result } => {
                // Of several sources the first is that which covers the most.
                for energy in result.energy.phases.iter().rev() {
                    if let Some(joules) = energy.joules.filter(|joules| joules.is_finite() && *joules >= 0.0)
                    {
                        self.joules.insert((*job, energy.phase), joules);
                    }
                }
            }
            _ => {}
        }
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        let head = batch.head();
        let sum = self.sums.entry((head.plan, head.job, head.phase, head.lane)).or_default();
        totals::add_batch(&mut sum.sites, batch.whole, &batch.plan.sites);
        sum.books.add(batch.books);
    }

    /// Recorded wall time of the host's lane, ns.
    pub(super) fn host_wall_ns(&self) -> u64 {
        let hosts = self.sums.iter().filter(|((_, _, _, lane), _)| *lane == HOST_LANE);
        totals::saturating_sum(hosts.map(|(_, sum)| sum.books.wall_ns))
    }

    /// Whether the energy of a phase is known.
    pub(super) fn has_energy(&self) -> bool {
        !self.joules.is_empty()
    }

    /// All stacks.
    pub(super) fn all(&self) -> Vec<Stack<'_>> {
        let mut stacks = Vec::new();
        for (&(plan, job, phase, lane), sum) in &self.sums {
            let Some(plan) = self.plans.get(&plan) else { continue };
            let mut root = vec![phase.as_str().to_owned()];
            if lane != HOST_LANE {
                let name = plan.record.lane(lane).map(|lane| lane.name.clone());
                root.push(name.unwrap_or_else(|| format!("lane {lane}")));
            }
            let joules = self.joules.get(&(job, phase)).copied().filter(|_| lane == HOST_LANE);
            let energy_uj = |time_ns: u64| {
                let share = time_ns as f64 / sum.books.wall_ns.max(1) as f64;
                joules.map(|joules| (joules * share * 1e6).round() as u64)
            };
            let mut left_out_ns = 0_u64;
            for &SiteTotals { site, totals } in &sum.sites {
                let at = usize::from(site);
                let Some(site) = plan.record.sites.get(at) else { continue };
                if plan.selected.get(at) != Some(&true) {
                    left_out_ns = left_out_ns.saturating_add(totals.time_ns);
                    continue;
                }
                let layer = site.layer.map(|layer| format!("layer {layer}"));
                let module = site.module.as_str().to_owned();
                let frames = root.iter().cloned().chain([module]).chain(layer).chain([site.name.clone()]);
                let (frames, energy_uj) = (frames.collect(), energy_uj(totals.time_ns));
                stacks.push(Stack { job, frames, site: Some(site), totals, energy_uj });
            }
            let others = sum.books.other.iter().map(|span| (span.name.as_str(), span.ns));
            let rest = [
                ("not selected", left_out_ns),
                ("gap", sum.books.gap_ns),
                ("unattributed", sum.books.unattributed_ns),
            ];
            for (name, time_ns) in others.chain(rest).filter(|&(_, ns)| ns > 0) {
                let frames = root.iter().cloned().chain([format!("({name})")]).collect();
                let totals = OpTotals { time_ns, ..OpTotals::default() };
                stacks.push(Stack { job, frames, site: None, totals, energy_uj: energy_uj(time_ns) });
            }
        }
        stacks
    }
}
