//! What single op events tell beyond sums: how the times of calls are distributed, how they grow with the context, and
//! the last tokens event by event. Collected while events are sent: on the screens that need them, and in a replay.

use std::collections::VecDeque;
use std::sync::Arc;

use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{OpBatch, OpEvent, Phase};
use slmscope_profiles::plan::SiteId;

/// Classes of durations within a doubling. A percentile is right to a 16th.
const STEPS: u32 = 8;
/// Classes of all durations.
const CLASSES: usize = 256;
/// Classes of contexts: one for each doubling.
const CONTEXTS: usize = 32;
/// Most bytes of tokens that are kept event by event.
const TOKEN_BYTES: usize = 16 << 20;
/// Most sites of a plan that have a distribution, against a damaged record.
const MAX_SITES: usize = 8192;

/// The times of a site's calls.
#[derive(Debug, Clone)]
pub struct Calls {
    classes: [u32; CLASSES],
    /// Calls and their time, ns, by context.
    by_context: [(u64, u64); CONTEXTS],
}

impl Default for Calls {
    fn default() -> Self {
        Self { classes: [0; CLASSES], by_context: [(0, 0); CONTEXTS] }
    }
}

/// The class of a duration.
fn class(ns: u64) -> usize {
    let Some(octave) = ns.checked_ilog2() else { return 0 };
    let within = if octave >= 3 { (ns >> (octave - 3)) & 7 } else { (ns << (3 - octave)) & 7 };
    ((octave * STEPS) as usize + within as usize).min(CLASSES - 1)
}

/// The middle of a class, ns.
fn middle(class: usize) -> u64 {
    let (octave, within) = (class as u32 / STEPS, class as u32 % STEPS);
    let size = 2_f64.powi(octave as i32);
    (size * (1.0 + (f64::from(within) + 0.5) / f64::from(STEPS))) as u64
}

impl Calls {
    fn add(&mut self, ns: u64, context: u64) {
        let count = &mut self.classes[class(ns)];
        *count = count.saturating_add(1);
        let by_context = &mut self.by_context[context_class(context)];
        by_context.0 = by_context.0.saturating_add(1);
        by_context.1 = by_context.1.saturating_add(ns);
    }

    /// Adds those of another site.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.classes.iter_mut().zip(&other.classes) {
            *sum = sum.saturating_add(*more);
        }
        for (sum, more) in self.by_context.iter_mut().zip(&other.by_context) {
            *sum = (sum.0.saturating_add(more.0), sum.1.saturating_add(more.1));
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|&count| u64::from(count)).sum()
    }

    /// The duration that a share `q` of the calls does not exceed, to a 16th, ns; `None` without calls.
    pub fn percentile(&self, q: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * q).ceil() as u64).max(1);
        let mut sum = 0;
        let found = self.classes.iter().position(|&more| {
            sum += u64::from(more);
            sum >= rank
        });
        found.filter(|_| count > 0).map(middle)
    }

    /// Calls by duration from the shortest class to the longest, with the durations of these two, ns; `None` without
    /// calls.
    pub fn distribution(&self) -> Option<(u64, u64, &[u32])> {
        let first = self.classes.iter().position(|&count| count > 0)?;
        let last = self.classes.iter().rposition(|&count| count > 0)?;
        Some((middle(first), middle(last), &self.classes[first..=last]))
    }

    /// Mean time of a call for each doubling of the context: the least context of the class, and ns.
    pub fn by_context(&self) -> Vec<(u64, u64)> {
        let classes = self.by_context.iter().enumerate();
        classes.filter_map(|(class, &(calls, ns))| Some((1_u64 << class, ns.checked_div(calls)?))).collect()
    }
}

fn context_class(context: u64) -> usize {
    context.max(1).ilog2().min(CONTEXTS as u32 - 1) as usize
}

/// The events that were seen of one job.
#[derive(Debug, Clone, Default)]
pub struct Events {
    decode: Vec<Option<Box<Calls>>>,
    prefill: Vec<Option<Box<Calls>>>,
    tokens: VecDeque<Arc<OpBatch>>,
    bytes: usize,
}

fn size(batch: &OpBatch) -> usize {
    std::mem::size_of::<OpBatch>() + batch.events.len() * std::mem::size_of::<OpEvent>()
}

impl Events {
    /// Adds a token or chunk of the host's lane; others are not kept.
    pub fn add(&mut self, batch: OpBatch) {
        let head = &batch.head;
        let sites = match head.phase {
            Phase::Decode => &mut self.decode,
            Phase::Prefill => &mut self.prefill,
            _ => return,
        };
        if head.lane != HOST_LANE {
            return;
        }
        let context = u64::from(head.context) + u64::from(head.rows);
        for event in &batch.events {
            let site = usize::from(event.site);
            if site >= MAX_SITES {
                continue;
            }
            if sites.len() <= site {
                sites.resize_with(site + 1, || None);
            }
            let ns = u64::from(event.duration) * u64::from(head.tick_ns);
            sites[site].get_or_insert_default().add(ns, context);
        }
        self.bytes += size(&batch);
        self.tokens.push_back(Arc::new(batch));
        while self.bytes > TOKEN_BYTES {
            let Some(oldest) = self.tokens.pop_front() else { break };
            self.bytes -= size(&oldest);
        }
    }

    /// The calls of these sites in a phase; `None` if none was seen.
    pub fn calls(&self, phase: Phase, sites: &[SiteId]) -> Option<Calls> {
        let known = if phase == Phase::Prefill { &self.prefill } else { &self.decode };
        let mut found = sites.iter().filter_map(|site| known.get(usize::from(*site))?.as_deref());
        let mut all = found.next()?.clone();
        found.for_each(|calls| all.merge(calls));
        Some(all)
    }

    /// The same without the tokens and chunks that ended after a moment, ns. The distributions stay those of all.
    pub fn until(&self, t_ns: u64) -> Self {
        let mut earlier = self.clone();
        while earlier.tokens.back().is_some_and(|token| token.head.end_ns > t_ns) {
            if let Some(later) = earlier.tokens.pop_back() {
                earlier.bytes -= size(&later);
            }
        }
        earlier
    }

    /// The last tokens and chunks, oldest first.
    pub fn tokens(&self) -> &VecDeque<Arc<OpBatch>> {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_durations_within_an_eighth_and_its_middle_is_one_of_them() {
        for ns in (0..60).map(|bit| 1_u64 << bit).flat_map(|ns| [ns, ns + ns / 3, ns + ns / 2]) {
            let found = class(ns);
            if found + 1 < CLASSES && ns >= 8 {
                let error = (middle(found) as f64 - ns as f64).abs() / ns as f64;
                assert!(error <= 1.0 / 16.0 + 1e-9, "{ns}: {}", middle(found));
            }
        }
        assert!(class(u64::MAX) < CLASSES);
    }

    #[test]
    fn percentiles_and_contexts_are_those_of_the_calls() {
        let mut calls = Calls::default();
        assert_eq!((calls.percentile(0.5), calls.distribution().is_none()), (None, true));
        for call in 1..=100 {
            calls.add(call * 1000, call);
        }
        let at = |q| calls.percentile(q).unwrap() as f64;
        assert!((at(0.5) / 50_000.0 - 1.0).abs() < 0.07 && (at(0.99) / 99_000.0 - 1.0).abs() < 0.07);
        assert_eq!(calls.by_context()[..3], [(1, 1000), (2, 2500), (4, 5500)]);
        let mut twice = calls.clone();
        twice.merge(&calls);
        assert_eq!((twice.count(), twice.percentile(0.5)), (200, calls.percentile(0.5)));
    }
}
