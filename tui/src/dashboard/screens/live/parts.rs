//! The parts of a phase's wall time, in words that a user of models knows.

use slmscope_profiles::plan::site::{Module, OpKind, OpSite};
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::totals::{GroupTotals, SiteTotals};

use crate::dashboard::totals::PhaseSum;

/// A part of the wall time.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// Its ops against the roofs; of time outside ops only the time is there.
    pub group: GroupTotals,
    /// Kind of its ops; `None` for several, or none.
    pub kind: Option<OpKind>,
}

impl Part {
    fn new(name: &'static str, kind: Option<OpKind>) -> Self {
        Self { name, group: GroupTotals::default(), kind }
    }

    /// Its time, ns.
    pub fn ns(&self) -> u64 {
        self.group.totals.time_ns
    }
}

/// Name of the part that nothing explains.
pub const UNATTRIBUTED: &str = "unattributed";

/// How many parts are made of ops.
pub const PARTS: usize = 6;

/// Names of the parts made of ops. Attention itself never includes its projections.
const OPS: [(&str, Option<OpKind>); PARTS] = [
    ("FFN", None),
    ("attention projections", Some(OpKind::Matmul)),
    ("attention itself", Some(OpKind::Attention)),
    ("recurrence", None),
    ("LM head", Some(OpKind::Matmul)),
    ("norms, positions, rest", None),
];

/// Name of a part made of ops, by its number; empty above the last.
pub fn part_name(part: usize) -> &'static str {
    OPS.get(part).map_or("", |(name, _)| *name)
}

/// Number of the part that an op belongs to.
pub fn part_of(site: &OpSite) -> usize {
    match (site.module, site.kind) {
        (_, OpKind::Norm) => 5,
        (Module::Ffn, _) => 0,
        (Module::Attention, OpKind::Matmul) => 1,
        (Module::Attention, OpKind::Attention) => 2,
        (Module::Recurrent, _) => 3,
        (Module::LmHead, OpKind::Matmul) => 4,
        _ => 5,
    }
}

/// The parts that the plan has, then the time outside ops; the last is what nothing explains. Their sum is the wall
/// time.
pub fn parts(plan: Option<&PlanRecord>, sum: &PhaseSum) -> Vec<Part> {
    let books = &sum.books;
    let mut ops = OPS.map(|(name, kind)| Part::new(name, kind));
    let mut known = 0_u64;
    for SiteTotals { site, totals } in &sum.sites {
        let Some((plan, site)) = plan.and_then(|plan| Some((plan, plan.sites.get(usize::from(*site))?)))
        else {
            continue;
        };
        ops[part_of(site)].group.add_site(site, totals, Some(&plan.roofs));
        known = known.saturating_add(totals.time_ns);
    }
    let unnamed = books.ops_ns.saturating_sub(known);
    let outside = [
        ("sampling and other", unnamed.saturating_add(books.other_ns())),
        ("gaps between ops", books.gap_ns),
        (UNATTRIBUTED, books.unattributed_ns),
    ];
    let has = |index: usize| plan.is_some_and(|plan| plan.sites.iter().any(|site| part_of(site) == index));
    let ops = ops.into_iter().enumerate().filter(|(index, _)| has(*index)).map(|(_, part)| part);
    let outside = outside.into_iter().map(|(name, ns)| {
        let mut part = Part::new(name, None);
        part.group.totals.time_ns = ns;
        part
    });
    ops.chain(outside).collect()
}
