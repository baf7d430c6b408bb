//! The parts of a phase's wall time that its bar shows.

use slmscope_profiles::plan::site::Module;
use slmscope_profiles::record::PlanRecord;
use slmscope_profiles::totals::SiteTotals;

use crate::dashboard::totals::PhaseSum;

/// The modules of the plan, then the time outside ops; the last is what nothing explains. Their sum is the wall time.
pub fn parts(plan: Option<&PlanRecord>, sum: &PhaseSum) -> Vec<(&'static str, u64)> {
    let books = &sum.books;
    let mut modules = [0_u64; Module::ALL.len()];
    let mut known = 0_u64;
    for SiteTotals { site, totals } in &sum.sites {
        let Some(site) = plan.and_then(|plan| plan.sites.get(usize::from(*site))) else { continue };
        if let Some(at) = Module::ALL.iter().position(|&module| module == site.module) {
            modules[at] = modules[at].saturating_add(totals.time_ns);
            known = known.saturating_add(totals.time_ns);
        }
    }
    let unnamed = books.ops_ns.saturating_sub(known);
    let other = unnamed.saturating_add(books.other_ns());
    let has = |module: Module| plan.is_some_and(|plan| plan.sites.iter().any(|site| site.module == module));
    let named = Module::ALL.iter().zip(modules).filter(|(module, _)| has(**module));
    let named = named.map(|(module, ns)| (module.as_str(), ns));
    named.chain([("other", other), ("gap", books.gap_ns), ("unattributed", books.unattributed_ns)]).collect()
}
