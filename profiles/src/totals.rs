//! Op totals: what events of a site add up to, and what sites of a group do. Results, summaries, the dashboard
//! and the report all add with these.
//!
//! Sums stop at the largest number instead of starting again at 0: a damaged record makes them wrong, but never
//! small.

use serde::{Deserialize, Serialize};

use crate::op::OpBatch;
use crate::plan::SiteId;
use crate::plan::site::OpSite;
use crate::rate::counted_per_second;
use crate::roofline::{Bound, RoofBound, Roofs};

/// The sum of times or counts, the largest number where it would be above it.
pub fn saturating_sum(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, u64::saturating_add)
}

/// When an event ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPlace {
    /// Repetition, from 0.
    #[serde(rename = "run")]
    pub repetition: u32,
    /// Token of decode or chunk of prefill, from 0.
    pub token: u32,
}

/// What events add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpTotals {
    /// Events.
    pub count: u64,
    /// Their time, ns.
    pub time_ns: u64,
    /// The longest, ns.
    pub max_ns: u64,
    /// When that one ran, the first of several; `None` if it is not known.
    pub max_at: Option<EventPlace>,
    /// Bytes by the plan's rules.
    pub bytes: u64,
    /// FLOPs by the plan's rules.
    pub flops: u64,
}

impl OpTotals {
    /// Adds other totals.
    pub fn add(&mut self, more: &Self) {
        self.count = self.count.saturating_add(more.count);
        self.time_ns = self.time_ns.saturating_add(more.time_ns);
        if more.max_ns > self.max_ns {
            (self.max_ns, self.max_at) = (more.max_ns, more.max_at);
        }
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.flops = self.flops.saturating_add(more.flops);
    }

    /// Time of an event on average, ns; `None` without events.
    pub fn mean_ns(&self) -> Option<u64> {
        self.time_ns.checked_div(self.count)
    }

    /// Bytes divided by the ops' time, B/s; `None` without time, or where the plan counts none.
    pub fn bytes_per_second(&self) -> Option<f64> {
        counted_per_second(self.bytes, self.time_ns)
    }

    /// FLOPs divided by the ops' time, FLOP/s; `None` as for bytes.
    pub fn flops_per_second(&self) -> Option<f64> {
        counted_per_second(self.flops, self.time_ns)
    }
}

/// Totals of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct SiteTotals {
    /// The site.
    pub site: SiteId,
    /// What its events add up to.
    pub totals: OpTotals,
}

/// [`SiteTotals`] as they are on the wire.
#[derive(Serialize, Deserialize)]
struct Flat {
    site: SiteId,
    count: u64,
    time_ns: u64,
    max_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_at: Option<EventPlace>,
    bytes: u64,
    flops: u64,
}

impl From<Flat> for SiteTotals {
    fn from(flat: Flat) -> Self {
        let Flat { site, count, time_ns, max_ns, max_at, bytes, flops } = flat;
        Self { site, totals: OpTotals { count, time_ns, max_ns, max_at, bytes, flops } }
    }
}

impl From<SiteTotals> for Flat {
    fn from(SiteTotals { site, totals }: SiteTotals) -> Self {
        let OpTotals { count, time_ns, max_ns, max_at, bytes, flops } = totals;
        Self { site, count, time_ns, max_ns, max_at, bytes, flops }
    }
}

/// Adds the events of a batch to the totals of their sites, which are in the order of their ids, and gives what
/// the batch alone adds up to. Events of sites that the plan does not have are left out.
pub fn add_batch(sums: &mut Vec<SiteTotals>, batch: &OpBatch, sites: &[OpSite]) -> OpTotals {
    let head = &batch.head;
    let (rows, context) = (u64::from(head.rows), u64::from(head.context));
    let max_at = Some(EventPlace { repetition: head.repetition, token: head.token });
    let mut all = OpTotals::default();
    let mut next = 0;
    for event in &batch.events {
        let Some(site) = sites.get(usize::from(event.site)) else { continue };
        let time_ns = u64::from(event.duration) * u64::from(head.tick_ns);
        let (bytes, flops) = (site.cost.bytes(rows, context), site.cost.flops(rows, context));
        let event_totals = OpTotals { count: 1, time_ns, max_ns: time_ns, max_at, bytes, flops };
        let at = place(sums, event.site, next);
        sums[at].totals.add(&event_totals);
        all.add(&event_totals);
        next = at + 1;
    }
    all
}

/// Adds the totals of one site to those of its kind, which are in the order of their ids.
pub fn add_site(sums: &mut Vec<SiteTotals>, more: &SiteTotals) {
    let at = place(sums, more.site, 0);
    sums[at].totals.add(&more.totals);
}

