//! Keys and terms of the Live screen.

use crossterm::event::KeyCode;

use crate::dashboard::keys::{Action, Binding, bind};
use crate::dashboard::overlay::Overlay;

/// In the order in which help lists them.
pub const KEYS: &[Binding] =
    &[bind(&[KeyCode::Char('f')], "f", "all findings", Action::Open(Overlay::Findings)).in_footer()];

/// What the words on the screen mean.
pub const TERMS: &[(&str, &str)] = &[
    ("now, in all", "tokens divided by their wall time: in about the last second, and since the job began"),
    (
        "GB/s",
        "bytes that any engine must move for these tokens (weights, keys, values), divided by wall time",
    ),
    (
        "bound by",
        "which roof of this machine the work is nearest to, and the share of it that was reached over the whole wall \
         time: memory (reading), compute (arithmetic). Waits: below 10 % of both, so threads wait, or ops are small",
    ),
    (
        "median, p95, p99",
        "of the wall times of the last decode steps: half, 95 % and 99 % of them took at most this",
    ),
    (
        "attention itself",
        "scores, softmax and values over the cached keys and values; its products with weights are `attention \
         projections`",
    ),
    ("gaps between ops", "at most 1 µs between two ops: the clock and the call"),
    ("unattributed", "wall time that no op, gap or named span explains; red above 1 %"),
    (
        "of roof",
        "least time for a part's bytes or arithmetic at the measured roofs, divided by its time. Above 100 % the bytes \
         came from a cache, or the machine was faster than when the roof was measured",
    ),
    ("others", "CPU time of all other programs, of one core: 100 % is one core's time"),
    (
        "overhead",
        "what measuring cost the run, and its 95 % interval; as far as it is known while a run goes on",
    ),
    ("measured, derived", "read from a sensor or counter of exactly this; computed from such readings"),
];
