//! The steps of a run one by one: each token of decode and each chunk of prefill, in each lane.

use crate::books::Books;
use crate::op::BatchHead;
use crate::totals::OpTotals;

/// Steps that are kept one by one, of all phases, repetitions and lanes together; further ones count in all sums, and
/// are left out of the list. 100 bytes each.
pub const MAX_STEPS: usize = 1 << 17;

/// One token or chunk in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) token: u32,
    pub(super) rows: u32,
    /// Tokens in the cache before.
    pub(super) context: u32,
    pub(super) wall_ns: u64,
    pub(super) totals: OpTotals,
}

impl Step {
    pub(super) fn of(head: &BatchHead, books: &Books, totals: OpTotals) -> Self {
        Self { token: head.token, rows: head.rows, context: head.context, wall_ns: books.wall_ns, totals }
    }
}