/// Where `site` is, which is made if it is not there. Sites mostly come in the order of the plan, so that `guess`
/// is right.
fn place(sums: &mut Vec<SiteTotals>, site: SiteId, guess: usize) -> usize {
    if sums.get(guess).is_some_and(|sum| sum.site == site) {
        return guess;
    }
    let found = sums.binary_search_by_key(&site, |sum| sum.site);
    found.unwrap_or_else(|at| {
        sums.insert(at, SiteTotals { site, totals: OpTotals::default() });
        at
    })
}

/// Totals of several sites or rows, with the least time that the roofs allow for them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GroupTotals {
    /// What their events add up to.
    pub totals: OpTotals,
    /// What the roofs allow; nothing without roofs.
    pub bound: RoofBound,
    /// Layer of the longest event; `None` if that one was in none.
    pub max_layer: Option<u32>,
}

impl GroupTotals {
    /// Adds a site with its bound at `roofs`.
    pub fn add_site(&mut self, site: &OpSite, totals: &OpTotals, roofs: Option<&Roofs>) {
        self.note_max(totals.max_ns, site.layer);
        self.totals.add(totals);
        if let Some(bound) = roofs.and_then(|roofs| roofs.bound(site, totals.bytes, totals.flops)) {
            self.bound.add(bound);
        }
    }

    /// Adds another group.
    pub fn add(&mut self, more: &Self) {
        self.note_max(more.totals.max_ns, more.max_layer);
        self.totals.add(&more.totals);
        self.bound.add(more.bound);
    }

    /// Takes the layer of the longest event of totals that are about to be added.
    fn note_max(&mut self, max_ns: u64, layer: Option<u32>) {
        if max_ns > self.totals.max_ns {
            self.max_layer = layer;
        }
    }

    /// Share of the nearer roof, and which that is; `None` without roofs, or where the plan counts nothing.
    pub fn roof(&self) -> Option<(f64, Bound)> {
        let time_ns = self.totals.time_ns;
        Some((self.bound.share(time_ns)?, self.bound.bound(time_ns)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(time_ns: u64, bytes: u64) -> OpTotals {
        OpTotals { count: 2, time_ns, max_ns: time_ns, max_at: None, bytes, flops: 0 }
    }

    #[test]
    fn sites_stay_in_order_and_add_up() {
        let mut sums = Vec::new();
        for (site, ns) in [(5, 10), (1, 20), (5, 30), (3, 40), (1, 50)] {
            add_site(&mut sums, &SiteTotals { site, totals: totals(ns, ns) });
        }
        let found: Vec<_> = sums.iter().map(|sum| (sum.site, sum.totals.count, sum.totals.time_ns)).collect();
        assert_eq!(found, [(1, 4, 70), (3, 2, 40), (5, 4, 40)]);
        assert_eq!(sums[0].totals.max_ns, 50);
    }

    #[test]
    fn rates_are_divided_by_the_time_of_the_ops() {
        let sum = totals(2_000_000_000, 6);
        assert_eq!((sum.bytes_per_second(), sum.flops_per_second()), (Some(3.0), None));
        assert_eq!((sum.mean_ns(), OpTotals::default().mean_ns()), (Some(1_000_000_000), None));
    }

    #[test]
    fn sums_of_damaged_records_stop_at_the_largest_number() {
        let mut sum = totals(u64::MAX, u64::MAX);
        sum.add(&totals(u64::MAX, 1));
        assert_eq!((sum.time_ns, sum.bytes, sum.count), (u64::MAX, u64::MAX, 4));
    }

    #[test]
    fn the_longest_event_keeps_when_it_ran_and_in_which_layer() {
        let row = |max_ns, token, layer| {
            let max_at = Some(EventPlace { repetition: 2, token });
            let totals = OpTotals { count: 1, time_ns: max_ns, max_ns, max_at, bytes: 0, flops: 0 };
            GroupTotals { totals, max_layer: layer, ..GroupTotals::default() }
        };
        let mut sum = GroupTotals::default();
        for more in [row(5, 1, Some(0)), row(9, 2, Some(7)), row(9, 3, Some(8)), row(4, 4, None)] {
            sum.add(&more);
        }
        assert_eq!(sum.totals.max_at.map(|at| (at.repetition, at.token)), Some((2, 2)), "the first of two");
        assert_eq!((sum.totals.max_ns, sum.max_layer), (9, Some(7)));
    }

    #[test]
    fn a_site_is_flat_on_the_wire() {
        let json = serde_json::to_string(&SiteTotals { site: 3, totals: totals(7, 9) }).unwrap();
        assert_eq!(json, r#"{"site":3,"count":2,"time_ns":7,"max_ns":7,"bytes":9,"flops":0}"#);
    }
}
