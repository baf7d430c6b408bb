//! Points of a depth model from recorded decode steps.

use std::collections::BTreeMap;

use crate::books::Books;
use crate::lane::HOST_LANE;
use crate::op::OpBatch;
use crate::phase::Phase;
use crate::plan::site::OpSite;

/// Steps of a stretch, of which the faster half is typical: as in [`crate::compare`].
const STRETCH: usize = 32;

/// A typical step of a stretch.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthPoint {
    /// Tokens in the cache, the mean of the steps.
    pub context: f64,
    /// Wall time, ns.
    pub wall_ns: f64,
    /// Time of each op, all layers together, ns, in the order of the model's ops.
    pub by_op_ns: Vec<f64>,
}

/// How far an op looks back, in each layer where it reads the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpReach {
    /// The op.
    pub name: String,
    /// The window of each layer, `None` for all of the context; empty for an op that reads no cache.
    pub windows: Vec<Option<u32>>,
}

/// Gathers points from the batches of runs of one model.
#[derive(Debug, Clone, Default)]
pub struct DepthPoints {
    reach: Vec<OpReach>,
    /// The op of each site.
    ops: Vec<usize>,
    points: Vec<DepthPoint>,
    /// The last steps, all of one repetition.
    stretch: Vec<Step>,
    repetition: u32,
}

#[derive(Debug, Clone)]
struct Step {
    context: u32,
    wall_ns: u64,
    by_op_ns: Vec<u64>,
}

impl DepthPoints {
    /// Of a plan with these sites.
    pub fn new(sites: &[OpSite]) -> Self {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut reach, mut ops): (Vec<OpReach>, Vec<usize>) = (Vec::new(), Vec::new());
        for site in sites {
            let at = *places.entry(&site.name).or_insert_with(|| {
                reach.push(OpReach { name: site.name.clone(), windows: Vec::new() });
                reach.len() - 1
            });
            if site.cost.bytes_per_cached > 0 || site.cost.flops_per_attended > 0 {
                reach[at].windows.push(site.cost.window);
            }
            ops.push(at);
        }
        Self { reach, ops, ..Self::default() }
    }

    /// Adds a batch; only decode steps of the host's lane count.
    pub fn add(&mut self, batch: &OpBatch) {
        let head = &batch.head;
        if head.lane != HOST_LANE || head.phase != Phase::Decode || head.rows != 1 {
            return;
        }
        if self.stretch.len() == STRETCH || head.repetition != self.repetition {
            self.end_stretch();
        }
        self.repetition = head.repetition;
        let mut by_op_ns = vec![0; self.reach.len()];
        for event in &batch.events {
            if let Some(&op) = self.ops.get(usize::from(event.site)) {
                let ns = u64::from(event.duration) * u64::from(head.tick_ns);
                by_op_ns[op] = u64::saturating_add(by_op_ns[op], ns);
            }
        }
        self.stretch.push(Step { context: head.context, wall_ns: Books::of(batch).wall_ns, by_op_ns });
    }

    /// The ops with their reach, and all points.
    pub fn finish(mut self) -> (Vec<OpReach>, Vec<DepthPoint>) {
        self.end_stretch();
        (self.reach, self.points)
    }

    /// Makes a point of the faster half of the stretch; of less than half of one none, since few steps are not typical.
    fn end_stretch(&mut self) {
        let mut steps = std::mem::take(&mut self.stretch);
        if steps.len() < STRETCH / 2 {
            return;
        }
        steps.sort_by_key(|step| step.wall_ns);
        steps.truncate(steps.len().div_ceil(2));
        let mean = |of: &dyn Fn(&Step) -> f64| steps.iter().map(of).sum::<f64>() / steps.len() as f64;
        self.points.push(DepthPoint {
            context: mean(&|step| f64::from(step.context)),
            wall_ns: mean(&|step| step.wall_ns as f64),
            by_op_ns: (0..self.reach.len()).map(|at| mean(&|step| step.by_op_ns[at] as f64)).collect(),
        });
    }
}
